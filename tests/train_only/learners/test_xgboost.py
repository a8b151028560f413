"""The distributed fit against XGBoost in memory on the same rows."""

import dataclasses
import json
import math

import numpy as np
import pandas as pd
import pytest
import xgboost
from pyspark.sql import SparkSession
from support.model_rows import FEATURES, as_spark, matrix, model_rows, start_of

from imbalance_spark.calibration import PriorCorrection
from imbalance_spark.core.errors import ConfigError, MissingColumnsError, TrainingError
from imbalance_spark.scoring.boosters import load_booster
from imbalance_spark.train_only.config import TrainingConfig
from imbalance_spark.train_only.learners.losses import FocalLoss
from imbalance_spark.train_only.learners.xgboost import FittedBooster, fit_booster
from imbalance_spark.train_only.strategies import Recipe, Roles, Strategy, strategy_from_config
from imbalance_spark.train_only.strategies.base import training_table
from imbalance_spark.train_only.strategies.recipe import with_recipe_weight

TRAINING = TrainingConfig(engine="xgboost_spark", num_workers=1, rounds=30, early_stopping_rounds=4)
STRATEGIES = {
    "none": strategy_from_config({"kind": "none"}),
    "undersample": strategy_from_config({"kind": "undersample", "sampling_strategy": 0.2}),
    "oversample": strategy_from_config({"kind": "oversample", "sampling_strategy": 0.2}),
    "class_weight": strategy_from_config({"kind": "class_weight", "params": {"max_depth": 3}}),
    "scale_pos_weight": strategy_from_config({"kind": "scale_pos_weight", "scale_pos_weight": 5.0}),
    "balanced_sketch": strategy_from_config({"kind": "balanced_sketch"}),
    "class_weight_power": strategy_from_config({"kind": "class_weight_power", "power": 0.5}),
    "max_delta_step": strategy_from_config({"kind": "max_delta_step", "max_delta_step": 2.0}),
    "focal": strategy_from_config({"kind": "focal", "params": {"min_child_weight": 0.1}}),
    "asymmetric_focal": strategy_from_config(
        {"kind": "asymmetric_focal", "gamma_negative": 2.0, "gamma_positive": 0.5}
    ),
    "class_balanced_focal": strategy_from_config({"kind": "class_balanced_focal", "gamma": 1.0}),
}


@dataclasses.dataclass
class Fit:
    """One strategy's table as the fit read it, its recipe and its booster."""

    table: pd.DataFrame
    recipe: Recipe
    booster: FittedBooster


@pytest.fixture(scope="module")
def fits(spark: SparkSession) -> dict[str, Fit]:
    train = as_spark(spark, model_rows(7000, seed=1))
    return {name: _fit(spark, train, strategy) for name, strategy in STRATEGIES.items()}


@pytest.fixture(scope="module")
def unseen() -> pd.DataFrame:
    return model_rows(20_000, seed=2)


def _fit(spark: SparkSession, train, strategy: Strategy) -> Fit:
    rows = training_table(train, strategy, Roles(key=("order_id",)), 7).drop("copy_number").toPandas()
    before, after = (_fit_rows(frame) for frame in (train.toPandas(), rows))
    recipe = strategy.resolve(before, TRAINING, {label: after[label] / before[label] for label in (0, 1)})
    table = with_recipe_weight(as_spark(spark, rows), recipe)
    booster = fit_booster(table, **_settings(recipe))
    return Fit(table.toPandas(), recipe, booster)


def _settings(recipe: Recipe) -> dict:
    return {
        "features": FEATURES,
        "training": TRAINING,
        "params": recipe.params,
        "start": recipe.start,
        "correction": recipe.prior_shift.correction(),
        "strategy": recipe.name,
        "weight_col": recipe.weight_column,
        "scale_pos_weight": recipe.scale_pos_weight,
        "loss": recipe.loss,
    }


def _fit_rows(frame: pd.DataFrame) -> dict[int, int]:
    return frame[~frame.is_early_stopping].y.value_counts().to_dict()


