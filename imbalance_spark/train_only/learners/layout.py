"""How a written table reaches the training workers: one file each, without a shuffle, where it was laid out so."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from pyspark.sql import DataFrame, SparkSession

from imbalance_spark.core.columns import COPY_NUMBER
from imbalance_spark.core.files import files_of
from imbalance_spark.core.hashing import key_hash

_ROWS_A_BATCH = "100000"  # ten times Spark's default: fewer frames for the workers to concatenate


def laid_out_for(rows: DataFrame, *, key: Sequence[str], num_workers: int, seed: int) -> DataFrame:
    """The rows in one sorted part a worker, to be written as they are: part and place follow from key and seed. Lazy.

    Trees depend on which worker has which row, in which order. Hashing spreads each class evenly, so that every
    worker has positives where there are some ten for each.
    """
    place = key_hash(key, seed, "worker")
    # Copies of an oversampled row have its key.
    tie_breakers = [name for name in (COPY_NUMBER,) if name in rows.columns]
    return rows.repartition(num_workers, place).sortWithinPartitions(place, *tie_breakers)


@contextmanager
def one_file_a_worker(table: DataFrame, num_workers: int) -> Iterator[bool]:
    """Within the block, plans read the table one partition a file; whether that gives `num_workers` partitions.

    Where it does, XGBoost needs no shuffle of its own, and which worker has which row, in which
    order, follows from how the table was written. Starts no Spark job.
    """
    spark = table.sparkSession
    largest = _largest_file(spark, table.inputFiles()) if len(table.inputFiles()) == num_workers else 0
    settings = {"spark.sql.execution.arrow.maxRecordsPerBatch": _ROWS_A_BATCH}
    if largest:
        # Two files never fit one partition of the largest one's size, and no file is cut in two.
        settings |= {
            "spark.sql.files.maxPartitionBytes": str(largest),
            "spark.sql.files.openCostInBytes": "0",
            "spark.sql.files.minPartitionNum": "1",
        }
    with _set(spark, settings):
        # A file scan only: asking for its partitions runs nothing.
        yield bool(largest) and table.select("*").rdd.getNumPartitions() == num_workers


@contextmanager
def _set(spark: SparkSession, settings: dict[str, str]) -> Iterator[None]:
    before = {name: spark.conf.get(name, None) for name in settings}
    try:
        for name, value in settings.items():
            spark.conf.set(name, value)
        yield
    finally:
        for name, old in before.items():
            spark.conf.unset(name) if old is None else spark.conf.set(name, old)


def _largest_file(spark: SparkSession, files: list[str]) -> int:
    return max(files_of(spark, file).size(file) or 0 for file in files)
