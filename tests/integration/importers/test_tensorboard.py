"""`ingest import tensorboard`, of files that PyTorch's SummaryWriter wrote."""

from __future__ import annotations

import math
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import asyncpg
import numpy as np
import pytest

from tests.conftest import run_apart
from tests.integration.importers.conftest import Import

pytest.importorskip("tensorboard")
torch = pytest.importorskip("torch")
SummaryWriter = pytest.importorskip("torch.utils.tensorboard").SummaryWriter


def query(url: str, statement: str, *arguments: Any) -> list[tuple[Any, ...]]:
    async def ask() -> list[tuple[Any, ...]]:
        connection = await asyncpg.connect(url, server_settings={"search_path": "ingest"})
        try:
            return [tuple(row) for row in await connection.fetch(statement, *arguments)]
        finally:
            await connection.close()

    return run_apart(ask)


POINTS = "SELECT key, step, time_ms, value FROM metrics JOIN runs USING (run_id) WHERE name = $1 ORDER BY key, step, time_ms"


def float32(value: float) -> float:
    """What TensorBoard keeps of a number."""
    return float(struct.unpack("<f", struct.pack("<f", value))[0])


def test_scalars_hparams_and_texts_come_over(run_import: Import, database_url: str, tmp_path: Path) -> None:
    with SummaryWriter(tmp_path / "logs" / "a") as writer:
        for step in (0, 5, 5, -3, 2**40):
            writer.add_scalar("train/loss", 0.1 * step, step, walltime=1_700_000_000.1234 + step % 7)
        writer.add_scalar("nan", math.nan, 1, walltime=1.5)
        writer.add_scalar("new", 0.5, 1, walltime=1.5, new_style=True)
        writer.add_scalar("double", 1e-50, 1, walltime=1.5, new_style=True, double_precision=True)
        writer.add_text("note", "first", 1)
        writer.add_text("note", "last\n# é", 2)
        writer.add_hparams({"lr": 0.1, "opt": "sgd", "n": 3, "amp": True}, {"hp/acc": 0.5}, run_name="trial")

    report = run_import("tensorboard", str(tmp_path / "logs"), "--experiment", "boards")

    assert (report["runs"], report["points"], report["same"]) == (2, 9, 0)
    assert report["skipped"] == {}
    rows = query(database_url, POINTS, "a")
    expected = sorted(
        ("train/loss", step, round((1_700_000_000.1234 + step % 7) * 1000), float32(0.1 * step))
        for step in (0, 5, 5, -3, 2**40)
    )
    assert [row for row in rows if row[0] == "train/loss"] == expected
    assert [row for row in rows if row[0] in {"new", "double"}] == [
        ("double", 1, 1500, 1e-50),
        ("new", 1, 1500, 0.5),
    ]
    assert [str(row[3]) for row in rows if row[0] == "nan"] == ["nan"]
    assert dict(query(database_url, "SELECT key, value FROM params")) == {
        "lr": "0.1",
        "opt": "sgd",
        "n": "3",
        "amp": "1",  # as PyTorch writes a bool
    }
    assert query(database_url, "SELECT key, value FROM tags") == [("note", "last\n# é")]
    texts = {path.name: path.read_text() for path in (tmp_path / "data").rglob("artifacts/texts/note/*.md")}
    assert texts == {"1.md": "first", "2.md": "last\n# é"}
    assert query(database_url, "SELECT name, status FROM runs ORDER BY name") == [
        ("a", "FINISHED"),
        ("a/trial", "FINISHED"),
    ]


