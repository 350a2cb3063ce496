"""A hook that fails becomes one warning and is off; training neither stops nor changes. One fault for each hook."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import numpy as np
import pytest

import ingest
from ingest import integrations
from ingest_client import _fluent
from ingest_client._run import Run
from ingest_client.integrations import _guard, _patch
from ingest_client.integrations.autolog import FLAVORS
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


def id_of(value):
    return value if isinstance(value, str) else getattr(value, "__name__", None)


NOTHING_CAN_BE_LOGGED = [
    ("pytorch", trains_torch, {"torch.optimizer_step"}),
    ("lightning", trains_lightning, {"lightning.start_run"}),
    ("transformers", trains_transformers, {"transformers.on_train_begin", "transformers.on_log"}),
    (None, trains_accelerate, {"accelerate.store_init_configuration", "accelerate.log"}),
    ("sklearn", trains_sklearn, {"sklearn.start_run"}),
    ("xgboost", trains_xgboost, {"xgboost.start_run"}),
    ("lightgbm", trains_lightgbm, {"lightgbm.start_run"}),
    ("keras", trains_keras, {"keras.start_run"}),
]


@pytest.mark.parametrize(("flavor", "trains", "hooks"), NOTHING_CAN_BE_LOGGED, ids=id_of)
def test_training_goes_on_when_logging_is_broken(broken, tmp_path, flavor, trains, hooks):
    """Runs can't even be tagged: the whole integration is off, and said so once for each hook."""
    ingest.autolog(flavors=[flavor] if flavor else [], every_n_steps=1)
    assert trains(tmp_path)
    assert hooks <= set(_guard.broken_hooks())
    warnings = broken()
    assert len(warnings) == len(_guard.broken_hooks())
    assert all("injected" in warning and "training goes on" in warning for warning in warnings)


NOTHING_INSIDE_A_RUN = [
    (
        "lightning",
        trains_lightning,
        {"lightning.autolog", "lightning.log_metrics", "lightning.log_hyperparams"},
    ),
    ("sklearn", trains_sklearn, {"sklearn.settings", "sklearn.search", "sklearn.scores"}),
    ("xgboost", trains_xgboost, {"xgboost.autolog"}),
    ("lightgbm", trains_lightgbm, {"lightgbm.autolog"}),
    ("keras", trains_keras, {"keras.autolog"}),
]


@pytest.mark.parametrize(("flavor", "trains", "hooks"), NOTHING_INSIDE_A_RUN, ids=id_of)
def test_training_goes_on_when_hooks_inside_a_run_are_broken(broken, tmp_path, flavor, trains, hooks):
    ingest.autolog(flavors=[flavor])
    with ingest.start_run():
        assert trains(tmp_path)
    assert hooks <= set(_guard.broken_hooks())
    assert len(broken()) == len(_guard.broken_hooks())


def trains_transformers_alone(tmp_path):
    trainer = hugging_face_trainer(tmp_path, callbacks=[integrations.TransformersCallback()])
    trainer.train()
    return trainer.state.global_step


def trains_lightning_alone(tmp_path):
    pl, module, loader, quiet = lightning_parts()
    trainer = pl.Trainer(logger=integrations.LightningLogger(), **quiet)
    trainer.fit(module(), loader)
    return trainer.global_step


def trains_a_late_estimator(tmp_path):
    from sklearn.linear_model import Ridge

    class Late(Ridge):  # type: ignore[misc]  # untyped here
        def fit(self, x, y):
            return super().fit(x, y)

    return len(Late().fit(FEATURES, TARGET).coef_)