def _native(
    fit: Fit, *, weights: dict[int, float] | None, factor: float, prior: float, shift: float
) -> xgboost.Booster:
    """The same fit in memory; the numbers come from the test, not from the recipe."""
    stopping = fit.table.is_early_stopping.to_numpy(bool)

    def data(is_here: np.ndarray, moved: float, ref: xgboost.DMatrix | None, weighed: bool) -> xgboost.QuantileDMatrix:
        y = fit.table.y.to_numpy()[is_here]
        weight = None if weights is None else np.where(y == 1, weights[1], weights[0]) if weighed else np.ones(len(y))
        margin = None if shift == 0 else np.full(len(y), math.log(prior / (1 - prior)) + moved)
        return xgboost.QuantileDMatrix(
            matrix(fit.table)[is_here], y, weight=weight, base_margin=margin, ref=ref, feature_names=list(FEATURES)
        )

    train = data(~stopping, 0.0, None, True)
    params = {**fit.recipe.params.model_dump(), "objective": "binary:logistic", "seed": 7}
    params |= {"eval_metric": "logloss"} if fit.recipe.loss is None else {"disable_default_eval_metric": 1}

    def corrected_log_loss(margin: np.ndarray, rows: xgboost.DMatrix) -> tuple[str, float]:
        p = fit.recipe.prior_shift.correction().apply(1 / (1 + np.exp(-margin.astype(float))))
        return "log_loss", -np.mean(np.log(np.where(rows.get_label() == 1, p, 1 - p)))

    params |= {"base_score": float(prior), "scale_pos_weight": factor, "tree_method": "hist", "nthread": 1}
    found = xgboost.train(
        params,
        train,
        30,
        evals=[(data(stopping, shift, train, False), "validation")],
        early_stopping_rounds=4,
        verbose_eval=False,
        obj=fit.recipe.loss,
        custom_metric=None if fit.recipe.loss is None else corrected_log_loss,
    )
    return found[: found.best_iteration + 1]


def _focal(negative: float, positive: float, weight: float = 1.0) -> PriorCorrection:
    return PriorCorrection(factors=(1.0, weight), gammas=(negative, positive))


def _expected(kind: str, rows: dict[int, int]) -> dict:
    """Weights, scale_pos_weight, prior after both, and logit shift of each strategy, worked out by hand."""
    n0, n1 = rows[0], rows[1]
    plain = {"weights": None, "factor": 1.0, "prior": n1 / (n0 + n1), "shift": 0.0}
    kept = {  # 20 positives for 100 negatives: the positives keep their number, or the negatives do
        "undersample": lambda: {"prior": n1 / (n1 + int(n1 / 0.2)), "shift": math.log(int(n1 / 0.2) / n0)},
        "oversample": lambda: {"prior": int(0.2 * n0) / (n0 + int(0.2 * n0)), "shift": -math.log(int(0.2 * n0) / n1)},
        "class_weight": lambda: {
            "weights": {0: (n0 + n1) / (2 * n0), 1: (n0 + n1) / (2 * n1)},
            "prior": 0.5,
            "shift": -math.log(n0 / n1),
        },
        "scale_pos_weight": lambda: {"factor": 5.0, "prior": 5 * n1 / (n0 + 5 * n1), "shift": -math.log(5)},
        "balanced_sketch": lambda: {"weights": {0: 1.0, 1: n0 / n1}, "factor": n1 / n0},
        "class_weight_power": lambda: {
            "weights": {0: 1.0, 1: n0 / n1},
            "factor": (n0 / n1) ** -0.5,
            "prior": n1 * (n0 / n1) ** 0.5 / (n0 + n1 * (n0 / n1) ** 0.5),
            "shift": -0.5 * math.log(n0 / n1),
        },
        "focal": lambda: {"prior": _focal(2.0, 2.0).inverse(n1 / (n0 + n1))},
        "asymmetric_focal": lambda: {
            "prior": _focal(2.0, 0.5).inverse(n1 / (n0 + n1)),
        },
        "class_balanced_focal": lambda: {
            "prior": _focal(1.0, 1.0, weight=(1 - 0.999**n0) / (1 - 0.999**n1)).inverse(n1 / (n0 + n1)),
        },
    }
    return {**plain, **kept.get(kind, dict)()}


@pytest.mark.parametrize("name", STRATEGIES)
def test_one_worker_grows_the_trees_of_xgboost_in_memory(fits: dict[str, Fit], name: str) -> None:
    fit = fits[name]
    native = _native(fit, **_expected(name, _fit_rows(fits["none"].table)))
    ours = load_booster(fit.booster.model_bytes)
    assert ours.num_boosted_rounds() == native.num_boosted_rounds() > 3
    assert ours.get_dump(with_stats=True) == native.get_dump(with_stats=True)


def test_one_worker_grows_the_trees_of_the_weighted_logistic_loss(spark: SparkSession, fits: dict[str, Fit]) -> None:
    plain = fits["none"]
    rate = math.exp(plain.recipe.start[1])
    prior = 3 * rate / (1 + 2 * rate)
    shift = dataclasses.replace(plain.recipe.prior_shift, weights=(1.0, 3.0))
    recipe = dataclasses.replace(
        plain.recipe, loss=FocalLoss(weights=(1.0, 3.0)), start=start_of(prior), prior_shift=shift
    )
    table = as_spark(spark, plain.table)
    ours = load_booster(fit_booster(table, **_settings(recipe)).model_bytes)
    native = _native(Fit(plain.table, recipe, plain.booster), weights=None, factor=1.0, prior=prior, shift=0.0)
    assert ours.num_boosted_rounds() == native.num_boosted_rounds() > 3
    assert ours.get_dump(with_stats=True) == native.get_dump(with_stats=True)


