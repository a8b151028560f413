"""The training pool: every rare row, a share of the others, and probabilities as if all had been fitted on."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from support.model_rows import FEATURES, as_spark, matrix, model_rows

from imbalance_spark.core.columns import IS_EARLY_STOPPING
from imbalance_spark.core.run import Run
from imbalance_spark.orders.config import OrdersConfig
from imbalance_spark.orders.model_inputs import LABEL
from imbalance_spark.scoring.boosters import load_booster, probabilities
from imbalance_spark.split.config import SplitConfig
from imbalance_spark.train_only.config import TrainingConfig
from imbalance_spark.train_only.pool import TrainingPool, rows_in_memory, training_pool
from imbalance_spark.train_only.strategies import strategy_from_config
from imbalance_spark.train_only.strategies.fit import fit_strategy, write_train_table
from imbalance_spark.train_only.strategies.recipe import FIT_WEIGHT, FitTask, with_recipe_weight

KEY = {"key": ("order_id",), "seed": 7}


@given(counts=st.lists(st.integers(1, 10**9), min_size=2, max_size=6), most=st.integers(1000, 10**9))
@example(counts=[10**9, 10**6], most=50_000_000)
@example(counts=[10, 10], most=1000)
def test_a_pool_cuts_the_largest_classes_alone_and_to_one_size(counts: list[int], most: int) -> None:
    pool = training_pool(dict(enumerate(counts)), most, **KEY)
    kept = [share * rows for share, rows in zip(pool.shares, counts, strict=True)]
    assert sum(kept) == pytest.approx(min(most, sum(counts)))
    cut = [rows for rows, share in zip(kept, pool.shares, strict=True) if share < 1.0]
    assert pool.is_all == (sum(counts) <= most) == (not cut)
    assert cut == pytest.approx([max(kept)] * len(cut))


def test_a_row_is_in_the_pool_by_its_key_whatever_the_layout(spark: SparkSession) -> None:
    rows = spark.range(40_000).select(F.col("id").alias("order_id"), (F.col("id") % 50 == 0).cast("int").alias(LABEL))
    pool = training_pool({0: 39_200, 1: 800}, 8_000, **KEY)
    drawn = {row["order_id"] for row in pool.of(rows, LABEL).collect()}
    assert drawn == {row["order_id"] for row in pool.of(rows.repartition(7), LABEL).collect()}
    assert sum(number % 50 == 0 for number in drawn) == 800
    assert len(drawn) == pytest.approx(8_000, abs=4 * np.sqrt(7_200))
    larger = training_pool({0: 39_200, 1: 800}, 16_000, **KEY)
    assert drawn < {row["order_id"] for row in larger.of(rows, LABEL).collect()}
    assert TrainingPool.from_dict(pool.to_dict()) == pool


def test_memory_holds_more_rows_of_fewer_features_and_of_an_engine_that_needs_less() -> None:
    of_xgboost, native = TrainingConfig(engine="xgboost_spark"), TrainingConfig(engine="native")
    wide, narrow = (rows_in_memory(1 << 30, features, of_xgboost) for features in (40, 10))
    assert narrow == pytest.approx(4 * wide, rel=1e-6)
    on_disk = native.model_copy(update={"external_memory": True})
    rows = [rows_in_memory(1 << 30, 20, training) for training in (of_xgboost, native, on_disk)]
    assert rows == sorted(rows)
    assert rows[0] * 220 == pytest.approx(0.6 * (1 << 30), rel=0.01)


@pytest.mark.parametrize(
    ("engine", "kind"),
    [("xgboost_spark", "none"), ("native", "none"), ("native", "class_weight"), ("xgboost_spark", "undersample")],
)
def test_a_fit_on_a_pool_gives_the_probabilities_of_all_rows(
    spark: SparkSession, tmp_path: Path, engine: str, kind: str
) -> None:
    rows = model_rows(12_000, 3).drop(columns=[IS_EARLY_STOPPING, "row_weight"])
    counts = {k: int((rows.y == k).sum()) for k in (0, 1)}
    task = FitTask(
        orders=OrdersConfig(label="y", key=("order_id",), numeric=FEATURES),
        training=TrainingConfig(
            engine=engine, num_workers=1, rounds=15, params={"max_depth": 3, "learning_rate": 0.3}
        ),
        split=SplitConfig(early_stopping_fraction=0.2),
        pool=training_pool(counts, 3_000, **KEY),
    )  # fmt: skip
    asked = {"kind": kind, **({"sampling_strategy": 0.8} if kind == "undersample" else {})}
    run = Run.open(spark, str(tmp_path), "r", "c", {"version": 1})
    train = write_train_table(run, as_spark(spark, rows), task)
    in_pool = {row[LABEL]: row["count"] for row in train.groupBy(LABEL).count().collect()}
    assert in_pool[1] == counts[1]
    assert in_pool[0] == pytest.approx(3_000 - counts[1], abs=4 * np.sqrt(3_000))

    fitted = fit_strategy(run, train, strategy_from_config(asked), task)
    # The early-stopping set stands for that of all rows.
    weighed = with_recipe_weight(train, fitted.recipe).where(IS_EARLY_STOPPING).groupBy(LABEL).agg(F.sum(FIT_WEIGHT))
    found = {row[0]: row[1] for row in weighed.collect()}
    assert found[1] == pytest.approx(0.2 * counts[1], abs=1.0)
    assert found[0] == pytest.approx(0.2 * counts[0], rel=0.1)
    # What the fit starts from is the share of all rows, and so is the mean probability in the end.
    correction = fitted.recipe.prior_shift.correction()
    begun = np.exp(correction.log_probabilities([fitted.recipe.start]))[0]
    assert begun == pytest.approx([counts[0] / 12_000, counts[1] / 12_000], rel=0.08)
    p = probabilities(load_booster(fitted.booster.model_bytes), matrix(rows), correction)
    assert p.mean() * 12_000 / counts[1] == pytest.approx(1.0, abs=0.2)  # without the shares 3.5
