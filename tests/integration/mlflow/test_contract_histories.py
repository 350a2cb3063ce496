"""The contract of histories over raw HTTP: whole, in pages, of several runs, thinned; and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.mlflow.conftest import Api
from tests.integration.mlflow.test_contract_values import INVALID, metric


@pytest.fixture(scope="module")
def curves(api: Api) -> list[str]:
    """Two runs with 10 and 5 points each of one metric; the times run against the steps."""
    runs = sorted([api.new_run(), api.new_run()])
    for run, number in zip(runs, (10, 5), strict=True):
        points = [metric("a/b", i / 2, 100 - i, i) for i in range(number)]
        assert api.post("runs/log-batch", run_id=run, metrics=points) == {}
    return runs


def steps_of(answer: Any) -> list[int]:
    return [one["step"] for one in answer.get("metrics", [])]


def test_a_history_is_in_the_order_of_times_whole_or_in_pages(api: Api, curves: list[str]):
    whole = api.get("metrics/get-history", run_id=curves[0], metric_key="a/b")
    assert steps_of(whole) == list(range(9, -1, -1))
    assert set(whole) == {"metrics"}
    for size in (1, 3, 5, 10, 11):
        seen: list[int] = []
        token = ""
        while True:
            page = api.get(
                "metrics/get-history", run_id=curves[0], metric_key="a/b", max_results=size, page_token=token
            )
            seen += steps_of(page)
            token = page.get("next_page_token", "")
            if not token:
                break
            assert len(page["metrics"]) == size
        assert seen == steps_of(whole), size


@pytest.mark.parametrize(
    ("path", "query", "message"),
    [
        ("get-history", "run_id=abc", "Missing value for required parameter 'metric_key'."),
        ("get-history", "metric_key=k", "Missing value for required parameter 'run_id'."),
        ("get-history", "run_id=abc&metric_key=k&max_results=0", "Invalid value 0 for parameter 'max_results' supplied. It must be a positive integer."),
        ("get-history", "run_id=abc&metric_key=k&max_results=-1", "Invalid value -1 for parameter 'max_results' supplied. It must be a positive integer."),
        ("get-history", "run_id=abc&metric_key=k&page_token=%3F", "Invalid page token, could not base64-decode"),
        ("get-history-bulk", "metric_key=k", "GetMetricHistoryBulk request must specify at least one run_id."),
        ("get-history-bulk", "run_id=abc", "GetMetricHistoryBulk request must specify a metric_key."),
        ("get-history-bulk", "metric_key=k&" + "&".join(["run_id=a"] * 101), "GetMetricHistoryBulk request cannot specify more than 100 run_ids. Received 101 run_ids."),
        ("get-history-bulk-interval", "metric_key=k", "Missing value for required parameter 'run_ids'."),
        ("get-history-bulk-interval", "run_ids=a", "Missing value for required parameter 'metric_key'."),
        ("get-history-bulk-interval", "metric_key=k&" + "&".join(["run_ids=a"] * 101), "GetMetricHistoryBulkInterval request must specify at most 100 run_ids. Received 101 run_ids."),
        ("get-history-bulk-interval", "run_ids=a&metric_key=k&max_results=0", "max_results must be between 1 and 2500."),
        ("get-history-bulk-interval", "run_ids=a&metric_key=k&max_results=2501", "max_results must be between 1 and 2500."),
        ("get-history-bulk-interval", "run_ids=a&metric_key=k&end_step=3", "If either start step or end step are specified, both must be specified."),
        ("get-history-bulk-interval", "run_ids=a&metric_key=k&start_step=3&end_step=2", "end_step must be greater than start_step. Found start_step=3 and end_step=2."),
    ],
)  # fmt: skip
@pytest.mark.parametrize("prefix", ["/api", "/ajax-api"])
def test_histories_that_are_refused(api: Api, prefix: str, path: str, query: str, message: str):
    answer = api.send("GET", f"{prefix}/2.0/mlflow/metrics/{path}?{query}")
    assert (answer.status, answer.json["error_code"]) == (400, INVALID)
    assert answer.json["message"].startswith(message)


def test_histories_of_several_runs(api: Api, curves: list[str]):
    found = api.get("metrics/get-history-bulk", run_id=[*reversed(curves), "abc"], metric_key="a/b")[
        "metrics"
    ]
    assert [(one["run_id"], one["step"]) for one in found] == [
        *((curves[0], step) for step in range(9, -1, -1)),
        *((curves[1], step) for step in range(4, -1, -1)),
    ]
    cut = api.get("metrics/get-history-bulk", run_id=curves, metric_key="a/b", max_results=12)["metrics"]
    assert cut == found[:12]
    assert api.get("metrics/get-history-bulk", run_id="abc", metric_key="a/b") == {"metrics": []}


def test_histories_thinned_to_some_steps(api: Api, curves: list[str]):
    def asked(**more: int) -> dict[str, list[int]]:
        metrics = api.get("metrics/get-history-bulk-interval", run_ids=curves, metric_key="a/b", **more)[
            "metrics"
        ]
        return {run: sorted(one["step"] for one in metrics if one["run_id"] == run) for run in curves}

    assert asked() == {curves[0]: list(range(10)), curves[1]: list(range(5))}
    assert asked(start_step=3, end_step=6) == {curves[0]: [3, 4, 5, 6], curves[1]: [3, 4]}
    assert asked(start_step=2, end_step=2) == {curves[0]: [2], curves[1]: [2]}
    thinned = asked(max_results=3)
    assert (thinned[curves[0]][-1], thinned[curves[1]][-1]) == (9, 4), "each run's last step is there"
    assert len(thinned[curves[0]]) == 3
