"""The main job on logs of odd shapes beside a plain one: 1,000 columns, one group of 30 % of the rows, small files."""

import argparse
import contextlib
import io
import json
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from benchmarks.spark_work import SparkWork
from imbalance_spark.core.spark_session import spark_session
from imbalance_spark.orders.datasets.synthetic import generate_orders
from jobs import train

_NUMERIC = ("amount", "amount_over_customer_mean", "items", "customer_age_days", "device_age_days", "distance_km")
_PREVALENCE = 0.01
_SETTINGS = {"spark.driver.memory": "6g", "spark.ui.enabled": "false", "spark.log.level": "ERROR"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", type=lambda text: int(float(text)), default=100_000, help="rows of each log")
    parser.add_argument("--columns", type=int, default=1_000, help="numeric ones of the wide log")
    parser.add_argument("--files", type=int, default=10_000, help="of the log in small files")
    parser.add_argument("--largest-group", type=float, default=0.3, help="share of the rows that one group has")
    parser.add_argument("--rounds", type=int, default=30, help="boosting rounds, at most")
    parser.add_argument("--shapes", nargs="+", default=list(_SHAPES), choices=list(_SHAPES))
    parser.add_argument("--workers", type=int, default=2, help="cores of Spark")


def run(args: argparse.Namespace) -> dict[str, object]:
    found: dict[str, Mapping[str, object]] = {}
    print(f"{'shape':<12}{'seconds':>10}{'shuffled, MB':>14}{'files':>8}  test AP")
    with (
        spark_session("bench-shapes", f"local[{args.workers}]", _SETTINGS) as spark,
        tempfile.TemporaryDirectory() as folder,
    ):
        for name in args.shapes:
            found[name] = one = _measured(spark, Path(folder) / name, name, args)
            print("{:<12}{seconds:>10}{shuffled_mb:>14}{files:>8}  {average_precision}".format(name, **one), flush=True)
    asked = {name: value for name, value in vars(args).items() if name != "name"}
    return {**asked, "found": found}


def _plain(orders: DataFrame, args: argparse.Namespace) -> tuple[DataFrame, int, tuple[str, ...]]:
    return orders, args.workers, _NUMERIC


def _wide(orders: DataFrame, args: argparse.Namespace) -> tuple[DataFrame, int, tuple[str, ...]]:
    """With columns of noise up to the number asked for."""
    more = [f"noise_{number}" for number in range(args.columns - len(_NUMERIC))]
    noise = [
        (F.xxhash64(F.col("order_id"), F.lit(number)) / float(1 << 63)).cast("float").alias(name)
        for number, name in enumerate(more)
    ]
    return orders.select("*", *noise), args.workers, (*_NUMERIC, *more)


def _skewed(orders: DataFrame, args: argparse.Namespace) -> tuple[DataFrame, int, tuple[str, ...]]:
    is_largest = F.rand(7) < args.largest_group
    return (
        orders.withColumn("customer_id", F.when(is_largest, F.lit(-1)).otherwise(F.col("customer_id"))),
        args.workers,
        _NUMERIC,
    )


def _small_files(orders: DataFrame, args: argparse.Namespace) -> tuple[DataFrame, int, tuple[str, ...]]:
    return orders, args.files, _NUMERIC


_SHAPES: Mapping[str, Callable[[DataFrame, argparse.Namespace], tuple[DataFrame, int, tuple[str, ...]]]] = {
    "plain": _plain, "wide": _wide, "skewed": _skewed, "small files": _small_files,
}  # fmt: skip


def _measured(spark: SparkSession, home: Path, shape: str, args: argparse.Namespace) -> dict[str, object]:
    home.mkdir()
    log = generate_orders(spark, rows=args.rows, prevalence=_PREVALENCE, seed=7)
    orders, files, numeric = _SHAPES[shape](log.select("order_id", "customer_id", "is_fraud", *_NUMERIC), args)
    orders.repartition(files).write.parquet(f"{home}/orders")
    config = {
        "name": "shapes", "output": f"{home}/runs", "strategies": ["none", "class_weight"],
        "orders": {
            "source": {"path": f"{home}/orders", "format": "parquet"}, "key": ["order_id"], "label": "is_fraud",
            "group": "customer_id", "numeric": [*numeric],
        },
        "split": {"by": "group"},
        "training": {"num_workers": args.workers, "rounds": args.rounds},
        "tracking": {"uri": f"sqlite:///{home}/mlflow.db", "experiment": "shapes", "registered_model": "shapes"},
    }  # fmt: skip
    (home / "shapes.yaml").write_text(yaml.safe_dump(config), "utf-8")
    work, printed, begun = SparkWork(spark), io.StringIO(), time.perf_counter()
    with contextlib.chdir(home), contextlib.redirect_stdout(printed):
        if train.main(["--config", f"{home}/shapes.yaml", "--json"]) not in (0, 4):
            raise SystemExit("jobs/train.py failed, see its last line")
    seconds = time.perf_counter() - begun
    result: Any = json.loads(printed.getvalue())
    return {
        "seconds": round(seconds, 1), "shuffled_mb": round(work.shuffled_bytes / 1e6, 1),
        "files": len(list(home.glob("orders/*.parquet"))), "average_precision": _average_precision(result),
    }  # fmt: skip


def _average_precision(result: Any) -> float:
    [plain] = [one for one in result["strategies"] if one["strategy"] == "none"]
    return round(float(plain["AP test"]), 4)