@pytest.mark.parametrize("name", STRATEGIES)
def test_exported_model_starts_from_the_base_score_without_margins(
    fits: dict[str, Fit], unseen: pd.DataFrame, name: str
) -> None:
    fit = fits[name]
    native = _native(fit, **_expected(name, _fit_rows(fits["none"].table)))
    x = matrix(unseen)
    expected = native.predict(xgboost.DMatrix(x, feature_names=list(FEATURES)))
    np.testing.assert_allclose(load_booster(fit.booster.model_bytes).inplace_predict(x), expected, atol=1e-6)


@pytest.mark.parametrize("name", STRATEGIES)
def test_corrected_probabilities_have_the_mean_of_the_base_rate(
    fits: dict[str, Fit], unseen: pd.DataFrame, name: str
) -> None:
    fit = fits[name]
    raw = load_booster(fit.booster.model_bytes).inplace_predict(matrix(unseen)).astype(float)
    corrected = fit.recipe.prior_shift.correction().apply(raw)
    plain = load_booster(fits["none"].booster.model_bytes).inplace_predict(matrix(unseen)).astype(float)
    # Fitted on some 260 positives, which tell the base rate to 18 % (three standard errors).
    assert corrected.mean() == pytest.approx(unseen.y.mean(), rel=0.18)
    if fit.recipe.prior_shift.correction().logit_shift != 0.0:
        assert raw.mean() > 2 * unseen.y.mean()
    assert np.corrcoef(corrected, plain)[0, 1] > 0.8


def test_balanced_sketch_is_calibrated_without_a_correction(fits: dict[str, Fit], unseen: pd.DataFrame) -> None:
    fit = fits["balanced_sketch"]
    assert fit.recipe.prior_shift.correction().logit_shift == 0.0
    raw = load_booster(fit.booster.model_bytes).inplace_predict(matrix(unseen))
    prior = math.exp(fits["none"].recipe.start[1])
    assert raw.mean() == pytest.approx(prior, rel=0.06)


@pytest.mark.parametrize("name", STRATEGIES)
def test_the_stopping_loss_is_that_of_corrected_probabilities_with_weight_one(fits: dict[str, Fit], name: str) -> None:
    fit, rows = fits[name], fits["none"].table
    stopping = rows[rows.is_early_stopping]
    raw = load_booster(fit.booster.model_bytes).inplace_predict(matrix(stopping)).astype(float)
    p, y = fit.recipe.prior_shift.correction().apply(raw), stopping.y.to_numpy()
    loss = -np.mean(np.where(y == 1, np.log(p), np.log(1 - p)))
    curve = fit.booster.learning_curve["validation"]
    assert curve[fit.booster.best_iteration] == pytest.approx(loss, abs=1e-6)
    assert min(curve) == curve[fit.booster.best_iteration]


@pytest.mark.parametrize("name", ["undersample", "oversample"])
def test_the_early_stopping_slice_is_not_sampled(fits: dict[str, Fit], name: str) -> None:
    def slice_of(fit: Fit) -> pd.DataFrame:
        columns = ["order_id", "y", "x_0"]
        return fit.table[fit.table.is_early_stopping][columns].sort_values("order_id").reset_index(drop=True)

    pd.testing.assert_frame_equal(slice_of(fits[name]), slice_of(fits["none"]))
    assert (fits[name].table[fits[name].table.is_early_stopping].sampling_weight == 1.0).all()


def test_the_learning_curve_says_how_many_rounds_ran(fits: dict[str, Fit]) -> None:
    booster = fits["none"].booster
    assert len(booster.learning_curve["training"]) == len(booster.learning_curve["validation"]) == booster.rounds_run
    assert booster.rounds_run <= min(30, booster.best_iteration + 1 + 4)
    assert (booster.num_workers, booster.params["max_bin"]) == (1, 256)


def test_a_booster_comes_back_from_its_record(fits: dict[str, Fit]) -> None:
    booster = fits["none"].booster
    record = {name: value for name, value in dataclasses.asdict(booster).items() if name != "model_bytes"}
    assert FittedBooster.from_record(json.loads(json.dumps(record)), booster.model_bytes) == booster


def test_two_workers_do_not_hang_when_one_has_no_positive_and_fit_the_same_twice(spark: SparkSession) -> None:
    rows = model_rows(400, seed=3)
    rows["y"] = 0
    rows.loc[rows.index[~rows.is_early_stopping][:1], "y"] = 1
    rows.loc[rows.index[rows.is_early_stopping][:1], "y"] = 1
    table = as_spark(spark, rows)
    recipe = STRATEGIES["none"].resolve(_fit_rows(rows), TRAINING)
    two_workers = TRAINING.model_copy(update={"num_workers": 2, "rounds": 3})
    first, second = (fit_booster(table, **{**_settings(recipe), "training": two_workers}) for _ in range(2))
    assert first.model_bytes == second.model_bytes
    assert all(map(math.isfinite, first.learning_curve["validation"]))


