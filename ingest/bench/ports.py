"""Ports for servers that are started later, or again, or never."""

from __future__ import annotations

import contextlib
import itertools
import random
import socket
from typing import Final

__all__ = ["free_port"]

FIRST: Final = 10_000
NUMBERS: Final = 22_000
"""Below 32,768, from where on Linux gives ports to whoever asks for any: a service that is started again finds its port free, and
where nobody is to listen nobody comes to."""

_numbers = itertools.count(random.SystemRandom().randrange(NUMBERS))


def free_port(host: str = "127.0.0.1") -> int:
    """A TCP port that nobody listens on now; another one each time, so that no late client meets the next server there.

    Raises:
        OSError: All of them are taken.
    """
    for number in itertools.islice(_numbers, NUMBERS):
        port = FIRST + number % NUMBERS
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((host, port))
            return port
    raise OSError(f"every port from {FIRST} on is taken")
