from __future__ import annotations

from pathlib import Path

from ingest.bench.results import read_results, write_result


def test_a_result_is_read_back_with_the_name_of_its_file(tmp_path: Path) -> None:
    write_result(tmp_path / "deep" / "load.json", {"bench": "load", "figures": {"points_per_s": 1.5}})

    (result,) = read_results(tmp_path)

    assert (result["file"], result["bench"], result["figures"]) == (
        "deep/load.json",
        "load",
        {"points_per_s": 1.5},
    )
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["load.json"]