def test_histograms_come_over_as_the_quantiles_that_our_writer_logs(
    run_import: Import, database_url: str, tmp_path: Path
) -> None:
    """As if `ingest.SummaryWriter` had stood in the place of PyTorch's, but for what buckets leave out."""
    from tensorboard.plugins.histogram.summary_v2 import histogram_pb

    values = np.random.default_rng(7).normal(3.0, 2.0, 5_000)
    with SummaryWriter(tmp_path / "logs") as writer:
        writer.add_histogram("w", values, 4, bins=500, walltime=1.5)
        writer.add_histogram("w", np.full(9, -2.5), 5, walltime=2.5)
        writer.add_histogram_raw("raw", 0.0, 10.0, 10, 50.0, 333.0, [5.0, 10.0], [5, 5], 1, walltime=1.5)
        writer._get_file_writer().add_summary(histogram_pb("tf2", values, buckets=500), 6)

    report = run_import("tensorboard", str(tmp_path / "logs"))
    again = run_import("tensorboard", str(tmp_path / "logs"))

    assert (report["points"], report["skipped"], again["points"], again["same"]) == (9 + 9 + 9 + 7, {}, 0, 1)
    rows = query(database_url, POINTS, "logs")
    found = {(key, step): value for key, step, _, value in rows}
    names = {"p05": 0.05, "p25": 0.25, "p50": 0.5, "p75": 0.75, "p95": 0.95}
    width = (values.max() - values.min()) / 500
    for name, share in names.items():
        for tag, step in (("w", 4), ("tf2", 6)):
            assert found[f"{tag}/{name}", step] == pytest.approx(np.quantile(values, share), abs=1.5 * width)
    for tag, step in (("w", 4), ("tf2", 6)):
        assert (found[f"{tag}/min", step], found[f"{tag}/max", step]) == (values.min(), values.max())
    assert found["w/mean", 4] == pytest.approx(values.mean(), rel=1e-12)
    assert found["w/std", 4] == pytest.approx(values.std(), rel=1e-9)
    assert {found[f"w/{name}", 5] for name in (*names, "min", "max", "mean")} == {-2.5}
    assert ("tf2/mean", 6) not in found
    assert {time_ms for key, step, time_ms, _ in rows if (key.split("/")[0], step) == ("w", 4)} == {1500}
    raw = {key.removeprefix("raw/"): value for (key, _), value in found.items() if key.startswith("raw/")}
    assert raw == {
        "min": 0.0, "p05": 0.5, "p25": 2.5, "p50": 5.0, "p75": 7.5, "p95": 9.5, "max": 10.0, "mean": 5.0,
        "std": pytest.approx(math.sqrt(8.3)),
    }  # fmt: skip


def test_sounds_come_over_as_files(run_import: Import, tmp_path: Path) -> None:
    import wave

    with SummaryWriter(tmp_path / "logs") as writer:
        writer.add_audio("said", torch.linspace(-1, 1, 800).reshape(1, -1), 3, sample_rate=8_000)

    assert run_import("tensorboard", str(tmp_path / "logs"))["artifacts"] == 1
    (path,) = (tmp_path / "data").rglob("artifacts/audio/said/3.wav")
    with wave.open(str(path)) as sound:
        assert (sound.getframerate(), sound.getnframes()) == (8_000, 800)


def test_images_come_over_as_files(run_import: Import, tmp_path: Path) -> None:
    from PIL import Image
    from tensorboard.compat.proto.summary_pb2 import Summary

    picture = np.arange(3 * 8 * 6, dtype=np.uint8).reshape(3, 8, 6)
    with SummaryWriter(tmp_path / "logs") as writer:
        writer.add_image("seen/in", picture, 7)
        writer.add_image("../out", picture, 7)
        writer.add_scalar("loss", 0.5, 7)
        png = b"\x89PNG\r\n\x1a\n and so on"  # as TensorFlow 2 keeps images: width, height, pictures
        new = Summary()
        value = new.value.add(tag="batch")
        value.metadata.plugin_data.plugin_name = "images"
        value.tensor.string_val.extend([b"6", b"8", png, png + b"2", b"BM a bitmap"])
        value.tensor.dtype = 7
        writer._get_file_writer().add_summary(new, 3)
    arguments = (
        "tensorboard",
        str(tmp_path / "logs"),
        "--experiment",
        "e",
        "--artifact-root",
        str(tmp_path / "root"),
    )

    report = run_import(*arguments)

    assert (report["artifacts"], report["points"]) == (3, 1)
    assert report["skipped"] == {"images": 1, "images of an unknown kind": 1}
    assert any("../out" in note for note in report["notes"])
    files = {
        path.as_posix().partition("artifacts/")[2]: path
        for path in (tmp_path / "root").rglob("*")
        if path.is_file()
    }
    assert sorted(files) == ["images/batch/3-0.png", "images/batch/3-1.png", "images/seen/in/7.png"]
    assert files["images/batch/3-1.png"].read_bytes() == png + b"2"
    with Image.open(files["images/seen/in/7.png"]) as image:
        assert (np.asarray(image) == picture.transpose(1, 2, 0)).all()
    again = run_import(*arguments)
    assert (again["artifacts"], again["points"], again["same"]) == (0, 0, 1)
    assert run_import(*arguments[:2], "--experiment", "other", "--no-artifacts")["skipped"]["images"] == 4


