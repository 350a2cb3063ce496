"""Retention rules: kept with their experiment, read and applied under the lock of compaction.

A run's age is the time since it was last heard of, by the service's clock. Runs that run, and runs with the rule's `keep_tag`, are
left alone. Deleting hides a run as a user's deletion does, and `ingest gc` deletes it for good; thinning is in `thinning`.

Errors: NotFound, and those of the driver. Units: days.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final
from uuid import UUID

from ingest.store.errors import NotFound
from ingest_schema.errors import SchemaError
from ingest_schema.sql import load_queries
from ingest_schema.values import check_key

__all__ = [
    "DueByRule",
    "Rule",
    "RuleInvalid",
    "delete_run",
    "due_to_delete",
    "due_to_thin",
    "find_experiment",
    "rules_of",
    "set_rule",
]

_SQL: Final = load_queries("retention")

DEFAULT_THIN_TO: Final = 1_000
DEFAULT_KEEP_TAG: Final = "ingest.keep"
MAX_DAYS: Final = 36_500
THIN_TO: Final = (10, 100_000)
PAGE: Final = 100


class RuleInvalid(ValueError):
    """A value that a rule can't have; the message names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What becomes of an experiment's runs; None: nothing.

    thin_to: buckets that a metric keeps; a bucket keeps at most eight points. keep_tag: runs with it are left alone.
    """

    delete_after_days: int | None = None
    thin_after_days: int | None = None
    thin_to: int = DEFAULT_THIN_TO
    keep_tag: str = DEFAULT_KEEP_TAG

    def __post_init__(self) -> None:
        _check_days("delete_after_days", self.delete_after_days)
        _check_days("thin_after_days", self.thin_after_days)
        if self.delete_after_days is None and self.thin_after_days is None:
            raise RuleInvalid("a rule needs delete_after_days or thin_after_days")
        if not _is_whole(self.thin_to) or not THIN_TO[0] <= self.thin_to <= THIN_TO[1]:
            raise RuleInvalid(
                f"thin_to must be an integer from {THIN_TO[0]} to {THIN_TO[1]}, not {self.thin_to!r}"
            )
        try:
            check_key(self.keep_tag, "tag")
        except SchemaError as error:
            raise RuleInvalid(f"keep_tag: {error}") from error

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> Rule:
        """From names and values, as JSON brings them.

        Raises:
            RuleInvalid: A name that is none, or a value that is none.
        """
        if unknown := sorted(fields.keys() - cls.__slots__):
            raise RuleInvalid(f"there is no {unknown[0][:40]!r}; there are {', '.join(cls.__slots__)}")
        return cls(**fields)

    def shown(self) -> dict[str, Any]:
        return asdict(self)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _check_days(name: str, value: object) -> None:
    if value is not None and (not _is_whole(value) or not 1 <= value <= MAX_DAYS):  # type: ignore[operator]  # it is an int
        raise RuleInvalid(f"{name} must be an integer from 1 to {MAX_DAYS:,} or null, not {value!r}")


@dataclass(frozen=True, slots=True)
class DueByRule:
    """A run that a rule is about to change. thin_to: of due_to_thin."""

    run_id: UUID
    experiment_id: int
    name: str
    thin_to: int = 0


async def find_experiment(connection: Any, name_or_id: str) -> int:
    """The id of the experiment called so, or with this id."""
    found: int | None = await connection.fetchval(_SQL["experiment_id"], name_or_id)
    if found is None:
        raise NotFound(f"there is no experiment {name_or_id[:200]!r}")
    return found


async def set_rule(connection: Any, experiment_id: int, rule: Rule | None) -> None:
    """Give an experiment that exists this rule; None: none any more."""
    if rule is None:
        await connection.execute(_SQL["drop_rule"], experiment_id)
    else:
        await connection.execute(
            _SQL["set_rule"],
            experiment_id,
            rule.delete_after_days,
            rule.thin_after_days,
            rule.thin_to,
            rule.keep_tag,
        )


async def rules_of(
    connection: Any, experiment_ids: Sequence[int] | None = None
) -> list[tuple[int, str, Rule]]:
    """Experiments that have a rule: id, name, rule. None: all of them."""
    rows = await connection.fetch(_SQL["rules"], experiment_ids)
    return [
        (
            row["experiment_id"],
            row["experiment"],
            Rule(**{name: row[name] for name in Rule.__slots__}),
        )
        for row in rows
    ]


async def due_to_delete(connection: Any, experiment_id: int | None) -> AsyncIterator[DueByRule]:
    """Runs that rules delete now; of one experiment or of all."""
    async for row in _pages(connection, "due_to_delete", experiment_id):
        yield DueByRule(**row)


async def due_to_thin(connection: Any, experiment_id: int | None) -> AsyncIterator[DueByRule]:
    """Runs that rules thin now, those included that they delete as well."""
    async for row in _pages(connection, "due_to_thin", experiment_id):
        yield DueByRule(**row)


async def delete_run(connection: Any, run_id: UUID) -> bool:
    """Hide a run that does not run. False: it does, or is deleted already."""
    async with connection.transaction():
        if await connection.fetchval(_SQL["delete_run"], run_id) is None:
            return False
        await connection.execute(_SQL["unseal"], run_id)
    return True


async def _pages(connection: Any, query: str, experiment_id: int | None) -> AsyncIterator[Any]:
    after = UUID(int=0)
    while rows := await connection.fetch(_SQL[query], after, experiment_id, PAGE):
        for row in rows:
            yield row
        after = rows[-1]["run_id"]
