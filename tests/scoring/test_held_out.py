"""The scan that turns held-out rows and models into counts, against numpy and XGBoost in memory."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xgboost
from pyspark.sql import SparkSession
from support.model_rows import FEATURES, as_spark, matrix, model_rows

from imbalance_spark.calibration import PriorCorrection
from imbalance_spark.core.errors import ConfigError, DataContractError, MissingColumnsError
from imbalance_spark.metrics.buckets import COARSE_GRID
from imbalance_spark.metrics.counts import ScoreCounts
from imbalance_spark.metrics.grid import LogitGrid
from imbalance_spark.scoring.boosters import Candidate, load_booster, probabilities
from imbalance_spark.scoring.held_out import scan_folds, scan_held_out
from imbalance_spark.scoring.held_out_counts import HeldOutCounts, TargetCounts
from imbalance_spark.scoring.held_out_rows import bucket_hash
from imbalance_spark.scoring.reasons import collect_importance, is_explained
from imbalance_spark.threshold import MinCost
from imbalance_spark.threshold.order_costs import OrderRule

GRID = LogitGrid(bins=2048)
FOLDS = ("validation", "test")
EXPLAINED_SHARE = 0.05
SUMS = ("positives", "negatives", "positive_weight", "negative_weight", "positive_amount", "negative_amount")


@pytest.fixture(scope="module")
def contenders() -> list[Candidate]:
    rows = model_rows(3000, seed=1, intercept=-2.0)
    data = xgboost.QuantileDMatrix(matrix(rows), rows.y)
    corrections = {
        "none": PriorCorrection.identity(),
        "undersample": PriorCorrection.of_odds(positive=1.0, negative=0.1),
    }
    boosters = {
        name: xgboost.train({"objective": "binary:logistic", "max_depth": depth, "seed": 7}, data, 8)
        for depth, name in enumerate(corrections, start=2)
    }
    return [_contender(name, boosters[name], correction) for name, correction in corrections.items()]


def _contender(name: str, booster: xgboost.Booster, correction: PriorCorrection) -> Candidate:
    ubj = bytes(booster.save_raw("ubj"))
    return Candidate(name=name, model_bytes=ubj, features=FEATURES, correction=correction)


@pytest.fixture(scope="module")
def held_out() -> pd.DataFrame:
    parts = [model_rows(12_000, seed=2, split="validation"), model_rows(8_000, seed=3, split="test")]
    rows = pd.concat([*parts, model_rows(100, seed=4)], ignore_index=True)
    draw = np.random.default_rng(5)
    rows["customer_id"] = pd.array(draw.integers(0, 3000, len(rows)), dtype="Int64")
    rows.loc[draw.random(len(rows)) < 0.1, "customer_id"] = pd.NA
    rows["country"] = draw.choice(["FR", "DE", None], len(rows))
    return rows


def _score(contender: Candidate, frame: pd.DataFrame) -> np.ndarray:
    """Another way to the same probability: XGBoost's DMatrix, and the correction on the score."""
    booster = xgboost.Booster(model_file=bytearray(contender.model_bytes))
    return contender.correction.apply(booster.predict(xgboost.DMatrix(matrix(frame))).astype(np.float64))


def _scan(
    spark: SparkSession, frame: pd.DataFrame, contenders: list[Candidate], partitions: int = 1, **settings: object
) -> dict[str, TargetCounts]:
    roles = {"key": ["order_id"], "group": ["customer_id"], "segments": ["country"]}
    settings = {**roles, "grid": GRID, "has_weight": True, "has_amount": True, **settings}
    counted = scan_held_out(as_spark(spark, frame).repartition(partitions), contenders, **settings)
    return {name: counts.target for name, counts in counted.items()}


@pytest.fixture(scope="module")
def counted(spark: SparkSession, contenders: list[Candidate], held_out: pd.DataFrame) -> dict[str, HeldOutCounts]:
    rows = as_spark(spark, held_out).repartition(3)
    return scan_held_out(
        rows, contenders, key=["order_id"], group=["customer_id"], segments=["country"], grid=GRID, has_weight=True,
        has_amount=True,
    )  # fmt: skip


@pytest.fixture(scope="module")
def found(counted: dict[str, HeldOutCounts]) -> dict[str, TargetCounts]:
    return {name: counts.target for name, counts in counted.items()}


@pytest.fixture(scope="module")
def placed(spark: SparkSession, contenders: list[Candidate], held_out: pd.DataFrame) -> pd.DataFrame:
    """The held-out rows with their bucket and, by strategy, their score."""
    keys = as_spark(spark, held_out).select(
        "order_id", (bucket_hash(["order_id"], ["customer_id"]) % 64).alias("bucket")
    )
    rows = held_out[held_out.split != "train"].merge(keys.toPandas(), on="order_id")
    scores = {c.name: probabilities(load_booster(c.model_bytes), matrix(rows), c.correction) for c in contenders}
    return rows.assign(**scores)


