"""Counts of 1, 4 and 8 strategies from one scan of held-out rows, against one scan for each strategy."""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import xgboost
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from benchmarks.fit import SETTINGS, as_arrays, make_inputs, written
from imbalance_spark.calibration import PriorCorrection
from imbalance_spark.core.columns import SPLIT, TEST, VALIDATION
from imbalance_spark.core.spark_session import spark_session
from imbalance_spark.metrics import DEFAULT_GRID
from imbalance_spark.orders.model_inputs import feature_column
from imbalance_spark.scoring.boosters import Candidate
from imbalance_spark.scoring.held_out import scan_held_out
from imbalance_spark.scoring.held_out_counts import HeldOutCounts

NUMBERS = (1, 4, 8)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", type=lambda text: int(float(text)), default=2_000_000, help="held-out rows")
    parser.add_argument("--features", type=int, default=16, help="numeric features")
    parser.add_argument("--rounds", type=int, default=50, help="trees of each model")
    parser.add_argument("--workers", type=int, default=2, help="cores of both sides")
    parser.add_argument("--prevalence", type=float, default=0.01, help="share of positives, roughly")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each side, alternately; medians are compared")


def run(args: argparse.Namespace) -> dict[str, object]:
    master = f"local[{args.workers}]"
    with spark_session("bench-strategies", master, SETTINGS) as spark, tempfile.TemporaryDirectory() as folder:
        rows = make_inputs(spark, args.rows, args.features, args.prevalence)
        fold = F.when(F.col("order_id") % 2 == 0, VALIDATION).otherwise(TEST)
        table = written(rows.withColumn(SPLIT, fold), Path(folder) / "held_out", args.workers)
        contenders = _contenders(table, args)
        _same(_together(table, contenders[:2]), _one_by_one(table, contenders[:2]))  # warms both sides up as well
        seconds = {number: _alternately(table, contenders[:number], args.repeats) for number in NUMBERS}
    print(f"{'strategies':>10} {'one scan':>10} {'one each':>10} {'speedup':>8}")
    found: dict[str, object] = {}
    for number, (ours, peer) in seconds.items():
        print(f"{number:>10} {ours:>8.2f} s {peer:>8.2f} s {peer / ours:>8.2f}")
        found |= {f"ours_{number}_s": round(ours, 3), f"peer_{number}_s": round(peer, 3)}
        found |= {f"speedup_{number}": round(peer / ours, 3)}
    ours, peer = seconds[NUMBERS[-1]]
    return {
        "rows": args.rows, "features": args.features, "rounds": args.rounds, "workers": args.workers,
        "prevalence": args.prevalence, "repeats": args.repeats, **found, "ours_s": round(ours, 3),
        "peer_s": round(peer, 3), "ratio": round(ours / peer, 3), "speedup": round(peer / ours, 3),
    }  # fmt: skip


def _contenders(table: DataFrame, args: argparse.Namespace) -> list[Candidate]:
    """As many models as the largest number, of one list of features, each from other rows."""
    matrix, labels, _ = as_arrays(table.where(F.col("order_id") < 200_000), args.features)
    features = tuple(feature_column(number) for number in range(args.features))
    contenders = []
    for number in range(max(NUMBERS)):
        chosen = np.random.default_rng(number).random(len(labels)) < 0.5
        data = xgboost.QuantileDMatrix(matrix[chosen], labels[chosen])
        params = {"objective": "binary:logistic", "nthread": args.workers, "seed": number}
        ubj = bytes(xgboost.train(params, data, args.rounds).save_raw("ubj"))
        identity = PriorCorrection.identity()
        contenders.append(Candidate(name=f"model {number}", model_bytes=ubj, features=features, correction=identity))
    return contenders


def _together(table: DataFrame, contenders: list[Candidate]) -> dict[str, HeldOutCounts]:
    return scan_held_out(table, contenders, key=("order_id",), grid=DEFAULT_GRID, has_weight=False, has_amount=False)


def _one_by_one(table: DataFrame, contenders: list[Candidate]) -> dict[str, HeldOutCounts]:
    return {contender.name: _together(table, [contender])[contender.name] for contender in contenders}


def _same(ours: dict[str, HeldOutCounts], peer: dict[str, HeldOutCounts]) -> None:
    for name, counts in ours.items():
        assert counts.to_records() == peer[name].to_records(), f"{name}: the two ways count differently"


def _alternately(table: DataFrame, contenders: list[Candidate], repeats: int) -> tuple[float, float]:
    """Median seconds of one scan for all, and of one scan each."""
    sides: tuple[Callable[[DataFrame, list[Candidate]], object], ...] = (_together, _one_by_one)
    seconds: list[list[float]] = [[], []]
    for _ in range(repeats):
        for side, count in enumerate(sides):
            start = time.perf_counter()
            count(table, contenders)
            seconds[side].append(time.perf_counter() - start)
    return statistics.median(seconds[0]), statistics.median(seconds[1])
