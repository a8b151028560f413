"""Blocks that Spark loses while a stage needs them: the rows are those of an undisturbed run."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from support.sampler_checks import make_train, rows_of

from imbalance_spark.split import stratified_split
from imbalance_spark.train_only.sampling.smote import SMOTE

FRACTIONS = {"train": 0.6, "validation": 0.2, "test": 0.2}


def unpersist_all(spark: SparkSession) -> int:
    blocks = spark.sparkContext._jsc.getPersistentRDDs()
    for number in list(blocks):
        blocks[number].unpersist(False)
    return len(blocks)


def delete_a_shuffle_file(spark: SparkSession) -> int:
    manager = spark.sparkContext._jvm.org.apache.spark.SparkEnv.get().blockManager().diskBlockManager()
    files = [file for folder in manager.localDirsString() for file in Path(folder).glob("*/shuffle_*.data")]
    for file in files[:1]:
        file.unlink(missing_ok=True)
    return len(files[:1])


@contextmanager
def losing(lose: Callable[[], int], most: int) -> Iterator[list[int]]:
    """Within the block blocks are lost again and again, up to `most` of them."""
    lost, ends = [0], threading.Event()

    def go_on() -> None:
        while not ends.wait(0.05) and lost[0] < most:
            lost[0] += lose()

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield lost
    finally:
        ends.set()
        thread.join()


def split(spark: SparkSession) -> DataFrame:
    orders = spark.range(3000, numPartitions=4).select("id", (F.col("id") % 9 == 0).cast("int").alias("y"))
    return stratified_split(orders, key="id", label="y", seed=7, fractions=FRACTIONS)


def synthetic(spark: SparkSession) -> DataFrame:
    sampler = SMOTE(key="order_id", label="label", seed=7, features=["amount.eur"], sampling_strategy={2: 100})
    return sampler.fit_resample(make_train(spark))


@pytest.mark.parametrize("stage", [split, synthetic])
@pytest.mark.parametrize("lose", [unpersist_all, delete_a_shuffle_file])
def test_lost_blocks_change_no_row(
    spark: SparkSession, stage: Callable[[SparkSession], DataFrame], lose: Callable[[SparkSession], int]
) -> None:
    undisturbed = rows_of(stage(spark).repartition(3))
    kept = spark.range(100).persist()
    kept.count()
    try:
        with losing(lambda: lose(spark), most=3) as lost:
            disturbed = rows_of(stage(spark).repartition(3))
    finally:
        kept.unpersist()
    assert lost[0] > 0
    assert disturbed == undisturbed
