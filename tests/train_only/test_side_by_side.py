"""Fits on several threads: at the same time, each with its settings, and ended together."""

import threading
import time

import pytest
from pyspark.sql import SparkSession

from imbalance_spark.train_only.strategies.side_by_side import fits_at_once, side_by_side

SETTING = "spark.sql.files.maxPartitionBytes"


def test_fits_run_at_the_same_time_and_keep_their_order_and_settings(spark: SparkSession) -> None:
    spark.conf.set("spark.sql.session.timeZone", "UTC")
    before, met = spark.conf.get(SETTING), threading.Barrier(2, timeout=60.0)

    def fit(number: int, session: SparkSession) -> tuple[int, str | None, int]:
        session.conf.set(SETTING, str(1000 + number))
        met.wait()  # of one fit at a time nobody would come
        rows = session.range(10).where(f"id >= {number}").count()
        return rows, session.conf.get(SETTING), int(session.conf.get("spark.sql.shuffle.partitions") or 0)

    found = side_by_side(spark, [lambda s, n=n: fit(n, s) for n in range(4)], 2)
    partitions = int(spark.conf.get("spark.sql.shuffle.partitions") or 0)
    assert found == [(10 - n, str(1000 + n), partitions) for n in range(4)]
    assert spark.conf.get(SETTING) == before


def test_where_one_fails_the_others_are_ended_before_its_error_is_seen(spark: SparkSession) -> None:
    is_running, ends = threading.Event(), []

    def slow(session: SparkSession) -> None:
        # Else the task would sleep on in its slot; one of Python is killed in any case.
        session.sparkContext.setLocalProperty("spark.job.interruptOnCancel", "true")
        is_running.set()
        try:
            # An hour, if nobody cancels it.
            session.range(1).selectExpr("java_method('java.lang.Thread', 'sleep', 3600000L + id)").collect()
        finally:
            ends.append(time.monotonic())

    def fails(_: SparkSession) -> None:
        is_running.wait(60.0)
        raise LookupError("the second fit")

    begun: list[int] = []
    with pytest.raises(LookupError, match="the second fit"):
        side_by_side(spark, [slow, fails, lambda _: begun.append(3)], 2)
    assert len(ends) == 1
    assert not begun
    assert not spark.sparkContext.getJobTags()
    assert _all_slots_are_free(spark)


def _all_slots_are_free(spark: SparkSession) -> bool:
    tracker = spark.sparkContext._jsc.sc().statusTracker()
    for _ in range(300):
        if sum(found.numRunningTasks() for found in tracker.getExecutorInfos()) == 0:
            return True
        time.sleep(0.1)
    return False


def test_slots_and_rows_say_how_many_at_once(spark: SparkSession) -> None:
    assert fits_at_once(spark, 1, most=9) == 2
    assert fits_at_once(spark, 2, most=9) == 1
    assert fits_at_once(spark, 1, most=1) == fits_at_once(spark, 1, most=0) == 1
