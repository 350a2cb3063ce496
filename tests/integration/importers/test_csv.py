"""`ingest import csv`: files as Python's csv module and pandas write them."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from tests.integration.importers.conftest import Import
from tests.integration.importers.test_tensorboard import query

ALL = "SELECT name, key, step, time_ms, value::text FROM metrics JOIN runs USING (run_id) ORDER BY name, key, step, time_ms"


def test_the_wide_form_with_runs_params_and_gaps(
    run_import: Import, database_url: str, tmp_path: Path
) -> None:
    path = tmp_path / "sweep.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows(
            [
                ["run", "step", "time", "lr", "loss", "val,acc"],
                ["b", 1, "1700000000.25", "0.1", 0.5, ""],
                ["a", -7, "1700000000250", "0.2", "nan", "inf"],
                ["b", 1, "2023-11-14T22:13:21+00:00", "0.1", 1e-300, 0.1],
            ]
        )

    first = run_import("csv", str(path), "--param", "lr")
    again = run_import("csv", str(path), "--param", "lr")

    assert [(r["runs"], r["points"], r["same"]) for r in (first, again)] == [(2, 5, 0), (0, 0, 2)]
    assert query(database_url, ALL) == [
        ("a", "loss", -7, 1_700_000_000_250, "NaN"),
        ("a", "val,acc", -7, 1_700_000_000_250, "Infinity"),
        ("b", "loss", 1, 1_700_000_000_250, "0.5"),
        ("b", "loss", 1, 1_700_000_001_000, "1e-300"),
        ("b", "val,acc", 1, 1_700_000_001_000, "0.1"),
    ]
    assert sorted(query(database_url, "SELECT key, value FROM params")) == [("lr", "0.1"), ("lr", "0.2")]
    assert query(database_url, "SELECT DISTINCT experiment FROM runs_wide") == [("sweep",)]


def test_the_long_form_as_tensorboard_and_pandas_write_it(
    run_import: Import, database_url: str, tmp_path: Path
) -> None:
    pandas = pytest.importorskip("pandas")
    path = tmp_path / "points.csv"
    frame = pandas.DataFrame(
        {"Metric": ["x", "y", "x"], "Step": [2, 1, 3], "time_ms": [5, 6, 7], "Value": [0.1, None, -0.0]}
    )
    frame.to_csv(path, index=False)

    assert run_import("csv", str(path), "--experiment", "e")["points"] == 2
    frame.loc[3] = ["y", 9, 8, 4.0]
    frame.to_csv(path, index=False)
    assert run_import("csv", str(path), "--experiment", "e")["points"] == 1

    assert query(database_url, ALL) == [
        ("points", "x", 2, 5, "0.1"),
        ("points", "x", 3, 7, "-0"),
        ("points", "y", 9, 8, "4"),
    ]


def test_named_columns_and_counted_steps(run_import: Import, database_url: str, tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("who,epoch,loss,comment\nr,10,1.5,hello\nr,20,2.5,\n")

    run_import("csv", str(path), "--run-column", "who", "--metric", "loss")
    assert [row[:3] for row in query(database_url, ALL)] == [("r", "loss", 0), ("r", "loss", 1)]
    run_import(
        "csv", str(path), "--experiment", "2", "--step", "epoch", "--run-column", "who", "--metric", "loss"
    )
    assert [row[2] for row in query(database_url, ALL)] == [0, 1, 10, 20]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("step,loss\n1,abc\n", "line 2: 'abc' in column loss is no number"),
        ("step,loss\n1.5,1\n", "line 2: the step '1.5' is no 64-bit integer"),
        ("step,loss\n1,2,3\n", "line 2: 3 cells, where the first line has 2"),
        ("step,time,loss\n1,noon,3\n", "line 2: the time 'noon'"),
        ("step,loss,loss\n", "two columns of one name"),
        ("step,run\n", "no column of a metric"),
    ],
)
def test_bad_files_are_told_by_line(run_import: Import, tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(content)
    assert message in run_import("csv", str(path), fails=True)["error"]


def test_a_column_that_is_not_there(run_import: Import, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("step,loss\n1,2\n")
    assert "has no column 'epoch'" in run_import("csv", str(path), "--step", "epoch", fails=True)["error"]
