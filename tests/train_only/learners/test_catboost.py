"""CatBoost as a learner: on one worker without Spark, against CatBoost itself; and its job."""

import json
from pathlib import Path
from typing import Any

import catboost
import numpy as np
import pandas as pd
import pytest
from pyspark.sql import SparkSession
from scipy.special import expit, softmax
from sklearn.metrics import average_precision_score, log_loss
from support.class_rows import class_rows
from support.model_rows import FEATURES, as_spark, matrix, model_rows, start_of
from support.one_worker import boosted_here, rows_with_categories, thin_region

from imbalance_spark.calibration import PriorCorrection
from imbalance_spark.core.errors import TrainingError
from imbalance_spark.scoring.boosters import load_booster
from imbalance_spark.train_only.config import BoosterParams, TrainingConfig
from imbalance_spark.train_only.learners import catboost as learner
from imbalance_spark.train_only.learners.boosting import Progress
from imbalance_spark.train_only.learners.catboost import CatBoost, CatBoostRounds, catboost_params
from imbalance_spark.train_only.learners.engine import FitRequest
from imbalance_spark.train_only.learners.losses import FocalLoss

TRAINING = TrainingConfig(num_workers=2, rounds=8, early_stopping_rounds=8, learner="catboost")


def request(rows: pd.DataFrame, spark: SparkSession | None = None, **changed: Any) -> FitRequest:
    """A request on these rows, for one worker without Spark if there is no session."""
    table: Any = rows if spark is None else as_spark(spark, rows)
    asked = {
        "features": FEATURES, "training": TRAINING, "params": BoosterParams(max_depth=4, learning_rate=0.3),
        "start": start_of(0.05), "correction": PriorCorrection.identity(), "strategy": "none",
    }  # fmt: skip
    return FitRequest(table=table, **{**asked, **changed})


def rounds(rows: pd.DataFrame, folder: Path, **changed: Any) -> Progress:
    asked = request(rows, **changed)
    is_own = asked.loss is not None and any(asked.loss.gammas)
    factors = () if is_own else asked.row_factors
    return boosted_here(CatBoostRounds, asked, catboost_params, folder, row_factors=factors)


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    return model_rows(4000, seed=1, intercept=-3.0)


def test_the_model_is_that_of_catboost_on_the_same_borders(rows: pd.DataFrame, tmp_path: Path) -> None:
    """Few values, so that each of them has a border of its own; without noise in the scores of splits."""
    rows = rows.assign(**{f"x_{i}": (rows[f"x_{i}"] * 4).round() for i in range(4)})
    exact = {"random_strength": 0.0}
    found = rounds(rows, tmp_path, weight_col="row_weight", scale_pos_weight=3.0, own_params=exact)
    to_fit = rows[~rows.is_early_stopping]
    weight = to_fit.row_weight.astype(np.float32) * np.where(to_fit.y == 1, 3.0, 1.0)
    data = catboost.Pool(matrix(to_fit), to_fit.y, weight=weight, baseline=np.full(len(to_fit), np.log(0.05 / 0.95)))
    borders = [
        f"{i}\t{float(np.nextafter(np.float32(value), np.float32(-np.inf)))!r}\tMin\n"
        for i in range(4)
        for value in np.sort(to_fit[f"x_{i}"].dropna().unique())[1:]
    ]
    (tmp_path / "peer.tsv").write_text("".join(borders), "ascii")
    data.quantize(input_borders=str(tmp_path / "peer.tsv"))
    peer = catboost.CatBoost({**catboost_params(request(rows, own_params=exact)), "thread_count": 1})
    peer.fit(data)
    unseen = (matrix(model_rows(2000, seed=2)) * 4).round()
    expected = expit(peer.predict(unseen, prediction_type="RawFormulaVal") + np.log(0.05 / 0.95))
    margin = load_booster(found.model).inplace_predict(unseen, predict_type="margin")
    np.testing.assert_allclose(expit(margin.astype(float)), expected, rtol=0.0, atol=1e-6)


