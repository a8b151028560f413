"""LightGBM as a learner: on one worker without Spark, against LightGBM itself; on two, against one."""

import dataclasses
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pytest
from pyspark.sql import DataFrame, SparkSession
from scipy.special import expit, softmax
from sklearn.metrics import average_precision_score, log_loss
from support.class_rows import class_rows
from support.model_rows import FEATURES, as_spark, matrix, model_rows, start_of
from support.one_worker import boosted_here, killer, rows_with_categories, thin_region

from imbalance_spark.calibration import PriorCorrection
from imbalance_spark.scoring.boosters import load_booster
from imbalance_spark.train_only.config import BoosterParams, TrainingConfig
from imbalance_spark.train_only.learners import native
from imbalance_spark.train_only.learners.boosting import Progress
from imbalance_spark.train_only.learners.engine import FitRequest
from imbalance_spark.train_only.learners.lightgbm import LightGBM, LightGBMRounds, lightgbm_params
from imbalance_spark.train_only.learners.losses import FocalLoss
from imbalance_spark.train_only.learners.xgboost import FittedBooster

TRAINING = TrainingConfig(num_workers=1, rounds=8, early_stopping_rounds=8, learner="lightgbm")


def request(rows: pd.DataFrame, spark: SparkSession | None = None, **changed: Any) -> FitRequest:
    """A request on these rows, for one worker without Spark if there is no session."""
    table: Any = rows if spark is None else as_spark(spark, rows)
    asked = {
        "features": FEATURES, "training": TRAINING, "params": BoosterParams(max_depth=4), "start": start_of(0.05),
        "correction": PriorCorrection.identity(), "strategy": "none",
    }  # fmt: skip
    return FitRequest(table=table, **{**asked, **changed})


def rounds(rows: pd.DataFrame, folder: Path, **changed: Any) -> Progress:
    asked = request(rows, **changed)
    fields = {"features": 4, "workers": 1, "peer_timeout_s": 60}
    return boosted_here(LightGBMRounds, asked, lightgbm_params, folder, spare_bins=4, **fields)


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    return model_rows(4000, seed=1, intercept=-3.0)


def test_the_model_is_that_of_lightgbm_on_the_same_bins(rows: pd.DataFrame, tmp_path: Path) -> None:
    """Few values, so that LightGBM's own bins separate what ours do."""
    rows = rows.assign(**{f"x_{i}": rows[f"x_{i}"].round(1) for i in range(4)})
    found = rounds(rows, tmp_path, weight_col="row_weight", scale_pos_weight=3.0)
    to_fit = rows[~rows.is_early_stopping]
    data = lightgbm.Dataset(
        matrix(to_fit), to_fit.y, weight=to_fit.row_weight.astype(np.float32),
        init_score=np.full(len(to_fit), np.log(0.05 / 0.95)), params={"min_data_in_bin": 1},
    )  # fmt: skip
    given = lightgbm_params(request(rows, scale_pos_weight=3.0))
    peer = lightgbm.train({**given, "num_threads": 1}, data, 8)
    unseen = matrix(model_rows(2000, seed=2)).round(1)
    expected = expit(peer.predict(unseen, raw_score=True) + np.log(0.05 / 0.95))
    margin = load_booster(found.model).inplace_predict(unseen, predict_type="margin")
    np.testing.assert_allclose(expit(margin.astype(float)), expected, rtol=0.0, atol=1e-6)


def test_the_fit_is_stopped_by_the_log_loss_of_corrected_probabilities(rows: pd.DataFrame, tmp_path: Path) -> None:
    correction = PriorCorrection.of_odds(positive=5.0, negative=1.0)
    found = rounds(rows, tmp_path, scale_pos_weight=5.0, correction=correction)
    stopping = rows[rows.is_early_stopping]
    margin = load_booster(found.model).inplace_predict(matrix(stopping), predict_type="margin")
    expected = log_loss(stopping.y, expit(correction.logit(margin)))
    assert found.validation[-1] == pytest.approx(expected, rel=1e-5)
    uncorrected = log_loss(stopping.y, expit(margin))
    assert found.validation[-1] < uncorrected - 0.01


def test_leaves_are_newton_steps_of_the_focal_loss(rows: pd.DataFrame, tmp_path: Path) -> None:
    loss = FocalLoss.focal(gamma=0.5)
    one_round = TRAINING.model_copy(update={"rounds": 1})
    found = rounds(rows, tmp_path, loss=loss, correction=loss.correction(), training=one_round, weight_col="row_weight")
    to_fit = rows[~rows.is_early_stopping]
    start = np.log(0.05 / 0.95)
    gradient, hessian = loss.weighted(np.full(len(to_fit), start), to_fit.y, to_fit.row_weight.astype(np.float32))
    step = load_booster(found.model).inplace_predict(matrix(to_fit), predict_type="margin") - start
    for leaf in np.unique(step):
        here = step == leaf
        newton = -0.1 * gradient[here].sum() / (hessian[here].sum() + 1.0)
        assert leaf == pytest.approx(newton, rel=1e-3, abs=1e-5)
    assert len(np.unique(step)) > 4


