"""What holds for every test: how hypothesis searches, and that CI skips nothing by accident.

At home a test that finds no database or no torch is skipped and says so. In CI such a skip would hide that half of the
suite never ran, so there it is a failure. Fixtures live in tests/conftest.py.
"""

from __future__ import annotations

import os
from collections.abc import Generator

import hypothesis
import pytest

IN_CI = os.environ.get("CI", "").lower() in {"1", "true"}

MAY_BE_SKIPPED_IN_CI = "gpu"
"""The marker of tests for hardware that CI does not have. Everything else has to run there."""

# No deadline and no look at the clock: two cores, shared with PostgreSQL, pause any example for as long as they like.
hypothesis.settings.register_profile(
    "ingest", deadline=None, print_blob=True, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("ingest")


def _as_failure(reason: object) -> str:
    text = reason[2] if isinstance(reason, tuple) else reason
    return f"{text}\nCI has to run this test; what it needs is for .ci/run to install (conftest.py)."


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail a test that was skipped in CI; an expected failure also counts as skipped, and stays one."""
    report = yield
    expected_failure = hasattr(report, "wasxfail")
    if (
        IN_CI
        and report.skipped
        and not expected_failure
        and not item.get_closest_marker(MAY_BE_SKIPPED_IN_CI)
    ):
        report.outcome = "failed"
        report.longrepr = _as_failure(report.longrepr)
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Fail a module that skips itself in CI, as importorskip does at its top."""
    report = yield
    if IN_CI and report.skipped:
        report.outcome = "failed"
        report.longrepr = _as_failure(report.longrepr)
    return report
