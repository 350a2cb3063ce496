"""What was logged against what is stored: every step, time and value, compared point by point through SQL.

Slower than the checksums of `template`, and complete: for the example and for tests, some hundred thousand points at most.
"""

from __future__ import annotations

import math
import struct
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from ingest.bench import BenchError
from ingest.bench.api import Api, sql_id

Point = tuple[str, int, int, float]
"""Key, step, time in ms, value."""

PAGE_ROWS: Final = 50_000
"""Under the service's default row cap (sql_max_rows)."""
LOGGED: Final = "key NOT LIKE 'system/%'"
"""SQL: of the points of a run, those that its script logged; the client adds what the machine does by itself."""
_PAGE_SQL: Final = f"""
SELECT key, step, time_ms, value FROM metrics WHERE run_id = {{run_id}} AND {LOGGED}
ORDER BY key, step, time_ms, value OFFSET {{offset}} LIMIT {{limit}}
"""  # noqa: S608  a constant of ours


@dataclass(frozen=True, slots=True)
class Difference:
    """How the stored points of a run differ from those logged."""

    logged: int
    stored: int
    missing: list[Point] = field(default_factory=list)
    """Logged and not stored, or stored less often than logged."""
    unexpected: list[Point] = field(default_factory=list)
    """Stored and never logged, or stored more often than logged."""

    @property
    def is_none(self) -> bool:
        return not self.missing and not self.unexpected

    def __str__(self) -> str:
        if self.is_none:
            return f"logged {self.logged:,} = stored {self.stored:,}; every step, timestamp and value is the same"
        return (
            f"logged {self.logged:,}, stored {self.stored:,}; {len(self.missing):,} missing, such as {self.missing[:3]}; "
            f"{len(self.unexpected):,} unexpected, such as {self.unexpected[:3]}"
        )


def compare(api: Api, run_id: UUID, logged: Iterable[Point]) -> Difference:
    """Compare the multisets of points, values by their bits: NaN is itself, and 0.0 is not -0.0."""
    wanted = Counter(_exact(point) for point in logged)
    found = Counter(_exact(point) for point in stored_points(api, run_id))
    return Difference(
        logged=wanted.total(),
        stored=found.total(),
        missing=[_point(exact) for exact in (wanted - found).elements()],
        unexpected=[_point(exact) for exact in (found - wanted).elements()],
    )


def check(api: Api, run_id: UUID, logged: Iterable[Point]) -> Difference:
    """Compare, and raise when anything differs.

    Raises:
        BenchError: It does; the message says how.
    """
    difference = compare(api, run_id, logged)
    if not difference.is_none:
        raise BenchError(f"run {run_id.hex}: {difference}")
    return difference


def stored_points(api: Api, run_id: UUID) -> list[Point]:
    """Every point that the run's script logged, asked for by SQL in pages."""
    points: list[Point] = []
    while True:
        statement = _PAGE_SQL.format(run_id=sql_id(run_id), offset=len(points), limit=PAGE_ROWS)
        rows = api.sql(statement).rows
        points += [(key, step, time_ms, float(value)) for key, step, time_ms, value in rows]
        if len(rows) < PAGE_ROWS:
            return points


def check_counters(stats: Mapping[str, Any], points: int, what: str) -> None:
    """Hold a client's counters (`asdict(run.stats())`) to their law, and to what the caller knows that it logged.

    Raises:
        BenchError: accepted is not the points logged, not the sum of its parts, or something was dropped or rejected.
    """
    parts = sum(stats[f"{name}_num"] for name in ("acknowledged", "spooled", "rejected", "dropped"))
    if stats["accepted_num"] != points or parts != points or stats["dropped_num"] or stats["rejected_num"]:
        raise BenchError(f"{what}: {points} points were logged, and the client says {dict(stats)}")


_Exact = tuple[str, int, int, bytes]


def _exact(point: Point) -> _Exact:
    key, step, time_ms, value = point
    # JSON has one NaN; its bits are proven where bits are read (the property tests of the read path).
    return key, step, time_ms, b"NaN" if math.isnan(value) else struct.pack("<d", value)


def _point(exact: _Exact) -> Point:
    key, step, time_ms, bits = exact
    return key, step, time_ms, math.nan if bits == b"NaN" else struct.unpack("<d", bits)[0]
