"""The bootstrap of training rows: whole groups, by hash, as weights."""

import math

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.testing import assertDataFrameEqual

from imbalance_spark.train_only.pool import bootstrapped


@pytest.fixture(scope="module")
def train(spark: SparkSession) -> DataFrame:
    return spark.range(6000).select(
        F.col("id").alias("order_id"),
        F.when(F.col("id") % 10 > 0, F.col("id") % 1500).alias("customer"),
        (F.col("id") % 7 == 0).alias("is_early_stopping"),
        F.lit(2.0).alias("row_weight"),
    )


def test_a_group_is_drawn_as_a_whole_and_the_draw_needs_no_layout(train: DataFrame) -> None:
    drawn = bootstrapped(train, ("order_id",), ("customer",), 3)
    assertDataFrameEqual(bootstrapped(train.repartition(5), ("order_id",), ("customer",), 3), drawn)
    fitted = drawn.where("NOT is_early_stopping AND customer IS NOT NULL")
    per_group = fitted.groupBy("customer").agg(F.min("row_weight").alias("a"), F.max("row_weight").alias("b"))
    assert per_group.where("a <> b").count() == 0
    without_group = drawn.where("NOT is_early_stopping AND customer IS NULL").select("row_weight").distinct()
    assert without_group.count() > 2  # each such row is a group of its own


def test_multiplicities_are_poisson_and_the_early_stopping_set_stays(train: DataFrame) -> None:
    drawn = bootstrapped(train.drop("row_weight"), ("order_id",), (), 3)
    stopping = drawn.where("is_early_stopping").agg(F.count(F.lit(1)), F.sum("row_weight")).first()
    rows = train.where("is_early_stopping").count()
    assert tuple(stopping) == (rows, float(rows))
    found = drawn.where("NOT is_early_stopping").groupBy("row_weight").count().collect()
    counts, total = {row["row_weight"]: row["count"] for row in found}, 6000 - rows
    assert 0.0 not in counts
    for times in (1, 2, 3):
        expected = total * math.exp(-1.0) / math.factorial(times)
        assert counts[times] == pytest.approx(expected, abs=4 * math.sqrt(expected))


def test_a_weight_of_the_orders_is_multiplied_and_seeds_are_independent(train: DataFrame) -> None:
    one, other = (bootstrapped(train, ("order_id",), (), seed) for seed in (3, 4))
    assert one.where("row_weight % 2 <> 0").count() == 0
    both = one.join(other.select("order_id"), on="order_id", how="inner").where("NOT is_early_stopping").count()
    fitted = train.where("NOT is_early_stopping").count()
    assert both / fitted == pytest.approx((1.0 - math.exp(-1.0)) ** 2, abs=0.03)