def _sums(rows: pd.DataFrame, slot: np.ndarray, size: int) -> list[np.ndarray]:
    """Rows, weight, weight times amount by slot."""
    weight = rows.row_weight.to_numpy()
    measures = (np.ones(len(rows)), weight, weight * rows.amount_value.to_numpy())
    return [np.bincount(slot, values, minlength=size) for values in measures]


def test_fine_counts_are_those_of_numpy_in_every_fold_and_half(
    found: dict[str, TargetCounts], placed: pd.DataFrame
) -> None:
    is_validation, is_even = placed.split == "validation", placed.bucket % 2 == 0
    cells = {
        "calibrate": is_validation & is_even,
        "choose": is_validation & ~is_even,
        "validation": is_validation,
        "test": placed.split == "test",
    }
    for name, counted in found.items():
        for cell, is_in_cell in cells.items():
            rows, counts = placed[is_in_cell], getattr(counted, cell)
            assert int(counts.positives.sum() + counts.negatives.sum()) == len(rows)
            entry = GRID.bin_of(counts.score)
            for label, names in ((1, SUMS[0::2]), (0, SUMS[1::2])):
                of_class = rows[rows.y == label]
                expected = _sums(of_class, GRID.bin_of(of_class[name]), GRID.bins)
                for column, sums in zip(names, expected, strict=True):
                    np.testing.assert_allclose(getattr(counts, column), sums[entry], rtol=1e-12)


def test_importance_is_the_mean_absolute_contribution_to_a_sample_of_rows(
    spark: SparkSession, counted: dict[str, HeldOutCounts], contenders: list[Candidate], held_out: pd.DataFrame
) -> None:
    test = held_out[held_out.split == "test"].reset_index(drop=True)
    rows = as_spark(spark, test).repartition(3)
    chosen = rows.select("order_id", is_explained(["order_id"], EXPLAINED_SHARE).alias("chosen"))
    sample = test.merge(chosen.toPandas(), on="order_id").query("chosen")
    assert len(sample) == pytest.approx(EXPLAINED_SHARE * len(test), rel=0.2)
    found = collect_importance(rows, contenders, key=["order_id"], share=EXPLAINED_SHARE, has_weight=True)
    for contender in contenders:
        booster = xgboost.Booster(model_file=bytearray(contender.model_bytes))
        parts = np.abs(booster.predict(xgboost.DMatrix(matrix(sample)), pred_contribs=True)[:, :-1])
        expected = dict(zip(FEATURES, np.average(parts, axis=0, weights=sample.row_weight), strict=True))
        importance = found[contender.name]
        assert importance == pytest.approx(expected, rel=1e-5)
        counts = replace(counted[contender.name], importance=importance)
        assert HeldOutCounts.from_records(counts.to_records()).importance == importance
    nobody = collect_importance(rows, contenders, key=["order_id"], share=0.0, has_weight=True)
    assert nobody == {contender.name: {} for contender in contenders}


def test_coarse_counts_are_those_of_numpy_by_bucket_and_by_segment(
    found: dict[str, TargetCounts], placed: pd.DataFrame
) -> None:
    for name, counted in found.items():
        for fold in FOLDS:
            rows = placed[placed.split == fold]
            segment = counted.segments[fold]["country"]
            assert segment.values == ("DE", "FR", None)
            country = rows.country.map({"DE": 0, "FR": 1}).fillna(2).astype(int)
            for groups, counts in ((rows.bucket, counted.buckets[fold]), (country, segment.counts)):
                bins = COARSE_GRID.bin_of(GRID.value(GRID.bin_of(rows[name])))
                slot = ((groups * COARSE_GRID.bins + bins) * 2 + rows.y).to_numpy()
                expected = _sums(rows, slot, counts.rows.size)
                for sums, measure in zip(expected, (counts.rows, counts.weight, counts.amount), strict=True):
                    np.testing.assert_allclose(measure.ravel(), sums, rtol=1e-12)


def test_a_group_stays_in_one_bucket_and_a_row_without_one_stands_for_itself(placed: pd.DataFrame) -> None:
    buckets_of = placed.groupby("customer_id").bucket.nunique()
    assert (buckets_of == 1).all()
    assert placed[placed.customer_id.isna()].bucket.nunique() == 64
    assert placed.bucket.nunique() == 64


def test_segments_add_up_to_the_fold_at_every_cut_off(found: dict[str, TargetCounts]) -> None:
    for counted in found.values():
        parts = counted.by_segment("test", "country")
        assert list(parts) == ["DE", "FR", None]
        for column in ("positive_weight", "negative_weight", "positive_amount", "negative_amount"):
            total = sum(getattr(part, column) for part in parts.values())
            np.testing.assert_allclose(total, getattr(counted.test, column), rtol=1e-12)
        rows = sum(part.positives.sum() + part.negatives.sum() for part in parts.values())
        assert rows == counted.test.positives.sum() + counted.test.negatives.sum()


