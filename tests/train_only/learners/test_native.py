"""Our own engine on Spark: against `xgboost.train` on the same cuts, XGBoost's Spark estimator, and itself."""

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xgboost
from pyspark.sql import DataFrame, SparkSession
from sklearn.metrics import log_loss
from support.class_rows import CLASSES, class_rows
from support.class_rows import FEATURES as CLASS_FEATURES
from support.model_rows import FEATURES, as_spark, matrix, model_rows, start_of
from support.one_worker import killer

from imbalance_spark.calibration import PriorCorrection
from imbalance_spark.core.errors import DataContractError, TrainingError
from imbalance_spark.core.files import Folder
from imbalance_spark.scoring.boosters import load_booster, probabilities
from imbalance_spark.train_only.config import BoosterParams, TrainingConfig
from imbalance_spark.train_only.learners import boosting, native
from imbalance_spark.train_only.learners.cuts import FeatureCuts, collect_cuts
from imbalance_spark.train_only.learners.losses import FocalLoss
from imbalance_spark.train_only.learners.spill import SpilledRows, quantile_matrix
from imbalance_spark.train_only.learners.xgboost import FittedBooster, fit_booster
from imbalance_spark.train_only.strategies import strategy_from_config
from imbalance_spark.train_only.strategies.recipe import with_recipe_weight

TRAINING = TrainingConfig(engine="native", num_workers=2, rounds=6, early_stopping_rounds=6, checkpoint_rounds=2)


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    return model_rows(4000, seed=1, intercept=-2.5)


@pytest.fixture(scope="module")
def table(spark: SparkSession, rows: pd.DataFrame) -> DataFrame:
    return as_spark(spark, rows).persist()


def fit(table: DataFrame, **changed: object) -> FittedBooster:
    asked = {
        "features": FEATURES, "training": TRAINING, "params": BoosterParams(max_depth=4), "start": start_of(0.1),
        "correction": PriorCorrection.identity(), "strategy": "none",
    }  # fmt: skip
    return fit_booster(table, **{**asked, **changed})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def fitted(table: DataFrame) -> FittedBooster:
    return fit(table)


def peer(
    spark: SparkSession, rows: pd.DataFrame, params: dict, *, shift: float = 0.0, weight: np.ndarray | None = None,
    obj: FocalLoss | None = None,
) -> tuple[xgboost.Booster, dict]:  # fmt: skip
    """XGBoost in memory on the cuts of the table, its rows in their order."""
    to_fit = rows[~rows.is_early_stopping]
    cuts = collect_cuts(
        as_spark(spark, rows), features=4, fit_rows=to_fit.y.value_counts().to_dict(), key=(), seed=7, max_bin=256,
        kind="plain",
    )  # fmt: skip
    here = ~rows.is_early_stopping.to_numpy(bool)
    x, y = matrix(rows), rows.y.to_numpy()

    def data(chosen: np.ndarray, ref: xgboost.DMatrix, margin: float | None = None) -> xgboost.QuantileDMatrix:
        return xgboost.QuantileDMatrix(
            x[chosen], y[chosen], ref=ref, max_bin=cuts.max_bin, weight=None if weight is None else weight[chosen],
            base_margin=None if margin is None else np.full(chosen.sum(), margin), feature_names=list(FEATURES),
        )  # fmt: skip

    train = xgboost.QuantileDMatrix(
        x[here], y[here], ref=cuts.as_matrix(), max_bin=cuts.max_bin, feature_names=list(FEATURES),
        weight=None if weight is None else weight[here],
    )  # fmt: skip
    margin = None if shift == 0.0 else math.log(0.1 / 0.9) + shift
    curve: dict = {}
    booster = xgboost.train(
        {"max_depth": 4, "learning_rate": 0.1, "max_bin": cuts.max_bin, "seed": 7, "nthread": 1, **params}, train, 6,
        evals=[(train, "training"), (data(~here, train, margin), "stopping")], evals_result=curve, verbose_eval=False,
        obj=obj,
    )  # fmt: skip
    return booster, curve


LOGISTIC = {"objective": "binary:logistic", "eval_metric": "logloss", "base_score": 0.1}


def test_two_workers_grow_the_trees_of_xgboost_on_the_same_cuts(
    spark: SparkSession, rows: pd.DataFrame, fitted: FittedBooster
) -> None:
    booster, curve = peer(spark, rows, LOGISTIC)
    assert load_booster(fitted.model_bytes).get_dump() == booster[: fitted.best_iteration + 1].get_dump()
    np.testing.assert_allclose(fitted.learning_curve["training"], curve["training"]["logloss"], rtol=1e-6)
    np.testing.assert_allclose(fitted.learning_curve["validation"], curve["stopping"]["logloss"], rtol=1e-6)


