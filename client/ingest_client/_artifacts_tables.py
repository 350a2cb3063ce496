"""Tables: rows that calls add to one JSON file, in the form of pandas' `orient="split"`, which MLflow uses as well.

A call stores its rows only. Before they are sent, the uploader reads the table that is there, adds them and writes the whole
into the spool in place of the rows; from then on it is an artifact like any other and may be sent any number of times. So rows
are added once, whatever dies in between. What two processes add to one table of one run at the same moment may overwrite
each other, as in MLflow: give each its own file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from ingest_client._artifacts_paths import quoted
from ingest_client._artifacts_spool import ArtifactSpool, Entry
from ingest_client._artifacts_upload import Send, refusal_of
from ingest_client._protocol import Refused, Retry

__all__ = ["Table", "append", "as_table", "merge", "parse", "table_bytes"]

Table = dict[str, Any]
"""`{"columns": [names], "data": [rows]}`."""


def as_table(data: Any) -> Table:
    """Rows from a dict of columns, or of single values for one row, or from a DataFrame.

    Raises:
        TypeError: It is neither.
        ValueError: The columns differ in length.
    """
    if hasattr(data, "to_dict") and hasattr(data, "columns"):
        table: Table = json.loads(data.to_json(orient="split", index=False, date_format="iso"))
        return {"columns": [str(name) for name in table["columns"]], "data": table["data"]}
    if not isinstance(data, Mapping):
        raise TypeError(f"a table is a dict of columns or a DataFrame, not {type(data).__name__}")
    columns = {str(name): _column(values) for name, values in data.items()}
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"the columns of a table have one length, not {lengths}")
    return {"columns": list(columns), "data": [list(row) for row in zip(*columns.values(), strict=True)]}


def _column(values: Any) -> list[Any]:
    if hasattr(values, "tolist"):  # numpy, pandas, torch
        values = values.tolist()
    if isinstance(values, Sequence) and not isinstance(values, str | bytes):
        return [value.item() if hasattr(value, "item") else value for value in values]
    return [values]


def append(table: Table | None, rows: Table) -> Table:
    """Both together. A column that one of them lacks is null there."""
    if table is None:
        return rows
    columns = [*table["columns"], *(name for name in rows["columns"] if name not in table["columns"])]
    data: list[list[Any]] = []
    for part in (table, rows):
        places = {name: index for index, name in enumerate(part["columns"])}
        order = [places.get(name) for name in columns]
        data += [[None if at is None else row[at] for at in order] for row in part["data"]]
    return {"columns": columns, "data": data}


def merge(spool: ArtifactSpool, entry: Entry, run_id: UUID, send: Send) -> Refused | Retry | None:
    """Put the whole table in the place of the rows; None if that is done.

    Raises:
        OSError: The network, or the disk.
    """
    response = send("GET", f"/api/v1/runs/{run_id.hex}/artifacts/{quoted(entry.path)}", None, {})
    status, _, body = response
    if status not in {200, 404}:
        return refusal_of(response)
    try:
        there = parse(body) if status == 200 else None
    except ValueError as error:
        return Refused("no_table", f"what is there is no table to add rows to: {error}")
    rows = parse(spool.content(entry).read_bytes())
    spool.rewrite(entry, table_bytes(append(there, rows)))
    return None


def table_bytes(table: Table) -> bytes:
    """A table as its file.

    Raises:
        TypeError: A value in it has no form in JSON.
    """
    return json.dumps(table, ensure_ascii=False).encode("utf-8", "surrogatepass")


def parse(body: bytes) -> Table:
    """A table out of its file.

    Raises:
        ValueError: It is none.
    """
    document = json.loads(body)
    columns, data = (
        (document.get("columns"), document.get("data")) if isinstance(document, dict) else (None, None)
    )
    if not isinstance(columns, list) or not isinstance(data, list):
        raise ValueError("it has no columns and data")  # noqa: TRY004 - the content is wrong, not a type of ours
    if not all(isinstance(row, list) and len(row) == len(columns) for row in data):
        raise ValueError("a row has another length than the columns")
    return {"columns": columns, "data": data}
