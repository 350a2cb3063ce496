"""SIGTERM ends the runs of a process as KILLED, and then the process by the default action: the exit status is the one everybody expects.

It is taken only where the default action stands. A forked child gets the default action back, and takes it anew when it logs.

A child of multiprocessing is ended by SIGTERM as a matter of course, as `Pool.__exit__` does, often in the instant in which it goes to wait for a
lock that nobody will release any more. Python notes a signal and runs the handler before the next bytecode: what comes just before the
wait begins would be noticed when the wait ends, which is never (seen in one of thirty pools). So in such a child a thread hears of each
signal through the wakeup file and sends SIGTERM to the main thread again, which breaks its wait off, until the handler runs.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, Final

__all__ = ["forget", "is_multiprocessing_child", "take", "undisturbed"]

REMIND_AFTER: Final = 0.1
"""Seconds after which a SIGTERM that was not noticed is sent again."""
REMINDERS_NUM: Final = 50

_finish: Callable[[str], None] | None = None
_is_noticed = False
_is_ending = False
_undisturbed_num = 0
_has_come = False
_wakeup: tuple[int, int] | None = None


def take(finish: Callable[[str], None]) -> None:
    """Have `finish("KILLED")` called by SIGTERM; only the main thread may ask for it."""
    global _finish
    if threading.current_thread() is not threading.main_thread():
        return
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        _finish = finish
        signal.signal(signal.SIGTERM, _on_sigterm)
        if is_multiprocessing_child():
            _listen()


def is_multiprocessing_child() -> bool:
    """Whether multiprocessing started this process. It is not imported for that."""
    util, process = sys.modules.get("multiprocessing.util"), sys.modules.get("multiprocessing.process")
    return util is not None and process is not None and process.parent_process() is not None


def forget() -> None:
    """In a forked child: nothing of what the parent waits for is this process's to end."""
    global _is_noticed, _is_ending, _undisturbed_num, _has_come, _wakeup
    _is_noticed = _is_ending = _has_come = False
    _undisturbed_num = 0
    if _wakeup is not None:
        if (current := signal.set_wakeup_fd(-1)) not in {-1, _wakeup[1]}:
            signal.set_wakeup_fd(current)
        for fd in _wakeup:
            os.close(fd)
        _wakeup = None
    if signal.getsignal(signal.SIGTERM) is _on_sigterm:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """A moment of the main thread for whose end our handler of SIGTERM waits.

    The handler waits for senders, and they for locks of their spools: one that the interrupted thread holds would cost it the whole
    time-out. Only for what is short and waits for nobody.
    """
    global _undisturbed_num, _has_come
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _undisturbed_num += 1
    try:
        yield
    finally:
        _undisturbed_num -= 1
        if _has_come and not _undisturbed_num:
            _has_come = False
            _on_sigterm(signal.SIGTERM, None)


def _on_sigterm(number: int, frame: FrameType | None) -> Any:
    global _is_noticed, _is_ending, _has_come
    del frame
    _is_noticed = True
    if _undisturbed_num:
        _has_come = True
        return
    if _is_ending:
        return
    _is_ending = True
    if _finish is not None:
        _finish("KILLED")
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def _listen() -> None:
    """Start the thread that reminds, unless somebody else has the wakeup file, such as asyncio, whose main thread wakes by it."""
    global _wakeup
    if (current := signal.set_wakeup_fd(-1)) != -1:
        signal.set_wakeup_fd(current)
        return
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    _wakeup = reader, writer
    threading.Thread(target=_remind, args=(reader,), name="ingest-sigterm", daemon=True).start()


def _remind(reader: int) -> None:
    main = threading.main_thread().ident
    while main is not None and (numbers := os.read(reader, 64)):
        if signal.SIGTERM not in numbers:
            continue
        for _ in range(REMINDERS_NUM):
            time.sleep(REMIND_AFTER)
            if _is_noticed:
                break
            signal.pthread_kill(main, signal.SIGTERM)
