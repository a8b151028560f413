"""The split, written to Delta as a column, against a plain Delta copy of the same table."""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from imbalance_spark.session import spark_session
from imbalance_spark.split import fit_split, stratified_split

FEATURES = 15
SETTINGS = {"spark.driver.memory": "6g", "spark.ui.showConsoleProgress": "false", "spark.log.level": "ERROR"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", type=lambda text: int(float(text)), default=10_000_000, help="rows of the table")
    parser.add_argument("--prevalence", type=float, default=0.005, help="share of positives")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each side, alternately; medians are compared")
    parser.add_argument("--seed", type=int, default=7, help="seed of the split")
    parser.add_argument("--master", default="local[*]", help="Spark master")


def run(args: argparse.Namespace) -> dict[str, object]:
    with spark_session("bench-split", args.master, SETTINGS) as spark, tempfile.TemporaryDirectory() as folder:
        orders = _written(_make_orders(spark, args.rows, args.prevalence), Path(folder) / "orders")
        sides: dict[str, Callable[[], DataFrame]] = {
            "plain Delta copy": lambda: orders,
            "ours: fit, assign, write": lambda: stratified_split(orders, key="order_id", label="label", seed=args.seed),
        }
        seconds = _alternately(sides, Path(folder), args.repeats)
        fit_s = _fit_seconds(orders, args)
    peer_s, ours_s = (statistics.median(seconds[name]) for name in sides)
    _show(seconds, fit_s, args)
    return {
        "rows": args.rows, "prevalence": args.prevalence, "repeats": args.repeats, "seed": args.seed,
        "ours_s": round(ours_s, 3), "peer_s": round(peer_s, 3), "ratio": round(ours_s / peer_s, 3),
        "speedup": round(peer_s / ours_s, 3), "fit_s": round(fit_s, 3),
    }  # fmt: skip


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


def _alternately(sides: dict[str, Callable[[], DataFrame]], folder: Path, repeats: int) -> dict[str, list[float]]:
    """Seconds of each side; the first, unmeasured round warms the JVM up for both."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for repeat in range(repeats + 1):
        for number, (name, make) in enumerate(sides.items()):
            start = time.perf_counter()
            make().write.format("delta").mode("overwrite").save(str(folder / f"side_{number}"))
            if repeat > 0:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def _fit_seconds(orders: DataFrame, args: argparse.Namespace) -> float:
    start = time.perf_counter()
    fit_split(orders, key="order_id", label="label", seed=args.seed)
    return time.perf_counter() - start


def _show(seconds: dict[str, list[float]], fit_s: float, args: argparse.Namespace) -> None:
    print(f"{args.rows:,} rows, {FEATURES + 4} columns, {args.repeats} runs of each side")
    for name, runs in seconds.items():
        print(f"  {name:<26} median {statistics.median(runs):8.2f} s   runs {', '.join(f'{s:.2f}' for s in runs)}")
    print(f"  {'of ours: fit alone':<26}        {fit_s:8.2f} s")
