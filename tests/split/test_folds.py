"""The folds of a cross-fit: which rows a fit reads, which it scores, and which it never sees."""

from typing import Any

import pandas as pd
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from imbalance_spark.core.errors import DataContractError, LeakageError
from imbalance_spark.split import fit_split
from imbalance_spark.split.config import SplitConfig
from imbalance_spark.split.folds import Folds, as_scored, as_split, as_trained, cross_fit_folds, fit_folds
from imbalance_spark.train_only.guard import leakage_errors, only_train

ROWS, FOLDS, GAP_DAYS = 1200, 3, 1.0
ROLES: dict[str, Any] = {"key": ["order_id"], "label": "y", "group": "customer_id", "time": "ordered_at"}


@pytest.fixture(scope="module")
def orders(spark: SparkSession) -> DataFrame:
    """1,200 orders in 40 days of 200 customers, one in twenty positive, as one partition."""
    row = F.col("id")
    frame = spark.range(0, ROWS, 1, 1).select(
        row.alias("order_id"),
        (F.xxhash64(row, F.lit("label")) % 20 == 0).cast("int").alias("y"),
        (F.abs(F.xxhash64(row, F.lit("customer"))) % 200).alias("customer_id"),
        F.timestamp_seconds(1_600_000_000 + row * 2880).alias("ordered_at"),
    )
    return spark.createDataFrame(frame.toPandas()).coalesce(1)


def folded(orders: DataFrame, by: str) -> tuple[DataFrame, Folds]:
    config = SplitConfig(by=by, gap_days=GAP_DAYS if by == "time" else 0.0)  # type: ignore[arg-type]
    role = {by: ROLES[by]} if by != "key" else {}
    split = fit_split(orders, key="order_id", label="y", seed=7, gap_days=config.gap_days, **role)
    rows = split.assign(orders)
    return rows, cross_fit_folds(fit_folds(rows, FOLDS, config, **ROLES), split)


def numbered(rows: DataFrame, folds: Folds) -> pd.DataFrame:
    """The rows in memory with `fit_number` and, for each fold, the `split` that its fit is given."""
    found = as_scored(rows, folds).toPandas()
    for fold in range(folds.count):
        views = as_split(rows, folds, fold).select("order_id", F.col("split").alias(f"fold_{fold}")).toPandas()
        found = found.merge(views, on="order_id")
    return found.merge(rows.select("order_id", F.col("split").alias("was")).toPandas(), on="order_id")


@pytest.mark.parametrize("by", ["key", "group"])
def test_each_row_is_held_out_once_and_test_is_seen_by_no_fit(orders: DataFrame, by: str) -> None:
    found = numbered(*folded(orders, by))
    is_test = found.was == "test"
    assert (found.split == found.was.where(is_test, "validation")).all()
    assert (found.fit_number[is_test] == FOLDS).all()
    for fold in range(FOLDS):
        expected = found.was.where(is_test, "train").mask(found.fit_number == fold, "validation")
        assert (found[f"fold_{fold}"] == expected).all()
    if by == "group":
        assert (found[~is_test].groupby("customer_id").fit_number.nunique() == 1).all()
        return
    positives = found[~is_test & (found.y == 1)].fit_number.value_counts()
    assert set(positives.index) == set(range(FOLDS))
    assert positives.max() - positives.min() <= 1


def test_along_time_each_fold_is_held_out_from_a_fit_on_earlier_rows(orders: DataFrame) -> None:
    found = numbered(*folded(orders, "time"))
    day = pd.Timedelta(days=1)
    first_test = found.ordered_at[found.was == "test"].min()
    for fold in range(FOLDS):
        view = found[f"fold_{fold}"]
        held_out, fitted = found.ordered_at[view == "validation"], found.ordered_at[view == "train"]
        assert (found.fit_number[view == "validation"] == fold).all()
        assert held_out.max() < first_test - GAP_DAYS * day
        assert fitted.max() < held_out.min() - GAP_DAYS * day
        # Rows are 48 minutes apart: the fit reads all that is early enough.
        assert held_out.min() - fitted.max() <= (GAP_DAYS + 0.1) * day
    assert found[found.split == "gap"].ordered_at.min() == found.ordered_at.min()


def test_the_guard_refuses_the_rows_that_a_fold_holds_out(orders: DataFrame) -> None:
    rows, folds = folded(orders, "key")
    view = as_split(rows, folds, 1)
    for refused in ("validation", "test"):
        with pytest.raises(LeakageError, match="not a training row"), leakage_errors():
            only_train(view.where(F.col("split").isin("train", refused)), "fit").count()
    served = as_trained(rows)
    assert only_train(served.where("split = 'train'"), "fit").count() == rows.where("split <> 'test'").count()
    with pytest.raises(LeakageError), leakage_errors():
        only_train(served, "fit").count()


def test_a_class_too_rare_for_the_folds_is_refused_with_what_to_set(orders: DataFrame) -> None:
    rare = orders.withColumn("y", (F.col("order_id") < 3).cast("int")).withColumn("split", F.lit("train"))
    with pytest.raises(DataContractError, match=r"Or set split\.cross_fit_folds lower, or evaluation to holdout"):
        fit_folds(rare, 4, SplitConfig(), **ROLES)