@pytest.mark.parametrize("part", ["validation", "test", "calibrate", "choose"])
def test_each_part_of_the_rows_has_its_own_buckets(found: dict[str, TargetCounts], part: str) -> None:
    for counted in found.values():
        sample = counted.bucketed(part, through=np.sqrt)
        again = sample.draw(np.ones(sample.buckets.size))
        assert again.average_precision() == pytest.approx(sample.curve.average_precision(), rel=1e-12)
        np.testing.assert_array_equal(again.threshold, sample.curve.threshold)
        np.testing.assert_array_equal(again.counts.positives, getattr(counted, part).positives)


def test_counts_do_not_depend_on_the_partitioning(
    spark: SparkSession, contenders: list[Candidate], held_out: pd.DataFrame, found: dict[str, TargetCounts]
) -> None:
    for name, counted in _scan(spark, held_out, contenders, partitions=7).items():
        for fold in FOLDS:
            _assert_same(counted.by_fold[fold], found[name].by_fold[fold])
            np.testing.assert_array_equal(counted.buckets[fold].rows, found[name].buckets[fold].rows)
            one, other = (which.segments[fold]["country"] for which in (counted, found[name]))
            assert one.values == other.values
            np.testing.assert_array_equal(one.counts.rows, other.counts.rows)


def _assert_same(one: ScoreCounts, other: ScoreCounts) -> None:
    first, second = one.to_records(), other.to_records()
    for name in ("bin", "positives", "negatives"):
        assert first[name] == second[name]
    np.testing.assert_allclose(first["positive_weight"], second["positive_weight"], rtol=1e-12)


def test_counts_survive_json_to_the_last_bit(found: dict[str, TargetCounts]) -> None:
    for counted in found.values():
        records = counted.to_records()
        again = HeldOutCounts.from_records(json.loads(json.dumps(records)))
        assert again.to_records() == records
        assert again.target.validation.to_records() == counted.validation.to_records()


def test_without_weight_and_amount_each_row_weighs_one(
    spark: SparkSession, contenders: list[Candidate], held_out: pd.DataFrame
) -> None:
    bare = held_out.drop(columns=["row_weight", "amount_value"])
    counted = _scan(spark, bare, contenders, has_weight=False, has_amount=False, segments=())["none"]
    assert not counted.test.is_weighted
    assert counted.test.positive_amount is None
    np.testing.assert_array_equal(counted.buckets["test"].weight, counted.buckets["test"].rows)
    assert counted.buckets["test"].amount is None
    assert counted.segments == {"validation": {}, "test": {}}


def test_the_scan_reads_each_row_once(spark: SparkSession, contenders: list[Candidate], held_out: pd.DataFrame) -> None:
    reads = spark.sparkContext.accumulator(0)

    def count(batches):
        for batch in batches:
            reads.add(batch.num_rows)
            yield batch

    inputs = as_spark(spark, held_out)
    scan_held_out(
        inputs.mapInArrow(count, inputs.schema),
        contenders,
        key=["order_id"],
        segments=["country"],
        grid=GRID,
        has_weight=True,
        has_amount=True,
    )
    assert reads.value == len(held_out)


def test_each_row_of_a_cross_fit_is_counted_by_the_model_of_its_own_fit(
    spark: SparkSession, contenders: list[Candidate], held_out: pd.DataFrame
) -> None:
    plain, sampled = contenders
    folds = ((sampled.model_bytes, sampled.correction), (plain.model_bytes, PriorCorrection.identity()))
    rows = held_out[held_out.split != "train"].assign(
        fit_number=lambda f: np.where(f.split == "test", 2, f.order_id % 2)
    )
    counted = _scan(spark, rows, [replace(plain, name="crossed", folds=folds)], segments=())["crossed"]
    models = [sampled, replace(plain, correction=PriorCorrection.identity()), plain]
    score = np.choose(rows.fit_number, [_score(model, rows) for model in models])
    for fold in FOLDS:
        is_here = (rows.split == fold).to_numpy()
        here, score_here = rows[is_here], score[is_here]
        expected = ScoreCounts.from_arrays(here.y, score_here, here.row_weight, exact_limit=0, grid=GRID)
        found = counted.by_fold[fold]
        np.testing.assert_array_equal(GRID.bin_of(found.score), GRID.bin_of(expected.score))
        np.testing.assert_array_equal(found.positives, expected.positives)
        np.testing.assert_array_equal(found.negatives, expected.negatives)


