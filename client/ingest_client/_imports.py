"""Imports on background threads, kept apart from forks.

A child that is forked while another thread of its parent is in the middle of an import has half of the module for good: it fails with
an AttributeError, or waits for ever for a lock whose owner it does not have. So what our threads import late, they import `with
not_while_forking`, and a fork waits until they are through.
"""

from __future__ import annotations

import os
import threading
from typing import Final

__all__ = ["not_while_forking"]

not_while_forking: Final = threading.RLock()

os.register_at_fork(
    before=not_while_forking.acquire,
    after_in_parent=not_while_forking.release,
    after_in_child=not_while_forking.release,
)
