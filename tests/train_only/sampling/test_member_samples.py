"""Samples of an ensemble's members: by hardness against a slow version in NumPy, as bootstraps, and in any layout."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xgboost
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.testing import assertDataFrameEqual
from support.class_rows import class_rows
from support.model_rows import as_spark, matrix, model_rows

from imbalance_spark.core.errors import DataContractError
from imbalance_spark.train_only.sampling.member_samples import (
    HARDNESS,
    MemberDraw,
    boosting_sample,
    boosting_weight_of,
    bootstrap_sample,
    independent_sample,
    rows_by_bin,
    self_paced_factor,
    self_paced_sample,
    with_boosting_weight,
    with_hardness,
)

DRAW = MemberDraw(key=("order_id",), label="y", sampling_strategy="auto", seed=7, member=1, stage="self_paced_ensemble")
INPUTS = ("x_0", "x_1", "x_2", "x_3")


@pytest.fixture(scope="module")
def train(spark: SparkSession) -> DataFrame:
    """Class 0 has 5,700 rows, class 1 has 300; the hardness of class 0 is skewed to 0, and 1 is among it."""
    columns = ["id as order_id", "int(id % 20 = 0) as y", "'train' as split", "pow(id / 5999, 40) as hardness"]
    return spark.range(6000).selectExpr(*columns).localCheckpoint()


@pytest.mark.parametrize("member", [1, 4])
def test_rows_by_hardness_are_those_of_a_slow_version(train: DataFrame, member: int) -> None:
    draw = replace(DRAW, member=member)
    placed = train.withColumn("position", draw.position).toPandas()
    sample = self_paced_sample(train, draw, members=5, bins=5).toPandas()

    majority = placed[placed.y == 0]
    number = np.minimum((majority.hardness * 5).astype(int), 4)
    share = np.array(
        [1 / (majority.hardness[number == b].mean() + math.tan(math.pi / 2 * member / 4)) for b in range(5)]
    )
    per_row = 300 * share / share.sum() / np.bincount(number, minlength=5)
    copies = np.floor(per_row[number] + majority.position)
    found = sample[sample.y == 0].groupby("order_id").size()
    assert found.to_dict() == {row: n for row, n in zip(majority.order_id, copies, strict=True) if n > 0}
    assert copies.sum() == pytest.approx(300, abs=4.5 * math.sqrt(300))
    assert copies.max() == 2  # the hardest bin has 30 rows
    weight = dict(zip(majority.order_id, 1 / per_row[number], strict=True))
    np.testing.assert_allclose(sample[sample.y == 0].sampling_weight, sample[sample.y == 0].order_id.map(weight))
    assert sorted(sample[sample.y == 1].order_id) == sorted(placed[placed.y == 1].order_id)
    assert sample.copy_number.max() == copies.max() - 1


def test_neither_files_nor_their_order_change_a_sample(train: DataFrame) -> None:
    moved = train.repartition(7, "hardness")
    for sample in (independent_sample, bootstrap_sample, lambda rows, d: self_paced_sample(rows, d, members=3, bins=5)):
        assertDataFrameEqual(sample(moved, DRAW), sample(train, DRAW))


def test_members_draw_rows_of_their_own_and_the_first_draws_all_alike(train: DataFrame) -> None:
    alike = train.drop(HARDNESS)
    first = self_paced_sample(alike, replace(DRAW, member=0), members=3, bins=5)
    assertDataFrameEqual(first, independent_sample(alike, replace(DRAW, member=0)))
    samples = [independent_sample(alike, replace(DRAW, member=n)).where("y = 0") for n in (0, 1)]
    both = samples[0].join(samples[1], on="order_id", how="left_semi").count()
    assert both == pytest.approx(5700 * (300 / 5700) ** 2, abs=12)  # 15.8, three deviations
    found = samples[0].agg(F.count("*"), F.sum("sampling_weight"), F.max("copy_number")).first()
    assert found[0] == pytest.approx(300, abs=4.5 * math.sqrt(300))
    assert found[1] == pytest.approx(found[0] * 5700 / 300)
    assert found[2] == 0


def test_a_bootstrap_repeats_rare_rows_by_poisson_and_thins_the_others(train: DataFrame) -> None:
    sample = bootstrap_sample(train, DRAW).toPandas()
    times = sample[sample.y == 1].groupby("order_id").size().value_counts()
    for copies in (1, 2, 3):
        expected = 300 * math.exp(-1.0) / math.factorial(copies)
        assert times[copies] == pytest.approx(expected, abs=4 * math.sqrt(expected))
    assert (sample.y == 0).sum() == pytest.approx(300, abs=4.5 * math.sqrt(300))
    assert set(sample[sample.y == 1].sampling_weight) == {1.0}
    np.testing.assert_allclose(sample[sample.y == 0].sampling_weight, 19.0)


def test_with_a_small_factor_bins_contribute_alike_with_a_large_one_rows_do() -> None:
    rows, hardness = (900, 90, 0, 10), (0.1, 0.4, 0.0, 0.9)
    easy = np.array(rows_by_bin(100, rows, hardness, 1e-12))
    np.testing.assert_allclose((easy * hardness)[[0, 1, 3]], easy[0] * 0.1)
    np.testing.assert_allclose(rows_by_bin(99, rows, hardness, self_paced_factor(9, 10)), (33.0, 33.0, 0.0, 33.0))
    assert easy.sum() == pytest.approx(100)
    assert [self_paced_factor(n, 3) for n in range(2)] == pytest.approx([0.0, 1.0])


@pytest.mark.parametrize("rows", [model_rows(500, 3), class_rows(500, 3)], ids=["two classes", "three classes"])
def test_hardness_is_what_the_mean_margin_leaves_of_the_own_class(spark: SparkSession, rows: pd.DataFrame) -> None:
    data, classes = xgboost.DMatrix(matrix(rows), rows.y), rows.y.nunique()
    params = {"objective": "binary:logistic"} if classes == 2 else {"objective": "multi:softprob", "num_class": 3}
    models = [xgboost.train({**params, "max_depth": depth, "nthread": 1}, data, 3) for depth in (2, 4)]
    scored = with_hardness(as_spark(spark, rows), [bytes(m.save_raw()) for m in models], inputs=INPUTS, label="y")
    margin = np.mean([model.predict(data, output_margin=True) for model in models], axis=0)
    odds = np.exp(margin if classes == 3 else np.column_stack([np.zeros(500), margin]))
    p = odds[np.arange(500), rows.y] / odds.sum(axis=1)
    np.testing.assert_allclose(scored.toPandas().sort_values("order_id")[HARDNESS], 1 - p, atol=1e-6)
    with pytest.raises(DataContractError, match=HARDNESS):
        with_hardness(scored, [b""], inputs=INPUTS, label="y")


def test_boosting_weights_are_those_of_the_exponential_loss() -> None:
    margins = np.array([-3.0, 0.0, 2.0, 2.0, 60.0])
    classes = np.array([0, 1, 1, 0, 0])
    y = 2 * classes - 1
    expected = np.minimum(np.exp(-y * margins / 2), 1e4)
    np.testing.assert_allclose(boosting_weight_of(margins, classes), expected)
    three = np.random.default_rng(1).normal(size=(50, 3))
    own = np.arange(50) % 3
    coding = np.where(own[:, None] == np.arange(3), 1.0, -1.0 / 2.0)
    # SAMME.R of scikit-learn: -(K - 1) / K times the sum of the coding times the log probabilities.
    samme_r = np.exp(-(2.0 / 3.0) * (coding * three).sum(axis=1))
    np.testing.assert_allclose(boosting_weight_of(three, own), samme_r)


@pytest.mark.parametrize("is_weighed", [False, True])
def test_a_boosting_sample_weighs_rows_by_the_sum_of_margins(spark: SparkSession, is_weighed: bool) -> None:
    rows = model_rows(3000, 3).assign(split="train")
    rows = rows if is_weighed else rows.drop(columns="row_weight")
    data = xgboost.DMatrix(matrix(rows), rows.y)
    params = {"objective": "binary:logistic", "nthread": 1}
    models = [xgboost.train({**params, "max_depth": depth}, data, 3) for depth in (2, 4)]
    train = as_spark(spark, rows)
    judged = with_boosting_weight(train, [bytes(m.save_raw()) for m in models], inputs=INPUTS, label="y")
    total = np.sum([model.predict(data, output_margin=True) for model in models], axis=0)
    own = rows.row_weight.to_numpy() if is_weighed else np.ones(len(rows))
    weight = pd.Series(own * np.exp((1 - 2 * rows.y.to_numpy()) * total / 2), index=rows.order_id)
    found = judged.toPandas().set_index("order_id").row_weight.sort_index()
    np.testing.assert_allclose(found, weight.sort_index(), rtol=1e-5)

    draw = replace(DRAW, stage="rus_boost")
    sample = boosting_sample(judged, draw)
    again = sample.toPandas().set_index("order_id")
    assert sorted(again.index) == sorted(row.order_id for row in independent_sample(train, draw).collect())
    keeps = rows.y.value_counts()[1] / rows.y.value_counts()[0]
    by_class = weight.groupby(rows.set_index("order_id").y).sum()
    scale = 2 * rows.y.sum() / (by_class[1] + keeps * by_class[0])
    np.testing.assert_allclose(again.row_weight, scale * weight[again.index], rtol=1e-5)
    assertDataFrameEqual(boosting_sample(judged.repartition(5, "x_0"), draw), sample)
