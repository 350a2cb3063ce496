"""Lightning, Transformers, Accelerate, scikit-learn, XGBoost, LightGBM and Keras, each as its users use it."""

from __future__ import annotations

import numpy as np
import pytest

import ingest
from ingest import integrations

pytestmark = [
    pytest.mark.timeout(400),  # importing some of these takes tens of seconds on a busy machine
    pytest.mark.filterwarnings("ignore"),  # theirs are not ours to mend
]

DICE = np.random.default_rng(0)
FEATURES = DICE.normal(size=(60, 4))
LABELS = (FEATURES[:, 0] > 0).astype(int)
TARGET = FEATURES @ np.array([1.0, 2.0, 0.0, -1.0])


# --- Lightning ----------------------------------------------------------------------------------------------------------


def lightning_parts():
    pl, torch = pytest.importorskip("pytorch_lightning"), pytest.importorskip("torch")

    class Module(pl.LightningModule):  # type: ignore[misc,name-defined]  # imported at run time
        def __init__(self, width: int = 3) -> None:
            super().__init__()
            self.save_hyperparameters()
            self.net = torch.nn.Linear(4, 1)

        def training_step(self, batch, index):
            loss = self.net(batch[0]).pow(2).mean()
            self.log("train_loss", loss, on_step=True, on_epoch=False)
            return loss

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    data = torch.utils.data.TensorDataset(torch.randn(16, 4))
    loader = torch.utils.data.DataLoader(data, batch_size=4)
    quiet = {
        "max_epochs": 2, "log_every_n_steps": 1, "enable_progress_bar": False, "enable_model_summary": False,
        "enable_checkpointing": False, "accelerator": "cpu",
    }  # fmt: skip
    return pl, Module, loader, quiet


def test_lightning_logger(logged):
    pl, module, loader, quiet = lightning_parts()
    pl.Trainer(logger=integrations.LightningLogger(run_name="by logger"), **quiet).fit(module(), loader)
    (run,) = logged()
    assert (run.name, run.status, run.params["width"]) == ("by logger", "FINISHED", "3")
    assert [step for step, _ in run.points["train_loss"]] == list(range(8))


def test_lightning_autolog_starts_a_run_and_ends_it(logged):
    pl, module, loader, quiet = lightning_parts()
    ingest.autolog(exclude_flavors=["pytorch"])
    pl.Trainer(logger=False, **quiet).fit(module(), loader)
    assert ingest.active_run() is None
    (run,) = logged()
    assert (run.status, run.params["trainer/max_epochs"]) == ("FINISHED", "2")
    assert [step for step, _ in run.points["train_loss"]] == list(range(8))


def test_lightning_autolog_marks_a_failed_fit(logged):
    pl, module, loader, quiet = lightning_parts()
    ingest.autolog()
    broken = module()
    broken.training_step = lambda *_: 1 / 0
    with pytest.raises(ZeroDivisionError):
        pl.Trainer(logger=False, **quiet).fit(broken, loader)
    assert [run.status for run in logged()] == ["FAILED"]


# --- Transformers and Accelerate ----------------------------------------------------------------------------------------


def hugging_face_trainer(tmp_path, **more):
    transformers, torch = pytest.importorskip("transformers"), pytest.importorskip("torch")

    class Model(torch.nn.Module):  # type: ignore[misc,name-defined]  # imported at run time
        def __init__(self) -> None:
            super().__init__()
            self.net = torch.nn.Linear(4, 1)

        def forward(self, x, labels):
            prediction = self.net(x).squeeze(-1)
            return {"loss": (prediction - labels).pow(2).mean(), "logits": prediction}

    rows = [{"x": torch.randn(4), "labels": torch.tensor(1.0)} for _ in range(16)]
    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path), num_train_epochs=2, per_device_train_batch_size=4, logging_steps=1, report_to=[],
        disable_tqdm=True, save_strategy="no", use_cpu=True, learning_rate=0.01,
    )  # fmt: skip
    return transformers.Trainer(model=Model(), args=arguments, train_dataset=rows, **more)


