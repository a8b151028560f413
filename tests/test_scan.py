"""The scan that turns held-out rows and models into counts, against numpy and XGBoost in memory."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import pytest
import xgboost
from model_rows import FEATURES, as_spark, matrix, model_rows
from pyspark.sql import SparkSession

from imbalance_spark.calibration import PriorCorrection
from imbalance_spark.errors import ConfigError, DataContractError, MissingColumnsError
from imbalance_spark.learners.xgboost import FittedBooster
from imbalance_spark.metrics.counts import ScoreCounts
from imbalance_spark.metrics.grid import LogitGrid
from imbalance_spark.scan import Contender, load_booster, probabilities, scan_counts, score_frame

GRID = LogitGrid(bins=2048)


@pytest.fixture(scope="module")
def contenders() -> list[Contender]:
    rows = model_rows(3000, seed=1, intercept=-2.0)
    data = xgboost.QuantileDMatrix(matrix(rows), rows.y)
    corrections = {
        "none": PriorCorrection.identity(),
        "undersample": PriorCorrection(positive_factor=1.0, negative_factor=0.1),
    }
    boosters = {
        name: xgboost.train({"objective": "binary:logistic", "max_depth": depth, "seed": 7}, data, 8)
        for depth, name in enumerate(corrections, start=2)
    }
    return [_contender(name, boosters[name], correction) for name, correction in corrections.items()]


def _contender(name: str, booster: xgboost.Booster, correction: PriorCorrection) -> Contender:
    fitted = FittedBooster(
        ubj=bytes(booster.save_raw("ubj")),
        features=FEATURES,
        best_iteration=7,
        rounds_run=8,
        learning_curve={},
        num_workers=1,
        params={},
    )
    return Contender(name=name, booster=fitted, correction=correction)


@pytest.fixture(scope="module")
def held_out() -> pd.DataFrame:
    parts = [model_rows(12_000, seed=2, split="validation"), model_rows(8_000, seed=3, split="test")]
    return pd.concat([*parts, model_rows(100, seed=4)], ignore_index=True)


def _score(contender: Contender, frame: pd.DataFrame) -> np.ndarray:
    """Another way to the same probability: XGBoost's DMatrix, and the correction on the score."""
    booster = xgboost.Booster(model_file=bytearray(contender.booster.ubj))
    return contender.correction.apply(booster.predict(xgboost.DMatrix(matrix(frame))).astype(np.float64))


def _counts(spark: SparkSession, frame: pd.DataFrame, contenders: list[Contender], partitions: int = 1, **flags: bool):
    flags = {"has_weight": True, "has_amount": True, **flags}
    return scan_counts(as_spark(spark, frame).repartition(partitions), contenders, grid=GRID, **flags)


def test_counts_are_those_of_numpy_for_every_strategy_and_fold(
    spark: SparkSession, contenders: list[Contender], held_out: pd.DataFrame
) -> None:
    found = _counts(spark, held_out, contenders, partitions=3)
    assert set(found) == {(c.name, fold) for c in contenders for fold in ("validation", "test")}
    for contender in contenders:
        for fold in ("validation", "test"):
            rows = held_out[held_out.split == fold]
            score = probabilities(load_booster(contender.booster.ubj), matrix(rows), contender.correction)
            bins, counts = GRID.bin_of(score), found[contender.name, fold]
            entry = GRID.bin_of(counts.score)
            for label, n, weight, amount in (
                (1, counts.positives, counts.positive_weight, counts.positive_amount),
                (0, counts.negatives, counts.negative_weight, counts.negative_amount),
            ):
                is_label, w = rows.y.to_numpy() == label, rows.row_weight.to_numpy()
                for values, sums in ((1.0, n), (w, weight), (w * rows.amount_value.to_numpy(), amount)):
                    summed = np.broadcast_to(values, bins.shape)[is_label]
                    expected = np.bincount(bins[is_label], summed, minlength=GRID.bins)
                    np.testing.assert_allclose(sums, expected[entry], rtol=1e-12)
            assert int(counts.positives.sum() + counts.negatives.sum()) == len(rows)


def test_counts_do_not_depend_on_the_partitioning(
    spark: SparkSession, contenders: list[Contender], held_out: pd.DataFrame
) -> None:
    one, seven = (_counts(spark, held_out, contenders, partitions) for partitions in (1, 7))
    for key, counts in one.items():
        _assert_same(counts, seven[key])


