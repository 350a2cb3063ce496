"""TensorBoard's event files, record by record. The framing is read here, what is in it by the package `tensorboard`.

Its own loader checks every record with a CRC written in Python: 20,000 records/s, a day for 10 GB. Here the CRC of each header is
checked, by a table, so that a torn or shifted record is found; the record itself has to be a whole protobuf message.

TFRecord: uint64 length, uint32 masked CRC-32C of it, the data, uint32 masked CRC of the data; all little-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from ingest.transfer.source_errors import BadSource

__all__ = ["Damaged", "events_of"]

_HEADER: Final = struct.Struct("<8sI")
_MASK: Final = 0xA282EAD8
_MOST_BYTES: Final = 1 << 30
"""Of one record; a longer one is damage that has a right checksum."""


def _table() -> list[int]:
    table = []
    for number in range(256):
        for _ in range(8):
            number = (number >> 1) ^ (0x82F63B78 if number & 1 else 0)  # noqa: PLW2901 - CRC-32C, reflected
        table.append(number)
    return table


_TABLE: Final = _table()


class Damaged(BadSource):
    """A record is not what its checksum says. What stands before it is good."""


def events_of(path: Path) -> Iterator[Any]:
    """The events of a file, `tensorboard.compat.proto.event_pb2.Event`. One that is cut off at the end is left for later.

    Raises:
        BadSource: The file can't be read, or there is no `tensorboard`.
        Damaged: Says at which byte.
    """
    try:
        from tensorboard.compat.proto import event_pb2
    except ImportError as error:
        raise BadSource("event files need tensorboard: pip install 'metric-ingest[importers]'") from error
    from google.protobuf.message import DecodeError

    parse = event_pb2.Event.FromString
    for place, record in _records(path):
        try:
            yield parse(record)
        except DecodeError as error:
            raise Damaged(f"{path} is damaged at byte {place:,}: the record is no event") from error


def _records(path: Path) -> Iterator[tuple[int, bytes]]:
    place = 0
    try:
        with path.open("rb", buffering=1 << 20) as file:
            while len(header := file.read(12)) == 12:
                raw, checksum = _HEADER.unpack(header)
                length = int.from_bytes(raw, "little")
                if _masked(raw) != checksum or length > _MOST_BYTES:
                    raise Damaged(f"{path} is damaged at byte {place:,}: the header's checksum is wrong")
                record = file.read(length + 4)
                if len(record) < length + 4:
                    return
                yield place, record[:length]
                place += 16 + length
    except OSError as error:
        raise BadSource(f"{path} can't be read: {error.strerror}") from error


def _masked(data: bytes) -> int:
    """TFRecord's masked CRC-32C."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return (((crc >> 15) | (crc << 17)) + _MASK) & 0xFFFFFFFF
