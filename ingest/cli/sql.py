"""`ingest sql`."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from ingest.cli.common import EXIT_USAGE, AsJson, fail, print_json, print_table, warn
from ingest.cli.remote import Service, Url


def sql(
    statement: Annotated[
        str | None, typer.Argument(help="One SQL statement; - reads it from standard input.")
    ] = None,
    *,
    schema: Annotated[
        bool,
        typer.Option(
            "--schema", help="Print the views, with what their columns mean; with --json the tables, too."
        ),
    ] = False,
    url: Url = None,
    max_rows: Annotated[
        int | None, typer.Option(help="Most rows; the service has a limit too.", min=1)
    ] = None,
    timeout: Annotated[float, typer.Option(help="Seconds that the statement may take.", min=0.001)] = 30.0,
    as_json: AsJson = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV instead of a table.")] = False,
    parquet: Annotated[
        Path | None, typer.Option(help="Write a Parquet file (needs the extra `parquet`).")
    ] = None,
) -> None:
    """Ask the service in SQL. The tables and views are in the schema `ingest`; only reading is possible."""
    if as_json + as_csv + (parquet is not None) > 1:
        fail("give only one of --json, --csv and --parquet", code=EXIT_USAGE)
    if schema:
        _print_schema(Service(url).get("/api/v1/sql/schema")["relations"], as_json=as_json)
        return
    if statement is None:
        fail("give a statement, or --schema", code=EXIT_USAGE)
    text = sys.stdin.read() if statement == "-" else statement
    body = {"sql": text, "timeout": timeout, **({"max_rows": max_rows} if max_rows else {})}
    answer = Service(url).post("/api/v1/sql", body, timeout=timeout)
    names = [column["name"] for column in answer["columns"]]
    if as_json:
        sys.stdout.buffer.write(orjson.dumps(answer, option=orjson.OPT_APPEND_NEWLINE))
        sys.stdout.flush()
    elif as_csv:
        _print_csv(names, answer["rows"])
    elif parquet is not None:
        _write_parquet(answer, parquet)
    else:
        # Names may repeat in SQL; a table's columns are told apart by their places.
        shown = [{str(i): _as_text(value) for i, value in enumerate(row)} for row in answer["rows"]]
        print_table([str(i) for i in range(len(names))], shown, titles=names)
    if answer["truncated"]:
        warn(f"cut after {answer['row_count']:,} rows; narrow the statement or raise --max-rows")


def _print_schema(relations: list[dict[str, Any]], *, as_json: bool) -> None:
    """The views as a page; tables are no part of the contract (docs/sql.md)."""
    if as_json:
        print_json(relations)
        return
    for relation in relations:
        if relation["kind"] == "view":
            print(f"{relation['name']}  {relation['comment']}")
            for column in relation["columns"]:
                print(f"    {column['name']:<14} {column['type']:<25} {column['comment'] or ''}".rstrip())
            print()


def _as_text(value: Any) -> str | None:
    """Structured values as JSON, NULL as None."""
    if value is None or isinstance(value, str):
        return value
    return orjson.dumps(value).decode()


def _print_csv(names: list[str], rows: list[list[Any]]) -> None:
    """NULL is an empty field, as PostgreSQL's own CSV has it."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([_as_text(value) for value in row] for row in rows)


def _write_parquet(answer: dict[str, Any], path: Path) -> None:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        fail("Parquet needs pyarrow: pip install 'metric-ingest[parquet]'")
    types = {
        "bool": pa.bool_(), "int2": pa.int16(), "int4": pa.int32(), "int8": pa.int64(),
        "float4": pa.float32(), "float8": pa.float64(), "timestamptz": pa.timestamp("us", tz="UTC"),
    }  # fmt: skip
    arrays, names = [], []
    for i, column in enumerate(answer["columns"]):
        values = [row[i] for row in answer["rows"]]
        kind = types.get(column["type"], pa.string())
        arrays.append(pa.array([_parquet_value(value, column["type"]) for value in values], type=kind))
        # Parquet knows a column by its name only: a second `count` becomes `count_2`.
        names.append(column["name"] if column["name"] not in names else f"{column['name']}_{i + 1}")
    pq.write_table(pa.Table.from_arrays(arrays, names=names), path)
    print(f"{answer['row_count']:,} rows in {path}")


def _parquet_value(value: Any, kind: str) -> Any:
    if value is None:
        return None
    match kind:
        case "float4" | "float8":
            return float(value)  # "NaN", "Infinity" and "-Infinity" included
        case "timestamptz":
            import datetime as dt

            return dt.datetime.fromisoformat(value)
        case "bool" | "int2" | "int4" | "int8":
            return value
    return _as_text(value)
