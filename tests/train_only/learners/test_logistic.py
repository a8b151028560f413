"""Spark's logistic regression against scikit-learn's on the same rows, and its model wherever it is loaded."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import SparkSession
from sklearn.linear_model import LogisticRegression
from support.class_rows import class_rows
from support.model_rows import FEATURES, as_spark, matrix, model_rows

from imbalance_spark.calibration import PriorCorrection
from imbalance_spark.calibration.log_odds import LogOddsCalibration
from imbalance_spark.core.errors import DataContractError, MissingColumnsError, TrainingError
from imbalance_spark.orders.config import OrdersConfig
from imbalance_spark.orders.labels import LabelEncoding
from imbalance_spark.orders.model_inputs import CategoryEncoding
from imbalance_spark.scoring.boosters import load_booster, probabilities
from imbalance_spark.scoring.bundle import ModelBundle
from imbalance_spark.scoring.linear import LinearModel
from imbalance_spark.scoring.scorer import Scorer
from imbalance_spark.split.config import SplitConfig
from imbalance_spark.threshold.class_rules import ClassThresholds
from imbalance_spark.train_only.config import TrainingConfig
from imbalance_spark.train_only.learners.logistic import fit_logistic
from imbalance_spark.train_only.learners.xgboost import FittedBooster
from imbalance_spark.train_only.strategies import Recipe, strategy_from_config
from imbalance_spark.train_only.strategies.recipe import FitTask, with_recipe_weight

CATEGORIES = 4
ORDERS = OrdersConfig(label="y", key=("order_id",), numeric=FEATURES[:3], categorical=FEATURES[3:])
REG_PARAM = 1e-3


def rows_with_categories(rows: int, seed: int, codes: int = CATEGORIES) -> pd.DataFrame:
    """`x_3` holds codes of a category that matters; one in ten is missing. `x_0` has a far mean and a wide spread."""
    frame = model_rows(rows, seed=seed, intercept=-3.0)
    draw = np.random.default_rng([seed, 1])
    code = draw.integers(0, codes, rows).astype(float)
    frame["y"] = np.where((code == 2) & (draw.random(rows) < 0.1), 1, frame["y"]).astype(np.int32)
    frame["x_3"] = np.where(draw.random(rows) < 0.1, np.nan, code)
    frame["x_0"] = 5000.0 + 300.0 * frame["x_0"]
    return frame


def recipe_of(rows: pd.DataFrame, **settings: object) -> Recipe:
    strategy = strategy_from_config({"kind": "logistic_class_weight", **settings})
    return strategy.resolve(rows[~rows.is_early_stopping].y.value_counts().to_dict(), TrainingConfig())


def fitted(spark: SparkSession, rows: pd.DataFrame, recipe: Recipe, **changes: object) -> FittedBooster:
    given = {
        "features": FEATURES, "numeric": 3, "classes": 2, "weight_col": recipe.weight_column, "reg_param": REG_PARAM,
        "max_iter": 200, "strategy": recipe.name,
    }  # fmt: skip
    return fit_logistic(with_recipe_weight(as_spark(spark, rows), recipe), **{**given, **changes})


def margin(model: FittedBooster, rows: pd.DataFrame) -> np.ndarray:
    return load_booster(model.model_bytes).inplace_predict(matrix(rows), predict_type="margin", validate_features=False)


def design(rows: pd.DataFrame, mean: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """Scaled numbers, missing ones at the mean; an indicator for each category."""
    x = matrix(rows).astype(np.float64)
    scaled = np.nan_to_num((x[:, :3] - mean) / deviation)
    return np.column_stack([scaled, *[x[:, 3] == code for code in range(CATEGORIES)]])


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    return rows_with_categories(3000, seed=1)


@pytest.fixture(scope="module")
def model(spark: SparkSession, rows: pd.DataFrame) -> FittedBooster:
    return fitted(spark, rows, recipe_of(rows))


def test_the_margins_are_those_of_scikit_learn(rows: pd.DataFrame, model: FittedBooster) -> None:
    to_fit = rows[~rows.is_early_stopping]
    x = matrix(to_fit)[:, :3].astype(np.float64)
    mean, deviation = np.nanmean(x, axis=0), np.nanstd(x, axis=0)
    # Balanced weights sum to the number of rows.
    peer = LogisticRegression(C=1.0 / (REG_PARAM * len(to_fit)), class_weight="balanced", tol=1e-10, max_iter=1000)
    peer.fit(design(to_fit, mean, deviation), to_fit.y)
    unseen = rows_with_categories(2000, seed=2, codes=CATEGORIES + 1)  # one code that training lacked
    expected = peer.decision_function(design(unseen, mean, deviation))
    np.testing.assert_allclose(margin(model, unseen), expected, atol=2e-4)
    assert np.ptp(expected) > 5.0


@pytest.mark.parametrize("weights", ["balanced", {0: 1.0, 1: 7.0}])
def test_elastic_net_coefficients_are_those_of_scikit_learn(
    spark: SparkSession, rows: pd.DataFrame, weights: object
) -> None:
    found = fitted(spark, rows, recipe_of(rows, weights=weights), reg_param=0.02, elastic_net_param=0.4)
    to_fit = rows[~rows.is_early_stopping]
    x = matrix(to_fit)[:, :3].astype(np.float64)
    mean, deviation = np.nanmean(x, axis=0), np.nanstd(x, axis=0)
    mass = len(to_fit) if weights == "balanced" else np.where(to_fit.y == 1, 7.0, 1.0).sum()
    peer = LogisticRegression(
        C=1.0 / (0.02 * mass), l1_ratio=0.4, solver="saga", tol=1e-8, max_iter=10_000,
        class_weight="balanced" if weights == "balanced" else {0: 1.0, 1: 7.0},
    )  # fmt: skip
    peer.fit(design(to_fit, mean, deviation), to_fit.y)
    [linear] = LinearModel.from_bytes(found.model_bytes).margins
    slopes = [*np.array(linear.slopes) * deviation, *linear.categories[0]]
    np.testing.assert_allclose(slopes, peer.coef_[0], atol=1e-4)
    assert linear.intercept == pytest.approx(peer.intercept_[0], abs=1e-3)
    assert 0 < np.count_nonzero(peer.coef_) < len(slopes)


def test_a_learner_of_any_strategy_that_weighs_fits_what_the_kind_of_its_own_does(
    spark: SparkSession, rows: pd.DataFrame, model: FittedBooster
) -> None:
    task = FitTask(orders=ORDERS, training=TrainingConfig(), split=SplitConfig())
    counts = rows[~rows.is_early_stopping].y.value_counts().to_dict()
    for kind in ("class_weight", "scale_pos_weight"):
        asked = strategy_from_config(
            {"kind": kind, "learner": "logistic", "params": {"reg_param": REG_PARAM, "max_iter": 200}}
        )  # fmt: skip
        found = asked.fit(as_spark(spark, rows), asked.resolve(counts, task.training), task, counts)
        difference = margin(found, rows) - margin(model, rows)
        # Weights of another sum are another penalty in scikit-learn's words, and none in Spark's.
        np.testing.assert_allclose(difference, 0.0, atol=2e-4)


def test_the_slice_is_not_fitted_on(spark: SparkSession, rows: pd.DataFrame, model: FittedBooster) -> None:
    other = rows.copy()
    other.loc[other.is_early_stopping, ["x_0", "x_3"]] = [1e6, 40.0]
    other.loc[other.is_early_stopping, "y"] = 1
    assert fitted(spark, other, recipe_of(rows)).model_bytes == model.model_bytes


def test_the_ledger_is_exact_and_leads_back_to_the_rate(rows: pd.DataFrame, model: FittedBooster) -> None:
    recipe, to_fit = recipe_of(rows), rows[~rows.is_early_stopping]
    assert recipe.prior_shift.is_exact
    negatives, positives = (to_fit.y == 0).sum(), (to_fit.y == 1).sum()
    assert recipe.prior_shift.correction().logit_shift == pytest.approx(-np.log(negatives / positives))
    unseen = rows_with_categories(20_000, seed=3)
    found = probabilities(load_booster(model.model_bytes), matrix(unseen), recipe.prior_shift.correction())
    assert margin(model, unseen).mean() > -1.0  # as if classes were even
    # 300 positives tell the rate to 17 % (three standard errors).
    assert found.mean() == pytest.approx(unseen.y.mean(), rel=0.17)


def test_the_learning_curve_is_the_loss_after_each_iteration(rows: pd.DataFrame, model: FittedBooster) -> None:
    curve = model.learning_curve["training"]
    assert len(curve) == model.rounds_run == model.best_iteration + 1 > 3
    assert list(curve) == sorted(curve, reverse=True)
    to_fit = rows[~rows.is_early_stopping]
    weight = np.where(to_fit.y == 1, 0.5 / to_fit.y.mean(), 0.5 / (1 - to_fit.y.mean()))
    logit = margin(model, to_fit)
    loss = np.average(np.logaddexp(0.0, np.where(to_fit.y == 1, -logit, logit)), weights=weight)
    [linear] = LinearModel.from_bytes(model.model_bytes).margins
    slopes = [*np.array(linear.slopes) * np.nanstd(matrix(to_fit)[:, :3].astype(float), axis=0), *linear.categories[0]]
    assert curve[-1] == pytest.approx(loss + REG_PARAM / 2 * np.sum(np.square(slopes)), rel=1e-6)


def test_a_fit_reads_its_table_three_times(spark: SparkSession) -> None:
    rows = rows_with_categories(400, seed=4)
    reads = spark.sparkContext.accumulator(0)

    def count(batches):
        for batch in batches:
            reads.add(batch.num_rows)
            yield batch

    table = as_spark(spark, rows)
    counted = table.mapInArrow(count, table.schema)
    fit_logistic(
        counted,
        features=FEATURES,
        numeric=3,
        classes=2,
        weight_col=None,
        reg_param=REG_PARAM,
        max_iter=5,
        strategy="logistic",
    )
    assert reads.value == 3 * len(rows)


def test_features_of_one_value_or_of_none_add_nothing(spark: SparkSession) -> None:
    rows = rows_with_categories(600, seed=5)
    rows["x_1"], rows["x_2"], rows["x_3"] = 7.0, np.nan, np.nan
    model = LinearModel.from_bytes(fitted(spark, rows, recipe_of(rows)).model_bytes)
    [found] = model.margins
    assert (found.slopes[1:], found.centres[1:], found.categories) == ((0.0, 0.0), (7.0, 0.0), ((),))
    assert np.isfinite(model.inplace_predict(matrix(rows))).all()


@pytest.mark.parametrize("rows_a_batch", [1, 7])
def test_a_row_scores_the_same_in_any_batch(model: FittedBooster, rows_a_batch: int) -> None:
    x, linear = matrix(rows_with_categories(50, seed=6)), LinearModel.from_bytes(model.model_bytes)
    parts = [linear.inplace_predict(x[start : start + rows_a_batch]) for start in range(0, 50, rows_a_batch)]
    assert (np.concatenate(parts) == linear.inplace_predict(x)).all()
    assert linear.inplace_predict(x[:0]).shape == (0,)


def test_the_saved_bundle_scores_as_in_memory_and_refuses_a_changed_part(model: FittedBooster, tmp_path: Path) -> None:
    values = tuple("abcd")
    bundle = ModelBundle(
        strategy="logistic_class_weight", model_bytes=model.model_bytes, numeric=FEATURES[:3], categorical=FEATURES[3:],
        categories=CategoryEncoding(values={FEATURES[3]: values}), label=LabelEncoding(classes=("0", "1")),
        correction=recipe_of(rows_with_categories(3000, seed=1)).prior_shift.correction(),
        calibrator=LogOddsCalibration(method="identity"), rules={"max_f1": ClassThresholds.of_threshold(0.5)},
        serve_objective="max_f1",
    )  # fmt: skip
    manifest = bundle.save(str(tmp_path))
    assert sorted(manifest) == ["linear.json", "model.json", "threshold.json"]
    loaded = ModelBundle.load(str(tmp_path))
    assert loaded == bundle
    rows = rows_with_categories(300, seed=7)
    orders = pd.DataFrame(matrix(rows)[:, :3], columns=list(FEATURES[:3]))
    orders[FEATURES[3]] = [None if np.isnan(code) else values[int(code)] for code in rows["x_3"]]
    expected = probabilities(load_booster(model.model_bytes), matrix(rows), bundle.correction)
    assert (Scorer(loaded).score(orders)["probability"] == expected).all()
    part = tmp_path / "linear.json"
    part.write_text(json.dumps({**json.loads(part.read_text("utf-8")), "intercept": 0.0}), "utf-8")
    with pytest.raises(DataContractError, match=r"linear\.json was changed: expected sha256"):
        ModelBundle.load(str(tmp_path))


def test_a_booster_is_not_taken_for_a_linear_model(model: FittedBooster) -> None:
    assert LinearModel.is_in(model.model_bytes)
    assert not LinearModel.is_in(b'{L\x00"learner"')
    linear = LinearModel.from_bytes(model.model_bytes)
    assert LinearModel.from_bytes(linear.to_bytes()) == linear


def test_three_classes_have_the_probabilities_of_scikit_learn(spark: SparkSession) -> None:
    rows = class_rows(3000, seed=1)
    model = fit_logistic(
        as_spark(spark, rows), features=FEATURES, numeric=4, classes=3, weight_col=None, reg_param=REG_PARAM,
        max_iter=200, strategy="logistic",
    )  # fmt: skip
    to_fit, unseen = rows[~rows.is_early_stopping], class_rows(500, seed=2)
    mean, deviation = (of(matrix(to_fit).astype(np.float64), axis=0) for of in (np.nanmean, np.nanstd))
    scaled = [np.nan_to_num((matrix(part).astype(np.float64) - mean) / deviation) for part in (to_fit, unseen)]
    peer = LogisticRegression(C=1.0 / (REG_PARAM * len(to_fit)), tol=1e-10, max_iter=1000).fit(scaled[0], to_fit.y)
    logs = PriorCorrection.identity(3).log_probabilities(margin(model, unseen))
    np.testing.assert_allclose(np.exp(logs), peer.predict_proba(scaled[1]), atol=2e-4)
    linear = LinearModel.from_bytes(model.model_bytes)
    assert LinearModel.is_in(linear.to_bytes())
    assert LinearModel.from_bytes(linear.to_bytes()) == linear


def test_what_cannot_be_fitted_is_one_sentence(spark: SparkSession) -> None:
    rows = rows_with_categories(200, seed=8)
    with pytest.raises(MissingColumnsError, match="x_3"):
        fitted(spark, rows.drop(columns="x_3"), recipe_of(rows))
    with pytest.raises(TrainingError) as failed:
        fitted(spark, rows.assign(row_weight=-1234.5), recipe_of(rows), weight_col="row_weight")
    assert str(failed.value).startswith("training of strategy 'logistic_class_weight': ")
    assert "1234" not in str(failed.value)
