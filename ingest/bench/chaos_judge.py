"""The verdict of a chaos run: each writer's ledger against what the database holds, point by point.

Lost: the call had returned, and the point is not there. Doubled: it is there more than once. Wrong: it is there with
another time or value, or nobody ever logged it. Calls in doubt, interrupted by the kill, may be there or not.

Everything is asked through the service's SQL, in ranges of steps, since an answer's rows are capped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from ingest.bench.api import Api, sql_id
from ingest.bench.chaos_ledger import Ledger
from ingest.bench.chaos_writer import METRICS, WriterOrders, expected_time_ms, expected_value, metric_key
from ingest_schema.ids import parse_id

PAGE_STEPS: Final = 20_000
_POINTS_SQL: Final = """
SELECT step, time_ms, value FROM metrics
WHERE run_id = {run_id} AND key = '{key}' AND step >= {begin} AND step < {end}
"""
_COUNT_SQL: Final = "SELECT count(*) FROM metrics WHERE run_id = {run_id}"
_SERIES_SQL: Final = "SELECT key, points FROM latest_metrics WHERE run_id = {run_id}"


@dataclass(slots=True)
class Account:
    """One writer: its ledger, and what was found of it."""

    slot: int
    run_id: str
    lives: int
    returned_calls: int
    """Calls that had returned, those in doubt not counted."""
    doubtful_calls: int
    expected: int = 0
    """Points of calls that had returned."""
    stored: int = 0
    doubtful_stored: int = 0
    lost: int = 0
    doubled: int = 0
    wrong: int = 0
    examples: list[str] = field(default_factory=list)
    """A few of what is lost, doubled or wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a chaos run showed."""

    accounts: list[Account]
    kills: dict[str, int]
    network: dict[str, int]
    """What the proxy did, by action."""
    alien: int
    """Points in the writers' runs that no ledger knows."""
    series_wrong: list[str]
    """Metrics whose summary row counts other than the points stored."""
    elapsed: float

    @property
    def is_exactly_once(self) -> bool:
        accounts = self.accounts
        return not (
            self.alien or self.series_wrong or any(one.lost or one.doubled or one.wrong for one in accounts)
        )

    def total(self, name: str) -> int:
        """One column of the ledger, summed over the writers."""
        return sum(int(getattr(account, name)) for account in self.accounts)

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "is_exactly_once": self.is_exactly_once}

    def __str__(self) -> str:
        names = (
            "lives",
            "returned_calls",
            "doubtful_calls",
            "expected",
            "stored",
            "lost",
            "doubled",
            "wrong",
        )
        lines = [" writer  " + " ".join(f"{name.replace('_calls', ''):>9}" for name in names)]
        for account in self.accounts:
            lines.append(f"{account.slot:7}  " + " ".join(f"{getattr(account, name):9,}" for name in names))
            lines += (f"         {example}" for example in account.examples)
        lines.append("  total  " + " ".join(f"{self.total(name):9,}" for name in names))
        lines.append(f"killed: {_listed(self.kills)}; network: {_listed(self.network)}; {self.elapsed:.0f} s")
        if self.alien or self.series_wrong:
            lines.append(f"points that nobody logged: {self.alien}; wrong summaries: {self.series_wrong[:5]}")
        lines.append("exactly once" if self.is_exactly_once else "NOT exactly once")
        return "\n".join(lines)


def judge(
    url: str,
    writers: Sequence[tuple[WriterOrders, Sequence[int], int]],
    *,
    kills: dict[str, int],
    network: dict[str, int],
    elapsed: float,
) -> Verdict:
    """Compare every ledger with the database.

    Args:
        writers: For each the orders, the steps in doubt, and how many processes it took.
    """
    series: Counter[str] = Counter()
    with Api(url) as api:
        accounts = [_account(api, orders, doubtful, lives, series) for orders, doubtful, lives in writers]
        alien = 0
        series_wrong: list[str] = []
        for run_id in sorted({parse_id(orders.run_id) for orders, _, _ in writers}):
            known = sum(one.stored + one.doubtful_stored for one in accounts if one.run_id == run_id.hex)
            alien += abs(int(api.sql(_COUNT_SQL.format(run_id=sql_id(run_id))).scalar) - known)
            for key, points in api.sql(_SERIES_SQL.format(run_id=sql_id(run_id))).rows:
                if int(points) != series[f"{run_id.hex} {key}"]:
                    series_wrong.append(
                        f"{key}: series says {points}, stored are {series[f'{run_id.hex} {key}']}"
                    )
    return Verdict(
        accounts=accounts,
        kills=kills,
        network=network,
        alien=alien,
        series_wrong=series_wrong,
        elapsed=elapsed,
    )


def _account(
    api: Api, orders: WriterOrders, doubtful: Sequence[int], lives: int, series: Counter[str]
) -> Account:
    with Ledger(Path(orders.ledger)) as ledger:
        calls = ledger.begun
    account = Account(orders.slot, orders.run_id, lives, calls - len(doubtful), len(doubtful))
    account.expected = account.returned_calls * len(METRICS)
    in_doubt = frozenset(doubtful)
    for metric in METRICS:
        found = _stored_steps(api, account, metric, calls)
        series[f"{orders.run_id} {metric_key(orders.slot, metric)}"] = found.total()
        for step in range(calls):
            times = found[step]
            if step in in_doubt:
                account.doubtful_stored += times
            else:
                account.stored += times
                account.lost += times == 0
            account.doubled += times > 1
            if (times == 0 and step not in in_doubt) or times > 1:
                _example(account, f"{metric} step {step} is stored {times} times")
    return account


def _stored_steps(api: Api, account: Account, metric: str, calls: int) -> Counter[int]:
    """How often each step of one metric is stored; times and values that differ are counted as wrong."""
    found: Counter[int] = Counter()
    for begin in range(0, calls, PAGE_STEPS):
        statement = _POINTS_SQL.format(
            run_id=sql_id(parse_id(account.run_id)),
            key=metric_key(account.slot, metric),
            begin=begin,
            end=begin + PAGE_STEPS,
        )
        for step, time_ms, value in api.sql(statement).rows:
            found[step] += 1
            if time_ms != expected_time_ms(step) or value != expected_value(account.slot, metric, step):
                account.wrong += 1
                _example(account, f"{metric} step {step} is stored with time {time_ms} and value {value}")
    return found


def _example(account: Account, text: str) -> None:
    if len(account.examples) < 5:
        account.examples.append(text)


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "none"
