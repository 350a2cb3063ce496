"""What client and service agree on: the wire format, the rules of values and names, limits, ids, and the SQL.

Everything here is pure: no thread, no socket, no clock but `new_id`'s. It needs msgpack and the standard library.
`schema/wire.md` specifies the wire to the byte.
"""

from ingest_schema.errors import (
    BadKey,
    BadStep,
    BadText,
    BadTime,
    BadValue,
    BatchError,
    BatchMalformed,
    BatchTooLarge,
    SchemaError,
)
from ingest_schema.events import Event
from ingest_schema.ids import new_id, parse_id
from ingest_schema.values import as_step, as_time_ms, as_value, check_key, check_text
from ingest_schema.wire import Batch, decode_batch, encode_batch

__all__ = [
    "BadKey",
    "BadStep",
    "BadText",
    "BadTime",
    "BadValue",
    "Batch",
    "BatchError",
    "BatchMalformed",
    "BatchTooLarge",
    "Event",
    "SchemaError",
    "as_step",
    "as_time_ms",
    "as_value",
    "check_key",
    "check_text",
    "decode_batch",
    "encode_batch",
    "new_id",
    "parse_id",
]