def trains_on_batches_without_a_shape(tmp_path):
    torch = pytest.importorskip("torch")

    class Batch:
        data = torch.ones(8, 4)

        @property
        def shape(self):
            raise Broken("injected")

    class Model(torch.nn.Linear):  # type: ignore[misc,name-defined]  # imported at run time
        def forward(self, batch):
            return super().forward(batch.data)

    model = Model(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with ingest.start_run():
        for _ in range(3):
            model(Batch()).sum().backward()
            optimizer.step()
    return True


def no_fault():
    return None


def module_hooks():
    return pytest.importorskip("torch").nn.Module, "register_forward_pre_hook"


def callbacks_of_transformers():
    pytest.importorskip("transformers")
    from ingest_client.integrations import transformers

    return transformers, "_callbacks"


def starts():
    return _fluent, "start_run"


def ends():
    return _fluent, "end_run"


def ends_of_runs():
    return Run, "end"


def patches():
    return _patch.Patches, "replace"


ONE_THING_IS_BROKEN = [
    ("pytorch", trains_torch, module_hooks, "torch.find_model"),
    ("pytorch", trains_on_batches_without_a_shape, no_fault, "torch.count_samples"),
    ("lightning", trains_lightning, ends, "lightning.end_run"),
    (None, trains_lightning_alone, ends_of_runs, "lightning.finalize"),
    ("transformers", trains_transformers, callbacks_of_transformers, "transformers.autolog"),
    (None, trains_transformers_alone, ends_of_runs, "transformers.on_train_end"),
    (None, trains_accelerate, starts, "accelerate.start"),
    (None, trains_accelerate, ends_of_runs, "accelerate.finish"),
    ("sklearn", trains_a_late_estimator, patches, "sklearn.patch"),
    ("sklearn", trains_sklearn, ends, "sklearn.end_run"),
    ("xgboost", trains_xgboost, ends, "xgboost.end_run"),
    ("lightgbm", trains_lightgbm, ends, "lightgbm.end_run"),
    ("keras", trains_keras, ends, "keras.end_run"),
]


@pytest.mark.parametrize("case", ONE_THING_IS_BROKEN, ids=lambda case: case[-1])
def test_training_goes_on_when_one_thing_is_broken(logged, monkeypatch, tmp_path, case):
    flavor, trains, fault, hook = case

    def fail(*args, **kwargs):
        raise Broken("injected")

    ingest.autolog(flavors=[flavor] if flavor else [], every_n_steps=1)
    with monkeypatch.context() as broken:
        if (place := fault()) is not None:
            broken.setattr(*place, fail)
        assert trains(tmp_path)
    assert "injected" in _guard.broken_hooks()[hook]


@pytest.mark.parametrize("flavor", [flavor for flavor, _, _ in NOTHING_CAN_BE_LOGGED if flavor])
def test_a_library_that_can_not_be_hooked_into_is_left_as_it_is(logged, monkeypatch, tmp_path, flavor):
    """As after a release of it in which what we hook into has another name."""
    trains = {flavor: trains for flavor, trains, _ in NOTHING_CAN_BE_LOGGED}[flavor]
    assert trains(tmp_path)  # imported
    with monkeypatch.context() as broken:
        broken.setattr(_patch.Patches, "start", lambda self: 1 / 0)
        ingest.autolog(flavors=[flavor])
    assert set(_guard.broken_hooks()) == {f"{flavor}.install"}
    runs_num = len(logged())
    assert trains(tmp_path)
    assert all(not run.points for run in logged()[runs_num:])


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


BY_CALLBACKS = {
    "xgboost.after_iteration",
    "lightgbm.after_iteration",
    "keras.on_train_begin",
    "keras.on_epoch_end",
}


def test_every_hook_has_a_fault_here():
    """A hook that is added must be broken once, too."""
    libraries = {
        "{library}": ["lightning", "sklearn", "xgboost", "lightgbm", "keras"],
        "{self.library}": ["xgboost", "lightgbm"],
        "{flavor}": FLAVORS,
    }
    found: set[str] = set()
    for module in Path(_guard.__file__).parent.glob("*.py"):
        for name in re.findall(r'\bguarded\(f?"([^"]+)"', module.read_text()):
            owner, _, rest = name.rpartition(".")
            found |= {f"{library}.{rest}" for library in libraries.get(owner, [owner])}
    broken = {hook for _, _, hooks in (*NOTHING_CAN_BE_LOGGED, *NOTHING_INSIDE_A_RUN) for hook in hooks}
    broken |= {hook for *_, hook in ONE_THING_IS_BROKEN} | BY_CALLBACKS
    broken |= {f"{flavor}.install" for flavor in FLAVORS}
    assert found == broken


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