@pytest.mark.parametrize("metric", ["log_loss", "average_precision"])
def test_the_fit_is_stopped_by_an_exact_metric_of_corrected_probabilities(
    rows: pd.DataFrame, tmp_path: Path, metric: str
) -> None:
    correction = PriorCorrection.of_odds(positive=5.0, negative=1.0)
    training = TRAINING.model_copy(update={"early_stopping_metric": metric})
    found = rounds(rows, tmp_path, scale_pos_weight=5.0, correction=correction, training=training)
    stopping = rows[rows.is_early_stopping]
    p = expit(correction.logit(load_booster(found.model).inplace_predict(matrix(stopping), predict_type="margin")))
    expected = log_loss(stopping.y, p) if metric == "log_loss" else average_precision_score(stopping.y, p)
    # Scores in one bin count as tied in the average precision.
    assert found.validation[-1] == pytest.approx(expected, rel=1e-3 if metric == "average_precision" else 1e-5)


def test_a_focal_loss_stops_by_the_log_loss_of_its_corrected_scores(rows: pd.DataFrame, tmp_path: Path) -> None:
    loss = FocalLoss.focal(gamma=1.0)
    found = rounds(rows, tmp_path, loss=loss, correction=loss.correction())
    stopping = rows[rows.is_early_stopping]
    margin = load_booster(found.model).inplace_predict(matrix(stopping), predict_type="margin")
    expected = log_loss(stopping.y, expit(loss.correction().logit(margin)))
    assert found.validation[-1] == pytest.approx(expected, rel=1e-5)
    assert found.validation[-1] < found.validation[0]


def test_three_classes_share_a_tree_and_stop_by_their_log_loss(tmp_path: Path) -> None:
    rows = class_rows(2000, seed=1)
    weighed = FocalLoss(weights=(1.0, 4.0, 9.0))
    found = rounds(rows, tmp_path, start=(-0.1, -2.5, -4.0), correction=weighed.correction(), loss=weighed)
    booster, stopping = load_booster(found.model), rows[rows.is_early_stopping]
    assert len(booster.get_dump()) == 3 * len(found.validation)
    margin = booster.inplace_predict(matrix(stopping), predict_type="margin")
    p = np.exp(weighed.correction().log_probabilities(margin))
    assert found.validation[-1] == pytest.approx(log_loss(stopping.y, p, labels=[0, 1, 2]), rel=1e-4)
    assert log_loss(stopping.y, softmax(margin, axis=1), labels=[0, 1, 2]) > found.validation[-1] + 0.01


def test_balanced_cuts_find_a_thin_region_that_plain_ones_miss(tmp_path: Path) -> None:
    rows, unseen = thin_region(20_000, seed=1), thin_region(20_000, seed=2)

    def precision(**cuts: str) -> float:
        found = rounds(rows, tmp_path, params=BoosterParams(max_depth=3, max_bin=32), start=start_of(0.005), **cuts)
        return float(average_precision_score(unseen.y, load_booster(found.model).inplace_predict(matrix(unseen))))

    assert precision(cuts="balanced") > 1.5 * precision(cuts="plain")


def kinds_of_splits(model: bytes, feature: int) -> set[int]:
    trees = json.loads(load_booster(model).save_raw("json"))["learner"]["gradient_booster"]["model"]["trees"]
    return {
        kind
        for tree in trees
        for kind, split_by, child in zip(tree["split_type"], tree["split_indices"], tree["left_children"], strict=True)
        if split_by == feature and child >= 0
    }


def test_categories_are_one_hot_up_to_255_codes(tmp_path: Path) -> None:
    rows = rows_with_categories(4000, seed=1)
    found = rounds(rows, tmp_path, categorical=1)
    beyond = rounds(rows.assign(x_3=rows.x_3 * 20), tmp_path, categorical=1)
    kinds = [kinds_of_splits(one.model, 3) for one in (found, beyond)]
    assert kinds == [{1}, {0}]


def test_rows_that_do_not_fit_into_memory_are_refused_before_they_are_loaded(
    rows: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learner, "free_bytes", lambda: 100_000)
    with pytest.raises(
        TrainingError, match=r"one executor, where 4,000 rows of 4 features take about .* 0 MiB are free"
    ):
        rounds(rows, tmp_path)


def test_one_executor_fits_the_same_model_from_any_layout(spark: SparkSession, rows: pd.DataFrame) -> None:
    few = rows.head(1000)
    here, shuffled = (CatBoost().fit(request(frame, spark)) for frame in (few, few.sample(frac=1.0, random_state=1)))
    assert here.model_bytes == shuffled.model_bytes
    assert (here.num_workers, here.params["loss_function"]) == (1, "Logloss")
