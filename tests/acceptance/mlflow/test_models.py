"""Models by the stock client, unchanged, against `ingest serve`: flavours, the registry, autologging; two versions."""

from __future__ import annotations

import pytest

from tests.acceptance.mlflow.conftest import RunScript

pytestmark = [pytest.mark.timeout(1_500), pytest.mark.slow]


def test_models_are_logged_loaded_and_registered(run_whole: RunScript):
    """`runs:/`, `models:/m-…`, `models:/name/1`, `models:/name@alias`, `models:/name/Stage`; each method of the registry."""
    run_whole("models.py")


def test_no_method_of_the_client_is_forgotten(run_whole: RunScript):
    """All of `dir(MlflowClient)` that is neither GenAI nor of MLflow's own server; the script fails when one was not called."""
    assert int(run_whole("every_method.py").split()[-1]) >= 50


def test_autologging(run_whole: RunScript):
    """scikit-learn and PyTorch Lightning: params, curves and data sets, without a line of code about them."""
    run_whole("autolog.py")


def test_a_classifier_from_its_first_param_to_its_registration(run_whole: RunScript):
    """A script in the order in which tutorials have it; only the address of the service is new."""
    run_whole("classifier.py")
