"""Names for runs that were started without one, such as `quiet-otter-412`: people tell runs apart by them.

A name follows from the run's id, so that the client, every rank of a distributed run, and the service agree on it without asking.
"""

from __future__ import annotations

from typing import Final
from uuid import UUID

__all__ = ["run_name_of"]

_ADJECTIVES: Final = (
    "able", "amber", "bold", "brave", "bright", "brisk", "calm", "candid", "clear", "clever", "cosy", "crisp",
    "curious", "dapper", "daring", "eager", "early", "fair", "fleet", "fond", "frank", "gentle", "glad", "golden",
    "grand", "hardy", "honest", "humble", "jolly", "keen", "kind", "lively", "loyal", "lucid", "mellow", "merry",
    "mild", "neat", "nimble", "noble", "patient", "placid", "proud", "quick", "quiet", "rapid", "ready", "robust",
    "rustic", "serene", "sharp", "silent", "simple", "smooth", "snowy", "spry", "steady", "sunny", "swift", "tidy",
    "upbeat", "vivid", "warm", "witty",
)  # fmt: skip
_NOUNS: Final = (
    "badger", "beaver", "bison", "cedar", "comet", "condor", "coral", "crane", "delta", "dolphin", "eagle", "ember",
    "falcon", "fern", "finch", "fjord", "forest", "fox", "gecko", "glacier", "grove", "harbor", "hare", "hawk", "heron",
    "ibis", "island", "jaguar", "jay", "kestrel", "koala", "lagoon", "lark", "lemur", "lynx", "maple", "marten",
    "meadow", "meteor", "moose", "nebula", "newt", "oak", "orca", "osprey", "otter", "owl", "panda", "pebble", "pine",
    "plover", "puffin", "quail", "raven", "reef", "robin", "salmon", "seal", "sparrow", "swan", "tapir", "thrush",
    "walrus", "willow",
)  # fmt: skip


def run_name_of(run_id: UUID) -> str:
    """The name of a run that was given none; nothing depends on its being unique. The same for every caller."""
    chance = run_id.int & (1 << 62) - 1  # the random bits of a UUIDv7
    chance, adjective = divmod(chance, len(_ADJECTIVES))
    chance, noun = divmod(chance, len(_NOUNS))
    return f"{_ADJECTIVES[adjective]}-{_NOUNS[noun]}-{chance % 1000}"
