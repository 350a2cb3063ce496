"""A hook that fails becomes one warning and is off; training neither stops nor changes. One fault for each hook."""

from __future__ import annotations

import logging

import numpy as np
import pytest

import ingest
from ingest import integrations
from ingest_client._run import Run
from ingest_client.integrations import _guard
from tests.integration.integrations.test_libraries import (
    FEATURES,
    TARGET,
    hugging_face_trainer,
    lightning_parts,
)
from tests.integration.integrations.test_torch_loop import train

pytestmark = [
    pytest.mark.timeout(400),
    pytest.mark.filterwarnings("ignore"),
]


class Broken(Exception):
    """What a library or a disk may do to us at any moment."""


@pytest.fixture
def broken(logged, monkeypatch, caplog):
    """Everything that a run can log raises; gives the warnings about hooks."""

    def fail(*args, **kwargs):
        raise Broken("injected")

    for name in ("log_params", "log_param", "set_tag", "set_tags"):
        monkeypatch.setattr(Run, name, fail)
    made = Run.__init__

    def init(self, *args, **kwargs):
        made(self, *args, **kwargs)
        self.log_metrics = self.log_metric = fail

    monkeypatch.setattr(Run, "__init__", init)
    caplog.set_level(logging.WARNING, logger="ingest")
    return lambda: [record.message for record in caplog.records if "hook" in record.message]


def trains_torch(tmp_path):
    with ingest.start_run():
        return train(5)


def trains_lightning(tmp_path):
    pl, module, loader, quiet = lightning_parts()
    trainer = pl.Trainer(logger=False, **quiet)
    trainer.fit(module(), loader)
    return trainer.global_step


def trains_transformers(tmp_path):
    trainer = hugging_face_trainer(tmp_path)
    trainer.train()
    return trainer.state.global_step


def trains_accelerate(tmp_path):
    accelerate = pytest.importorskip("accelerate")
    accelerator = accelerate.Accelerator(log_with=integrations.AccelerateTracker("x"), cpu=True)
    accelerator.init_trackers("project", config={"lr": 0.1})
    accelerator.log({"loss": 1.0}, step=0)
    accelerator.log({"loss": 1.0}, step=1)
    accelerator.end_training()
    return True


def trains_sklearn(tmp_path):
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import GridSearchCV

    return GridSearchCV(Ridge(), {"alpha": [0.1, 1.0]}, cv=2).fit(FEATURES, TARGET).best_params_


def trains_xgboost(tmp_path):
    xgboost = pytest.importorskip("xgboost")
    data = xgboost.DMatrix(FEATURES, label=TARGET)
    return xgboost.train(
        {}, data, num_boost_round=3, evals=[(data, "train")], verbose_eval=False
    ).num_boosted_rounds()


def trains_lightgbm(tmp_path):
    lightgbm = pytest.importorskip("lightgbm")
    data = lightgbm.Dataset(FEATURES, label=TARGET)
    return lightgbm.train({"verbosity": -1}, data, num_boost_round=3, valid_sets=[data]).num_trees()


def trains_keras(tmp_path):
    keras = pytest.importorskip("keras")
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile(optimizer="sgd", loss="mse")
    return len(model.fit(FEATURES, TARGET, epochs=2, verbose=0).history["loss"])


@pytest.mark.parametrize(
    ("flavor", "trains", "hooks"),
    [
        ("pytorch", trains_torch, {"torch.optimizer_step"}),
        ("lightning", trains_lightning, {"lightning.start_run"}),
        ("transformers", trains_transformers, {"transformers.on_train_begin", "transformers.on_log"}),
        (None, trains_accelerate, {"accelerate.store_init_configuration", "accelerate.log"}),
        ("sklearn", trains_sklearn, {"sklearn.start_run"}),
        ("xgboost", trains_xgboost, {"xgboost.start_run"}),
        ("lightgbm", trains_lightgbm, {"lightgbm.start_run"}),
        ("keras", trains_keras, {"keras.start_run"}),
    ],
    ids=lambda value: value if isinstance(value, str) else getattr(value, "__name__", None),
)
def test_training_goes_on_when_logging_is_broken(broken, tmp_path, flavor, trains, hooks):
    """Runs can't even be tagged: the whole integration is off, and said so once for each hook."""
    ingest.autolog(flavors=[flavor] if flavor else [], every_n_steps=1)
    assert trains(tmp_path)
    assert hooks <= set(_guard.broken_hooks())
    warnings = broken()
    assert len(warnings) == len(_guard.broken_hooks())
    assert all("injected" in warning and "training goes on" in warning for warning in warnings)


@pytest.mark.parametrize(
    ("flavor", "trains", "hooks"),
    [
        ("lightning", trains_lightning, {"lightning.autolog", "lightning.log_metrics"}),
        ("sklearn", trains_sklearn, {"sklearn.settings", "sklearn.search", "sklearn.scores"}),
        ("xgboost", trains_xgboost, {"xgboost.autolog"}),
        ("lightgbm", trains_lightgbm, {"lightgbm.autolog"}),
        ("keras", trains_keras, {"keras.autolog"}),
    ],
    ids=lambda value: value if isinstance(value, str) else getattr(value, "__name__", None),
)
def test_training_goes_on_when_hooks_inside_a_run_are_broken(broken, tmp_path, flavor, trains, hooks):
    ingest.autolog(flavors=[flavor])
    with ingest.start_run():
        assert trains(tmp_path)
    assert hooks <= set(_guard.broken_hooks())
    assert len(broken()) == len(_guard.broken_hooks())


@pytest.mark.parametrize("callback", ["XGBoostCallback", "LightGBMCallback", "KerasCallback"])
def test_callbacks_that_the_user_gave_fail_alone(broken, callback):
    with ingest.start_run():
        if callback == "XGBoostCallback":
            xgboost = pytest.importorskip("xgboost")
            data = xgboost.DMatrix(FEATURES, label=TARGET)
            xgboost.train(
                {},
                data,
                3,
                evals=[(data, "t")],
                callbacks=[integrations.XGBoostCallback()],
                verbose_eval=False,
            )
            expected = {"xgboost.after_iteration"}
        elif callback == "LightGBMCallback":
            lightgbm = pytest.importorskip("lightgbm")
            data = lightgbm.Dataset(FEATURES, label=TARGET)
            lightgbm.train(
                {"verbosity": -1}, data, 3, valid_sets=[data], callbacks=[integrations.LightGBMCallback()]
            )
            expected = {"lightgbm.after_iteration"}
        else:
            keras = pytest.importorskip("keras")
            model = keras.Sequential([keras.layers.Dense(1)])
            model.compile(optimizer="sgd", loss="mse")
            model.fit(FEATURES, TARGET, epochs=2, verbose=0, callbacks=[integrations.KerasCallback()])
            expected = {"keras.on_train_begin", "keras.on_epoch_end"}
    assert set(_guard.broken_hooks()) == expected
    assert len(broken()) == len(expected)


def test_a_hook_gets_another_chance_with_the_next_autolog(logged):
    @_guard.guarded("some.hook")
    def hook(value: int) -> int:
        return 1 // value

    assert hook(0) is None
    assert hook(1) is None
    ingest.autolog(flavors=[])
    assert hook(1) == 1


def test_interrupts_pass():
    @_guard.guarded("another.hook")
    def hook() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        hook()
    assert np.all([name != "another.hook" for name in _guard.broken_hooks()])
