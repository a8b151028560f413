"""The split, written to Delta as a column, against a plain Delta copy of the same table."""

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from benchmarks import timing
from imbalance_spark.core.spark_session import spark_session
from imbalance_spark.split import fit_split, stratified_split

FEATURES = 15
SETTINGS = {"spark.driver.memory": "6g", "spark.ui.showConsoleProgress": "false", "spark.log.level": "ERROR"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    timing.add_arguments(parser, rows=10_000_000)
    parser.add_argument("--prevalence", type=float, default=0.005, help="share of positives")
    parser.add_argument("--seed", type=int, default=7, help="seed of the split")
    parser.add_argument("--master", default="local[*]", help="Spark master")


def run(args: argparse.Namespace) -> dict[str, object]:
    with spark_session("bench-split", args.master, SETTINGS) as spark, tempfile.TemporaryDirectory() as folder:
        orders = _written(_make_orders(spark, args.rows, args.prevalence), Path(folder) / "orders")
        sides: dict[str, Callable[[], DataFrame]] = {
            "plain Delta copy": lambda: orders,
            "ours: fit, assign, write": lambda: stratified_split(orders, key="order_id", label="label", seed=args.seed),
        }
        writes = {
            name: partial(_write, make, Path(folder) / f"side_{i}") for i, (name, make) in enumerate(sides.items())
        }
        seconds = timing.alternately(writes, args.repeats)
        fit_s = _fit_seconds(orders, args)
    print(f"{args.rows:,} rows, {FEATURES + 4} columns")
    timing.show(seconds)
    print(f"of ours: the fit alone {fit_s:14.2f} s")
    return {**timing.compared(args, seconds), "fit_s": round(fit_s, 3)}


def _write(make: Callable[[], DataFrame], path: Path) -> None:
    make().write.format("delta").mode("overwrite").save(str(path))


def _make_orders(spark: SparkSession, rows: int, prevalence: float) -> DataFrame:
    """Key, customer, time, label and 15 numbers: 19 columns, as an order log has them."""
    row = F.col("id")

    def draw(purpose: str) -> Column:
        return F.pmod(F.xxhash64(row, F.lit(purpose)), F.lit(1 << 20)) / (1 << 20)

    features = [draw(f"feature {number}").alias(f"feature_{number}") for number in range(FEATURES)]
    return spark.range(rows).select(
        row.alias("order_id"),
        F.floor(draw("customer") * (rows // 10 + 1)).alias("customer_id"),
        F.timestamp_seconds(1_600_000_000 + row * 3).alias("ordered_at"),
        (draw("label") < prevalence).cast("int").alias("label"),
        *features,
    )


def _written(frame: DataFrame, path: Path) -> DataFrame:
    frame.write.format("delta").save(str(path))
    return frame.sparkSession.read.format("delta").load(str(path))


def _fit_seconds(orders: DataFrame, args: argparse.Namespace) -> float:
    start = time.perf_counter()
    fit_split(orders, key="order_id", label="label", seed=args.seed)
    return time.perf_counter() - start
