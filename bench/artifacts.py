"""Files through the service, beside `cp` and plain sendfile, with the service's memory watched. A local disk, one machine.

    python bench/artifacts.py                  256 MiB, 3 rounds, under a minute
    python bench/artifacts.py --full           1 GiB, 5 rounds
    python bench/artifacts.py --clients 8      as many at once, each with its share of the bytes

    up       PUT of a file by sendfile, to the answer: the service has hashed, written, synced and renamed it
    down     GET, read and thrown away
    cp       the same bytes by `cp` on the same disk, and synced
    send     the same bytes by sendfile over loopback, read and thrown away: what the line itself costs
    hash     SHA-256 of the same bytes in memory, which an upload can't do without

Rounds alternate; medians are reported. The proof: the service's SHA-256 is that of the file, and a download hashes to it.
Memory is the service's own, without PostgreSQL, at its peak during the transfers against before the first one.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil

from ingest.bench.machine import machine_facts
from ingest.bench.results import write_result
from ingest.bench.service import Service
from ingest.bench.usage import UsageMeter

MIB = 1024 * 1024


class Wrong(Exception):
    """Bytes were lost or changed: the bench fails."""


def request(
    service: Service, method: str, path: str, source: Path | None = None
) -> tuple[dict[str, Any], int, Any]:
    """HTTP on a plain socket, so that a client's own costs stay out: the answer's JSON or the number of bytes and a digest."""
    with socket.create_connection(("127.0.0.1", service.port), timeout=120) as connection:
        size_bytes = source.stat().st_size if source is not None else 0
        head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: {size_bytes}\r\n\r\n"
        connection.sendall(head.encode())
        if source is not None:
            with source.open("rb") as file:
                connection.sendfile(file)
        answer = connection.makefile("rb")
        status = int(answer.readline().split()[1])
        while answer.readline() not in {b"\r\n", b""}:
            pass
        if status != 200:
            raise Wrong(f"{method} {path}: {status} {answer.read(500)!r}")
        if method == "PUT":
            return json.load(answer), 0, None
        received = 0
        buffer = bytearray(MIB)
        while n := answer.readinto(buffer):
            received += n
        return {}, received, None


def digest_of(service: Service, path: str) -> str:
    """What a download hashes to; not timed."""
    import urllib.request

    digest = hashlib.sha256()
    with urllib.request.urlopen(service.url + path, timeout=120) as answer:
        while piece := answer.read(MIB):
            digest.update(piece)
    return digest.hexdigest()


def new_run(service: Service) -> str:
    """A run to keep the files."""
    import urllib.request

    asked = urllib.request.Request(
        f"{service.url}/api/2.0/mlflow/runs/create", data=b"{}", headers={"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(asked, timeout=30) as answer:
        found: str = json.load(answer)["run"]["info"]["run_id"]
        return found


def copy(source: Path, target: Path) -> None:
    """`cp`, then a sync, as the service syncs."""
    target.unlink(missing_ok=True)
    subprocess.run(["cp", source, target], check=True)
    with target.open("rb") as file:
        os.fsync(file.fileno())


def send(source: Path) -> None:
    """Sendfile over loopback to a thread that throws it away."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def take() -> None:
            connection, _ = listener.accept()
            with connection:
                buffer = bytearray(MIB)
                while connection.recv_into(buffer):
                    pass

        taker = threading.Thread(target=take)
        taker.start()
        with socket.create_connection(listener.getsockname()) as connection, source.open("rb") as file:
            connection.sendfile(file)
        taker.join()


def timed(work: Callable[[], object]) -> float:
    """Seconds that it took."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def measure(size_bytes: int, rounds: int, clients: int) -> dict[str, Any]:
    """All figures; seconds and bytes."""
    seconds: dict[str, list[float]] = {name: [] for name in ("up", "down", "cp", "send", "hash")}
    with (
        tempfile.TemporaryDirectory(prefix="ingest-bench-") as home,
        Service(data_dir=Path(home) / "data") as service,
    ):
        block = os.urandom(16 * MIB)
        source = Path(home) / "source"
        source.write_bytes(block * (size_bytes // clients // len(block)))
        whole = source.read_bytes()
        sha256 = hashlib.sha256(whole).hexdigest()
        total_bytes = len(whole) * clients
        run_id = new_run(service)
        paths = [f"/api/v1/runs/{run_id}/artifacts/f{i}" for i in range(clients)]

        def up(path: str) -> None:
            answer, _, _ = request(service, "PUT", path, source)
            if (answer["sha256"], answer["size_bytes"]) != (sha256, len(whole)):
                raise Wrong(f"the service stored {answer}")

        def down(path: str) -> None:
            received = request(service, "GET", path)[1]
            if received != len(whole):
                raise Wrong(f"{received} bytes came back of {len(whole)}")

        def at_once(work: Callable[[str], None]) -> Callable[[], object]:
            return lambda: list(pool.map(work, paths))

        process = psutil.Process(service.pid)
        with ThreadPoolExecutor(clients) as pool, UsageMeter(lambda: {"service": [process]}) as meter:
            for _ in range(rounds):
                seconds["up"].append(timed(at_once(up)))
                seconds["cp"].append(timed(lambda: copy(source, Path(home) / "copy")) * clients)
                seconds["down"].append(timed(at_once(down)))
                seconds["send"].append(timed(lambda: send(source)) * clients)
                seconds["hash"].append(timed(lambda: hashlib.sha256(whole).hexdigest()) * clients)
        if any(digest_of(service, path) != sha256 for path in paths):
            raise Wrong("a download differs from what went up")
        usage = meter.usage()["service"]
    return {
        "bytes": total_bytes,
        "clients": clients,
        "rounds": rounds,
        "seconds": {name: sorted(found) for name, found in seconds.items()},
        "mib_per_second": {
            name: total_bytes / MIB / statistics.median(found) for name, found in seconds.items()
        },
        "service_cpu_per_gib": usage.cpu / (2 * rounds * total_bytes / 1024 / MIB),
        "service_rss_before_bytes": usage.rss_start_bytes,
        "service_rss_peak_bytes": usage.rss_peak_bytes,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and write the result if a file was named."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--mib", type=int, help="size of the file")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--clients", type=int, nargs="*", default=[1, 4])
    parser.add_argument("--output", type=Path)
    given = parser.parse_args(arguments)
    size_bytes = (given.mib or (1024 if given.full else 256)) * MIB
    figures = []
    try:
        for clients in given.clients:
            found = measure(size_bytes, given.rounds or (5 if given.full else 3), clients)
            figures.append(found)
            rates = ", ".join(f"{name} {rate:,.0f}" for name, rate in found["mib_per_second"].items())
            print(
                f"{clients} at once, {found['bytes'] // MIB} MiB: MiB/s {rates}; the service's memory "
                f"{found['service_rss_before_bytes'] / MIB:.0f} → at most {found['service_rss_peak_bytes'] / MIB:.0f} MiB, "
                f"CPU {found['service_cpu_per_gib']:.1f} s/GiB"
            )
    except Wrong as error:
        print(f"FAILED: {error}", file=sys.stderr)
        return 1
    if given.output is not None:
        settings = {"mib": size_bytes // MIB, "command": sys.argv}
        write_result(
            given.output,
            {"bench": "artifacts", "machine": machine_facts(), "settings": settings, "figures": figures},
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
