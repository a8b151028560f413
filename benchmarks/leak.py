"""Test rows of a second run that were train rows of the first, when only the layout changed in between."""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from imbalance_spark.core.spark_session import spark_session
from imbalance_spark.split import stratified_split

SETTINGS = {"spark.driver.memory": "4g", "spark.ui.showConsoleProgress": "false", "spark.log.level": "ERROR"}
FRACTIONS = {"train": 0.7, "validation": 0.15, "test": 0.15}

Split = Callable[[DataFrame], tuple[DataFrame, DataFrame]]
"""From orders to (train, test)."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", type=lambda text: int(float(text)), default=1_000_000, help="rows of the table")
    parser.add_argument("--seed", type=int, default=7, help="seed of both splits")
    parser.add_argument("--master", default="local[*]", help="Spark master")


def run(args: argparse.Namespace) -> dict[str, object]:
    splits: dict[str, Split] = {
        "randomSplit(seed)": lambda orders: _by_random_split(orders, args.seed),
        "ours": lambda orders: _by_key(orders, args.seed),
    }
    with spark_session("bench-leak", args.master, SETTINGS) as spark, tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "orders"
        _make_orders(spark, args.rows).write.format("delta").save(str(table))
        found = {name: _leaked(spark, table, split) for name, split in splits.items()}
    print(f"{args.rows:,} rows in Delta, split twice with seed {args.seed}; only maxPartitionBytes differs")
    for name, (leaked, test_rows) in found.items():
        share = f"{leaked / test_rows:.1%}"
        print(f"  {name:<18} {leaked:>12,} of {test_rows:,} test rows of run 2 were train rows of run 1 ({share})")
    (peer, _), (ours, _) = found.values()
    shares = {name: leaked / test_rows for name, (leaked, test_rows) in found.items()}
    return {
        "rows": args.rows, "seed": args.seed, "ours_leaked": shares["ours"],
        "peer_leaked": round(shares["randomSplit(seed)"], 4), "ours_leaked_rows": ours, "peer_leaked_rows": peer,
    }  # fmt: skip


def _make_orders(spark: SparkSession, rows: int) -> DataFrame:
    label = (F.pmod(F.xxhash64("id", F.lit("label")), F.lit(200)) == 0).cast("int")
    return spark.range(rows, numPartitions=8).select(F.col("id").alias("order_id"), label.alias("label"))


def _leaked(spark: SparkSession, table: Path, split: Split) -> tuple[int, int]:
    """Test rows of run 2 that run 1 trained on, and all test rows of run 2; run 1 is written down first."""
    size = sum(file.stat().st_size for file in table.glob("*.parquet"))
    train_path = f"{table}_train"
    train, _ = split(_read(spark, table, size))
    train.select("order_id").write.format("delta").mode("overwrite").save(train_path)
    _, test = split(_read(spark, table, max(1, size // 20)))
    trained_on = spark.read.format("delta").load(train_path).withColumn("was_train", F.lit(1))
    row = test.join(trained_on, on="order_id", how="left").agg(F.count("was_train"), F.count("*")).first()
    assert row is not None
    return row[0], row[1]


def _read(spark: SparkSession, table: Path, partition_bytes: int) -> DataFrame:
    """The table in partitions of that size: planned here, so that a later setting does not reach it."""
    spark.conf.set("spark.sql.files.maxPartitionBytes", str(partition_bytes))
    spark.conf.set("spark.sql.files.openCostInBytes", "0")
    spark.conf.set("spark.sql.files.minPartitionNum", "1")
    return spark.read.format("delta").load(str(table))


def _by_random_split(orders: DataFrame, seed: int) -> tuple[DataFrame, DataFrame]:
    train, _, test = orders.randomSplit(list(FRACTIONS.values()), seed)
    return train, test


def _by_key(orders: DataFrame, seed: int) -> tuple[DataFrame, DataFrame]:
    split = stratified_split(orders, key="order_id", label="label", fractions=FRACTIONS, seed=seed)
    return split.where("split = 'train'"), split.where("split = 'test'")