def test_arrow_batches_with_early_stopping_rows_alone_or_none_change_nothing(spark: SparkSession) -> None:
    rows = model_rows(300, seed=4, intercept=-1.0).sort_values("is_early_stopping")
    settings = _settings(STRATEGIES["none"].resolve(_fit_rows(rows), TRAINING))
    size = "spark.sql.execution.arrow.maxRecordsPerBatch"
    in_one_batch = fit_booster(as_spark(spark, rows), **settings)
    before = spark.conf.get(size)
    spark.conf.set(size, "50")
    try:
        in_many = fit_booster(as_spark(spark, rows), **settings)
    finally:
        spark.conf.set(size, before)
    assert in_many.rounds_run == in_one_batch.rounds_run
    losses = [booster.learning_curve["validation"] for booster in (in_many, in_one_batch)]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-3)


def test_feature_names_that_xgboost_forbids_stay_outside_the_booster(spark: SparkSession) -> None:
    rows = model_rows(300, seed=4, intercept=-1.0)
    recipe = STRATEGIES["none"].resolve(_fit_rows(rows), TRAINING)
    names = ("a[0]", "b<c", "d.e", "f `g`")
    booster = fit_booster(as_spark(spark, rows), **{**_settings(recipe), "features": names})
    assert booster.features == names
    assert load_booster(booster.model_bytes).feature_names == ["x_0", "x_1", "x_2", "x_3"]


def test_a_fit_reads_its_table_once(spark: SparkSession) -> None:
    rows = model_rows(200, seed=5, intercept=-1.0)
    reads = spark.sparkContext.accumulator(0)

    def count(batches):
        for batch in batches:
            reads.add(batch.num_rows)
            yield batch

    table = as_spark(spark, rows)
    counted = table.mapInArrow(count, table.schema)
    fit_booster(counted, **_settings(STRATEGIES["none"].resolve(_fit_rows(rows), TRAINING)))
    assert reads.value == len(rows)


def test_a_failed_fit_is_one_sentence_without_row_values(spark: SparkSession) -> None:
    rows = model_rows(200, seed=5, intercept=-1.0)
    rows["fit_weight"] = -1234.5
    settings = _settings(STRATEGIES["none"].resolve(_fit_rows(rows), TRAINING))
    with pytest.raises(TrainingError) as failed:
        fit_booster(as_spark(spark, rows), **{**settings, "weight_col": "fit_weight"})
    assert str(failed.value).startswith("training of strategy 'none': ")
    assert "1234" not in str(failed.value)
    assert len(str(failed.value)) < 600


def test_an_empty_early_stopping_slice_is_an_error(spark: SparkSession) -> None:
    rows = model_rows(200, seed=5, intercept=-1.0)
    settings = _settings(STRATEGIES["none"].resolve(_fit_rows(rows), TRAINING))
    rows["is_early_stopping"] = False
    with pytest.raises(TrainingError, match="strategy 'none'"):
        fit_booster(as_spark(spark, rows), **settings)


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"start": (0.0, -math.inf)}, "start must be a finite margin for each of 2 classes"),
        ({"start": (0.0, 0.0, 0.0)}, "start must be a finite margin for each of 2 classes"),
        ({"scale_pos_weight": math.nan}, "scale_pos_weight must be a number above 0, got nan"),
        ({"scale_pos_weight": 0.0}, "scale_pos_weight must be"),
        ({"scale_pos_weight": 3.0, "loss": FocalLoss.focal()}, "scale_pos_weight 3.0 has no effect on a custom loss"),
        (
            {"training": TRAINING.model_copy(update={"early_stopping_metric": "expected_cost"})},
            "expected_cost needs the costs of a false negative",
        ),
    ],
)
def test_starting_values_out_of_range_are_refused(spark: SparkSession, changed: dict, text: str) -> None:
    rows = model_rows(50, seed=5, intercept=-1.0)
    settings = _settings(STRATEGIES["none"].resolve(_fit_rows(rows), TRAINING))
    with pytest.raises(ConfigError, match=text):
        fit_booster(as_spark(spark, rows), **{**settings, **changed})


def test_a_missing_input_column_is_named(spark: SparkSession) -> None:
    rows = model_rows(50, seed=5, intercept=-1.0)
    settings = _settings(STRATEGIES["none"].resolve(_fit_rows(rows), TRAINING))
    with pytest.raises(MissingColumnsError, match="x_3"):
        fit_booster(as_spark(spark, rows.drop(columns="x_3")), **settings)