def test_each_fold_is_counted_apart_by_the_model_of_its_own_fit(
    spark: SparkSession, contenders: list[Candidate], held_out: pd.DataFrame
) -> None:
    rows = held_out[held_out.split != "train"].assign(fit_number=lambda frame: frame.order_id % 2)
    plain, sampled = contenders
    folds = [(sampled.model_bytes, sampled.correction), (plain.model_bytes, plain.correction)]
    crossed = [replace(plain, name="one", folds=tuple(folds)), replace(plain, name="other", folds=tuple(folds[::-1]))]
    costs = MinCost(fn="amount", fp=12).by_order
    assert costs is not None
    found = scan_folds(
        as_spark(spark, rows), crossed, key=["order_id"], group=["customer_id"], grid=GRID, has_weight=True,
        has_amount=True, rule=OrderRule(costs=costs, column="amount_value", threshold=0.5),
    )  # fmt: skip
    for name, models in (("one", (sampled, plain)), ("other", (plain, sampled))):
        for fold, model in enumerate(models):
            here = rows[(rows.split == "validation") & (rows.fit_number == fold)]
            expected = ScoreCounts.from_arrays(
                here.y, _score(model, here), here.row_weight, here.amount_value, exact_limit=0, grid=GRID
            )
            [(counts, buckets)] = found[name][fold].targets
            _assert_same(counts, expected)
            np.testing.assert_allclose(counts.positive_amount, expected.positive_amount)
            assert buckets.rows.sum() == len(here)
            p = _score(model, here)
            flagged = here[p * here.amount_value > (1 - p) * 12]
            decided = found[name][fold].decided.curve().at(0.5)
            assert (decided.tp, decided.flagged) == pytest.approx(
                (flagged.row_weight[flagged.y == 1].sum(), flagged.row_weight.sum())
            )
            assert 0 < len(flagged) < len(here)


def test_a_segment_column_of_many_values_is_refused(
    spark: SparkSession, contenders: list[Candidate], held_out: pd.DataFrame
) -> None:
    with pytest.raises(DataContractError, match="'order_id' has more than 50 values"):
        _scan(spark, held_out, contenders, segments=["order_id"])
    fifty = held_out.assign(band=np.arange(len(held_out)) % 50)
    assert len(_scan(spark, fifty, contenders, segments=["band"])["none"].segments["test"]["band"].values) == 50


def test_a_half_of_validation_without_rows_is_named(
    spark: SparkSession, contenders: list[Candidate], held_out: pd.DataFrame
) -> None:
    one_customer = held_out.assign(customer_id=7)
    with pytest.raises(DataContractError, match="half of validation has no row"):
        _scan(spark, one_customer, contenders)


def test_no_rows_have_no_probabilities(contenders: list[Candidate]) -> None:
    booster = load_booster(contenders[0].model_bytes)
    assert probabilities(booster, np.empty((0, 4), np.float32), PriorCorrection.identity()).shape == (0,)


def test_a_far_shift_stays_a_probability(contenders: list[Candidate]) -> None:
    x = matrix(model_rows(50, seed=6))
    booster = load_booster(contenders[0].model_bytes)
    for factor in (1e-100, 1e100):
        found = probabilities(booster, x, PriorCorrection.of_odds(positive=factor, negative=1.0))
        assert np.isfinite(found).all()
        assert ((found >= 0) & (found <= 1)).all()


def test_a_label_that_is_no_class_is_an_error_with_its_count(
    spark: SparkSession, contenders: list[Candidate], held_out: pd.DataFrame
) -> None:
    broken = held_out.copy()
    broken.loc[broken.index[:5], "y"] = 2
    with pytest.raises(DataContractError, match="5 rows have a label that is neither 0 nor 1"):
        _scan(spark, broken, contenders)


def test_contenders_must_differ_in_name_and_agree_in_features(
    spark: SparkSession, contenders: list[Candidate], held_out: pd.DataFrame
) -> None:
    for wrong, text in (([], "at least one"), ([contenders[0], contenders[0]], "a name of its own")):
        with pytest.raises(ConfigError, match=text):
            _scan(spark, held_out, wrong)
    other = replace(contenders[1], name="other", features=FEATURES[:3])
    with pytest.raises(ConfigError, match="different features"):
        _scan(spark, held_out, [contenders[0], other])


def test_a_missing_input_is_named(spark: SparkSession, contenders: list[Candidate], held_out: pd.DataFrame) -> None:
    with pytest.raises(MissingColumnsError, match="x_2"):
        _scan(spark, held_out.drop(columns="x_2"), contenders)
    with pytest.raises(MissingColumnsError, match="kountry"):
        _scan(spark, held_out, contenders, segments=["kountry"])
    with pytest.raises(DataContractError, match="no key column is named"):
        _scan(spark, held_out, contenders, key=[])
