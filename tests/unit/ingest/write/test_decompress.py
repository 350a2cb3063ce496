"""Content-Encoding undone within bounds."""

from __future__ import annotations

import gzip
import sys
import tracemalloc
from typing import Any

import pytest

from ingest.write.decompress import UnsupportedEncoding, decompress
from ingest_schema.errors import BatchMalformed, BatchTooLarge

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PACK: dict[str, Any] = {"zstd": zstd.compress, "gzip": gzip.compress}


@pytest.mark.parametrize("encoding", PACK)
def test_what_was_packed_comes_out(encoding):
    plain = bytes(range(256)) * 100
    assert decompress(PACK[encoding](plain), encoding.upper(), limit_bytes=len(plain)) == plain


def test_identity_is_left_alone():
    assert decompress(b"x", "identity", limit_bytes=1) == decompress(b"x", "", limit_bytes=1) == b"x"


@pytest.mark.parametrize("encoding", PACK)
def test_a_bomb_is_refused_while_it_is_small(encoding):
    """256 MB of zeros in a few kB: no more than twice the limit is ever held."""
    bomb = PACK[encoding](bytes(256 * 1024 * 1024))
    tracemalloc.start()
    try:
        with pytest.raises(BatchTooLarge):
            decompress(bomb, encoding, limit_bytes=1_000_000)
        assert tracemalloc.get_traced_memory()[1] < 3_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("encoding", PACK)
@pytest.mark.parametrize(
    "spoil", [lambda b: b[:-3], lambda b: b + b"x", lambda b: b"\1" + b, lambda b: b + b, lambda _: b""]
)
def test_what_is_torn_or_has_something_behind_it_is_malformed(encoding, spoil):
    with pytest.raises(BatchMalformed):
        decompress(spoil(PACK[encoding](b"hello" * 50)), encoding, limit_bytes=1_000)


def test_a_frame_that_wants_a_huge_window_is_refused():
    options: Any = {zstd.CompressionParameter.window_log: 27, zstd.CompressionParameter.content_size_flag: 0}
    compressor = zstd.ZstdCompressor(options=options)
    frame = compressor.compress(b"x" * 1000) + compressor.flush()
    with pytest.raises(BatchMalformed):
        decompress(frame, "zstd", limit_bytes=10_000)


def test_an_unknown_encoding_is_said():
    with pytest.raises(UnsupportedEncoding, match="br"):
        decompress(b"", "br", limit_bytes=1)
