"""The distributed fit of three classes against XGBoost in memory on the same rows."""

import numpy as np
import pandas as pd
import pytest
import xgboost
from pyspark.sql import SparkSession
from sklearn.metrics import log_loss
from support.class_rows import CLASSES, FEATURES, class_rows, truth
from support.model_rows import as_spark, matrix

from imbalance_spark.calibration.correction import PriorCorrection
from imbalance_spark.core.errors import ConfigError
from imbalance_spark.scoring.boosters import load_booster
from imbalance_spark.train_only.config import TrainingConfig
from imbalance_spark.train_only.learners.xgboost import FittedBooster, fit_booster
from imbalance_spark.train_only.strategies import Recipe, strategy_from_config
from imbalance_spark.train_only.strategies.recipe import with_recipe_weight

TRAINING = TrainingConfig(engine="xgboost_spark", num_workers=1, rounds=12, early_stopping_rounds=12)
KINDS = ("none", "class_weight", "balanced_sketch", "focal")


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    return class_rows(5000, seed=1)


@pytest.fixture(scope="module")
def fits(spark: SparkSession, rows: pd.DataFrame) -> dict[str, tuple[Recipe, FittedBooster]]:
    counts = rows[~rows.is_early_stopping].y.value_counts().to_dict()
    train = as_spark(spark, rows).persist()
    found = {}
    for kind in KINDS:
        recipe = strategy_from_config(kind).resolve(counts, TRAINING, classes=CLASSES)
        table = with_recipe_weight(train, recipe)
        found[kind] = recipe, fit_booster(
            table, features=FEATURES, training=TRAINING, params=recipe.params, start=recipe.start,
            correction=recipe.prior_shift.correction(), strategy=kind, weight_col=recipe.weight_column,
            loss=recipe.loss,
        )  # fmt: skip
    return found


def native(rows: pd.DataFrame, recipe: Recipe, rounds: int) -> xgboost.Booster:
    to_fit = rows[~rows.is_early_stopping]
    weight = None if recipe.weights is None else to_fit.y.map(recipe.weights)
    data = xgboost.QuantileDMatrix(matrix(to_fit), to_fit.y, weight=weight, feature_names=list(FEATURES))
    params = {**recipe.params.model_dump(), "objective": "multi:softprob", "num_class": 3, "seed": 7, "nthread": 1}
    params |= {"base_score": list(recipe.start), "tree_method": "hist"}
    return xgboost.train(params, data, rounds, obj=recipe.loss)


@pytest.mark.parametrize("kind", KINDS)
def test_trees_are_those_of_xgboost_in_memory(
    fits: dict[str, tuple[Recipe, FittedBooster]], rows: pd.DataFrame, kind: str
) -> None:
    recipe, booster = fits[kind]
    peer = native(rows, recipe, booster.best_iteration + 1)
    ours = load_booster(booster.model_bytes)
    assert ours.get_dump(with_stats=True) == peer.get_dump(with_stats=True)
    x = matrix(class_rows(500, seed=2))
    np.testing.assert_array_equal(
        ours.inplace_predict(x, predict_type="margin"),
        peer.predict(xgboost.DMatrix(x, feature_names=list(FEATURES)), output_margin=True),
    )


@pytest.mark.parametrize("kind", KINDS)
def test_the_fit_is_stopped_by_the_log_loss_of_corrected_probabilities(
    fits: dict[str, tuple[Recipe, FittedBooster]], rows: pd.DataFrame, kind: str
) -> None:
    recipe, booster = fits[kind]
    stopping = rows[rows.is_early_stopping]
    margin = load_booster(booster.model_bytes).inplace_predict(matrix(stopping), predict_type="margin")
    p = np.exp(recipe.prior_shift.correction().log_probabilities(margin))
    found = booster.learning_curve["validation"][booster.best_iteration]
    assert found == pytest.approx(log_loss(stopping.y, p, labels=[0, 1, 2]), rel=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_corrected_probabilities_are_near_the_truth_on_average(
    fits: dict[str, tuple[Recipe, FittedBooster]], kind: str
) -> None:
    recipe, booster = fits[kind]
    x = np.random.default_rng(5).normal(size=(4000, 4))
    margin = load_booster(booster.model_bytes).inplace_predict(x.astype(np.float32), predict_type="margin")
    mean = np.exp(recipe.prior_shift.correction().log_probabilities(margin)).mean(axis=0)
    # With 5,000 rows a share of 2 % is learnt to about 20 %; uncorrected, class weights would give a third each.
    np.testing.assert_allclose(mean, truth(x).mean(axis=0), rtol=0.4)


def test_a_start_that_is_no_margin_is_refused(spark: SparkSession, rows: pd.DataFrame) -> None:
    with pytest.raises(ConfigError, match="start must be a finite margin for each of 3 classes"):
        fit_booster(
            as_spark(spark, rows), features=FEATURES, training=TRAINING, params=TRAINING.params, start=(0.0, 1.0),
            correction=PriorCorrection.identity(3), strategy="none",
        )  # fmt: skip
