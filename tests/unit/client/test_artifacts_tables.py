"""Tables: rows are added, columns are matched by name."""

from __future__ import annotations

import numpy as np
import pytest

from ingest_client._artifacts_tables import append, as_table, parse, table_bytes


def test_a_dict_of_columns_or_of_values():
    assert as_table({"a": [1, 2], "b": np.array([0.5, 1.5])}) == {
        "columns": ["a", "b"],
        "data": [[1, 0.5], [2, 1.5]],
    }
    assert as_table({"a": 1, "b": "text"}) == {"columns": ["a", "b"], "data": [[1, "text"]]}


def test_columns_are_matched_by_name():
    table = append(as_table({"a": [1], "b": [2]}), as_table({"b": [3], "c": [4]}))
    assert table == {"columns": ["a", "b", "c"], "data": [[1, 2, None], [None, 3, 4]]}
    assert append(None, table) == table
    assert parse(table_bytes(table)) == table


@pytest.mark.parametrize("body", [b"[]", b"{}", b"no json", b'{"columns": ["a"], "data": [[1, 2]]}'])
def test_what_is_no_table_is_refused(body):
    with pytest.raises(ValueError):
        parse(body)


def test_what_can_be_no_table_is_refused():
    with pytest.raises(TypeError, match="list"):
        as_table([1, 2])
    with pytest.raises(ValueError, match="one length"):
        as_table({"a": [1], "b": [1, 2]})
