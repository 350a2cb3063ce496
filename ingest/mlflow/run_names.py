"""Names for runs that were created without one, such as `quiet-otter-412`."""

from __future__ import annotations

import random
from typing import Final

__all__ = ["invent_run_name"]

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


def invent_run_name(rng: random.Random | None = None) -> str:
    """A name for people to tell runs apart by; nothing depends on its being unique.

    Args:
        rng: Where chance comes from; the module `random` if not given.
    """
    chance = rng or random
    return f"{chance.choice(_ADJECTIVES)}-{chance.choice(_NOUNS)}-{chance.randrange(1000)}"
