"""Recipes of several classes in closed form, and the distributed fit against XGBoost in memory on the same rows."""

import numpy as np
import pandas as pd
import pytest
import xgboost
from imbalance_spark.multiclass.strategy import ClassRecipe, by_number, resolve_classes
from pyspark.sql import SparkSession
from sklearn.metrics import log_loss
from support.class_rows import CLASSES, FEATURES, class_rows, truth
from support.model_rows import as_spark, matrix

from imbalance_spark.calibration.correction import PriorCorrection
from imbalance_spark.core.errors import ConfigError, DataContractError
from imbalance_spark.scoring.boosters import load_booster
from imbalance_spark.train_only.config import TrainingConfig
from imbalance_spark.train_only.learners.xgboost import FittedBooster, fit_booster
from imbalance_spark.train_only.strategies.base import with_recipe_weight
from imbalance_spark.train_only.strategies.config import StrategyConfig

TRAINING = TrainingConfig(num_workers=1, rounds=12, early_stopping_rounds=12)
COUNTS = {0: 900, 1: 80, 2: 20}
SHARES = np.array([0.9, 0.08, 0.02])


def recipe_of(kind: str, counts: dict[int, int] = COUNTS, **settings: object) -> ClassRecipe:
    strategy = by_number(StrategyConfig(kind=kind, name=kind, **settings), CLASSES)
    kept = {0: 0.1, 1: 1.0, 2: 1.0} if kind == "undersample" else None
    return resolve_classes(strategy, counts, TRAINING, CLASSES, kept)


def test_every_strategy_starts_from_what_corrects_to_the_real_shares() -> None:
    settings = {"class_weight": {"weights": {"ok": 1.0, "fraud": 30.0, "late": 4.0}}}
    for kind in ("none", "undersample", "class_weight", "balanced_sketch", "focal", "class_balanced_focal"):
        recipe = recipe_of(kind, **settings.get(kind, {}))
        found = np.exp(recipe.ledger.correction().log_probabilities([recipe.start]))[0]
        np.testing.assert_allclose(found, SHARES, rtol=1e-6, err_msg=kind)


def test_factors_are_what_was_kept_times_what_it_weighs() -> None:
    assert recipe_of("none").ledger.correction().is_identity
    assert recipe_of("undersample").ledger.correction().factors == (0.1, 1.0, 1.0)
    weighed = recipe_of("class_weight", weights={"fraud": 30.0, "ok": 1.0, "late": 4.0})
    assert weighed.ledger.correction().factors == (1.0, 4.0, 30.0)
    # n / (K n_k)
    balanced = recipe_of("class_weight").weights
    assert balanced == {0: pytest.approx(1000 / 2700), 1: pytest.approx(1000 / 240), 2: pytest.approx(1000 / 60)}
    sketch = recipe_of("balanced_sketch")
    assert (sketch.weights, sketch.ledger.correction().is_identity) == (balanced, True)
    assert sketch.loss is not None
    assert (sketch.loss.hessian_scale, sketch.loss.gammas) == (2.0, ())
    np.testing.assert_allclose(sketch.loss.weights, [1.0 / weight for weight in balanced.values()])


def test_classes_without_rows_and_samples_of_unknown_size_are_refused() -> None:
    with pytest.raises(DataContractError, match=r"strategy 'none': classes \['late', 'fraud'\] have no training rows"):
        recipe_of("none", counts={0: 900, 1: 0})
    with pytest.raises(ConfigError, match="samples rows: pass kept"):
        resolve_classes(StrategyConfig(kind="oversample", name="o"), COUNTS, TRAINING, CLASSES)
    with pytest.raises(DataContractError, match=r"leaves no row of classes \['fraud'\]"):
        resolve_classes(StrategyConfig(kind="none", name="n"), COUNTS, TRAINING, CLASSES, {0: 1.0, 1: 1.0, 2: 0.0})


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    return class_rows(5000, seed=1)


@pytest.fixture(scope="module")
def fits(spark: SparkSession, rows: pd.DataFrame) -> dict[str, tuple[ClassRecipe, FittedBooster]]:
    counts = rows[~rows.is_early_stopping].y.value_counts().to_dict()
    train = as_spark(spark, rows).persist()
    found = {}
    for kind in ("none", "class_weight", "balanced_sketch", "focal"):
        recipe = recipe_of(kind, counts)
        table = with_recipe_weight(train, recipe)
        found[kind] = recipe, fit_booster(
            table, features=FEATURES, training=TRAINING, params=recipe.params, start=recipe.start,
            correction=recipe.ledger.correction(), strategy=kind, weight_col=recipe.weight_column, loss=recipe.loss,
        )  # fmt: skip
    return found


def native(rows: pd.DataFrame, recipe: ClassRecipe, rounds: int) -> xgboost.Booster:
    to_fit = rows[~rows.is_early_stopping]
    weight = None if recipe.weights is None else to_fit.y.map(recipe.weights)
    data = xgboost.QuantileDMatrix(matrix(to_fit), to_fit.y, weight=weight, feature_names=list(FEATURES))
    params = {**recipe.params.model_dump(), "objective": "multi:softprob", "num_class": 3, "seed": 7, "nthread": 1}
    params |= {"base_score": list(recipe.start), "tree_method": "hist"}
    return xgboost.train(params, data, rounds, obj=recipe.loss)


@pytest.mark.parametrize("kind", ["none", "class_weight", "balanced_sketch", "focal"])
def test_trees_are_those_of_xgboost_in_memory(
    fits: dict[str, tuple[ClassRecipe, FittedBooster]], rows: pd.DataFrame, kind: str
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


@pytest.mark.parametrize("kind", ["none", "class_weight", "balanced_sketch", "focal"])
def test_the_fit_is_stopped_by_the_log_loss_of_corrected_probabilities(
    fits: dict[str, tuple[ClassRecipe, FittedBooster]], rows: pd.DataFrame, kind: str
) -> None:
    recipe, booster = fits[kind]
    stopping = rows[rows.is_early_stopping]
    margin = load_booster(booster.model_bytes).inplace_predict(matrix(stopping), predict_type="margin")
    p = np.exp(recipe.ledger.correction().log_probabilities(margin))
    found = booster.learning_curve["validation"][booster.best_iteration]
    assert found == pytest.approx(log_loss(stopping.y, p, labels=[0, 1, 2]), rel=1e-4)


@pytest.mark.parametrize("kind", ["none", "class_weight", "balanced_sketch", "focal"])
def test_corrected_probabilities_are_near_the_truth_on_average(
    fits: dict[str, tuple[ClassRecipe, FittedBooster]], kind: str
) -> None:
    recipe, booster = fits[kind]
    x = np.random.default_rng(5).normal(size=(4000, 4))
    margin = load_booster(booster.model_bytes).inplace_predict(x.astype(np.float32), predict_type="margin")
    mean = np.exp(recipe.ledger.correction().log_probabilities(margin)).mean(axis=0)
    # 5,000 rows teach a share of 2 % to some 20 %; uncorrected, class weights would give a third each.
    np.testing.assert_allclose(mean, truth(x).mean(axis=0), rtol=0.4)


def test_a_start_that_is_no_margin_is_refused(spark: SparkSession, rows: pd.DataFrame) -> None:
    with pytest.raises(ConfigError, match="start must be a finite margin for each of 3 classes"):
        fit_booster(
            as_spark(spark, rows), features=FEATURES, training=TRAINING, params=TRAINING.params, start=(0.0, 1.0),
            correction=PriorCorrection.identity(3), strategy="none",
        )  # fmt: skip
