"""The benches against a real service, as short as they get: what they prove, not how fast it was."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest.bench import BenchError
from ingest.bench.api import Api, sql_id
from ingest.bench.client import ClientBench, check_nothing_lost, run_client
from ingest.bench.load import prove, run_load, run_raw_copy
from ingest.bench.load_suite import LoadBench, measure_workload
from ingest.bench.service import Service
from ingest.bench.template import START_MS, BatchTemplate
from ingest.bench.verify import compare
from ingest.bench.workload import Workload
from ingest_schema.ids import new_id, parse_id

ROOT = Path(__file__).parents[3]
TINY = Workload(name="tiny", writers=3, processes=2, metrics=5, chunk_points=4, duration=0.5, warmup=0.1)

pytestmark = [pytest.mark.timeout(400), pytest.mark.slow]


@pytest.fixture(scope="module")
def bench_service() -> Iterator[Service]:
    with Service() as service:
        yield service


def test_load_counts_every_acknowledged_point_in_the_database(bench_service: Service) -> None:
    result = run_load(bench_service.url, TINY, service=bench_service)

    assert result.points_stored >= result.points_per_s * TINY.duration > 0
    assert result.request.n * TINY.batch_points == pytest.approx(result.points_per_s * TINY.duration)
    assert {"generator", "service", "postgres"} == result.usage.keys()
    assert all(usage.rss_peak_bytes > 2**20 for usage in result.usage.values())


def test_load_keeps_to_its_schedule(bench_service: Service) -> None:
    """Nothing comes before its time, and what a busy machine did not send in time is told."""
    rate = 600.0
    workload = TINY.but(rate=rate, duration=1.0)
    result = run_load(bench_service.url, workload, service=bench_service)

    due = rate * (workload.warmup + workload.duration)
    a_batch_each = (
        workload.writers * workload.batch_points
    )  # the writers begin somewhere within their interval
    assert result.points_stored <= due + a_batch_each
    assert abs(result.points_stored + result.overdue_points - due) <= a_batch_each


def test_load_through_the_real_client_stores_the_same_points(bench_service: Service) -> None:
    result = run_load(bench_service.url, TINY.but(client=True, rate=3000.0, writers=2), service=bench_service)

    assert result.points_stored > 0
    assert result.points_stored % TINY.batch_points == 0


def test_the_proof_fails_for_a_batch_that_was_never_sent(bench_service: Service) -> None:
    """A bench that believed its own counters would prove nothing."""
    template = BatchTemplate(new_id(), new_id(), metrics=5, chunk_points=4, experiment="proof", seed=3)
    with Api(bench_service.url) as api:
        for _ in range(2):
            status, answer = api.request(
                "POST", "/api/v1/batches", bytes(template.next(START_MS)), "application/msgpack"
            )
            assert status == 200, answer
    writer = {"run_id": template.run_id.hex, "seed": 3, "acknowledged": 2}

    assert prove(bench_service.url, None, TINY, [writer])[0] == 40
    with pytest.raises(BenchError, match="60 points were acknowledged and 40 are stored"):
        prove(bench_service.url, None, TINY, [{**writer, "acknowledged": 3}])
    with pytest.raises(BenchError, match="the checksum is"):
        prove(bench_service.url, None, TINY, [{**writer, "seed": 4}])


def test_raw_copy_measures_an_identical_table_and_removes_it(bench_service: Service) -> None:
    figures = run_raw_copy(bench_service, TINY.but(duration=2.0))

    assert figures["points_per_s"] > 0
    assert figures["synchronous_commit"] == "on"
    with Api(bench_service.url) as api:
        left = api.sql("SELECT count(*) FROM pg_namespace WHERE nspname = 'ingest_bench'")
    assert left.scalar == 0


def test_overload_offers_a_multiple_and_loses_nothing(bench_service: Service) -> None:
    workload = TINY.but(
        overload=10.0, duration=0.5
    )  # of what other work on the machine leaves at this moment

    figures = measure_workload(workload, LoadBench(url=bench_service.url))

    assert figures["median_run"]["points_lost"] == 0
    assert figures["median_run"]["overdue_points"] > 0


def test_memory_over_the_stated_bound_fails_the_run(bench_service: Service) -> None:
    with pytest.raises(BenchError, match="over the bound of 1 MiB"):
        run_load(bench_service.url, TINY.but(service_rss_max_bytes=2**20), service=bench_service)


def test_client_bench_measures_every_case_and_finds_every_point() -> None:
    bench = ClientBench(
        scalars=(2,), calls=300, warmup_calls=10, paced_seconds=0.2, repeat=1, pairs=1, block=0.3
    )

    figures = run_client(bench)

    lines = [(line["contender"], line["server"], line["paced"]) for line in figures["calls"]]
    assert len(lines) == len(set(lines)) == 12
    assert all(
        0 < line["median_ns"]["median"] < 1e9 for line in figures["calls"] if line["contender"] != "reference"
    )
    assert figures["steps"]["points"] > 0


def test_a_point_missing_from_the_clients_counters_fails_the_bench() -> None:
    stats = dict.fromkeys(("acknowledged_num", "spooled_num", "rejected_num", "dropped_num"), 0)

    with pytest.raises(BenchError, match="10 points were logged"):
        check_nothing_lost(
            {"stats": {**stats, "accepted_num": 9, "spooled_num": 9}, "points": 10}, "a case", None
        )


def test_comparing_point_by_point_sees_what_is_missing_and_what_is_too_many(bench_service: Service) -> None:
    template = BatchTemplate(new_id(), new_id(), metrics=1, chunk_points=2, experiment="compare", seed=1)
    body = bytes(template.next(START_MS))
    values = template.sums(1)
    with Api(bench_service.url) as api:
        api.request("POST", "/api/v1/batches", body, "application/msgpack")
        (first, second) = api.sql(
            f"SELECT key, step, time_ms, value FROM metrics WHERE run_id = '{template.run_id}' ORDER BY step"
        ).rows
        right = [tuple(first), tuple(second)]

        assert values.points == 2
        assert compare(api, template.run_id, right).is_none
        missing = compare(api, template.run_id, [*right, right[0]])
        assert (missing.missing, missing.unexpected) == ([right[0]], [])
        changed = compare(api, template.run_id, [right[0], (*right[1][:3], 0.5)])
        assert (changed.missing, changed.unexpected) == ([(*right[1][:3], 0.5)], [right[1]])


def test_the_example_trains_under_noise_and_proves_what_is_stored(
    bench_service: Service, tmp_path: Path
) -> None:
    """Steps, timestamps and values of the PyTorch loop, exactly as logged, while others write."""
    pytest.importorskip("torchvision", reason="the example needs torch and torchvision")
    summary = tmp_path / "summary.json"
    example = [sys.executable, str(ROOT / "bench" / "fashion_mnist.py"), "--small", "--data", "digits"]
    options = ["--seconds", "6", "--epochs", "50", "--noise-writers", "1", "--summary", str(summary)]
    environment = os.environ | {
        "INGEST_TRACKING_URI": bench_service.url,
        "INGEST_SPOOL_DIR": str(tmp_path / "spool"),
        "INGEST_SYSTEM_METRICS": "on",  # as a user's own: they stand beside what is compared
        "INGEST_SYSTEM_METRICS_INTERVAL": "0.5",
    }

    done = subprocess.run(
        [*example, *options], env=environment, capture_output=True, text=True, timeout=150, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "every step, timestamp and value is the same" in done.stdout
    assert "meanwhile 1 other writers: logged" in done.stdout
    logged = json.loads(summary.read_text())
    assert logged["points"] > 20
    with Api(bench_service.url) as api:
        beside = "SELECT count(*) FROM metrics WHERE run_id = {} AND key LIKE 'system/%'"
        assert int(api.sql(beside.format(sql_id(parse_id(logged["run_id"])))).scalar) > 5
