"""Probabilities of a table's rows, against `SparkXGBClassifierModel.transform` with the same trees."""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from pyspark.ml.functions import vector_to_array
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from xgboost.spark import SparkXGBClassifier

from benchmarks.fit import SETTINGS, make_inputs, written
from imbalance_spark.calibration import PriorCorrection
from imbalance_spark.encoding import LABEL, feature_column
from imbalance_spark.learners.xgboost import FittedBooster
from imbalance_spark.scan import Contender, score_frame
from imbalance_spark.session import spark_session


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", type=lambda text: int(float(text)), default=4_000_000, help="rows to score")
    parser.add_argument("--features", type=int, default=16, help="numeric features")
    parser.add_argument("--rounds", type=int, default=50, help="trees of the model")
    parser.add_argument("--workers", type=int, default=2, help="cores of both sides")
    parser.add_argument("--prevalence", type=float, default=0.01, help="share of positives, roughly")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each side, alternately; medians are compared")


def run(args: argparse.Namespace) -> dict[str, object]:
    master = f"local[{args.workers}]"
    with spark_session("bench-score", master, SETTINGS) as spark, tempfile.TemporaryDirectory() as folder:
        rows = make_inputs(spark, args.rows, args.features, args.prevalence)
        table = written(rows, Path(folder) / "orders", args.workers)
        peer, contender = _models(table, args)
        sides: dict[str, Callable[[], DataFrame]] = {
            "peer: transform": lambda: peer.transform(table).select(
                "order_id", vector_to_array("probability")[1].alias("probability")
            ),
            "ours: score_frame": lambda: score_frame(table, contender).select("order_id", "probability"),
        }
        difference = _largest_difference(*[make() for make in sides.values()])
        seconds = _alternately(sides, args.repeats)
    peer_s, ours_s = (statistics.median(values) for values in seconds.values())
    for name, values in seconds.items():
        print(f"{name:<20} {statistics.median(values):8.2f} s   {', '.join(f'{value:.2f}' for value in values)}")
    print(f"largest difference   {difference:.1e}")
    return {
        "rows": args.rows, "features": args.features, "rounds": args.rounds, "workers": args.workers,
        "prevalence": args.prevalence, "repeats": args.repeats, "ours_s": round(ours_s, 3), "peer_s": round(peer_s, 3),
        "ratio": round(ours_s / peer_s, 3), "speedup": round(peer_s / ours_s, 3), "largest_difference": difference,
    }  # fmt: skip


def _models(table: DataFrame, args: argparse.Namespace) -> tuple[object, Contender]:
    """One fit on a part of the rows, as the peer's model and as ours."""
    inputs = [feature_column(number) for number in range(args.features)]
    peer = SparkXGBClassifier(
        features_col=inputs, label_col=LABEL, num_workers=args.workers, force_repartition=True,
        n_estimators=args.rounds, base_score=args.prevalence, verbose=False,
    ).fit(table.where(F.col("order_id") < 200_000))  # fmt: skip
    booster = FittedBooster(
        ubj=bytes(peer.get_booster().save_raw("ubj")), features=tuple(inputs), best_iteration=args.rounds - 1,
        rounds_run=args.rounds, learning_curve={}, num_workers=args.workers, params={},
    )  # fmt: skip
    return peer, Contender(name="none", booster=booster, correction=PriorCorrection.identity())


def _largest_difference(peer: DataFrame, ours: DataFrame) -> float:
    both = peer.join(ours.withColumnRenamed("probability", "ours"), on="order_id", how="inner")
    return float(both.agg(F.max(F.abs(F.col("ours") - F.col("probability")))).first()[0])


def _alternately(sides: dict[str, Callable[[], DataFrame]], repeats: int) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(repeats):
        for name, make in sides.items():
            start = time.perf_counter()
            make().write.format("noop").mode("overwrite").save()
            seconds[name].append(time.perf_counter() - start)
    return seconds
