"""What the machine is doing: counters by psutil, else from /proc, and the metrics that two readings of them make.

Counters only grow, so a metric is the mean over the time between two readings and misses nothing in between. Whatever a machine does
not tell is None, and its metric is not there.

Units: seconds, bytes, percent. `system/cpu_percent` is of all cores together, `system/process_cpu_percent` of one.
"""

from __future__ import annotations

import importlib
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

__all__ = ["Probe", "Reading", "find_probe", "metrics_between", "probe_proc", "probe_psutil"]

_SECTOR_BYTES: Final = 512
"""Of /proc/diskstats, whatever the disk's own sectors are."""

_NO_DISK: Final = re.compile(r"loop|ram|zram|dm-|md|sr|fd")
"""Memory, or devices made of others, whose bytes would count twice."""

_MIN_SECONDS: Final = 0.001


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Counters at one moment."""

    time_s: float
    """Of the monotonic clock."""
    cpu_busy_s: float | None = None
    cpu_total_s: float | None = None
    process_cpu_s: float | None = None
    memory_used_bytes: int | None = None
    memory_total_bytes: int | None = None
    process_memory_bytes: int | None = None
    disk_used_percent: float | None = None
    """Of the file system of the working directory."""
    disk_read_bytes: int | None = None
    disk_written_bytes: int | None = None
    net_received_bytes: int | None = None
    """Of all interfaces but loopback."""
    net_sent_bytes: int | None = None


Probe = Callable[[], Reading]


def metrics_between(before: Reading, after: Reading) -> dict[str, float]:
    """Metrics of the time between two readings, by key. A counter that went back (a disk was taken out) gives none."""
    seconds = max(after.time_s - before.time_s, _MIN_SECONDS)

    def grown(name: str) -> float | None:
        old, new = getattr(before, name), getattr(after, name)
        return None if old is None or new is None or new < old else float(new - old)

    def rate(name: str) -> float | None:
        by = grown(name)
        return None if by is None else by / seconds

    busy, total, own = grown("cpu_busy_s"), grown("cpu_total_s"), rate("process_cpu_s")
    used, memory = after.memory_used_bytes, after.memory_total_bytes
    found = {
        "cpu_percent": min(100.0 * busy / total, 100.0) if busy is not None and total else None,
        "process_cpu_percent": None if own is None else 100.0 * own,
        "memory_bytes": used,
        "memory_percent": 100.0 * used / memory if used is not None and memory else None,
        "process_memory_bytes": after.process_memory_bytes,
        "disk_used_percent": after.disk_used_percent,
        "disk_read_bytes_per_second": rate("disk_read_bytes"),
        "disk_written_bytes_per_second": rate("disk_written_bytes"),
        "net_received_bytes_per_second": rate("net_received_bytes"),
        "net_sent_bytes_per_second": rate("net_sent_bytes"),
    }
    return {f"system/{name}": float(value) for name, value in found.items() if value is not None}


def find_probe() -> Probe | None:
    """A way to read this machine's counters; None if there is none."""
    for make in (probe_psutil, probe_proc):
        probe = make()
        if probe is not None:
            return probe
    return None


def probe_psutil() -> Probe | None:
    """By psutil; None where it is not installed or does not know this machine."""
    try:
        psutil: Any = importlib.import_module("psutil")
        process = psutil.Process()
        psutil.cpu_times()
    except Exception:  # noqa: BLE001 - it raises its own, OSError and more on the odd machine; /proc is tried next
        return None

    def read() -> Reading:
        cpu = psutil.cpu_times()._asdict()
        memory = psutil.virtual_memory()
        disks = psutil.disk_io_counters(nowrap=False)
        nets = psutil.net_io_counters(pernic=True, nowrap=False)
        links = [counters for name, counters in nets.items() if not name.startswith("lo")]
        # Time of guests is in that of the user already.
        total = sum(value for name, value in cpu.items() if not name.startswith("guest"))
        return Reading(
            time_s=time.monotonic(),
            cpu_busy_s=total - cpu["idle"] - cpu.get("iowait", 0.0),
            cpu_total_s=total,
            process_cpu_s=time.process_time(),
            memory_used_bytes=memory.total - memory.available,
            memory_total_bytes=memory.total,
            process_memory_bytes=process.memory_info().rss,
            disk_used_percent=_disk_used_percent(),
            disk_read_bytes=None if disks is None else disks.read_bytes,
            disk_written_bytes=None if disks is None else disks.write_bytes,
            net_received_bytes=sum(link.bytes_recv for link in links) if links else None,
            net_sent_bytes=sum(link.bytes_sent for link in links) if links else None,
        )

    return read


def probe_proc(proc: Path = Path("/proc"), block: Path = Path("/sys/block")) -> Probe | None:
    """From Linux' own files; None where they are not there.

    Args:
        proc, block: Where they are.
    """
    try:
        ticks = os.sysconf("SC_CLK_TCK")
        page_bytes = os.sysconf("SC_PAGE_SIZE")
        (proc / "stat").read_bytes()
        (proc / "meminfo").read_bytes()
    except (OSError, ValueError, AttributeError):
        return None

    def read() -> Reading:
        # user nice system idle iowait irq softirq steal, then guests, which are in user and nice already
        cpu = [int(word) for word in _text(proc / "stat").partition("\n")[0].split()[1:9]]
        memory = dict(line.split(":", 1) for line in _text(proc / "meminfo").splitlines() if ":" in line)
        total, free = (1024 * int(memory[name].split()[0]) for name in ("MemTotal", "MemAvailable"))
        read_bytes, written_bytes = _disk_bytes(_text(proc / "diskstats"), block)
        received, sent = _net_bytes(_text(proc / "net" / "dev"))
        resident = _text(proc / "self" / "statm").split()
        return Reading(
            time_s=time.monotonic(),
            cpu_busy_s=(sum(cpu) - cpu[3] - cpu[4]) / ticks,
            cpu_total_s=sum(cpu) / ticks,
            process_cpu_s=time.process_time(),
            memory_used_bytes=total - free,
            memory_total_bytes=total,
            process_memory_bytes=int(resident[1]) * page_bytes if resident else None,
            disk_used_percent=_disk_used_percent(),
            disk_read_bytes=read_bytes,
            disk_written_bytes=written_bytes,
            net_received_bytes=received,
            net_sent_bytes=sent,
        )

    return read


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _disk_bytes(diskstats: str, block: Path) -> tuple[int | None, int | None]:
    """Read and written of whole disks."""
    try:
        disks = {name for name in os.listdir(block) if not _NO_DISK.match(name)}
    except OSError:
        disks = set()
    rows = [fields for fields in map(str.split, diskstats.splitlines()) if len(fields) > 9 and fields[2] in disks]  # fmt: skip
    if not rows:
        return None, None
    return sum(int(row[5]) for row in rows) * _SECTOR_BYTES, sum(int(row[9]) for row in rows) * _SECTOR_BYTES


def _net_bytes(dev: str) -> tuple[int | None, int | None]:
    """Received and sent of all interfaces but loopback."""
    rows = [line.rpartition(":") for line in dev.splitlines()[2:]]
    counters = [numbers.split() for name, colon, numbers in rows if colon and not name.strip().startswith("lo")]  # fmt: skip
    if not counters:
        return None, None
    return sum(int(row[0]) for row in counters), sum(int(row[8]) for row in counters)


def _disk_used_percent() -> float | None:
    try:
        found = os.statvfs(".")
    except OSError:
        return None
    used = found.f_blocks - found.f_bfree
    usable = used + found.f_bavail  # what root keeps for itself is nobody's
    return 100.0 * used / usable if usable else None
