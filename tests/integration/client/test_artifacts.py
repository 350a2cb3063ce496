"""Artifacts: taken in at once, delivered whatever breaks, each counted, whole and in order."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import threading
from pathlib import Path

import pytest

import ingest
from ingest.bench.ports import free_port
from ingest_client import BadPath, sync_spool
from ingest_client._run import Run
from tests.integration.client import artifact_stub
from tests.integration.client.conftest import settings_for
from tests.integration.client.stub import running_stub, wait_until

BIG = bytes(range(256)) * 4096 * 11  # 11 MiB: by parts


def law(run: Run) -> None:
    """accepted = uploaded + spooled + rejected + dropped, by reason."""
    stats = run.stats()
    assert stats.artifacts_accepted_num == (
        stats.artifacts_uploaded_num
        + stats.artifacts_spooled_num
        + stats.artifacts_rejected_num
        + stats.artifacts_dropped_num
    )
    assert sum(stats.artifacts_rejected.values()) == stats.artifacts_rejected_num
    assert sum(stats.artifacts_dropped.values()) == stats.artifacts_dropped_num


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    (root / "deep" / "er").mkdir(parents=True)
    (root / "config.yaml").write_text("lr: 0.1\n")
    (root / "deep" / "er" / "ünï code.txt").write_text("x")
    (root / "empty").write_bytes(b"")
    return root


def test_files_and_directories_arrive_under_their_names(run, stub, folder):
    run.log_artifact(folder / "config.yaml")
    run.log_artifact(str(folder / "config.yaml"), "configs/a")
    run.log_artifacts(folder, "data")
    run.log_artifact(folder)
    assert run.flush(30)
    below = {"config.yaml": b"lr: 0.1\n", "deep/er/ünï code.txt": b"x", "empty": b""}
    assert stub.artifacts.of(run.info.run_id) == {
        "config.yaml": b"lr: 0.1\n",
        "configs/a/config.yaml": b"lr: 0.1\n",
        **{f"data/{name}": content for name, content in below.items()},
    }
    assert run.stats().artifacts_uploaded_num == 8
    law(run)


def test_the_caller_may_change_and_delete_the_file_at_once(run, stub, tmp_path):
    """What is uploaded is what was there when the call was made."""
    held = threading.Event()
    stub.artifacts.misbehave = lambda *_: held.wait(5) and None
    path = tmp_path / "model.bin"
    path.write_bytes(b"first")
    run.log_artifact(path)
    with path.open("r+b") as opened:  # in place: a hard link would see it
        opened.write(b"FIRST")
    path.unlink()
    held.set()
    assert run.flush(30)
    assert stub.artifacts.of(run.info.run_id) == {"model.bin": b"first"}


def test_a_file_may_be_moved_or_linked_into_the_spool(run, stub, tmp_path):
    (tmp_path / "moved").write_bytes(b"m")
    (tmp_path / "linked").write_bytes(b"l")
    run.log_artifact(tmp_path / "moved", keep="move")
    run.log_artifact(tmp_path / "linked", keep="link")
    assert not (tmp_path / "moved").exists()
    (tmp_path / "linked").unlink()
    assert run.flush(30)
    assert stub.artifacts.of(run.info.run_id) == {"moved": b"m", "linked": b"l"}


@pytest.mark.parametrize(
    "path", ["", "/etc/passwd", "../up", "a/../b", "a//b", "a\\b", "a#b", "a\nb", "C:/x", "x" * 300]
)
def test_a_bad_path_raises_at_once(run, path):
    with pytest.raises(BadPath, match="artifact"):
        run.log_text("x", path)
    assert run.stats().artifacts_accepted_num == 0


def test_what_is_not_there_raises_at_once(run, tmp_path):
    with pytest.raises(FileNotFoundError):
        run.log_artifact(tmp_path / "missing")
    with pytest.raises(OSError, match="no directory"):
        run.log_artifacts(tmp_path / "missing")
    os.mkfifo(tmp_path / "pipe")
    threading.Thread(target=lambda: (tmp_path / "pipe").open("wb").close(), daemon=True).start()
    with pytest.raises(OSError, match="regular"):
        run.log_artifact(tmp_path / "pipe")
    law(run)
    assert run.stats().artifacts_accepted_num == 0


def test_nothing_is_sent_before_the_service_knows_the_run(stub, settings):
    """The service refuses artifacts of runs that it has never heard of."""
    may_start = threading.Event()
    stub.misbehave = lambda *_: None if may_start.is_set() else (503, {"code": "unavailable"}, {})
    run = Run(settings)
    run.log_text("x", "a.txt")
    wait_until(lambda: run.stats().retries_num)
    assert stub.artifacts.requests == []
    assert run.stats().artifacts_spooled_num == 1
    may_start.set()
    assert run.flush(30)
    assert stub.artifacts.of(run.info.run_id) == {"a.txt": b"x"}
    run.end()
    wait_until(lambda: run.is_delivered)
    assert list(settings.spool_dir.rglob("*")) == []


def test_a_large_file_goes_by_parts_and_goes_on_where_the_line_broke(run, stub, tmp_path, monkeypatch):
    path = tmp_path / "big"
    path.write_bytes(BIG)
    seen: list[str] = []

    def misbehave(method: str, url: str, body: bytes) -> str | None:
        if method == "PUT" and "/uploads/" in url:
            seen.append(url.rpartition("/")[2])
            if len(seen) in {3, 6}:
                return "cut"
            if len(seen) == 8:
                return "cut_after"
        if url.endswith("/complete"):
            seen.append("complete")
            return "cut_after" if seen.count("complete") == 1 else None
        return None

    stub.artifacts.misbehave = misbehave
    run.log_artifact(path)
    assert run.flush(30)
    assert stub.artifacts.of(run.info.run_id) == {"big": BIG}
    assert len([n for n in seen if n == "0"]) <= 2  # a broken line costs a part, not the file
    law(run)


def test_a_damaged_upload_is_sent_again_and_given_up_at_last(run, stub):
    stub.artifacts.misbehave = lambda *_: artifact_stub.problem(422, "sha256_mismatch")
    run.log_text("x", "a.txt")
    wait_until(lambda: run.stats().artifacts_rejected_num)
    assert run.stats().artifacts_rejected == {"sha256_mismatch": 1}
    assert run.stats().artifacts_retries_num == 2
    assert run.flush(30) is False
    stub.artifacts.misbehave = None
    run.log_text("y", "b.txt")
    wait_until(lambda: stub.artifacts.of(run.info.run_id) == {"b.txt": b"y"})
    law(run)


def test_the_last_one_logged_to_a_path_stays(run, stub):
    """Order is kept through failures."""
    count = 0

    def misbehave(*_: object) -> object:
        nonlocal count
        count += 1
        return "cut" if count % 3 == 0 else None

    stub.artifacts.misbehave = misbehave
    for number in range(20):
        run.log_text(str(number), "same.txt")
    assert run.flush(30)
    assert stub.artifacts.of(run.info.run_id) == {"same.txt": b"19"}


def test_over_the_bound_artifacts_are_dropped_and_counted(stub, spool_dir, tmp_path):
    """The disk of the training machine belongs to the training."""
    settings = settings_for(
        f"http://127.0.0.1:{free_port()}", spool_dir, INGEST_ARTIFACT_SPOOL_MAX_BYTES="120000"
    )
    run = Run(settings)
    (tmp_path / "large").write_bytes(b"x" * 90_000)
    run.log_artifact(tmp_path / "large")
    run.log_artifact(tmp_path / "large", "second")
    run.log_text("small", "small.txt")
    stats = run.stats()
    assert stats.artifacts_dropped == {"spool_full": 1}
    assert stats.artifacts_spooled_num == 2
    assert stats.artifacts_spool_bytes <= 120_000
    law(run)


def test_after_the_end_artifacts_are_dropped_and_counted(run, stub):
    run.log_text("a", "a.txt")
    run.end()
    run.log_text("b", "b.txt")
    wait_until(lambda: run.is_delivered)
    assert run.stats().artifacts_dropped == {"after_end": 1}
    assert stub.artifacts.of(run.info.run_id) == {"a.txt": b"a"}
    law(run)


LOGGER = """
    import ingest, os, pathlib, sys
    run = ingest.start_run()
    print(run.info.run_id, flush=True)
    for number in range({count}):
        content = os.urandom({size})
        pathlib.Path("{folder}/file").write_bytes(content)
        run.log_artifact("{folder}/file", "d%d" % number)
        os.unlink("{folder}/file")
        import hashlib
        print(number, hashlib.sha256(content).hexdigest(), flush=True)
    {end}
