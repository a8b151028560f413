"""One pass of score counts, with every metric, curve and threshold from it, beside MLlib and scikit-learn."""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from pyspark.ml.evaluation import BinaryClassificationEvaluator
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from sklearn import metrics as sk

from imbalance_spark.core.hashing import uniform
from imbalance_spark.core.spark_session import spark_session
from imbalance_spark.metrics import ScoreCounts, collect_score_counts, evaluate
from imbalance_spark.threshold import MaxFBeta, MaxRecall, MinCost, sweep

OBJECTIVES = (MaxFBeta(), MinCost(fn=100.0, fp=1.0), MaxRecall(precision=0.5))
PLAIN, OURS, EXACT, MLLIB, SKLEARN = "plain scan", "ours", "ours, exact", "MLlib PR-AUC", "scikit-learn"

_SETTINGS = {
    "spark.ui.enabled": "false",
    "spark.sql.shuffle.partitions": "8",
    "spark.driver.memory": "6g",
    "spark.log.level": "ERROR",
    "spark.ui.showConsoleProgress": "false",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", type=float, default=1e7, help="scored rows (default 1e7)")
    parser.add_argument(
        "--prevalence", type=float, nargs="+", default=[1e-2, 1e-3, 1e-4], help="shares of positives to measure"
    )
    parser.add_argument("--repeats", type=int, default=3, help="runs of each side, alternating; MLlib runs once")
    parser.add_argument("--seed", type=int, default=7)


@dataclass(frozen=True)
class Measured:
    """Median seconds of each side, and how far its average precision is from scikit-learn's on every row."""

    prevalence: float
    average_precision: float
    bracket: tuple[float, float]
    seconds: dict[str, float]
    errors: dict[str, float]


def run(args: argparse.Namespace) -> dict[str, object]:
    rows = int(args.rows)
    with tempfile.TemporaryDirectory() as folder, spark_session("benchmark counts", "local[*]", _SETTINGS) as spark:
        found = [_measure(spark, Path(folder), rows, share, args) for share in args.prevalence]
    for one in found:
        _print(rows, one)
    slowest = min(found, key=lambda one: one.seconds[MLLIB] / one.seconds[OURS])
    ours, plain, peer = (slowest.seconds[name] for name in (OURS, PLAIN, MLLIB))
    return {
        "rows": rows,
        "seed": args.seed,
        "repeats": args.repeats,
        "prevalence": slowest.prevalence,
        "ours_s": ours,
        "peer_s": peer,
        "plain_scan_s": plain,
        "ratio": ours / peer,
        "speedup": peer / ours,
        "times_plain_scan": ours / plain,
        "ap_error": max(one.errors[OURS] for one in found),
        "peer_ap_error": max(one.errors[MLLIB] for one in found),
        "by_prevalence": [vars(one) for one in found],
    }


def _measure(spark: SparkSession, folder: Path, rows: int, prevalence: float, args: argparse.Namespace) -> Measured:
    path = str(folder / f"scored_{prevalence}.parquet")
    _scored(spark, rows, prevalence, args.seed).write.parquet(path)
    scored = spark.read.schema("label int, score double").parquet(path)
    sides = {PLAIN: _plain_scan, OURS: _ours, EXACT: _ours_exact, SKLEARN: _sklearn}
    found = _timed({name: partial(side, scored) for name, side in sides.items()}, args.repeats)
    start = time.perf_counter()
    mllib = _mllib(scored)
    mllib_s = time.perf_counter() - start
    seconds = {name: statistics.median(times) for name, (times, _) in found.items()}
    exact = found[SKLEARN][1]
    bracket = collect_score_counts(scored, score="score", label="label").curve().average_precision_bracket()
    values = {MLLIB: mllib, OURS: found[OURS][1], EXACT: found[EXACT][1]}
    return Measured(
        prevalence=prevalence,
        average_precision=exact,
        bracket=(bracket.low, bracket.high) if bracket else (0.0, 1.0),
        seconds=seconds | {MLLIB: mllib_s},
        errors={name: abs(value - exact) for name, value in values.items()},
    )


def _print(rows: int, found: Measured) -> None:
    low, high = found.bracket
    print(f"{rows:,} rows, prevalence {found.prevalence:.3g}")
    print(f"average precision {found.average_precision:.6f} (scikit-learn), our bracket [{low:.6f}, {high:.6f}]")
    print(f"{'':14}{'seconds':>10}{'x plain':>10}{'AP error':>12}")
    for name, seconds in found.seconds.items():
        error = f"{found.errors[name]:.2g}" if name in found.errors else ""
        print(f"{name:14}{seconds:>10.2f}{seconds / found.seconds[PLAIN]:>10.1f}{error:>12}")


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


def _ours(scored: DataFrame) -> float:
    return _everything(collect_score_counts(scored, score="score", label="label"))


def _ours_exact(scored: DataFrame) -> float:
    return _everything(collect_score_counts(scored, score="score", label="label", exact=True))


def _everything(counts: ScoreCounts) -> float:
    """Every metric at the first objective's threshold, and the thresholds of all three."""
    curve = counts.curve()
    chosen = [sweep(curve, objective) for objective in OBJECTIVES]
    return evaluate(curve, chosen[0].threshold, fn=100.0)["average_precision"]


def _sklearn(scored: DataFrame) -> float:
    """The two curves, their areas and the same three thresholds, of rows that the driver holds: 12 bytes a row."""
    table = scored.toArrow()
    label, score = table["label"].to_numpy(), table["score"].to_numpy()
    precision, recall, _ = sk.precision_recall_curve(label, score)
    fpr, tpr, _ = sk.roc_curve(label, score)
    np.argmax(2.0 * precision * recall / np.maximum(precision + recall, 1e-300))
    np.argmin(100.0 * (1.0 - tpr) * label.sum() + fpr * (len(label) - label.sum()))
    np.max(recall[precision >= 0.5])
    sk.auc(fpr, tpr)
    return float(sk.average_precision_score(label, score))


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