def test_missing_values_below_all_others_are_scored_as_they_were_fitted(
    rows: pd.DataFrame, table: DataFrame, fitted: FittedBooster
) -> None:
    assert np.isnan(matrix(rows)).any()
    found = fit(table, training=TRAINING.model_copy(update={"missing": "lowest"}))
    stopping = rows[rows.is_early_stopping]
    p = probabilities(load_booster(found.model_bytes), matrix(stopping), PriorCorrection.identity())
    y, curve = stopping.y.to_numpy(), found.learning_curve["validation"]
    loss = -np.mean(np.where(y == 1, np.log(p), np.log1p(-p)))
    assert curve[found.best_iteration] == pytest.approx(loss, rel=1e-6)
    learnt = fitted.learning_curve["validation"][fitted.best_iteration]
    assert loss == pytest.approx(learnt, rel=0.02)  # a value in twenty is missing, at random
    assert found.model_bytes != fitted.model_bytes


def test_a_matrix_whose_missing_values_have_a_bin_is_dense(rows: pd.DataFrame, tmp_path: Path) -> None:
    x = matrix(rows)
    with (tmp_path / "rows").open("w+b") as file:
        spilled = SpilledRows(file=file, features=x.shape[1], is_weighed=False)
        spilled.append(np.column_stack([x, rows.y]).astype(np.float32))
        cuts = FeatureCuts((np.array([0.0], np.float32),) * x.shape[1], has_missing_bin=True)
        shared = {"ref": cuts.as_matrix(), "max_bin": cuts.max_bin, "threads": 1}
        assert quantile_matrix(spilled, missing=cuts.missing_as, **shared).num_nonmissing() == x.size
        assert quantile_matrix(spilled, **shared).num_nonmissing() == x.size - np.isnan(x).sum()


def test_the_stopping_loss_is_that_of_corrected_probabilities(
    spark: SparkSession, rows: pd.DataFrame, table: DataFrame
) -> None:
    correction = PriorCorrection.of_odds(positive=3.0, negative=1.0)
    found = fit(table, correction=correction)
    booster, curve = peer(spark, rows, LOGISTIC, shift=correction.logit_shift)
    assert load_booster(found.model_bytes).get_dump() == booster[: found.best_iteration + 1].get_dump()
    np.testing.assert_allclose(found.learning_curve["validation"], curve["stopping"]["logloss"], rtol=1e-6)


def test_weights_of_rows_count_and_those_of_positives(spark: SparkSession, rows: pd.DataFrame) -> None:
    found = fit(as_spark(spark, rows), weight_col="row_weight", scale_pos_weight=2.0)
    booster, curve = peer(spark, rows, {**LOGISTIC, "scale_pos_weight": 2.0}, weight=rows.row_weight.to_numpy())
    assert load_booster(found.model_bytes).get_dump() == booster[: found.best_iteration + 1].get_dump()
    np.testing.assert_allclose(found.learning_curve["validation"], curve["stopping"]["logloss"], rtol=1e-6)


def test_a_custom_loss_is_that_of_xgboost_train(spark: SparkSession, rows: pd.DataFrame, table: DataFrame) -> None:
    loss = FocalLoss.focal()
    found = fit(table, loss=loss, correction=loss.correction())
    booster, _ = peer(spark, rows, {"objective": "binary:logistic", "base_score": 0.1}, obj=loss)
    assert load_booster(found.model_bytes).get_dump() == booster[: found.best_iteration + 1].get_dump()


def test_three_classes_grow_a_tree_each_and_stop_by_their_log_loss(spark: SparkSession) -> None:
    rows = class_rows(1500, seed=1)
    counts = rows[~rows.is_early_stopping].y.value_counts().to_dict()
    recipe = strategy_from_config("class_weight").resolve(counts, TRAINING, classes=CLASSES)
    found = fit(
        with_recipe_weight(as_spark(spark, rows), recipe), features=CLASS_FEATURES, start=recipe.start,
        correction=recipe.prior_shift.correction(), weight_col=recipe.weight_column,
    )  # fmt: skip
    booster = load_booster(found.model_bytes)
    assert len(booster.get_dump()) == 3 * (found.best_iteration + 1)
    stopping = rows[rows.is_early_stopping]
    margin = booster.inplace_predict(matrix(stopping), predict_type="margin")
    p = np.exp(recipe.prior_shift.correction().log_probabilities(margin))
    expected = log_loss(stopping.y, p, labels=[0, 1, 2])
    assert found.learning_curve["validation"][found.best_iteration] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("workers", "partitions"), [(1, 1), (1, 3), (2, 3)])
