"""Which rows of train judge the trials and which are fitted on, by key, group and time, and of a pool of them."""

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from imbalance_spark.comparison.search import judging_rows, rows_sentence, rung_pool
from imbalance_spark.comparison.searched_strategy import TrialMetric
from imbalance_spark.metrics.evaluate import TargetNames
from imbalance_spark.split.config import SplitConfig
from imbalance_spark.split.folds import TrainShare, as_split, fit_train_share
from imbalance_spark.train_only.pool import TrainingPool, training_pool
from imbalance_spark.train_only.search.config import SearchConfig
from imbalance_spark.train_only.search.trials import rungs_of

START = datetime(2024, 1, 1)
GAP_DAYS = 2.0


@pytest.fixture(scope="module")
def inputs(spark: SparkSession) -> DataFrame:
    """2,000 rows, 5 % of them positive, 20 a day; the first 70 days are train."""
    rows = [
        (i, i % 150, START + timedelta(days=i // 20, hours=i % 20), int(i % 20 == 3),
         "train" if i < 1400 else "validation" if i < 1700 else "test", 2.0)
        for i in range(2000)
    ]  # fmt: skip
    schema = "order_id bigint, customer_id bigint, ordered_at timestamp, y int, split string, row_weight double"
    return spark.createDataFrame(rows, schema).cache()


def _share(inputs: DataFrame, split: SplitConfig) -> TrainShare:
    return TrainShare(
        plan=fit_train_share(
            inputs, 0.25, split, purpose="search", key=("order_id",), label="y", group="customer_id", time="ordered_at"
        )
    )


@pytest.mark.parametrize("by", ["key", "group", "time"])
def test_the_share_is_of_train_and_falls_as_the_split_does(inputs: DataFrame, by: str) -> None:
    gap = GAP_DAYS if by == "time" else 0.0
    split = SplitConfig.model_validate({"by": by, "seed": 7, "gap_days": gap})
    again = _share(inputs.repartition(5), split)
    share = _share(inputs, split)
    assert again == share
    found = as_split(inputs, share, 0).select("order_id", "customer_id", "ordered_at", "y", "split").toPandas()
    rows = {name: found[found["split"] == name] for name in ("train", "validation", "test", "gap")}
    assert rows["train"]["order_id"].max() < 1400
    assert rows["validation"]["order_id"].max() < 1400
    assert set(rows["gap"].loc[lambda gap: gap["order_id"] >= 1400, "order_id"]) == set(range(1400, 1700))
    assert len(rows["test"]) == 300
    assert len(rows["validation"]) == pytest.approx(350, abs=25)
    assert rows["validation"]["y"].sum() == pytest.approx(17.5, abs=6)
    metric = TrialMetric(name="max_f1", targets=TargetNames(("1",)))
    assert rows_sentence(share, metric, rungs_of(SearchConfig(trials=9))) == (
        f"{len(rows['validation'])} rows of train, {rows['validation']['y'].sum()} of the rarest class, "
        f"judge by max_f1; {len(rows['train']):,} are fitted on: "
        "9 trials at 0.111 of a fit, 3 trials at 0.333 of a fit, 2 trials at 1 of a fit"
    )
    if by == "group":
        assert not set(rows["train"]["customer_id"]) & set(rows["validation"]["customer_id"])
    if by == "time":
        between = rows["validation"]["ordered_at"].min() - rows["train"]["ordered_at"].max()
        assert timedelta(days=GAP_DAYS) < between < timedelta(days=GAP_DAYS + 1)
    else:
        assert len(rows["train"]) + len(rows["validation"]) == 1400


def test_rows_of_a_pool_judge_with_the_rows_of_train_that_they_stand_for(inputs: DataFrame) -> None:
    share = _share(inputs, SplitConfig(seed=7))
    everything = TrainingPool(shares=(1.0, 1.0), max_rows=2000, key=("order_id",), seed=7)
    some = TrainingPool(shares=(0.25, 1.0), max_rows=500, key=("order_id",), seed=7)
    by_pool = [
        judging_rows(inputs, share, pool).where("split = 'validation'").groupBy("y").agg(
            F.count("*").alias("rows"), F.sum("row_weight").alias("weight"), F.max("fit_number").alias("fit")
        ).orderBy("y").collect()
        for pool in (everything, some)
    ]  # fmt: skip
    (none_all, some_all), (none_pool, some_pool) = by_pool
    assert (none_all["weight"], some_all["weight"]) == (2.0 * none_all["rows"], 2.0 * some_all["rows"])
    assert tuple(some_pool) == tuple(some_all)
    assert none_pool["rows"] == pytest.approx(none_all["rows"] / 4, rel=0.25)
    # The business weight, 2, times one over the share.
    assert none_pool["weight"] == 8.0 * none_pool["rows"]
    assert none_all["fit"] == none_pool["fit"] == 0


@given(
    frequent=st.integers(1000, 10**9), rare=st.integers(1, 1000), most=st.integers(500, 10**9), rung=st.integers(0, 5)
)
def test_a_rung_reads_rows_of_the_pool_and_of_the_frequent_class_fewer(
    frequent: int, rare: int, most: int, rung: int
) -> None:
    counts, share = {0: frequent, 1: rare}, 3.0 ** (-rung / 2)
    pool = training_pool(counts, most, key=("order_id",), seed=7)
    found = rung_pool(pool, counts, share)
    assert (found.key, found.seed) == (pool.key, pool.seed)
    # By one hash: what a rung reads is nested in what the next one does.
    assert all(mine <= all_of_it for mine, all_of_it in zip(found.shares, pool.shares, strict=True))
    rows, in_pool = sum(found.rows(counts).values()), sum(pool.rows(counts).values())
    assert rows == pytest.approx(share * in_pool, abs=3)
    if share * in_pool >= 2 * rare:
        assert found.shares[1] == 1.0