def test_transformers_callback(logged, tmp_path):
    with ingest.start_run():
        hugging_face_trainer(tmp_path, callbacks=[integrations.TransformersCallback()]).train()
    (run,) = logged()
    assert run.params["train/learning_rate"] == "0.01"
    assert [step for step, _ in run.points["loss"]] == list(range(1, 9))


def test_transformers_autolog(logged, tmp_path):
    pytest.importorskip("transformers")
    ingest.autolog(flavors=["transformers"])
    trainer = hugging_face_trainer(tmp_path)
    trainer.train()
    (run,) = logged()
    assert run.status == "FINISHED"
    assert len(run.points["loss"]) == 8
    ingest.autolog(disable=True)
    assert len(hugging_face_trainer(tmp_path).callback_handler.callbacks) + 1 == len(
        trainer.callback_handler.callbacks
    )


def test_accelerate_tracker(logged):
    accelerate = pytest.importorskip("accelerate")
    accelerator = accelerate.Accelerator(log_with=integrations.AccelerateTracker("accelerated"), cpu=True)
    accelerator.init_trackers("project", config={"lr": 0.1, "nested": {"depth": 2}})
    for step in range(3):
        accelerator.log({"loss": 1.0 / (step + 1), "phase": "warm"}, step=step)
    accelerator.end_training()
    (run,) = logged()
    assert run.status == "FINISHED"
    assert run.params == {"lr": "0.1", "nested/depth": "2"}
    assert run.tags["phase"] == "warm"
    assert run.points["loss"] == [(0, 1.0), (1, 0.5), (2, pytest.approx(1 / 3))]


# --- scikit-learn -------------------------------------------------------------------------------------------------------


def test_sklearn_autolog_logs_settings_and_scores(logged):
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.metrics import f1_score

    ingest.autolog()
    forest = RandomForestClassifier(n_estimators=7, random_state=0).fit(FEATURES, LABELS)
    (run,) = logged()
    assert run.tags["estimator_name"] == "RandomForestClassifier"
    assert (run.params["n_estimators"], run.params["max_depth"]) == ("7", "None")
    expected = f1_score(LABELS, forest.predict(FEATURES), average="weighted")
    assert run.points["training_f1_score"] == [(0, pytest.approx(expected))]
    assert {"training_accuracy_score", "training_log_loss", "training_roc_auc", "training_score"} <= set(
        run.points
    )


def test_sklearn_autolog_sees_a_pipeline_as_one_and_a_scaler_as_none(logged):
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    ingest.autolog()
    StandardScaler().fit_transform(FEATURES)
    pipeline = make_pipeline(StandardScaler(), Ridge(alpha=0.5)).fit(FEATURES, TARGET)
    (run,) = logged()
    assert (run.tags["estimator_name"], run.params["ridge__alpha"]) == ("Pipeline", "0.5")
    assert run.points["training_r2_score"] == [(0, pytest.approx(pipeline.score(FEATURES, TARGET)))]


def test_sklearn_autolog_of_a_search_is_one_run_with_the_best(logged):
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import GridSearchCV

    ingest.autolog()
    search = GridSearchCV(Ridge(), {"alpha": [0.1, 1.0]}, cv=2).fit(FEATURES, TARGET)
    (run,) = logged()
    assert run.params["best_alpha"] == str(search.best_params_["alpha"])
    assert run.points["best_cv_score"] == [(0, pytest.approx(search.best_score_))]


def test_sklearn_autolog_reaches_estimators_that_are_defined_later_and_lets_go(logged):
    from sklearn.base import BaseEstimator

    ingest.autolog()

    class Own(BaseEstimator):  # type: ignore[misc]  # untyped here
        def __init__(self, depth=1):
            self.depth = depth

        def fit(self, X, y=None):  # noqa: N803 - scikit-learn's name
            return self

    Own(depth=4).fit(FEATURES)
    assert [run.params for run in logged()] == [{"depth": "4"}]
    ingest.autolog(disable=True)
    Own(depth=5).fit(FEATURES)
    assert len(logged()) == 1


