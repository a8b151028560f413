"""What each strategy means for two classes: tables, weights, the prior shift and its correction."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from support.model_rows import as_spark, model_rows

from imbalance_spark.core.errors import ConfigError, DataContractError, LeakageError, MissingColumnsError
from imbalance_spark.train_only.config import BoosterParams, TrainingConfig
from imbalance_spark.train_only.guard import leakage_errors
from imbalance_spark.train_only.sampling.neighbour_report import NeighbourReport
from imbalance_spark.train_only.strategies import PriorShift, Roles, Strategy, strategy_from_config
from imbalance_spark.train_only.strategies.base import TWO_CLASSES, training_table
from imbalance_spark.train_only.strategies.recipe import FIT_WEIGHT, Recipe, kept_fractions, with_recipe_weight

KEY = Roles(key=("order_id",))
TRAINING = TrainingConfig(params=BoosterParams(max_depth=4))
COUNTS = {0: 990, 1: 10}


def strategy(kind: str, **given_settings: object) -> Strategy:
    return strategy_from_config({"kind": kind, **given_settings})


def start_rate(recipe: Recipe) -> float:
    """The raw score of class 1 that the fit starts from."""
    return math.exp(recipe.start[1])


def test_none_starts_from_the_prior_and_corrects_nothing() -> None:
    recipe = strategy("none").resolve(COUNTS, TRAINING)
    assert (recipe.weights, recipe.scale_pos_weight) == (None, 1.0)
    assert start_rate(recipe) == pytest.approx(0.01)
    assert recipe.prior_shift.correction().logit_shift == 0.0
    assert recipe.weight_column is None
    assert recipe.logged == {"kind": "none"}


def test_undersampling_moves_the_prior_and_is_undone_by_dal_pozzolo() -> None:
    # 99 of 990 negatives: b = 0.1; a raw score of 0.5 means 0.1 * 0.5 / (0.1 * 0.5 - 0.5 + 1) = 0.0909.
    recipe = strategy("undersample").resolve(COUNTS, TRAINING, kept={0: 0.1, 1: 1.0})
    assert start_rate(recipe) == pytest.approx(10 / 109)
    assert recipe.prior_shift.correction().apply([0.5])[0] == pytest.approx(0.090909, abs=1e-6)
    assert recipe.logged == {"kind": "undersample"}


def test_oversampling_is_undone_by_the_copies() -> None:
    recipe = strategy("oversample").resolve(COUNTS, TRAINING, kept={0: 1.0, 1: 99.0})
    assert start_rate(recipe) == pytest.approx(0.5)
    assert recipe.prior_shift.correction().logit_shift == pytest.approx(-math.log(99))


def test_balanced_class_weights_start_from_a_half() -> None:
    recipe = strategy("class_weight").resolve(COUNTS, TRAINING)
    assert recipe.weights == {0: pytest.approx(1000 / 1980), 1: pytest.approx(50)}
    assert start_rate(recipe) == pytest.approx(0.5)
    assert recipe.prior_shift.correction().logit_shift == pytest.approx(-math.log(99))
    assert recipe.weight_column == FIT_WEIGHT


@pytest.mark.parametrize("weights", ["balanced", {0: 1.0, 1: 3.0}])
def test_logistic_regression_is_weighed_and_corrected_as_class_weight_is(weights: str | dict[int, float]) -> None:
    recipe = strategy("logistic_class_weight", weights=weights, reg_param=0.5).resolve(COUNTS, TRAINING)
    peer = strategy("class_weight", weights=weights).resolve(COUNTS, TRAINING)
    assert (recipe.weights, recipe.prior_shift, recipe.weight_column) == (peer.weights, peer.prior_shift, FIT_WEIGHT)
    assert recipe.logged["reg_param"] == 0.5


def test_scale_pos_weight_has_no_weight_column() -> None:
    recipe = strategy("scale_pos_weight", scale_pos_weight=9.0).resolve(COUNTS, TRAINING)
    assert (recipe.weights, recipe.scale_pos_weight, recipe.weight_column) == (None, 9.0, None)
    # w = 9: a raw score of 0.9 means 0.9 / (0.9 + 9 * 0.1) = 0.5.
    assert recipe.prior_shift.correction().apply([0.9])[0] == pytest.approx(0.5)
    assert strategy("scale_pos_weight").resolve(COUNTS, TRAINING).scale_pos_weight == 99.0


def test_the_two_weights_of_a_balanced_sketch_cancel() -> None:
    recipe = strategy("balanced_sketch").resolve(COUNTS, TRAINING)
    assert recipe.weights == {0: 1.0, 1: 99.0}
    assert recipe.scale_pos_weight == pytest.approx(1 / 99)
    assert start_rate(recipe) == pytest.approx(0.01)
    assert recipe.prior_shift.correction().logit_shift == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize(("power", "effective"), [(0.0, 1.0), (0.5, 99**0.5), (1.0, 99.0)])
def test_class_weight_power_weighs_by_a_power_of_the_imbalance_on_balanced_cuts(power: float, effective: float) -> None:
    recipe = strategy("class_weight_power", power=power).resolve(COUNTS, TRAINING)
    assert recipe.weights == {0: 1.0, 1: 99.0}
    assert recipe.scale_pos_weight == pytest.approx(99.0 ** (power - 1.0))
    assert start_rate(recipe) == pytest.approx(10 * effective / (990 + 10 * effective))
    assert recipe.prior_shift.correction().logit_shift == pytest.approx(-math.log(effective), abs=1e-12)


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_balanced_cuts_that_are_given_need_no_weights_that_cancel(power: float) -> None:
    native = TRAINING.model_copy(update={"engine": "native"})
    asked = strategy("class_weight_power", power=power)
    given, trick = asked.resolve(COUNTS, native), asked.resolve(COUNTS, TRAINING)
    assert (given.weights, given.scale_pos_weight, given.cuts) == (None, pytest.approx(99.0**power), "balanced")
    assert given.prior_shift.weights == pytest.approx(trick.prior_shift.weights)
    assert given.start == pytest.approx(trick.start)


@pytest.mark.parametrize("power", [0.0, 0.5])
def test_balanced_cuts_of_three_classes_need_no_weights_either(power: float) -> None:
    counts, native = {0: 900, 1: 80, 2: 20}, TRAINING.model_copy(update={"engine": "native"})
    asked = strategy("class_weight_power", power=power)
    given, trick = (asked.resolve(counts, training, classes=("a", "b", "c")) for training in (native, TRAINING))
    assert given.weights is None
    assert (given.loss is None) == (power == 0.0)
    assert given.prior_shift.weights == pytest.approx(trick.prior_shift.weights)
    assert given.start == pytest.approx(trick.start)


def test_cuts_are_those_asked_for_or_those_of_the_kind() -> None:
    kinds = {kind: strategy(kind).cut_kind for kind in ("none", "class_weight", "balanced_sketch", "focal", "smote")}
    assert kinds == {
        "none": "plain", "class_weight": "balanced", "balanced_sketch": "balanced", "focal": "plain", "smote": "plain",
    }  # fmt: skip
    focal = strategy("focal", cuts="balanced")
    native = TRAINING.model_copy(update={"engine": "native"})
    assert focal.resolve(COUNTS, native).cuts == "balanced"
    assert list(focal.problems_with(native)) == []
    assert list(focal.problems_with(TRAINING)) == [
        "strategy 'focal': training.engine xgboost_spark cannot do cuts 'balanced': leave cuts out, or use "
        "training.engine: native"
    ]


def test_max_delta_step_is_plain_boosting_with_the_bound() -> None:
    recipe = strategy("max_delta_step", max_delta_step=0.7).resolve(COUNTS, TRAINING)
    assert recipe.params == BoosterParams(max_depth=4, max_delta_step=0.7)
    assert recipe.logged == {"kind": "max_delta_step", "max_delta_step": 0.7}
    assert start_rate(recipe) == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("kind", "given_settings", "gammas", "weights"),
    [
        ("focal", {}, (2.0, 2.0), (1.0, 1.0)),
        ("focal", {"gamma": 0.5, "alpha": 0.9}, (0.5, 0.5), (0.1, 0.9)),
        ("asymmetric_focal", {"gamma_negative": 3.0, "gamma_positive": 0.0}, (3.0, 0.0), (1.0, 1.0)),
        # Effective numbers at beta 0.9: 10 (1 - 0.9^990) = 10 and 10 (1 - 0.9^10) = 6.513.
        ("class_balanced_focal", {"beta": 0.9}, (2.0, 2.0), (2 * 6.51322 / 16.51322, 20 / 16.51322)),
    ],
)
def test_focal_losses_start_where_their_inverse_is_the_prior(
    kind: str, given_settings: dict[str, float], gammas: tuple[float, float], weights: tuple[float, float]
) -> None:
    recipe = strategy(kind, **given_settings).resolve(COUNTS, TRAINING)
    assert recipe.loss is not None
    assert (recipe.loss.gammas, recipe.loss.weights) == (gammas, pytest.approx(weights, rel=1e-5))
    assert recipe.prior_shift.correction().apply(start_rate(recipe)) == pytest.approx(0.01, rel=1e-9)
    p = [0.001, 0.2, 0.9]
    assert recipe.prior_shift.correction().apply(p) == pytest.approx(recipe.loss.correction().apply(p), rel=1e-12)
    assert (recipe.scale_pos_weight, recipe.weights) == (1.0, None)
    assert recipe.logged["focal_gamma_1"] == gammas[1]


def test_what_was_kept_is_undone_behind_a_focal_loss() -> None:
    # Weights in the loss and rows kept have the same effect.
    kept = PriorShift(kept_fractions=(0.1, 1.0), weights=(1.0, 1.0), gammas=(2.0, 2.0)).correction()
    weighed = PriorShift(kept_fractions=(1.0, 1.0), weights=(1.0, 10.0), gammas=(2.0, 2.0)).correction()
    assert kept.apply([0.3])[0] == pytest.approx(weighed.apply([0.3])[0])


def test_samples_of_an_ensemble_share_the_minority_and_no_row_of_the_majority(spark: SparkSession) -> None:
    rows = model_rows(6000, seed=1, intercept=-4.2)
    asked, train = strategy("undersample_ensemble", members=3, sampling_strategy=0.3), as_spark(spark, rows)
    tables = [training_table(train, asked, KEY, 7, member=number).toPandas() for number in range(3)]
    to_fit = [table[~table.is_early_stopping] for table in tables]
    positives = set(rows[~rows.is_early_stopping & (rows.y == 1)].order_id)
    majority = [set(table[table.y == 0].order_id) for table in to_fit]
    for table, negatives in zip(to_fit, majority, strict=True):
        assert set(table[table.y == 1].order_id) == positives
        # Drawn by hash: within 4.5 binomial deviations of the ratio.
        assert abs(len(negatives) - len(positives) / 0.3) < 4.5 * math.sqrt(len(positives) / 0.3)
        weights = table.groupby("y").sampling_weight.first()
        assert weights[1] == 1.0
        assert weights[0] * len(negatives) == pytest.approx(len(rows[~rows.is_early_stopping & (rows.y == 0)]), rel=0.2)
    assert not majority[0] & majority[1] | majority[0] & majority[2] | majority[1] & majority[2]
    stopping = sorted(rows[rows.is_early_stopping].order_id)
    assert all(sorted(table[table.is_early_stopping].order_id) == stopping for table in tables)


def test_too_few_rows_for_disjoint_samples_are_an_error(spark: SparkSession) -> None:
    train = as_spark(spark, model_rows(300, seed=1, intercept=0.0))
    with pytest.raises(ConfigError, match="50 samples without a common row need 50 times"):
        training_table(train, strategy("undersample_ensemble", members=50), KEY, 7)


def test_a_strategys_parameters_go_before_the_trainings() -> None:
    recipe = strategy("none", params={"max_delta_step": 1.0}).resolve(COUNTS, TRAINING)
    assert recipe.params == BoosterParams(max_depth=4, max_delta_step=1.0)
    assert recipe.logged == {"kind": "none", "max_delta_step": 1.0}


def test_business_weights_move_the_starting_point_and_are_not_corrected() -> None:
    recipe = strategy("none").resolve(COUNTS, TRAINING, row_weights={0: 990.0, 1: 330.0})
    assert start_rate(recipe) == pytest.approx(0.25)
    assert recipe.weight_column == FIT_WEIGHT
    assert recipe.prior_shift.correction().logit_shift == 0.0


@pytest.mark.parametrize("weights", [{1: 10.0}, {0: 1.0, 1: 10.0, 2: 3.0}])
def test_weights_must_name_both_classes_and_no_other(weights: dict[int, float]) -> None:
    asked = strategy("class_weight", weights=weights)
    [problem] = asked.problems(TWO_CLASSES, (), ())
    assert "weights must name each of the classes ['0', '1'], and no other" in problem
    with pytest.raises(ConfigError, match="class"):
        asked.resolve(COUNTS, TRAINING)


@pytest.mark.parametrize("counts", [{0: 10}, {0: 10, 1: 0}, {}])
def test_one_class_is_refused(counts: dict[int, int]) -> None:
    with pytest.raises(DataContractError, match=r"strategy 'none': classes .* have no training rows to fit on"):
        strategy("none").resolve(counts, TRAINING)


def test_a_class_that_sampling_leaves_without_rows_is_named() -> None:
    assert kept_fractions("mine", TWO_CLASSES, {0: 990, 1: 10}, {0: 99, 1: 10}) == {0: 0.1, 1: 1.0}
    with pytest.raises(DataContractError, match=r"'mine': its sampling left no rows of classes \['0'\]"):
        kept_fractions("mine", TWO_CLASSES, {0: 990, 1: 10}, {1: 10})
    with pytest.raises(DataContractError, match=r"classes \['1'\] have no training rows to fit on"):
        kept_fractions("mine", TWO_CLASSES, {0: 990}, {0: 99})


def test_a_sampler_needs_to_know_what_was_kept() -> None:
    with pytest.raises(ConfigError, match="strategy 'undersample' samples rows: pass kept"):
        strategy("undersample").resolve(COUNTS, TRAINING)


def test_strategies_that_only_weigh_share_one_table() -> None:
    names = [strategy(kind).table for kind in ("none", "class_weight", "scale_pos_weight", "balanced_sketch")]
    assert names == ["train"] * 4
    assert strategy("undersample", name="one_to_ten").table == "train_one_to_ten"


positive = st.floats(1e-4, 1e4)
counts = st.integers(1, 10**9)


@settings(max_examples=60)
@given(p=st.floats(1e-6, 1 - 1e-6), f0=positive, f1=positive, w0=positive, w1=positive)
def test_the_correction_undoes_the_prior_shift(p: float, f0: float, f1: float, w0: float, w1: float) -> None:
    shifted = p * f1 * w1 / (p * f1 * w1 + (1 - p) * f0 * w0)
    shift = PriorShift(kept_fractions=(f0, f1), weights=(w0, w1))
    odds = shift.correction().apply([shifted])[0]
    if 1e-9 < shifted < 1 - 1e-9:
        assert odds == pytest.approx(p, rel=1e-5)


@settings(max_examples=60)
@given(negatives=counts, positives=counts, kind=st.sampled_from(["none", "balanced_sketch"]))
def test_strategies_that_keep_the_prior_start_from_it(negatives: int, positives: int, kind: str) -> None:
    recipe = strategy(kind).resolve({0: negatives, 1: positives}, TRAINING)
    assert start_rate(recipe) == pytest.approx(positives / (negatives + positives), rel=1e-9)


@pytest.mark.parametrize("method", ["exact", "key_hash", "sample_by"])
def test_undersampling_reaches_its_ratio_on_the_rows_to_fit_only(spark: SparkSession, method: str) -> None:
    rows = model_rows(5000, seed=1, intercept=-3.0)
    asked = strategy("undersample", sampling_strategy=0.5, method=method)
    found = training_table(as_spark(spark, rows), asked, KEY, 7).toPandas()
    to_fit, before = found[~found.is_early_stopping], rows[~rows.is_early_stopping]
    positives = before.y.sum()
    assert to_fit.y.sum() == positives
    # Kept on average 2 negatives for a positive; 4.5 binomial deviations for the methods that draw.
    slack = 0 if method == "exact" else 4.5 * math.sqrt(2 * positives)
    assert abs(len(to_fit) - 3 * positives) <= slack
    stopping = found[found.is_early_stopping]
    assert sorted(stopping.order_id) == sorted(rows[rows.is_early_stopping].order_id)
    assert (stopping.sampling_weight == 1.0).all()


def test_oversampling_repeats_rows_to_fit_only(spark: SparkSession) -> None:
    rows = model_rows(2000, seed=1, intercept=-3.0)
    table = training_table(as_spark(spark, rows), strategy("oversample"), KEY, 7).toPandas()
    to_fit = table[~table.is_early_stopping]
    assert to_fit.y.sum() * 2 == len(to_fit)
    assert table[table.is_early_stopping].copy_number.isna().all()
    assert not table[table.is_early_stopping].order_id.duplicated().any()


def test_fit_weights_are_class_times_business_and_business_alone_on_the_slice(spark: SparkSession) -> None:
    train = spark.createDataFrame(
        [(0, False, 2.0), (1, False, 3.0), (0, True, 5.0), (1, True, 7.0)],
        "y int, is_early_stopping boolean, row_weight double",
    ).withColumn("split", F.lit("train"))
    asked = strategy("class_weight", weights={0: 1.0, 1: 10.0}, allow_stacked_correction=True)
    recipe = asked.resolve(COUNTS, TRAINING, row_weights={0: 990.0, 1: 10.0})
    weighed = with_recipe_weight(train, recipe)
    assert [row[FIT_WEIGHT] for row in weighed.collect()] == [2.0, 30.0, 5.0, 7.0]
    without_business = with_recipe_weight(train.drop("row_weight"), asked.resolve(COUNTS, TRAINING))
    assert [row[FIT_WEIGHT] for row in without_business.collect()] == [1.0, 10.0, 1.0, 1.0]
    business_alone = with_recipe_weight(train, strategy("none").resolve(COUNTS, TRAINING, row_weights=COUNTS))
    assert [row[FIT_WEIGHT] for row in business_alone.collect()] == [2.0, 3.0, 5.0, 7.0]
    assert weighed.columns == [*train.columns, FIT_WEIGHT]


def test_a_recipe_with_business_weights_needs_their_column(spark: SparkSession) -> None:
    train = spark.createDataFrame([(0, False, "train")], "y int, is_early_stopping boolean, split string")
    with pytest.raises(MissingColumnsError, match="row_weight"):
        with_recipe_weight(train, strategy("none").resolve(COUNTS, TRAINING, row_weights=COUNTS))


@pytest.mark.parametrize("kind", ["none", "undersample"])
def test_a_validation_row_stops_the_training_table(spark: SparkSession, kind: str) -> None:
    rows = model_rows(100, seed=1, intercept=0.0)
    rows.loc[rows.index[3], "split"] = "validation"
    with pytest.raises(LeakageError), leakage_errors():
        training_table(as_spark(spark, rows), strategy(kind), KEY, 7).count()


SYNTHETIC = ["smote", "borderline_smote", "adasyn", "smote_nc", "smote_tomek", "smote_enn"]


@pytest.mark.parametrize("kind", SYNTHETIC)
def test_synthetic_rows_join_the_rows_to_fit_and_leave_the_slice_alone(spark: SparkSession, kind: str) -> None:
    columns = [
        "id as order_id", "int(id % 10 = 0) as y", "'train' as split", "id % 7 = 1 as is_early_stopping",
        "float(rand(1) + 0.3 * int(id % 10 = 0)) as x_0", "float(rand(2)) as x_1", "float(id % 3) as x_2",
    ]  # fmt: skip
    train = spark.range(600).selectExpr(*columns).localCheckpoint()
    config = strategy(kind, sampling_strategy=0.5, undersample_to=0.8)
    told: dict[int, NeighbourReport] = {}
    table = training_table(
        train, config, Roles(key=("order_id",), numeric=("x_0", "x_1"), categorical=("x_2",)), 7, tell=told.update
    )  # fmt: skip
    assert told[1].class_rows == train.where("y = 1 and not is_early_stopping").count()
    rows = table.toPandas()
    assert [table.schema[name].dataType for name in train.columns] == [train.schema[n].dataType for n in train.columns]
    stopping = rows[rows.is_early_stopping][train.columns].sort_values("order_id")
    expected = train.where("is_early_stopping").orderBy("order_id").toPandas()
    assert stopping.reset_index(drop=True).equals(expected)
    fitted = rows[~rows.is_early_stopping].y.value_counts()
    assert fitted[1] / fitted[0] == pytest.approx(0.8, abs=0.01)
    assert rows.is_synthetic.eq(True).sum() > 50
    recipe = config.resolve(COUNTS, TRAINING, kept={0: 0.5, 1: 10.0})
    assert not recipe.prior_shift.is_exact
    assert recipe.logged["prior_correction"] == "approximate"