@pytest.mark.parametrize("loss", [None, FocalLoss.focal(gamma=1.0, classes=3)])
def test_three_classes_grow_a_tree_each_and_stop_by_their_log_loss(tmp_path: Path, loss: FocalLoss | None) -> None:
    rows = class_rows(2000, seed=1)
    correction = PriorCorrection.identity(3) if loss is None else loss.correction()
    found = rounds(rows, tmp_path, start=(-0.1, -2.5, -4.0), correction=correction, loss=loss)
    booster, stopping = load_booster(found.model), rows[rows.is_early_stopping]
    assert len(booster.get_dump()) == 3 * len(found.validation)
    margin = booster.inplace_predict(matrix(stopping), predict_type="margin")
    p = softmax(margin, axis=1) if loss is None else np.exp(correction.log_probabilities(margin))
    assert found.validation[-1] == pytest.approx(log_loss(stopping.y, p, labels=[0, 1, 2]), rel=1e-4)


def test_balanced_cuts_find_a_thin_region_that_plain_ones_miss(tmp_path: Path) -> None:
    rows, unseen = thin_region(20_000, seed=1), thin_region(20_000, seed=2)

    def precision(**cuts: str) -> float:
        found = rounds(rows, tmp_path, params=BoosterParams(max_depth=3, max_bin=32), start=start_of(0.005), **cuts)
        return float(average_precision_score(unseen.y, load_booster(found.model).inplace_predict(matrix(unseen))))

    assert precision(cuts="balanced") > 1.5 * precision(cuts="plain")


def test_categories_are_split_as_sets(tmp_path: Path) -> None:
    rows = rows_with_categories(4000, seed=1)
    found = rounds(rows, tmp_path, categorical=1)
    unseen = rows_with_categories(4000, seed=2)
    as_sets, as_numbers = (
        log_loss(unseen.y, load_booster(one.model).inplace_predict(matrix(unseen)).astype(float))
        for one in (found, rounds(rows, tmp_path))
    )
    assert as_sets < as_numbers - 0.005


def test_a_feature_of_one_value_and_one_without_any_do_no_harm(rows: pd.DataFrame, tmp_path: Path) -> None:
    found = rounds(rows.assign(x_1=1.0, x_2=np.nan), tmp_path)
    assert found.rounds == 8
    assert found.validation[-1] < found.validation[0]


def test_where_nothing_can_be_split_the_fit_ends_at_the_constant(rows: pd.DataFrame, tmp_path: Path) -> None:
    found = rounds(rows.assign(**{f"x_{i}": 1.0 for i in range(4)}), tmp_path)
    assert (found.rounds, load_booster(found.model).num_boosted_rounds()) == (1, 1)


def test_two_workers_fit_the_model_of_one(spark: SparkSession) -> None:
    """Of numbers and three levels: LightGBM alone skips features that could not split a node's parent."""
    rows = rows_with_categories(4000, seed=1)

    def fit(workers: int) -> FittedBooster:
        asked = request(
            rows, spark, training=TRAINING.model_copy(update={"num_workers": workers}), cuts="balanced",
            params=BoosterParams(max_depth=3), scale_pos_weight=2.0,
            correction=PriorCorrection.of_odds(positive=2.0, negative=1.0),
        )  # fmt: skip
        return LightGBM().fit(asked)

    one, two = fit(1), fit(2)
    x = matrix(rows_with_categories(3000, seed=2))
    p = [load_booster(fitted.model_bytes).inplace_predict(x) for fitted in (one, two)]
    np.testing.assert_allclose(p[1], p[0], rtol=0.0, atol=1e-6)
    assert two.learning_curve["validation"] == pytest.approx(one.learning_curve["validation"], rel=1e-9)
    assert (one.num_workers, two.num_workers) == (1, 2)


def test_a_fit_that_lost_a_worker_begins_again_and_ends_the_same(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = TRAINING.model_copy(update={"num_workers": 2})
    asked = request(rows_with_categories(2000, seed=1), spark, training=training, categorical=1)
    undisturbed, collected, attempts = LightGBM().fit(asked), native._collected, []

    def collect(rows: DataFrame, worker: native.Worker, strategy: str) -> Progress:
        attempts.append(worker)
        is_first = len(attempts) == 1
        lost = dataclasses.replace(worker, reporter=killer(worker.reporter, 2)) if is_first else worker
        return collected(rows, lost, strategy)

    monkeypatch.setattr(native, "_collected", collect)
    assert LightGBM().fit(asked).model_bytes == undisturbed.model_bytes
    assert [worker.resumed for worker in attempts] == [None, None]
