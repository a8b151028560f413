"""A generated log is written in parts: what was cut off goes on, and no order is written twice."""

from dataclasses import replace
from pathlib import Path

import pytest
from delta.tables import DeltaTable
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from imbalance_spark.core.errors import ConfigError
from imbalance_spark.orders.datasets import order_log
from imbalance_spark.orders.datasets.order_log import OrderLog
from imbalance_spark.orders.datasets.synthetic import OUTCOME_SHARES

LOG = OrderLog(rows=500, prevalence=0.1, outcomes=None, seed=7, start="2024-01-01", days=30)


@pytest.fixture(autouse=True)
def short_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order_log, "_ROWS_PER_COMMIT", 200)


def assert_is_written(spark: SparkSession, path: str, log: OrderLog) -> None:
    """The table holds each order of the log once, as a log that is made at once has it."""
    assert log.is_written(spark, path)
    written, made = spark.read.format("delta").load(path), log.orders(spark)
    assert written.count() == log.rows
    assert written.exceptAll(made).isEmpty()


def commits(spark: SparkSession, path: str) -> int:
    return DeltaTable.forPath(spark, path).history().count()


@pytest.mark.parametrize("outcomes", [None, OUTCOME_SHARES])
def test_a_log_in_parts_is_the_log_that_is_made_at_once(
    spark: SparkSession, tmp_path: Path, outcomes: dict[str, float] | None
) -> None:
    path, log = f"{tmp_path}/orders", replace(LOG, outcomes=outcomes)
    log.write(spark, path)
    assert commits(spark, path) == 3
    assert_is_written(spark, path, log)


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_log_that_was_cut_off_goes_on(spark: SparkSession, tmp_path: Path, overwrite: bool) -> None:
    path = f"{tmp_path}/orders"
    replace(LOG, rows=200).write(spark, path)
    assert not LOG.is_written(spark, path)
    LOG.write(spark, path, overwrite=overwrite)
    # The first commit is still there, and one file of it is what its orders are read from.
    assert commits(spark, path) == 3
    assert_is_written(spark, path, LOG)
    first = spark.read.format("delta").option("versionAsOf", 0).load(path)
    assert set(first.inputFiles()) < set(spark.read.format("delta").load(path).inputFiles())


def test_two_that_write_at_the_same_time_write_no_order_twice(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = f"{tmp_path}/orders"
    replace(LOG, rows=200).write(spark, path)
    seen = order_log._latest(spark, path)
    LOG.write(spark, path)
    # The other one looked before that.
    monkeypatch.setattr(order_log, "_latest", lambda *_: seen)
    LOG.write(spark, path)
    monkeypatch.undo()
    assert_is_written(spark, path, LOG)


def test_another_log_is_not_continued(spark: SparkSession, tmp_path: Path) -> None:
    path = f"{tmp_path}/orders"
    replace(LOG, rows=200).write(spark, path)
    other = replace(LOG, seed=8)
    with pytest.raises(ConfigError, match="already holds another table"):
        other.is_written(spark, path)
    other.write(spark, path, overwrite=True)
    assert_is_written(spark, path, other)
    shorter = replace(other, rows=100)
    with pytest.raises(ConfigError, match="already holds another table"):
        shorter.is_written(spark, path)
    shorter.write(spark, path, overwrite=True)
    assert_is_written(spark, path, shorter)
    other.write(spark, path)
    assert spark.read.format("delta").load(path).agg(F.count_distinct("order_id")).first() == (500,)
