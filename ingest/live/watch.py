"""One watcher of runs: what it knows, and what is still to be told. Pure.

News is told as states, not as a log: where a run and its metrics stand now. So what waits for a slow reader never grows beyond
one entry for each of its runs and metrics, and a reader that lost its connection misses nothing by coming back.

The cursor is six bytes for each run, a digest of the state that was told last: a run whose digest differs is news.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from ingest.charts.answers import number
from ingest.store.news import RunState, SeriesState

__all__ = ["Watch"]

_DIGEST_BYTES: Final = 6
"""A change is missed once in 2**48; the next batch shows it."""
_UNKNOWN: Final = bytes(_DIGEST_BYTES)


@dataclass(slots=True)
class Watch:
    """A watcher of these runs, and of these metrics of theirs."""

    run_ids: Sequence[UUID]
    keys: frozenset[str]
    told: dict[UUID, bytes] = field(default_factory=dict)
    told_series: dict[tuple[UUID, str], SeriesState] = field(default_factory=dict)
    runs: dict[UUID, RunState] = field(default_factory=dict)
    series: dict[tuple[UUID, str], SeriesState] = field(default_factory=dict)

    @classmethod
    def since(cls, run_ids: Sequence[UUID], keys: Iterable[str], cursor: str | None) -> Watch:
        """A watcher that was told what the cursor says; a cursor of other runs counts as none."""
        unique = tuple(dict.fromkeys(run_ids))
        return cls(unique, frozenset(keys), _decode(unique, cursor))

    @property
    def cursor(self) -> str:
        """What was told so far."""
        digests = b"".join(self.told.get(run_id, _UNKNOWN) for run_id in self.run_ids)
        return base64.urlsafe_b64encode(digests).decode()

    @property
    def has_news(self) -> bool:
        return bool(self.runs)

    def is_news(self, run: RunState) -> bool:
        """Whether the run stands elsewhere than the watcher was told."""
        return self.told.get(run.run_id) != _digest(run)

    def see(self, run: RunState, series: Iterable[SeriesState]) -> None:
        """Keep what is news to tell it when there is time; it replaces what waited before."""
        if run.run_id not in self.run_ids or not self.is_news(run):
            return
        self.runs[run.run_id] = run
        for one in series:
            place = one.run_id, one.key
            if one.key in self.keys and self.told_series.get(place) != one:
                self.series[place] = one

    def tell(self) -> dict[str, Any]:
        """What waits, as the stream's JSON; from now on it is told."""
        by_run: dict[UUID, dict[str, Any]] = {}
        for (run_id, key), one in self.series.items():
            by_run.setdefault(run_id, {})[key] = {
                "n": one.n,
                "step": one.last_step,
                "time_ms": one.last_time_ms,
                "value": number(one.last_value),
            }
        runs = [
            {
                "run_id": run.run_id.hex,
                "status": run.status,
                "end_time_ms": run.end_time_ms,
                "points": run.points,
                "heartbeat_ms": run.heartbeat_ms,
                "series": by_run.get(run.run_id, {}),
            }
            for run in self.runs.values()
        ]
        self.told |= {run.run_id: _digest(run) for run in self.runs.values()}
        self.told_series |= self.series
        self.runs, self.series = {}, {}
        return {"runs": runs}


def _digest(run: RunState) -> bytes:
    state = f"{run.run_id.hex} {run.version} {run.status} {run.end_time_ms}"
    return hashlib.blake2b(state.encode(), digest_size=_DIGEST_BYTES).digest()


def _decode(run_ids: Sequence[UUID], cursor: str | None) -> dict[UUID, bytes]:
    try:
        digests = base64.urlsafe_b64decode((cursor or "").encode("ascii"))
    except (binascii.Error, ValueError):
        return {}
    if len(digests) != _DIGEST_BYTES * len(run_ids):
        return {}
    return {run_id: digests[_DIGEST_BYTES * i : _DIGEST_BYTES * (i + 1)] for i, run_id in enumerate(run_ids)}
