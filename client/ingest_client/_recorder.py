"""The hot path: a logging call becomes one record of the spool.

`log_metrics` and `log_metric` are closures, made once per run, over the few objects that they need: no attribute look-up,
no lock, no system call. A call looks its set of keys up, compares the types of the values with those seen last, packs
the record and hands it to `mmap.write`, which copies it into the spool in one atomic step (`_segment`). Whatever is
unusual (new keys, other types, a full segment, a forked child, an error) leaves through an exception or a failed
comparison and is done over, carefully, by the slow path.

The types are compared because packing alone would call `__float__` on anything, and on a CUDA tensor that waits for the GPU.

Where the extension `_hot` was built, the same path in C goes before the closures: four times faster, and whatever is
unusual for it goes to them.

Numbers: docs/decisions.md, "The logging call".
"""

from __future__ import annotations

import itertools
import sys
import threading
import time
from collections.abc import Callable, Mapping
from struct import Struct
from typing import TYPE_CHECKING, Any, Final
from zlib import adler32

from ingest_client._record import MAX_KEYS_PER_RECORD, check_word, metrics_struct, metrics_word0
from ingest_client._spool import Spool, Write
from ingest_schema.values import as_step, as_time_ms, as_value, check_key

if TYPE_CHECKING:
    from ingest_client._hot import HotPath
    from ingest_client._tensors import DeferredReads
else:
    try:
        from ingest_client._hot import HotPath
    except ImportError:  # built without a C compiler
        HotPath = None

__all__ = ["IS_ACCELERATED", "Recorder"]

IS_ACCELERATED: Final = HotPath is not None
"""Whether the logging call is the one in C."""

MAX_SHAPES: Final = 10_000
"""Sets of keys that get a shape of their own; beyond, each metric of a call becomes a record of its own."""

_MAX_DEFINITION_BYTES: Final = 128 * 1024

_PLAIN: Final = frozenset({float, int, bool})
_TIME_TYPES: Final = frozenset({int, type(None)})
"""Of a timestamp on the fast path; its range is checked by packing it."""

_NUMPY_SCALARS: Final = frozenset(
    {"float64", "float32", "float16", "int64", "int32", "int16", "int8"}
    | {"uint64", "uint32", "uint16", "uint8", "bool", "bool_", "longlong", "ulonglong"}
)
_single: Final = Struct("<Qqqd")

LogMetrics = Callable[..., None]


class Recorder:
    """The writing side of one run in one process."""

    def __init__(
        self,
        open_spool: Callable[[], Spool | None],
        on_deferrer: Callable[[DeferredReads], None] = lambda _: None,
        *,
        accelerated: bool = True,
    ) -> None:
        """Make the closures.

        Args:
            open_spool: Called by the first call of a process that logs, also in a forked child; None if no spool can be had.
            on_deferrer: Told of the deferred reads when the first value on an accelerator is logged.
            accelerated: Whether to use the C extension where there is one.
        """
        self.spool: Spool | None = None
        self.deferrer: DeferredReads | None = None
        self.dropped: dict[str, int] = {}
        """Points dropped while there was no spool to count them."""
        self._open_spool = open_spool
        self._on_deferrer = on_deferrer
        self._lock = threading.RLock()
        self._shapes: dict[tuple[str, ...], list[Any]] = {}
        self._singles: dict[str, int] = {}
        self._known_keys: set[str] = set()
        self._is_open = False
        self._latest_write: Write = _refuse
        self.log_metrics, self.log_metric, self._attach = _bind(self)
        if HotPath is not None and accelerated:
            self._go_through(HotPath)

    def _go_through(self, hot_path: type[HotPath]) -> None:
        """Put the C path before the closures, which do what it leaves."""
        hot = hot_path(self._shapes, self._singles, self.log_metrics, self.log_metric, _refuse)
        attach_closures = self._attach

        def attach(write: Write) -> None:
            attach_closures(write)
            hot.attach(write)

        self.log_metrics, self.log_metric, self._attach = hot.log_metrics, hot.log_metric, attach

    def attach(self, write: Write) -> None:
        """A new segment is active (`Spool.on_switch`)."""
        self._latest_write = write
        if self._is_open:
            self._attach(write)

    def open(self) -> Spool | None:
        """The spool of this process, made if there is none yet."""
        with self._lock:
            if self.spool is None:
                self.spool = self._open_spool()
                if self.spool is not None:
                    self._is_open = True
                    self._attach(self._latest_write)
            return self.spool

    def forget(self) -> None:
        """In a forked child: what the parent had open is not ours."""
        self._lock = threading.RLock()
        self._attach(_refuse)
        self._is_open = False
        self._shapes.clear()
        self._singles.clear()
        self.spool = None
        self.dropped = {}

    def put_metrics(self, numbers: Mapping[str, float], step: int, time_ms: int) -> None:
        """Store values that are known to be good."""
        spool = self.open()
        if spool is None:
            self.drop("no_spool", len(numbers))
            return
        for keys in _chunks(tuple(numbers)):
            entry = self._shapes.get(keys)
            if entry is None:
                if len(self._shapes) >= MAX_SHAPES and len(keys) > 1:
                    for key in keys:
                        self.put_metrics({key: numbers[key]}, step, time_ms)
                    continue
                entry = self._define(spool, keys)
            if entry is None:
                spool.drop("disk_full", len(keys))
                continue
            body: bytes = entry[0](entry[1], step, time_ms, *map(numbers.__getitem__, keys))
            spool.put(body + check_word(adler32(body)), len(keys))

    def record(self, metrics: Any, step: Any, timestamp: Any) -> None:
        """The slow path: check everything, then store.

        Raises:
            BadKey, BadValue, BadStep, BadTime: Nothing was stored.
        """
        whole_step = 0 if step is None else as_step(step)
        time_ms = time.time_ns() // 1_000_000 if timestamp is None else as_time_ms(timestamp)
        if not isinstance(metrics, Mapping):
            raise TypeError(f"metrics must be a mapping of names to numbers, not {type(metrics).__name__}")
        numbers: dict[str, float] = {}
        on_device: list[tuple[str, Any]] = []
        for key, value in metrics.items():
            if key not in self._known_keys:
                check_key(key)
                self._known_keys.add(key)
            if type(value) is float:
                numbers[key] = value
            elif type(value) not in _PLAIN and is_on_device(value):
                as_single(key, value)
                on_device.append((key, value))
            else:
                numbers[key] = as_value(key, value)
        if numbers:
            self.put_metrics(numbers, whole_step, time_ms)
        if on_device:
            self._defer(on_device, whole_step, time_ms)
        elif (entry := self._shapes.get(tuple(metrics))) is not None:
            types = [*map(type, metrics.values())]
            if all(t in _PLAIN or _is_numpy_scalar(t) for t in types):
                entry[2] = types

    def _defer(self, items: list[tuple[str, Any]], step: int, time_ms: int) -> None:
        if self.open() is None:
            self.drop("no_spool", len(items))
            return
        with self._lock:
            if self.deferrer is None:
                from ingest_client._tensors import make_deferrer

                self.deferrer = make_deferrer(self.put_metrics, self.drop)
                self._on_deferrer(self.deferrer)
        if refused := self.deferrer.defer(items, step, time_ms):
            self.drop("tensor_slots", refused)

    def drop(self, reason: str, points: int) -> None:
        """Count points that can't be kept."""
        if self.spool is not None:
            self.spool.drop(reason, points)
        else:
            self.dropped[reason] = self.dropped.get(reason, 0) + points

    def _define(self, spool: Spool, keys: tuple[str, ...]) -> list[Any] | None:
        shape = spool.define(keys)
        if shape is None:
            return None
        word0 = metrics_word0(shape, len(keys))
        # What the fast path needs: pack, word0, types of the values.
        entry = [metrics_struct(len(keys)).pack, word0, [float] * len(keys)]
        self._shapes[keys] = entry
        if len(keys) == 1:
            self._singles[keys[0]] = word0
        return entry


