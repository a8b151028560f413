"""SMOTE on Spark, neighbours measured against brute force, against imbalanced-learn's to the same counts."""

import argparse
import math
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from imblearn import over_sampling
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from sklearn.neighbors import NearestNeighbors

from benchmarks.fit import SETTINGS
from benchmarks.timing import alternately, compared, show
from imbalance_spark.core.spark_session import spark_session
from imbalance_spark.train_only.sampling import SMOTE

_OURS, _PEER = "SMOTE on Spark", "imbalanced-learn"


def _rows(text: str) -> int:
    return int(float(text))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--minority", type=_rows, default=100_000, help="rows of the minority")
    parser.add_argument("--majority", type=_rows, default=None, help="rows of the majority; 4 times the minority")
    parser.add_argument("--features", type=int, default=16, help="numeric features")
    parser.add_argument(
        "--structure", type=int, default=5, help="dimensions of the data inside them; 0: all (isotropic)"
    )
    parser.add_argument("--workers", type=int, default=2, help="cores of both sides")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each side, alternately; medians are compared")
    parser.add_argument("--no-peer", action="store_true", help="ours alone, where the peer would take hours")
    parser.add_argument("--growth-to", type=_rows, default=None, help="also time ours at so many minority rows")


def run(args: argparse.Namespace) -> dict[str, object]:
    master = f"local[{args.workers}]"
    with spark_session("bench-smote", master, SETTINGS) as spark, tempfile.TemporaryDirectory() as folder:
        table = _table(spark, Path(folder) / "orders", args.minority, args.majority or 4 * args.minority, args)
        samplers: list[SMOTE] = []
        sides: dict[str, Callable[[], object]] = {} if args.no_peer else {_PEER: _peer(table, args)}
        seconds = alternately(sides | {_OURS: lambda: samplers.append(_resample(table, args))}, args.repeats)
        larger = None if args.growth_to is None else _seconds_of_larger(spark, Path(folder) / "more", args)
    show(seconds)
    report = samplers[-1].neighbour_report_[1]
    print(report.sentence)
    print(f"by {report.engine}: recall@5 {report.recall:.3f}, distance ratio {report.distance_ratio:.4f}")
    ours = statistics.median(seconds[_OURS])
    asked = {name: value for name, value in vars(args).items() if name != "name"}
    found: dict[str, object] = {**asked, "ours_s": round(ours, 2)} if args.no_peer else compared(args, seconds)
    found |= {"engine": report.engine, "recall_at_5": round(report.recall, 4)}
    found |= {"distance_ratio": round(report.distance_ratio, 5), "novelty_ratio": round(report.novelty_ratio, 4)}
    if larger is not None:
        exponent = math.log(larger / ours) / math.log(args.growth_to / args.minority)
        print(f"at {args.growth_to:,} minority rows: {larger:.1f} s, time grows with the power {exponent:.2f}")
        found |= {"larger_s": round(larger, 2), "growth_exponent": round(exponent, 3)}
    return found


def _table(spark: SparkSession, path: Path, minority: int, majority: int, args: argparse.Namespace) -> DataFrame:
    """Rows whose features are linear mixtures of `structure` normals, with a little noise; written as Parquet."""
    latent = args.structure or args.features
    mixture = np.random.default_rng(1).normal(size=(latent, args.features)) if args.structure else np.eye(latent)
    normals = [F.randn(1000 + i).alias(f"z_{i}") for i in range(latent)]
    base = spark.range(minority + majority, numPartitions=8).select("id", *normals)
    label = (F.col("id") < minority).cast("int")
    noise = 0.05 if args.structure else 0.0
    features = []
    for j in range(args.features):
        mixed = sum((F.col(f"z_{i}") * float(mixture[i, j]) for i in range(latent) if mixture[i, j]), F.lit(0.0))
        features.append((mixed + noise * F.randn(2000 + j) + 0.5 * label).alias(f"f_{j}"))
    rows = base.select(F.col("id").alias("order_id"), label.alias("label"), F.lit("train").alias("split"), *features)
    rows.write.mode("overwrite").parquet(str(path))
    return spark.read.parquet(str(path))


def _seconds_of_larger(spark: SparkSession, path: Path, args: argparse.Namespace) -> float:
    table = _table(spark, path, args.growth_to, 4 * args.growth_to, args)
    return statistics.median(alternately({_OURS: lambda: _resample(table, args)}, args.repeats)[_OURS])


def _names(args: argparse.Namespace) -> list[str]:
    return [f"f_{j}" for j in range(args.features)]


def _resample(table: DataFrame, args: argparse.Namespace) -> SMOTE:
    sampler = SMOTE(key="order_id", label="label", features=_names(args), seed=7)
    sampler.fit_resample(table).write.format("noop").mode("overwrite").save()
    return sampler


def _peer(table: DataFrame, args: argparse.Namespace) -> Callable[[], object]:
    """imbalanced-learn's SMOTE on rows that are in memory and scaled already."""
    rows = table.toPandas()
    x, y = rows[_names(args)].to_numpy(), rows["label"].to_numpy()
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    # imbalanced-learn takes its threads from the estimator that it is given.
    neighbours = NearestNeighbors(n_neighbors=6, n_jobs=args.workers)
    sampler = over_sampling.SMOTE(k_neighbors=neighbours, random_state=7)
    return lambda: sampler.fit_resample(x, y)
