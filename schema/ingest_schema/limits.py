"""The limits that both sides agree on, each with its reason.

A client splits what it sends so that no user ever meets these; a server refuses what is over them before it spends
memory on it. Raising one is a compatible change on the server and an incompatible one in the client.

Units: bytes of the decompressed body, or plain counts.
"""

from __future__ import annotations

from typing import Final

PROTOCOL_VERSION: Final = 1

MAX_BATCH_BYTES: Final = 16 * 1024 * 1024
"""One decoded batch. 500,000 points are 12 MB of columns; the rest is room for names and events."""

MAX_BATCH_POINTS: Final = 500_000
"""Points of one batch. Throughput is flat from about 10,000 on; this bounds the memory of one COPY buffer (~20 MB)."""

MAX_BATCH_KEYS: Final = 100_000
"""Different metrics in one batch: a call with 100,000 metrics is one batch."""

MAX_BATCH_EVENTS: Final = 10_000
"""Events of one batch. A param sweep logs hundreds; the transaction handles events one by one, so they are dear."""

MAX_EVENT_BYTES: Final = 4 * 1024 * 1024
"""All events of one batch, encoded. Room for a few texts of MAX_TEXT_BYTES; bounds what a hostile body can inflate to."""

MAX_KEY_BYTES: Final = 1_000
"""A metric, param or tag name in UTF-8. A btree entry holds at most 2,704 bytes: (run_id, key, step) must fit."""

MAX_TEXT_BYTES: Final = 1024 * 1024
"""A param's or tag's value in UTF-8. A whole configuration file fits; anything larger is an artifact."""

MAX_NAME_BYTES: Final = 2_000
"""An experiment's or a run's name in UTF-8. Experiment names are unique, hence indexed (see MAX_KEY_BYTES)."""

INT64_MIN: Final = -(2**63)
INT64_MAX: Final = 2**63 - 1
