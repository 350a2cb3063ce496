"""SummaryWriter: a script for TensorBoard, with one import changed."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

import ingest


def test_a_script_for_tensorboard_runs_unchanged(logged):
    torch = pytest.importorskip("torch")
    plt = pytest.importorskip("matplotlib.pyplot")
    plt.switch_backend("agg")
    with ingest.SummaryWriter(log_dir="runs/first", comment="-a") as writer:
        writer.add_scalar("loss", torch.tensor(0.5), 3, walltime=1_700_000_000.25)
        writer.add_scalar("loss", 0.25, global_step=4, new_style=True)
        writer.add_scalars("acc", {"train": 0.5, "val": 0.25}, 1)
        writer.add_histogram("weights", torch.arange(101.0), 2, bins="auto")
        writer.add_image("digit", torch.rand(1, 8, 8), 1)
        writer.add_images("digits", np.zeros((5, 3, 4, 4), np.uint8), 1)
        writer.add_figure("plot", plt.figure(), 7)
        writer.add_text("note", "**bold**", 5)
        writer.add_audio("tone", torch.zeros(1, 100), 0, sample_rate=8000)
        writer.add_hparams({"lr": 0.1, "opt": "sgd"}, {"hparam/acc": 0.5})
        writer.add_graph(object(), object())
        writer.flush()
        assert writer.get_logdir() == "runs/first"
    (run,) = logged()
    assert (run.name, run.status, run.params) == ("runs/first-a", "FINISHED", {"lr": "0.1", "opt": "sgd"})
    assert run.points["loss"] == [(3, 0.5), (4, 0.25)]
    assert (run.points["acc/train"], run.points["acc/val"]) == ([(1, 0.5)], [(1, 0.25)])
    assert {k: v for k, v in run.points.items() if k.startswith("weights/")} == {
        "weights/min": [(2, 0.0)], "weights/p05": [(2, 5.0)], "weights/p25": [(2, 25.0)], "weights/p50": [(2, 50.0)],
        "weights/p75": [(2, 75.0)], "weights/p95": [(2, 95.0)], "weights/max": [(2, 100.0)],
        "weights/mean": [(2, 50.0)], "weights/std": [(2, pytest.approx(np.arange(101).std()))],
    }  # fmt: skip
    assert run.points["hparam/acc"] == [(0, 0.5)]
    directories = [name.rpartition("/")[0] for name in run.artifacts]
    assert sorted(directories) == ["audio/tone", "images/digit", "images/digits", "images/plot", "texts/note"]


def test_walltime_is_the_time_of_the_point(logged):
    with ingest.start_run() as run:
        ingest.SummaryWriter().add_scalar("loss", 1.0, 1, walltime=1_700_000_000.25)
    logged()
    assert run.stats().acknowledged_num == 1


def test_the_active_run_is_used_and_stays(logged):
    with ingest.start_run(run_name="mine") as run:
        writer = ingest.SummaryWriter("ignored")
        writer.add_scalar("a", 1)
        writer.close()
        assert run.is_active
    assert [one.name for one in logged()] == ["mine"]


def test_values_that_are_not_finite_are_counted_not_mixed_in(logged):
    with ingest.start_run():
        writer = ingest.SummaryWriter()
        writer.add_histogram("w", np.array([1.0, 3.0, np.nan, np.inf]), 1)
        writer.add_histogram("empty", np.array([]), 1)
    (run,) = logged()
    assert (run.points["w/mean"], run.points["w/nonfinite"]) == ([(1, 2.0)], [(1, 2.0)])
    assert not any(key.startswith("empty") for key in run.points)


def test_a_histogram_of_buckets_has_the_quantiles_of_its_lines(logged):
    with ingest.start_run():
        ingest.SummaryWriter().add_histogram_raw("h", 0.0, 10.0, 10, 50.0, 333.0, [5.0, 10.0], [5, 5], 1)
    (run,) = logged()
    assert [run.points[f"h/{name}"][0][1] for name in ("min", "p25", "p50", "max", "mean")] == [
        0,
        2.5,
        5,
        10,
        5,
    ]


@pytest.mark.parametrize(
    ("shape", "order"), [((3, 4), "CHW"), ((3, 4, 5), "HW"), ((3, 4, 5), "NHW"), ((2, 2, 2), "HHW")]
)
def test_axes_that_do_not_fit_are_refused(logged, shape, order):
    with ingest.start_run(), pytest.raises(ValueError, match="order"):
        ingest.SummaryWriter().add_image("x", np.zeros(shape), dataformats=order)


def test_what_tensorboard_never_had_is_an_error(logged):
    with ingest.start_run(), pytest.raises(AttributeError):
        ingest.SummaryWriter().add_nonsense()


def test_it_has_the_whole_face_of_tensorboards(logged):
    """Each method with the same arguments in the same order; what has no counterpart takes anything and does nothing."""
    theirs = pytest.importorskip("torch.utils.tensorboard").SummaryWriter
    with ingest.start_run():
        writer = ingest.SummaryWriter()
        names = [
            name for name, _ in inspect.getmembers(theirs, inspect.isfunction) if not name.startswith("_")
        ]
        assert len(names) > 20
        for name in names:
            ours = inspect.signature(getattr(writer, name))
            if list(ours.parameters) == ["args", "kwargs"]:
                getattr(writer, name)("tag", object(), global_step=1)
                continue
            wanted = list(inspect.signature(getattr(theirs, name)).parameters)[1:]
            assert list(ours.parameters) == wanted, name
    (run,) = logged()
    assert (run.points, run.params, run.artifacts) == ({}, {}, [])
