"""Models by the stock client, unchanged, against `ingest serve`: flavours, the registry, autologging; two versions."""

from __future__ import annotations

import pytest

from tests.acceptance.mlflow.conftest import RunScript

pytestmark = [pytest.mark.timeout(1_500), pytest.mark.slow]


def test_models_are_logged_loaded_and_registered(run_whole: RunScript):
    """`runs:/`, `models:/m-…`, `models:/name/1`, `models:/name@alias`, `models:/name/Stage`; each method of the registry."""
    run_whole("models.py")


def test_autologging(run_whole: RunScript):
    """scikit-learn and PyTorch Lightning: params, curves and data sets, without a line of code about them."""
    run_whole("autolog.py")
