from __future__ import annotations

from pathlib import Path

import pytest

from ingest.bench import BenchError
from ingest.bench.workload import Workload, load_workload

WORKLOADS = sorted((Path(__file__).parents[3] / "bench" / "workloads").glob("*.toml"))


@pytest.mark.parametrize("path", WORKLOADS, ids=lambda path: path.stem)
def test_every_workload_in_the_repository_can_be_run_and_says_what_it_is(path: Path) -> None:
    workload = load_workload(path)

    assert workload.name == path.stem
    assert len(workload.about) > 20


def test_a_misspelt_value_is_named(tmp_path: Path) -> None:
    path = tmp_path / "w.toml"
    path.write_text("writer = 3\n")

    with pytest.raises(BenchError, match=r"unknown writer; known are .*writers"):
        load_workload(path)


def test_a_batch_over_the_protocols_limit_is_refused_before_it_is_sent() -> None:
    with pytest.raises(BenchError, match="over the limit of 100000 metrics and 500000 points"):
        Workload(name="w", metrics=1000, chunk_points=1000)


def test_flags_replace_only_what_was_given() -> None:
    assert Workload(name="w", writers=3).but(writers=None, metrics=7) == Workload(
        name="w", writers=3, metrics=7
    )