def _bind(recorder: Recorder) -> tuple[LogMetrics, LogMetrics, Callable[[Write], None]]:
    """The two closures of the hot path, and the function that gives them another segment to write to."""
    write: Write = _refuse
    shapes, singles = recorder._shapes, recorder._singles  # noqa: SLF001 - they are one thing, split for speed
    pack_single, check, checksum, time_ns, time_types, slowly = (
        _single.pack,
        check_word,
        adler32,
        time.time_ns,
        _TIME_TYPES,
        recorder.record,
    )

    def attach(new_write: Write) -> None:
        nonlocal write
        write = new_write

    def log_metrics(metrics: Mapping[str, Any], step: int | None = 0, timestamp: int | None = None) -> None:
        try:
            pack, word0, types = shapes[tuple(metrics)]
            values = metrics.values()
            if [*map(type, values)] == types and type(step) is int and type(timestamp) in time_types:
                time_ms = time_ns() // 1_000_000 if timestamp is None else timestamp
                body = pack(word0, step, time_ms, *values)
                write(body + check(checksum(body)))
                return
        except Exception:  # noqa: BLE001, S110 - nothing was stored; the slow path finds out what it was
            pass
        slowly(metrics, step, timestamp)

    def log_metric(key: str, value: Any, step: int | None = 0, timestamp: int | None = None) -> None:
        try:
            if type(value) in _PLAIN and type(step) is int and type(timestamp) in time_types:
                time_ms = time_ns() // 1_000_000 if timestamp is None else timestamp
                body = pack_single(singles[key], step, time_ms, value)
                write(body + check(checksum(body)))
                return
        except Exception:  # noqa: BLE001, S110 - as above
            pass
        slowly({key: value}, step, timestamp)

    return log_metrics, log_metric, attach


def is_on_device(value: Any) -> bool:
    """Whether reading the value would wait for an accelerator."""
    return getattr(value, "is_cuda", False) is True


def as_single(key: str, value: Any) -> None:
    """Refuse a tensor of several elements, without reading it.

    Raises:
        BadValue: From `as_value`, which names key and type; it reads nothing when the count is wrong.
    """
    if value.numel() != 1 or value.is_complex():
        as_value(key, value)


def _chunks(keys: tuple[str, ...]) -> list[tuple[str, ...]]:
    """The keys in groups that each make one record: nearly always one."""
    if len(keys) <= MAX_KEYS_PER_RECORD and sum(map(len, keys)) <= _MAX_DEFINITION_BYTES:
        return [keys]
    chunks: list[tuple[str, ...]] = []
    rest = iter(keys)
    while chunk := tuple(itertools.islice(rest, 128)):  # 128 of the longest keys are 128 kB
        chunks.append(chunk)
    return chunks


def _is_numpy_scalar(kind: type) -> bool:
    """Whether values of this type become float64 in C, without surprise."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and kind.__name__ in _NUMPY_SCALARS and issubclass(kind, numpy.generic)


def _refuse(record: bytes) -> object:
    """Stands where there is no segment: sends the call to the slow path."""
    raise ValueError(f"no segment for {len(record)} bytes")
