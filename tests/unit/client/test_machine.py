"""Metrics of the machine out of counters, and the counters out of psutil and /proc."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from ingest_client import _machine
from ingest_client._machine import Reading, find_probe, metrics_between, probe_proc, probe_psutil

BEFORE = Reading(
    time_s=100.0, cpu_busy_s=10.0, cpu_total_s=40.0, process_cpu_s=1.0, memory_used_bytes=1, memory_total_bytes=8,
    process_memory_bytes=3, disk_used_percent=1.0, disk_read_bytes=1000, disk_written_bytes=0, net_received_bytes=0, net_sent_bytes=7,
)  # fmt: skip
AFTER = Reading(
    time_s=110.0, cpu_busy_s=20.0, cpu_total_s=80.0, process_cpu_s=16.0, memory_used_bytes=2, memory_total_bytes=8,
    process_memory_bytes=4, disk_used_percent=50.0, disk_read_bytes=6000, disk_written_bytes=10, net_received_bytes=20, net_sent_bytes=7,
)  # fmt: skip


def test_metrics_are_means_over_the_time_between():
    assert metrics_between(BEFORE, AFTER) == {
        "system/cpu_percent": 25.0,
        "system/process_cpu_percent": 150.0,
        "system/memory_bytes": 2.0,
        "system/memory_percent": 25.0,
        "system/process_memory_bytes": 4.0,
        "system/disk_used_percent": 50.0,
        "system/disk_read_bytes_per_second": 500.0,
        "system/disk_written_bytes_per_second": 1.0,
        "system/net_received_bytes_per_second": 2.0,
        "system/net_sent_bytes_per_second": 0.0,
    }


def test_a_counter_that_went_back_gives_no_rate():
    """A disk or an interface was taken out."""
    found = metrics_between(AFTER, Reading(time_s=120.0, disk_read_bytes=5, net_sent_bytes=9))
    assert found == {"system/net_sent_bytes_per_second": 0.2}


def test_what_a_machine_does_not_tell_is_not_there():
    assert metrics_between(Reading(time_s=1.0), Reading(time_s=1.0)) == {}


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    files = {
        "stat": "cpu  100 20 30 800 50 6 4 10 99 9\ncpu0 1 2 3\n",
        "meminfo": "MemTotal:       1000 kB\nMemFree:  1 kB\nMemAvailable:    400 kB\n",
        "self/statm": "9 5 1\n",
        "diskstats": "8 0 sda 1 0 100 0 1 0 7 0 0 0 0\n8 1 sda1 1 0 90 0 1 0 6 0 0 0 0\n253 0 dm-0 1 0 50 0 1 0 3 0 0 0 0\n7 0 loop0 1 0 9 0 1 0 9 0 0 0\n",
        "net/dev": "Inter-| Receive | Transmit\n face |bytes packets\n    lo: 5 0 0 0 0 0 0 0 5 0\n  eth0: 70 1 0 0 0 0 0 0 30 1\n  eth1:7 1 0 0 0 0 0 0 3 1\n",
    }  # fmt: skip
    for name, text in files.items():
        path = tmp_path / "proc" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for disk in ("sda", "dm-0", "loop0"):
        (tmp_path / "block" / disk).mkdir(parents=True)
    return tmp_path


def test_proc_is_read_as_the_kernel_writes_it(proc: Path):
    """Guests are in user time already, partitions and mapped devices in whole disks, and loopback is no network."""
    probe = probe_proc(proc / "proc", proc / "block")
    assert probe is not None
    reading = probe()
    assert (reading.cpu_busy_s, reading.cpu_total_s) == (1.7, 10.2)
    assert (reading.memory_used_bytes, reading.memory_total_bytes) == (600 * 1024, 1000 * 1024)
    assert (reading.disk_read_bytes, reading.disk_written_bytes) == (51200, 3584)
    assert (reading.net_received_bytes, reading.net_sent_bytes) == (77, 33)
    assert (reading.process_memory_bytes or 0) % 5 == 0


def test_a_machine_without_disks_and_network_still_has_the_rest(proc: Path):
    (proc / "proc" / "diskstats").unlink()
    (proc / "proc" / "net" / "dev").unlink()
    probe = probe_proc(proc / "proc", proc / "nothing")
    assert probe is not None
    assert (probe().disk_read_bytes, probe().net_sent_bytes) == (None, None)
    assert probe().cpu_total_s == 10.2


def test_no_psutil_means_proc_and_no_proc_means_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setitem(sys.modules, "psutil", None)  # how Python marks a module that can't be imported
    assert probe_psutil() is None
    assert find_probe() is not None
    monkeypatch.setattr(_machine, "probe_proc", lambda: probe_proc(tmp_path))
    assert find_probe() is None


def test_psutil_and_proc_tell_the_same_of_this_machine():
    pytest.importorskip("psutil")
    by_psutil, by_proc = probe_psutil(), probe_proc()
    assert by_psutil is not None
    assert by_proc is not None
    one, other = by_psutil(), by_proc()
    assert one.memory_total_bytes == other.memory_total_bytes
    assert one.cpu_total_s == pytest.approx(other.cpu_total_s, rel=0.01)
    assert one.cpu_busy_s == pytest.approx(other.cpu_busy_s, rel=0.02)
    assert one.process_memory_bytes == pytest.approx(other.process_memory_bytes, rel=0.2)
    assert one.net_received_bytes == pytest.approx(other.net_received_bytes, rel=0.05, abs=1e6)


def test_work_shows_in_the_metrics_of_this_process():
    probe = find_probe()
    assert probe is not None
    before = probe()
    until = time.process_time() + 0.1
    while time.process_time() < until:
        sum(range(1000))
    found = metrics_between(before, probe())
    assert 1 < found["system/process_cpu_percent"] < 400
    assert 0 <= found["system/cpu_percent"] <= 100
