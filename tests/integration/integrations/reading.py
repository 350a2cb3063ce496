"""Runs as the service gives them back."""

from __future__ import annotations

import json
import urllib.request
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Logged:
    """A run: params and tags as texts, the points of each metric as (step, value)."""

    name: str
    status: str
    params: dict[str, str]
    tags: dict[str, str]
    points: dict[str, list[tuple[int, float]]]
    artifacts: list[str]


def read_runs(url: str) -> list[Logged]:
    """All runs, the oldest first."""
    runs = _get(f"{url}/api/v1/runs?limit=1000")["runs"]
    return [_read(url, run["run_id"]) for run in reversed(runs)]


def _read(url: str, run_id: str) -> Logged:
    run = _get(f"{url}/api/v1/runs/{run_id}")
    keys = [one["key"] for one in _get(f"{url}/api/v1/runs/{run_id}/series")["series"]]
    points = {}
    for key in keys:
        quoted = urllib.request.quote(key, safe="")  # type: ignore[attr-defined]  # it is there at run time
        page = _get(f"{url}/api/v1/runs/{run_id}/series/{quoted}/points")
        points[key] = list(zip(page["steps"], map(float, page["values"]), strict=True))
    return Logged(run["name"], run["status"], run["params"], run["tags"], points, _files(url, run_id, ""))


def _files(url: str, run_id: str, path: str) -> list[str]:
    found: list[str] = []
    for file in _get(f"{url}/api/v1/runs/{run_id}/artifacts?path={path}")["files"]:
        found += _files(url, run_id, file["path"]) if file["is_dir"] else [file["path"]]
    return found


def _get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return json.load(answer)