def test_again_doubles_nothing_and_growth_is_added(
    run_import: Import, database_url: str, tmp_path: Path
) -> None:
    writer = SummaryWriter(tmp_path / "logs", max_queue=1)
    for step in range(1_000):
        writer.add_scalar("loss", step, step)
    writer.flush()
    first = run_import("tensorboard", str(tmp_path / "logs"))
    again = run_import("tensorboard", str(tmp_path / "logs"))
    for step in range(1_000, 1_500):
        writer.add_scalar("loss", step, step)
    writer.close()
    with SummaryWriter(tmp_path / "logs", filename_suffix=".resumed") as resumed:
        resumed.add_scalar("loss", 1_500, 1_500)
    grown = run_import("tensorboard", str(tmp_path / "logs"))

    assert [(r["runs"], r["points"], r["same"]) for r in (first, again, grown)] == [
        (1, 1_000, 0),
        (0, 0, 1),
        (1, 501, 0),
    ]
    assert query(database_url, "SELECT count(*), count(DISTINCT step), max(value) FROM metrics") == [
        (1_501, 1_501, 1_500.0)
    ]
    assert query(database_url, "SELECT experiment, name FROM runs_wide") == [("logs", "logs")]


def test_a_torn_file_gives_what_stands_before_the_tear(
    run_import: Import, database_url: str, tmp_path: Path
) -> None:
    for name in ("cut", "hurt"):
        with SummaryWriter(tmp_path / "logs" / name) as writer:
            for step in range(100):
                writer.add_scalar("loss", step, step)
        (file,) = (tmp_path / "logs" / name).iterdir()
        data = bytearray(file.read_bytes())
        if name == "cut":
            data = data[:-7]
        else:
            data[len(data) // 2 :] = bytes(len(data) // 2)
        file.write_bytes(data)

    report = run_import("tensorboard", str(tmp_path / "logs"))

    assert len(query(database_url, POINTS, "cut")) == 99
    hurt = query(database_url, POINTS, "hurt")
    assert [row[1] for row in hurt] == list(range(len(hurt)))
    assert 40 < len(hurt) < 60
    assert report["skipped"] == {"damaged files": 1}
    assert "damaged at byte" in report["notes"][0]


def test_no_event_files_is_an_error(run_import: Import, tmp_path: Path) -> None:
    assert "no event files" in run_import("tensorboard", str(tmp_path), fails=True)["error"]


STREAM = """
import sys
from pathlib import Path
from ingest.transfer.tfevents import events_of
print(sum(len(event.summary.value) for event in events_of(Path(sys.argv[1]))))
import resource
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def test_a_large_file_is_read_in_little_memory(tmp_path: Path) -> None:
    """Event files are streamed: ten times the file is the same memory."""
    with SummaryWriter(tmp_path / "log") as writer:
        for step in range(2_000):
            writer.add_scalar("loss", step, step)
    (file,) = (tmp_path / "log").iterdir()
    one = file.read_bytes()
    used = {}
    for times in (1, 500):
        with (tmp_path / "big").open("wb") as big:
            for _ in range(times):
                big.write(one)
        done = subprocess.run(
            [sys.executable, "-c", STREAM, str(tmp_path / "big")], capture_output=True, text=True, check=True
        )
        events_num, used[times] = map(int, done.stdout.split())
        assert events_num == 2_000 * times
    assert used[500] < used[1] + 20  # MB; the larger file has 45 MB
