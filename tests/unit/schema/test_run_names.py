"""Names of runs that were started without one."""

from __future__ import annotations

import re
from uuid import UUID

from ingest_schema.ids import new_id
from ingest_schema.run_names import run_name_of


def test_a_name_follows_from_the_id_and_tells_runs_apart() -> None:
    ids = [new_id() for _ in range(200)]
    names = [run_name_of(one) for one in ids]
    assert all(re.fullmatch(r"[a-z]+-[a-z]+-\d{1,3}", name) for name in names)
    assert names == [run_name_of(UUID(one.hex)) for one in ids]
    assert len(set(names)) > 190
    assert len({name.split("-")[0] for name in names}) > 30
