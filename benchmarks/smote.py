"""SMOTE on Spark, neighbours measured against brute force, against imbalanced-learn's to the same counts."""

import argparse
import math
import tempfile
import time
from pathlib import Path

import numpy as np
from imblearn import over_sampling
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from sklearn.neighbors import NearestNeighbors

from benchmarks.fit import SETTINGS
from imbalance_spark.session import spark_session
from imbalance_spark.train_only.sampling import SMOTE


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
    parser.add_argument("--no-peer", action="store_true", help="ours alone, where the peer would take hours")
    parser.add_argument("--growth-to", type=_rows, default=None, help="also time ours at so many minority rows")


def run(args: argparse.Namespace) -> dict[str, object]:
    majority = args.majority or 4 * args.minority
    master = f"local[{args.workers}]"
    with spark_session("bench-smote", master, SETTINGS) as spark, tempfile.TemporaryDirectory() as folder:
        _ours(spark, _table(spark, Path(folder) / "warm", 5_000, 20_000, args), args)
        table = _table(spark, Path(folder) / "orders", args.minority, majority, args)
        seconds, sampler = _ours(spark, table, args)
        peer = None if args.no_peer else _peer(table, args)
        larger = None
        if args.growth_to is not None:
            more = _table(spark, Path(folder) / "more", args.growth_to, 4 * args.growth_to, args)
            larger, _ = _ours(spark, more, args)
    report = sampler.neighbour_report_[1]
    print(report.sentence)
    print(f"ours: {seconds:.1f} s by {report.engine}; recall@5 {report.recall:.3f}; ratio {report.distance_ratio:.4f}")
    asked = {name: value for name, value in vars(args).items() if name != "name"}
    found: dict[str, object] = {**asked, "majority": majority, "engine": report.engine, "ours_s": round(seconds, 2)}
    found |= {"recall_at_5": round(report.recall, 4), "distance_ratio": round(report.distance_ratio, 5)}
    found |= {"novelty_ratio": round(report.novelty_ratio, 4)}
    if peer is not None:
        print(f"imbalanced-learn: {peer:.1f} s, {peer / seconds:.1f} times ours")
        found |= {"peer_s": round(peer, 2), "ratio": round(seconds / peer, 3), "speedup": round(peer / seconds, 2)}
    if larger is not None:
        exponent = math.log(larger / seconds) / math.log(args.growth_to / args.minority)
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


def _ours(spark: SparkSession, table: DataFrame, args: argparse.Namespace) -> tuple[float, SMOTE]:
    names = [f"f_{j}" for j in range(args.features)]
    sampler = SMOTE(key="order_id", label="label", features=names, seed=7)
    start = time.perf_counter()
    sampler.fit_resample(table).write.format("noop").mode("overwrite").save()
    return time.perf_counter() - start, sampler


def _peer(table: DataFrame, args: argparse.Namespace) -> float:
    rows = table.toPandas()
    x, y = rows[[f"f_{j}" for j in range(args.features)]].to_numpy(), rows["label"].to_numpy()
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    start = time.perf_counter()
    # imbalanced-learn takes its threads from the estimator that it is given.
    neighbours = NearestNeighbors(n_neighbors=6, n_jobs=args.workers)
    over_sampling.SMOTE(k_neighbors=neighbours, random_state=7).fit_resample(x, y)
    return time.perf_counter() - start
