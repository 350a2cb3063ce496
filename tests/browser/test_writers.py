"""The tab Writers: who logged to a run, by attempt; of a run of two ranks that was resumed from a checkpoint."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import client_environment
from tests.browser.test_charts import drawn

OpenPage = Callable[..., Page]
SCRIPT = """
    import os, sys, ingest
    ingest.set_experiment("preempted")
    first, last = int(sys.argv[1]), int(sys.argv[2])
    with ingest.start_run(run_name="preempted", resume_from_step=first - 1 if first else None) as run:
        for step in range(first, last):
            run.log_metrics({"loss": 1.0 + int(os.environ["RANK"])}, step=step)
    print(run.info.run_id)
"""


def train(environment: dict[str, str], first: int, last: int) -> str:
    """Two ranks, as a launcher starts them, from one step up to another; the run's id."""
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(SCRIPT), str(first), str(last)],
            env=environment | {"RANK": str(rank), "WORLD_SIZE": "2"}, stdout=subprocess.PIPE, text=True,
        )
        for rank in range(2)
    ]  # fmt: skip
    told = [rank.communicate(timeout=90)[0].split() for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0]
    assert told[0] == told[1]
    return told[0][-1]


@pytest.fixture(scope="module")
def preempted(dashboard: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A run that went up to step 19, and was started again by the same job from a checkpoint of step 12."""
    environment = client_environment(dashboard, tmp_path_factory.mktemp("spool"))
    environment |= {"INGEST_JOB_ID": "browser-preempted"}
    run_id = train(environment, 0, 20)
    assert train(environment, 13, 30) == run_id
    return run_id


def cells(row: Locator, heads: list[str]) -> dict[str, str]:
    return dict(zip(heads, row.get_by_role("cell").all_inner_texts(), strict=True))


def test_each_attempt_has_its_ranks_with_host_last_word_backlog_and_cost(
    open_page: OpenPage, preempted: str
) -> None:
    page = open_page(f"/runs/{preempted}")
    page.get_by_role("tab", name="Writers").click()
    expect(
        page.get_by_text("resumed from step 12; later points of earlier attempts are superseded")
    ).to_be_visible()
    for attempt, points in ((1, "20"), (2, "17")):
        table = page.get_by_role("region", name=f"Writers of attempt {attempt}")
        heads = table.get_by_role("columnheader").all_inner_texts()
        rows = table.locator("tbody tr")
        expect(rows).to_have_count(2)
        told = [cells(row, heads) for row in rows.all()]
        assert [one["Rank"] for one in told] == ["0 of 2", "1 of 2"]
        for one in told:
            assert one["Host"] not in {"", "–"}
            assert one["Points"] == points
            assert one["Last heard"].startswith("ended ")
            assert (one["Held back"], one["Lost"]) == ("0", "0")
            assert re.fullmatch(r"\d+\.\d\d µs", one["A call costs"])
            assert re.search(r"\d+ m?s", one["Client CPU"])


def test_the_curve_of_a_resumed_run_goes_on_from_its_checkpoint(open_page: OpenPage, preempted: str) -> None:
    """What the first attempt logged after step 12 is not drawn twice."""
    page = open_page(f"/runs/{preempted}?tab=charts")
    expect(drawn(page, "loss").locator(".chart-told")).to_have_text(
        "60 points"
    )  # of two ranks, at steps 0 to 29