"""


def ledger(stub, run_id: str, lines: list[str]) -> None:
    """Every artifact for which the call returned is there, once, with its SHA-256."""
    there = {p: hashlib.sha256(c).hexdigest() for p, c in stub.artifacts.of(run_id).items()}
    claimed = {f"d{number}/file": sha256 for number, sha256 in (line.split() for line in lines)}
    assert claimed.items() <= there.items()
    assert len(there) <= len(claimed) + 1  # the one whose call had no time to say so


def test_a_killed_trainer_loses_no_artifact(script, stub, spool_dir, tmp_path):
    """SIGKILL in the middle of uploads; `ingest sync` delivers what waits, also large files that were half sent."""
    process = script(LOGGER.format(count=300, size=9_000_000, folder=tmp_path, end=""), stub.url)
    run_id = process.stdout.readline().strip()
    lines = [process.stdout.readline() for _ in range(8)]
    process.send_signal(signal.SIGKILL)
    lines += process.stdout.readlines()  # communicate() would miss what readline() has read ahead
    reports = sync_spool(spool_dir)
    assert {report.status for report in reports} == {"delivered"}
    assert sum(report.uploaded_artifacts for report in reports) > 0
    ledger(stub, run_id, lines)
    assert list(spool_dir.rglob("*")) == []


def test_the_next_run_delivers_artifacts_of_a_dead_one(script, spool_dir, tmp_path, monkeypatch):
    monkeypatch.setattr("ingest_client._recover._swept", set())
    port = free_port()
    process = script(
        LOGGER.format(count=5, size=1000, folder=tmp_path, end="os._exit(3)"), f"http://127.0.0.1:{port}"
    )
    run_id, *lines = process.communicate(timeout=90)[0].splitlines()
    with running_stub(port) as other:
        run = Run(settings_for(other.url, spool_dir))
        wait_until(lambda: len(other.artifacts.of(run_id)) == 5)
        ledger(other, run_id, lines)
        run.end()
        wait_until(lambda: run.is_delivered)


def test_offline_artifacts_are_delivered_by_sync(stub, spool_dir, tmp_path):
    run = Run(settings_for(stub.url, spool_dir, INGEST_MODE="offline"))
    run.log_text("t", "a.txt")
    run.log_table({"x": [1, 2]}, "t.json")
    run.log_table({"x": [3]}, "t.json")
    run.end()
    wait_until(lambda: run.sender is not None and run.sender.is_parked)
    assert stub.artifacts.requests == []
    reports = sync_spool(spool_dir)
    assert [report.status for report in reports] == ["delivered", "delivered"]
    assert reports[1].uploaded_artifacts == 3
    files = stub.artifacts.of(run.info.run_id)
    assert files["a.txt"] == b"t"
    assert json.loads(files["t.json"]) == {"columns": ["x"], "data": [[1], [2], [3]]}
    assert sync_spool(spool_dir) == []


def test_an_exit_waits_for_artifacts_and_says_what_is_left(script, stub, spool_dir, tmp_path):
    process = script(LOGGER.format(count=3, size=1000, folder=tmp_path, end="run.end()"), stub.url)
    out, err = process.communicate(timeout=90)
    run_id, *lines = out.splitlines()
    ledger(stub, run_id, lines)
    assert err == ""
    process = script(
        LOGGER.format(count=3, size=1000, folder=tmp_path, end=""), f"http://127.0.0.1:{free_port()}"
    )
    _, err = process.communicate(timeout=90)
    assert "3 artifacts of run" in err
    assert process.returncode == 0


def test_a_forked_child_logs_artifacts_of_its_own(script, stub, tmp_path):
    source = """
        import ingest, os, multiprocessing as mp
        run = ingest.start_run()
        print(run.info.run_id, flush=True)
        run.log_text("parent", "parent.txt")
        def work(n):
            run.log_text(f"child {n}", f"child{n}.txt")
        children = [mp.get_context("fork").Process(target=work, args=(n,)) for n in range(3)]
        for c in children: c.start()
        for c in children: c.join()
        run.log_text("parent", "again.txt")
    """
    process = script(source, stub.url)
    out, _ = process.communicate(timeout=90)
    wait_until(lambda: len(stub.artifacts.of(out.strip())) == 5)
    assert stub.artifacts.of(out.strip())["child1.txt"] == b"child 1"


def test_many_threads_and_runs_each_artifact_once(settings, stub):
    runs = [Run(settings) for _ in range(5)]

    def work(number: int) -> None:
        for index in range(20):
            runs[number % 5].log_text(f"{number}-{index}", f"t{number}/{index}.txt")

    threads = [threading.Thread(target=work, args=(n,)) for n in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for run in runs:
        assert run.flush(30)
        law(run)
        run.end()
    assert sorted(stub.artifacts.puts) == sorted(
        (runs[n % 5].info.run_id, f"t{n}/{i}.txt") for n in range(10) for i in range(20)
    )


# --- what calls make of what they get ---------------------------------------------------------------------------------


@pytest.fixture
def face(stub, monkeypatch):
    monkeypatch.setenv("INGEST_MAX_AGE", "0.1")
    ingest.set_tracking_uri(stub.url)
    yield ingest
    while ingest.active_run() is not None:
        ingest.end_run()


def files_of(face, stub) -> dict[str, bytes]:
    assert face.flush(30)
    files: dict[str, bytes] = stub.artifacts.of(face.active_run().info.run_id)
    return files


def test_dicts_become_json_or_yaml(face, stub):
    import yaml

    document = {
        "a": [1, 2.5, 1e-5, None, True, {"b": "yes", "c": "ü: #\n\x85😀"}],
        "nested": {"empty": {}, "l": [[1], []]},
        "inf": float("inf"),
    }
    face.log_dict(document, "d.json")
    face.log_dict(document, "d.yaml")
    face.log_dict([1, "x"], "list.yml")
    files = files_of(face, stub)
    assert json.loads(files["d.json"]) == document
    assert yaml.safe_load(files["d.yaml"]) == document
    assert yaml.safe_load(files["list.yml"]) == [1, "x"]


def test_figures_of_matplotlib_and_plotly(face, stub):
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    graph_objects = pytest.importorskip("plotly.graph_objects")
    figure, axes = plt.subplots()
    axes.plot([1, 2])
    face.log_figure(figure, "plots/a.png")
    face.log_figure(figure, "plots/a.svg")
    plt.close(figure)
    face.log_figure(graph_objects.Figure(graph_objects.Scatter(x=[1], y=[2])), "plots/p.html")
    face.log_figure(graph_objects.Figure(graph_objects.Scatter(x=[1], y=[2])), "plots/p.json")
    with pytest.raises(TypeError, match="figure"):
        face.log_figure("no figure", "x.png")
    files = files_of(face, stub)
    assert files["plots/a.png"].startswith(b"\x89PNG")
    assert b"<svg" in files["plots/a.svg"]
    assert b"<html" in files["plots/p.html"]
    assert json.loads(files["plots/p.json"])["data"][0]["x"] == [1]


def test_pictures_and_series_of_pictures(face, stub):
    import io

    import numpy as np
    import PIL.Image

    pixels = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
    face.log_image(pixels, "a.png")
    face.log_image(PIL.Image.fromarray(pixels), "b.png")
    face.log_image(pixels, "c.webp")
    face.log_image(pixels[:, :, 0] / 255.0, "grey.png")
    for step in (-1, 0, 10):
        face.log_image(pixels, key="val/sample", step=step, timestamp=5)
    with pytest.raises(ValueError, match="either"):
        face.log_image(pixels)
    with pytest.raises(ValueError, match="0 to 1"):
        face.log_image(pixels.astype(float), "x.png")
    files = files_of(face, stub)
    for name in ("a.png", "b.png"):
        assert (np.asarray(PIL.Image.open(io.BytesIO(files[name]))) == pixels).all()
    assert (np.asarray(PIL.Image.open(io.BytesIO(files["grey.png"]))) == pixels[:, :, 0]).all()
    assert files["c.webp"][8:12] == b"WEBP"
    series = sorted(name for name in files if name.startswith("images/"))
    assert [name.rpartition("-")[0] for name in series] == [
        f"images/val/sample/{step}-5" for step in (-1, 0, 10)
    ]


def test_tensors_are_pictures(face, stub):
    import io

    import PIL.Image

    torch = pytest.importorskip("torch")
    grid = torch.rand(3, 7, 9)
    face.log_image(grid, "t.png")
    image = PIL.Image.open(io.BytesIO(files_of(face, stub)["t.png"]))
    assert image.size == (9, 7)
    assert image.getpixel((8, 6)) == tuple(round(v) for v in (grid[:, 6, 8] * 255).tolist())


def test_tables_grow(face, stub):
    import pandas as pd

    face.log_table({"x": [1, 2], "y": ["a", "b"]}, "t.json")
    face.log_table(pd.DataFrame({"y": ["c"], "z": [0.5]}), "t.json")
    face.log_table({"x": 7}, "t.json")
    with pytest.raises(ValueError, match="length"):
        face.log_table({"x": [1], "y": [1, 2]}, "t.json")
    table = json.loads(files_of(face, stub)["t.json"])
    assert table["columns"] == ["x", "y", "z"]
    assert table["data"] == [[1, "a", None], [2, "b", None], [None, "c", 0.5], [7, None, None]]
    uri = face.get_artifact_uri("t.json")
    assert ingest.load_table(uri)["x"].tolist()[-1] == 7


def test_what_was_logged_is_read_back(face, stub, folder, tmp_path):
    """Reading waits for what this process has logged, and needs no flush."""
    face.log_artifacts(str(folder), artifact_path="data")
    face.log_text("hello", "notes/a.txt")
    run_id = face.active_run().info.run_id
    assert [(f.path, f.is_dir) for f in face.list_artifacts()] == [("data", True), ("notes", True)]
    assert [f.file_size for f in face.list_artifacts(f"runs:/{run_id}/notes")] == [5]
    assert face.list_artifacts(run_id=run_id, artifact_path="nothing") == []
    local = Path(face.download_artifacts(run_id=run_id, artifact_path="data", dst_path=tmp_path / "out"))
    assert local == tmp_path / "out" / "data"
    assert (local / "deep" / "er" / "ünï code.txt").read_text() == "x"
    assert ingest.load_text(face.get_artifact_uri("notes/a.txt")) == "hello"
    with pytest.raises(ingest.ArtifactNotFound, match="nope"):
        face.download_artifacts(f"runs:/{run_id}/nope")


def test_artifacts_of_a_run_that_is_not_active_here(face, stub):
    with face.start_run() as run:
        pass
    assert face.active_run() is None
    face.log_text("late", "late.txt", run_id=run.info.run_id)
    assert face.active_run() is None
    wait_until(lambda: stub.artifacts.of(run.info.run_id) == {"late.txt": b"late"})
