"""What SQL answers is what brute force over the same runs in memory answers, whatever was asked."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.search.nodes import And, Comparison, Field, IsNan, IsNull, Not, Or, OrderBy
from ingest.search.runs import RunSearch, list_runs
from ingest.store.sealing import Sealing, seal_some
from tests.integration.search import model
from tests.integration.search.conftest import Sync

AT_ONCE = Sealing(quiet=0, patience=0, min_runs=1)
METRICS = st.builds(
    Field,
    st.just("metric"),
    st.sampled_from(["m", "n.o/p", "none"]),
    st.sampled_from(
        ["last", "min", "max", "first", "count", "sum", "mean", "nonfinite", "argmin", "argmax", "last_step"]
    ),
)
KEYED = st.builds(Field, st.sampled_from(["param", "tag"]), st.sampled_from(["p", "q", "t", "a b", "none"]))
TEXT_ATTRIBUTES = st.builds(
    Field,
    st.just("attribute"),
    st.sampled_from(["run_name", "status", "user_id", "experiment", "lifecycle", "artifact_uri"]),
)
NUMBER_ATTRIBUTES = st.builds(
    Field, st.just("attribute"), st.sampled_from(["start_time", "end_time", "duration"])
)
NUMBERS = st.sampled_from([0.0, 1.0, 2, -1.5, 1e300, float("inf"), float("-inf"), 2**70, 3, 5])
TEXTS = st.sampled_from(
    [*model.TEXTS, "FINISHED", "LOST", "experiment 1", "%", "a%", "%b%", "_", "x" * 256, "\\", "a\\%"]
)
ORDERING = st.sampled_from(["=", "!=", "<", "<=", ">", ">="])
MATCHING = st.sampled_from(["=", "!=", "LIKE", "ILIKE", "NOT LIKE", "NOT ILIKE"])
LISTS = st.lists(TEXTS, min_size=1, max_size=3).map(tuple)

LEAVES: Any = st.one_of(
    st.builds(Comparison, METRICS | NUMBER_ATTRIBUTES, ORDERING, NUMBERS),
    st.builds(Comparison, KEYED, ORDERING, st.sampled_from([0.1, 7, 100, 1.0])),
    st.builds(Comparison, KEYED | TEXT_ATTRIBUTES, MATCHING, TEXTS),
    st.builds(Comparison, KEYED | TEXT_ATTRIBUTES, st.sampled_from(["IN", "NOT IN"]), LISTS),
    st.builds(
        Comparison, KEYED | TEXT_ATTRIBUTES, st.just("RLIKE"), st.sampled_from(["^a", "b", "x{3}", "[0-9]"])
    ),
    st.builds(IsNull, METRICS | KEYED | TEXT_ATTRIBUTES | NUMBER_ATTRIBUTES),
    st.builds(IsNan, METRICS),
)
CONDITIONS: Any = st.recursive(
    LEAVES,
    lambda parts: st.one_of(
        st.builds(Not, parts),
        st.builds(And, st.lists(parts, max_size=3).map(tuple)),
        st.builds(Or, st.lists(parts, min_size=1, max_size=3).map(tuple)),
    ),
    max_leaves=6,
)
FIELDS = METRICS | KEYED | TEXT_ATTRIBUTES | NUMBER_ATTRIBUTES | st.just(Field("attribute", "run_id"))
ORDERS: Any = st.lists(
    st.builds(OrderBy, FIELDS, st.booleans()), max_size=3, unique_by=lambda key: key.field
).map(tuple)
SEARCHES = st.builds(
    RunSearch,
    condition=CONDITIONS,
    order=ORDERS,
    experiment_ids=st.sampled_from([None, (1,), (1, 2), (3,), ()]),
    view=st.sampled_from(["ACTIVE_ONLY", "ACTIVE_ONLY", "DELETED_ONLY", "ALL"]),
)


async def all_pages(connection: Any, search: RunSearch, limit: int) -> list[UUID]:
    listing, token, found = list_runs(search), None, []
    while True:
        statement = listing.page(limit + 1, token)
        rows = await connection.fetch(statement.sql, *statement.values)
        found += [row["id"] for row in rows[:limit]]
        if len(rows) <= limit:
            return found
        token = listing.token_after(rows[limit - 1])


def seal(world: Sync, *, times: int) -> int:
    return sum(world.run(seal_some(world.connection, AT_ONCE)) for _ in range(times))


@pytest.mark.parametrize("sealed", [False, True])
def test_any_search_answers_what_brute_force_answers(world: Sync, sealed: bool) -> None:
    """The same with all runs open and with those at rest sealed, page by page, and counted."""
    if sealed:
        assert seal(world, times=2) > 20

    @settings(max_examples=150, suppress_health_check=list(HealthCheck))
    @given(search=SEARCHES, limit=st.integers(1, 70))
    def check(search: RunSearch, limit: int) -> None:
        expected = model.search(
            world.runs, search.condition, search.order, search.experiment_ids, search.view
        )
        assert world.run(all_pages(world.connection, search, limit)) == expected
        counted = list_runs(search).count()
        assert world.run(world.connection.fetchval(counted.sql, *counted.values)) == len(expected)

    check()