def _assert_same(one: ScoreCounts, other: ScoreCounts) -> None:
    first, second = one.to_records(), other.to_records()
    for name in ("bin", "positives", "negatives"):
        assert first[name] == second[name]
    np.testing.assert_allclose(first["positive_weight"], second["positive_weight"], rtol=1e-12)


def test_without_weight_and_amount_each_row_weighs_one(
    spark: SparkSession, contenders: list[Contender], held_out: pd.DataFrame
) -> None:
    bare = held_out.drop(columns=["row_weight", "amount_value"])
    counts = _counts(spark, bare, contenders, has_weight=False, has_amount=False)["none", "test"]
    assert not counts.is_weighted
    assert counts.positive_amount is None


def test_the_scan_is_one_job_that_collects_counts_only(
    spark: SparkSession, contenders: list[Contender], held_out: pd.DataFrame
) -> None:
    reads = spark.sparkContext.accumulator(0)

    def count(batches):
        for batch in batches:
            reads.add(batch.num_rows)
            yield batch

    inputs = as_spark(spark, held_out)
    scan_counts(inputs.mapInArrow(count, inputs.schema), contenders, grid=GRID, has_weight=True, has_amount=True)
    assert reads.value == len(held_out)


def test_rows_score_as_in_memory_whatever_the_batches(
    spark: SparkSession, contenders: list[Contender], held_out: pd.DataFrame
) -> None:
    for contender in contenders:
        scored = score_frame(as_spark(spark, held_out).repartition(5), contender).toPandas().sort_values("order_id")
        expected = _score(contender, held_out.sort_values("order_id"))
        np.testing.assert_allclose(scored.probability, expected, atol=1e-6)
        assert set(scored.columns) == {*held_out.columns, "probability"} - {f"x_{i}" for i in range(4)}


def test_scoring_starts_no_job_before_it_is_asked(spark: SparkSession, contenders: list[Contender]) -> None:
    inputs = as_spark(spark, model_rows(10, seed=5))
    spark.sparkContext.setJobGroup("lazy scoring", "none expected")
    score_frame(inputs, contenders[0])
    assert spark.sparkContext.statusTracker().getJobIdsForGroup("lazy scoring") == []


def test_no_rows_have_no_probabilities(contenders: list[Contender]) -> None:
    booster = load_booster(contenders[0].booster.ubj)
    assert probabilities(booster, np.empty((0, 4), np.float32), PriorCorrection.identity()).shape == (0,)


def test_a_far_shift_stays_a_probability(contenders: list[Contender]) -> None:
    x = matrix(model_rows(50, seed=6))
    booster = load_booster(contenders[0].booster.ubj)
    for factor in (1e-100, 1e100):
        found = probabilities(booster, x, PriorCorrection(positive_factor=factor, negative_factor=1.0))
        assert np.isfinite(found).all()
        assert ((found >= 0) & (found <= 1)).all()


def test_a_label_that_is_no_class_is_an_error_with_its_count(
    spark: SparkSession, contenders: list[Contender], held_out: pd.DataFrame
) -> None:
    broken = held_out.copy()
    broken.loc[broken.index[:5], "y"] = 2
    with pytest.raises(DataContractError, match="5 rows have a label that is neither 0 nor 1"):
        _counts(spark, broken, contenders)


def test_contenders_must_differ_in_name_and_agree_in_features(
    spark: SparkSession, contenders: list[Contender], held_out: pd.DataFrame
) -> None:
    for wrong, text in (([], "at least one"), ([contenders[0], contenders[0]], "a name of its own")):
        with pytest.raises(ConfigError, match=text):
            _counts(spark, held_out, wrong)
    fewer = FittedBooster(**{**_fields(contenders[1].booster), "features": FEATURES[:3]})
    other = Contender(name="other", booster=fewer, correction=PriorCorrection.identity())
    with pytest.raises(ConfigError, match="different features"):
        _counts(spark, held_out, [contenders[0], other])


def _fields(booster: FittedBooster) -> Mapping[str, object]:
    return {name: getattr(booster, name) for name in booster.__dataclass_fields__}


def test_a_missing_input_is_named(spark: SparkSession, contenders: list[Contender], held_out: pd.DataFrame) -> None:
    with pytest.raises(MissingColumnsError, match="x_2"):
        _counts(spark, held_out.drop(columns="x_2"), contenders)
    with pytest.raises(DataContractError, match="probability"):
        score_frame(as_spark(spark, held_out.assign(probability=0.5)), contenders[0])