def test_the_model_is_the_same_in_any_layout_and_on_any_number_of_workers(
    spark: SparkSession, rows: pd.DataFrame, fitted: FittedBooster, workers: int, partitions: int
) -> None:
    shuffled = as_spark(spark, rows.sample(frac=1.0, random_state=workers)).repartition(partitions)
    found = fit(shuffled, training=TRAINING.model_copy(update={"num_workers": workers}))
    assert found.model_bytes == fitted.model_bytes
    np.testing.assert_allclose(found.learning_curve["validation"], fitted.learning_curve["validation"], rtol=1e-12)


def test_the_fit_is_as_good_as_that_of_xgboosts_own_estimator(
    rows: pd.DataFrame, table: DataFrame, fitted: FittedBooster
) -> None:
    other = fit(table, training=TRAINING.model_copy(update={"engine": "xgboost_spark"}))
    unseen = model_rows(8000, seed=2, intercept=-2.5)
    losses = [
        log_loss(unseen.y, load_booster(one.model_bytes).inplace_predict(matrix(unseen)).astype(float))
        for one in (fitted, other)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=0.01)


@pytest.mark.parametrize("external_memory", [False, True])
def test_workers_of_one_class_and_without_rows_do_not_hang(
    spark: SparkSession, rows: pd.DataFrame, tmp_path: Path, external_memory: bool
) -> None:
    training = TRAINING.model_copy(update={"external_memory": external_memory})
    as_spark(spark, rows).repartitionByRange(2, "y").write.parquet(str(tmp_path / "classes"))
    one_class = fit(spark.read.parquet(str(tmp_path / "classes")), training=training)
    together = as_spark(spark, rows)
    together.write.parquet(str(tmp_path / "all"))
    together.where("y > 2").coalesce(1).write.mode("append").parquet(str(tmp_path / "all"))
    with_empty = spark.read.parquet(str(tmp_path / "all"))
    assert len(with_empty.inputFiles()) == 2
    assert one_class.model_bytes == fit(with_empty, training=training).model_bytes


def test_a_lost_fit_goes_on_from_its_last_checkpoint(
    spark: SparkSession, table: DataFrame, fitted: FittedBooster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[tuple[int, int]] = []
    lost: list[int] = []
    collected = native._collected

    def collect(rows: DataFrame, worker: native.Worker, strategy: str) -> boosting.Progress:
        done = 0 if worker.resumed is None else worker.resumed.rounds
        heard.append((len(heard), done))
        return collected(rows, killed_after(worker, 4) if not lost else worker, strategy)

    def killed_after(worker: native.Worker, rounds: int) -> native.Worker:
        lost.append(rounds)
        return dataclasses.replace(worker, reporter=killer(worker.reporter, rounds))

    monkeypatch.setattr(native, "_collected", collect)
    found = fit(table, checkpoints=Folder(spark, str(tmp_path)))
    assert heard == [(0, 0), (1, 4)]
    assert (found.model_bytes, found.learning_curve) == (fitted.model_bytes, fitted.learning_curve)


def test_another_driver_goes_on_where_one_ended(
    spark: SparkSession, rows: pd.DataFrame, table: DataFrame, fitted: FittedBooster, tmp_path: Path
) -> None:
    folder = Folder(spark, str(tmp_path))
    fit(table, checkpoints=folder)
    kept = folder.read_bytes("none")
    assert len(json.loads(kept.partition(b"\n")[0])["validation"]) == 4
    assert fit(table, checkpoints=folder).model_bytes == fitted.model_bytes
    with pytest.raises(DataContractError, match="other parameters, cuts"):
        fit(table, checkpoints=folder, params=BoosterParams(max_depth=3))
    with pytest.raises(DataContractError, match="a checkpoint of this fit was made on other rows"):
        fit(table.where(f"order_id != {rows[rows.is_early_stopping].order_id.iloc[0]}"), checkpoints=folder)


def test_a_partition_too_few_is_refused_before_workers_wait(
    spark: SparkSession, table: DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    collected = native._collected
    monkeypatch.setattr(native, "_collected", lambda rows, *rest: collected(rows.repartition(1), *rest))
    with pytest.raises(TrainingError, match="the barrier stage has 1 tasks for 2 workers"):
        fit(table)


def test_workers_wait_for_their_peers_no_longer_than_asked(table: DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict] = []

    def stop(rows: DataFrame, worker: native.Worker, strategy: str) -> None:
        seen.append(dict(worker.tracker))
        raise RuntimeError

    monkeypatch.setattr(native, "_collected", stop)
    with pytest.raises(TrainingError):
        fit(table, training=TRAINING.model_copy(update={"peer_timeout_s": 77}))
    [tracker] = seen
    assert tracker["dmlc_timeout"] == 77
    assert tracker["dmlc_tracker_uri"] == "127.0.0.1"
