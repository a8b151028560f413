"""A network as a learner: what it refuses, and two workers on Spark against one without it."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import SparkSession
from sklearn.metrics import log_loss
from support.model_rows import FEATURES, as_spark, matrix, model_rows, start_of
from support.one_worker import rows_with_categories, spilled_here
from support.pytorch import needs_torch

from imbalance_spark.calibration import PriorCorrection
from imbalance_spark.core.errors import ConfigError, TrainingError
from imbalance_spark.scoring.boosters import load_booster, probabilities
from imbalance_spark.scoring.network import NetworkModel
from imbalance_spark.train_only.config import BoosterParams, TrainingConfig
from imbalance_spark.train_only.learners.boosting import Progress, Site
from imbalance_spark.train_only.learners.engine import FitRequest
from imbalance_spark.train_only.learners.kinds import require_packages
from imbalance_spark.train_only.learners.losses import FocalLoss
from imbalance_spark.train_only.learners.network import NetworkEpochs, Torch, network_plan
from imbalance_spark.train_only.strategies import strategy_from_config

TRAINING = TrainingConfig(num_workers=2, rounds=4, early_stopping_rounds=4, learner="torch", checkpoint_rounds=2)
SMALL = {"hidden": [8], "batch_rows": 256, "lr": 0.01}


def request(table: Any, **changed: Any) -> FitRequest:
    asked = {
        "features": FEATURES, "training": TRAINING, "params": BoosterParams(), "start": start_of(0.1),
        "correction": PriorCorrection.identity(), "strategy": "none", "own_params": SMALL,
    }  # fmt: skip
    return FitRequest(table=table, **{**asked, **changed})


def trained_here(rows: pd.DataFrame, folder: Path, **changed: Any) -> Progress:
    """All epochs of a request on one worker without Spark."""
    asked = request(rows, **changed)
    numeric = len(asked.features) - asked.categorical
    epochs = NetworkEpochs(plan=network_plan(asked), numeric=numeric, margins=asked.margins)
    site = Site(threads=1, host="127.0.0.1", scratch=folder, tell=lambda _: None, keep=lambda _: None)
    parts = [
        spilled_here(rows[rows.is_early_stopping == part], asked, folder / f"rows_{part}") for part in (False, True)
    ]
    done = epochs.boost(epochs.load(*parts, site), Progress(rows=0), site)
    for part in parts:
        part.file.close()
    return done


@pytest.mark.parametrize(("strategy", "why"), [
    ({"kind": "none", "params": {"max_depth": 3}}, r"torch has nothing for \['max_depth'\]"),
    ({"kind": "none", "params": {"num_leaves": 3}}, r"torch has no \['num_leaves'\]"),
    ({"kind": "max_delta_step"}, r"torch has nothing for \['max_delta_step'\]"),
    ({"kind": "balanced_sketch"}, "torch has no histogram cuts, which balanced_sketch is asked to choose"),
    ({"kind": "class_weight", "cuts": "plain"}, "torch has no histogram cuts"),
    ({"kind": "balanced_random_forest"}, "forests of XGBoost, which torch has none of: use balanced_bagging with"),
])  # fmt: skip
def test_what_has_no_meaning_for_a_network_is_refused_by_name(strategy: dict[str, Any], why: str) -> None:
    found = list(strategy_from_config({**strategy, "learner": "torch"}).problems_with(TRAINING))
    assert len(found) == 1
    assert found[0].startswith(f"strategy '{strategy['kind']}': ")
    assert re.search(why, found[0])


@pytest.mark.parametrize("kind", ["none", "class_weight", "scale_pos_weight", "focal", "oversample", "smote"])
def test_a_network_takes_samples_weights_and_losses(kind: str) -> None:
    asked = strategy_from_config({"kind": kind, "learner": "torch", "params": SMALL})
    assert list(asked.problems_with(TRAINING)) == []
    assert asked.passes(10, "native") == asked.passes(10, "xgboost_spark")


def test_the_loss_weighs_classes_as_asked_and_stops_by_corrected_probabilities() -> None:
    correction = PriorCorrection.of_odds(positive=5.0, negative=1.0)
    plan = network_plan(request(None, scale_pos_weight=5.0, correction=correction))
    assert plan.loss == FocalLoss(weights=(1.0, 5.0))
    assert plan.metric.correction == correction
    focal = FocalLoss.focal(2.0)
    assert network_plan(request(None, loss=focal, correction=focal.correction())).loss == focal


def test_without_torch_the_error_has_the_pip_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"learner torch needs torch.*pip install 'imbalance_spark\[torch\]'"):
        require_packages([Torch()])


@needs_torch
def test_two_workers_train_the_network_of_one(spark: SparkSession, tmp_path: Path) -> None:
    rows = rows_with_categories(3000, seed=1)
    weighed = rows.assign(row_weight=np.where(rows.y == 1, 3.0, 1.0))
    asked = {
        "categorical": 1,
        "weight_col": "row_weight",
        "correction": PriorCorrection.of_odds(positive=3.0, negative=1.0),
    }
    alone = trained_here(weighed, tmp_path, **asked)
    table = as_spark(spark, weighed)
    fitted = Torch().fit(request(table, **asked))
    assert fitted.rounds_run == 4
    np.testing.assert_allclose(fitted.learning_curve["validation"], alone.validation, rtol=1e-6)
    unseen = matrix(rows_with_categories(1000, seed=2))
    pair = [load_booster(model).inplace_predict(unseen) for model in (alone.model, fitted.model_bytes)]
    np.testing.assert_allclose(*pair, atol=1e-4)
    assert Torch().fit(request(table, **asked)) == fitted
    assert fitted.params["hidden"] == [8]
    assert NetworkModel.from_bytes(fitted.model_bytes).tables[0].shape == (21, 11)
    stopping = weighed[rows.is_early_stopping]
    p = probabilities(load_booster(fitted.model_bytes), matrix(stopping), asked["correction"])
    loss = log_loss(stopping.y, p, sample_weight=stopping.row_weight)
    assert loss == pytest.approx(min(fitted.learning_curve["validation"]), rel=1e-5)


@needs_torch
def test_a_fit_whose_metric_is_no_number_is_refused(spark: SparkSession) -> None:
    rows = model_rows(400, seed=1, intercept=-2.0)
    rows["is_early_stopping"] = False
    with pytest.raises(TrainingError, match=r"log_loss on \['validation'\] is not finite"):
        Torch().fit(request(as_spark(spark, rows)))
