"""Undoes a body's Content-Encoding without ever holding more than the limit: a bomb is refused while it is small.

Pure. zstd and gzip, one frame each; anything after it is an error, so that nothing can hide there.
"""

from __future__ import annotations

import sys
import zlib
from typing import Final

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

from ingest_schema.errors import BatchMalformed, BatchTooLarge

__all__ = ["ENCODINGS", "UnsupportedEncoding", "decompress"]

ENCODINGS: Final = ("zstd", "gzip")
"""What Content-Encoding may say, beside nothing and `identity`."""

_WINDOW_LOG_MAX: Final = 24
"""16 MiB, the largest batch: a frame that asks for a larger window is refused before the window is allocated."""


class UnsupportedEncoding(Exception):
    """The body's Content-Encoding is none of ENCODINGS."""


def decompress(body: bytes, encoding: str, *, limit_bytes: int) -> bytes:
    """The body as it was before it was compressed.

    Args:
        encoding: The value of Content-Encoding; "" and "identity" leave the body as it is.

    Raises:
        UnsupportedEncoding: see there.
        BatchTooLarge: It would be larger than limit_bytes.
        BatchMalformed: It is not what its encoding says, or incomplete, or has something behind it.
    """
    match encoding.strip().lower():
        case "" | "identity":
            return body
        case "zstd":
            return _unzstd(body, limit_bytes)
        case "gzip" | "x-gzip":
            return _gunzip(body, limit_bytes)
    raise UnsupportedEncoding(f"Content-Encoding {encoding[:40]!r} is not one of {', '.join(ENCODINGS)}")


def _unzstd(body: bytes, limit_bytes: int) -> bytes:
    decompressor = zstd.ZstdDecompressor(
        options={zstd.DecompressionParameter.window_log_max: _WINDOW_LOG_MAX}
    )
    try:
        plain = decompressor.decompress(body, max_length=limit_bytes + 1)
    except zstd.ZstdError as error:
        raise BatchMalformed("$", f"no zstd: {error}") from error
    return _checked("zstd", plain, limit_bytes, is_whole=decompressor.eof, rest=decompressor.unused_data)


def _gunzip(body: bytes, limit_bytes: int) -> bytes:
    decompressor = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    try:
        plain = decompressor.decompress(body, limit_bytes + 1)
    except zlib.error as error:
        raise BatchMalformed("$", f"no gzip: {error}") from error
    return _checked("gzip", plain, limit_bytes, is_whole=decompressor.eof, rest=decompressor.unused_data)


def _checked(encoding: str, plain: bytes, limit_bytes: int, *, is_whole: bool, rest: bytes) -> bytes:
    if len(plain) > limit_bytes:
        raise BatchTooLarge("bytes", len(plain), limit_bytes)
    if not is_whole:
        raise BatchMalformed("$", f"the {encoding} frame ends too early")
    if rest:
        raise BatchMalformed("$", f"{len(rest)} bytes behind the {encoding} frame")
    return plain
