"""One pass of score counts and every metric from it, beside MLlib's area under the precision-recall curve alone."""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from pyspark.ml.evaluation import BinaryClassificationEvaluator
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from sklearn.metrics import average_precision_score

from imbalance_spark.hashing import uniform
from imbalance_spark.metrics import collect_score_counts, evaluate
from imbalance_spark.session import spark_session


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", type=float, default=1e7, help="scored rows (default 1e7)")
    parser.add_argument("--prevalence", type=float, default=1e-3, help="share of positives (default 1e-3)")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each side, alternating (default 3)")
    parser.add_argument("--seed", type=int, default=7)


def run(args: argparse.Namespace) -> dict[str, object]:
    rows = int(args.rows)
    with tempfile.TemporaryDirectory() as folder, spark_session("benchmark counts", "local[*]", _SETTINGS) as spark:
        path = str(Path(folder) / "scored.parquet")
        _scored(spark, rows, args.prevalence, args.seed).write.parquet(path)
        scored = spark.read.schema("label int, score double").parquet(path)
        exact, prevalence = _exact(scored)
        measured = {"plain scan": _plain_scan, "ours": _ours, "MLlib": _mllib}
        sides = {name: partial(side, scored) for name, side in measured.items()}
        found = _timed(sides, args.repeats)
    seconds = {name: statistics.median(times) for name, (times, _) in found.items()}
    errors = {name: abs(value - exact) for name, (_, value) in found.items()}
    print(f"{rows:,} rows, prevalence {prevalence:.3g}, scikit-learn's average precision {exact:.6f}")
    print(f"{'':12}{'seconds':>10}{'AP error':>12}")
    print(f"{'plain scan':12}{seconds['plain scan']:>10.2f}{'':>12}")
    for name in ("ours", "MLlib"):
        print(f"{name:12}{seconds[name]:>10.2f}{errors[name]:>12.2g}")
    return {
        "bench": "counts",
        "rows": rows,
        "prevalence": prevalence,
        "seed": args.seed,
        "repeats": args.repeats,
        "ours_s": seconds["ours"],
        "peer_s": seconds["MLlib"],
        "ratio": seconds["ours"] / seconds["MLlib"],
        "speedup": seconds["MLlib"] / seconds["ours"],
        "ap_error": errors["ours"],
        "peer_ap_error": errors["MLlib"],
        "plain_scan_s": seconds["plain scan"],
    }


_SETTINGS = {"spark.ui.enabled": "false", "spark.sql.shuffle.partitions": "8", "spark.driver.memory": "6g"}


def _scored(spark: SparkSession, rows: int, prevalence: float, seed: int) -> DataFrame:
    """Labels drawn from their own scores, which are spread over many orders of magnitude."""
    draw = [F.least(uniform(["id"], seed, name), F.lit(1.0 - 2.0**-53)) for name in ("logit", "label")]
    tiny = F.lit(1e-12)  # keeps a draw of 0 from infinity
    logit = F.lit(_centre(prevalence)) + F.lit(2.0) * F.ln((draw[0] + tiny) / (F.lit(1.0) - draw[0] + tiny))
    return spark.range(rows).select(
        (draw[1] < 1.0 / (1.0 + F.exp(-logit))).cast("int").alias("label"),
        (1.0 / (1.0 + F.exp(-logit))).alias("score"),
    )


def _centre(prevalence: float) -> float:
    """The middle of a logistic draw of scale 2 in logit whose mean probability is `prevalence`, by halving."""
    even = (np.arange(1_000_000) + 0.5) / 1_000_000
    spread = 2.0 * np.log(even / (1.0 - even))
    low, high = -60.0, 60.0
    for _ in range(40):
        middle = (low + high) / 2.0
        low, high = (low, middle) if np.mean(1.0 / (1.0 + np.exp(-middle - spread))) > prevalence else (middle, high)
    return low


def _exact(scored: DataFrame) -> tuple[float, float]:
    """Scikit-learn's average precision on every row, which the driver holds: 12 bytes a row."""
    table = scored.toArrow()
    label, score = table["label"].to_numpy(), table["score"].to_numpy()
    return float(average_precision_score(label, score)), float(label.mean())


def _ours(scored: DataFrame) -> float:
    counts = collect_score_counts(scored, score="score", label="label")
    return evaluate(counts.curve(), 0.5)["average_precision"]


def _mllib(scored: DataFrame) -> float:
    evaluator = BinaryClassificationEvaluator(rawPredictionCol="score", labelCol="label", metricName="areaUnderPR")
    return float(evaluator.evaluate(scored))


def _plain_scan(scored: DataFrame) -> float:
    return float(scored.agg(F.sum("score"), F.sum("label")).collect()[0][0])


def _timed(sides: dict[str, Callable[[], float]], repeats: int) -> dict[str, tuple[list[float], float]]:
    """Seconds of each run and the value, after one run of each side that is not counted."""
    values = {name: side() for name, side in sides.items()}
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(repeats):
        for name, side in sides.items():
            start = time.perf_counter()
            side()
            times[name].append(time.perf_counter() - start)
    return {name: (times[name], values[name]) for name in sides}