# --- boosters -----------------------------------------------------------------------------------------------------------


def test_xgboost_autolog(logged):
    xgboost = pytest.importorskip("xgboost")
    ingest.autolog(flavors=["xgboost"])
    data = xgboost.DMatrix(FEATURES, label=TARGET)
    result: dict[str, dict[str, list[float]]] = {}
    xgboost.train({"max_depth": 2}, data, num_boost_round=4, evals=[(data, "train")], evals_result=result)
    xgboost.XGBRegressor(n_estimators=3).fit(FEATURES, TARGET, eval_set=[(FEATURES, TARGET)], verbose=False)
    first, second = logged()
    assert (first.status, first.params["max_depth"], first.params["num_boost_round"]) == (
        "FINISHED",
        "2",
        "4",
    )
    assert first.points["train/rmse"] == [
        (i, pytest.approx(v)) for i, v in enumerate(result["train"]["rmse"])
    ]
    assert len(second.points["validation_0/rmse"]) == 3


def test_lightgbm_autolog(logged):
    lightgbm = pytest.importorskip("lightgbm")
    ingest.autolog(flavors=["lightgbm"])
    data = lightgbm.Dataset(FEATURES, label=TARGET)
    lightgbm.train(
        {"objective": "l2", "verbosity": -1}, data, num_boost_round=4, valid_sets=[data], valid_names=["v"]
    )
    lightgbm.LGBMRegressor(n_estimators=3, verbosity=-1).fit(FEATURES, TARGET, eval_set=[(FEATURES, TARGET)])
    first, second = logged()
    assert (first.status, first.params["objective"]) == ("FINISHED", "l2")
    assert [step for step, _ in first.points["v/l2"]] == [0, 1, 2, 3]
    assert [len(points) for points in second.points.values()] == [3]


# --- Keras --------------------------------------------------------------------------------------------------------------


def test_keras_autolog(logged):
    keras = pytest.importorskip("keras")
    ingest.autolog(flavors=["keras"])
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile(optimizer=keras.optimizers.SGD(learning_rate=0.25), loss="mse")
    history = model.fit(FEATURES, TARGET, epochs=3, batch_size=20, validation_split=0.5, verbose=0)
    (run,) = logged()
    assert (run.status, run.params["epochs"], run.params["batch_size"]) == ("FINISHED", "3", "20")
    assert float(run.params["optimizer/learning_rate"]) == 0.25
    assert run.points["val_loss"] == [
        (i, pytest.approx(v)) for i, v in enumerate(history.history["val_loss"])
    ]
    assert ingest.active_run() is None


# --- all of them ----------------------------------------------------------------------------------------------------------


def test_disable_puts_back_every_function_of_every_library(logged):
    """What was hooked into is then what it was, object for object; twice, as notebooks do."""
    pl, transformers, xgboost, lightgbm, keras = map(
        pytest.importorskip, ("pytorch_lightning", "transformers", "xgboost", "lightgbm", "keras")
    )
    from sklearn.base import BaseEstimator
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.pipeline import Pipeline

    owners = [
        pl.Trainer, transformers.Trainer, xgboost, xgboost.training, xgboost.sklearn, lightgbm, lightgbm.engine,
        lightgbm.sklearn, keras.Model, BaseEstimator, LogisticRegression, Ridge, Pipeline,
    ]  # fmt: skip
    before = [dict(vars(owner)) for owner in owners]
    for _ in range(2):
        ingest.autolog()
        hooked = [dict(vars(owner)) != was for owner, was in zip(owners, before, strict=True)]
        assert all(hooked), [owner for owner, is_hooked in zip(owners, hooked, strict=True) if not is_hooked]
        ingest.autolog(disable=True)
        assert [dict(vars(owner)) for owner in owners] == before
