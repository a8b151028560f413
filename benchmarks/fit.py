"""The distributed fit on a laid-out Delta table, against native XGBoost on the same rows, rounds and threads."""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import xgboost
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from imbalance_spark.config import BoosterParams, TrainingConfig
from imbalance_spark.encoding import LABEL, feature_column
from imbalance_spark.frames import IS_EARLY_STOPPING
from imbalance_spark.hashing import key_hash
from imbalance_spark.learners.xgboost import FittedBooster, fit_booster
from imbalance_spark.session import spark_session

SETTINGS = {"spark.driver.memory": "6g", "spark.ui.showConsoleProgress": "false", "spark.log.level": "ERROR"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", type=lambda text: int(float(text)), default=4_000_000, help="rows of the table")
    parser.add_argument("--features", type=int, default=16, help="numeric features")
    parser.add_argument("--rounds", type=int, default=50, help="boosting rounds, all of them run")
    parser.add_argument("--workers", type=int, default=2, help="barrier tasks here, threads of the peer")
    parser.add_argument("--prevalence", type=float, default=0.01, help="share of positives, roughly")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each side, alternately; medians are compared")


def run(args: argparse.Namespace) -> dict[str, object]:
    master = f"local[{args.workers}]"
    with spark_session("bench-fit", master, SETTINGS) as spark, tempfile.TemporaryDirectory() as folder:
        rows = make_inputs(spark, args.rows, args.features, args.prevalence)
        table = written(rows, Path(folder) / "train", args.workers)
        matrix, labels, is_slice = as_arrays(table, args.features)
        seconds: dict[str, list[float]] = {"native XGBoost": [], "ours: fit_booster": []}
        for repeat in range(args.repeats + 1):
            peer_s = _fit_native(matrix, labels, is_slice, args)
            ours_s = _fit_ours(table, float(labels[~is_slice].mean()), args)
            if repeat > 0:  # the first round warms the JVM and Python workers up
                seconds["native XGBoost"].append(peer_s)
                seconds["ours: fit_booster"].append(ours_s)
    peer, ours = (statistics.median(values) for values in seconds.values())
    for name, values in seconds.items():
        print(f"{name:<20} {statistics.median(values):8.2f} s   {', '.join(f'{value:.2f}' for value in values)}")
    return {
        "rows": args.rows, "features": args.features, "rounds": args.rounds, "workers": args.workers,
        "prevalence": args.prevalence, "repeats": args.repeats, "ours_s": round(ours, 3), "peer_s": round(peer, 3),
        "ratio": round(ours / peer, 3), "speedup": round(peer / ours, 3),
    }  # fmt: skip


def make_inputs(spark: SparkSession, rows: int, features: int, prevalence: float) -> DataFrame:
    """Model inputs as `encoding.model_inputs` names them; a function of the row number."""

    def draw(purpose: str) -> Column:
        return F.pmod(F.xxhash64("id", F.lit(purpose)), F.lit(1 << 20)) / (1 << 20)

    inputs = [draw(f"feature {number}").cast("float").alias(feature_column(number)) for number in range(features)]
    is_positive = draw("label") < F.lit(prevalence) * 4 * draw("feature 0") * draw(f"feature {features - 1}")
    return spark.range(rows).select(
        F.col("id").alias("order_id"),
        *inputs,
        is_positive.cast("int").alias(LABEL),
        (draw("slice") < 0.15).alias(IS_EARLY_STOPPING),
    )


def written(frame: DataFrame, path: Path, parts: int) -> DataFrame:
    """The frame as a Delta table of one sorted file a worker, as the flow lays training rows out."""
    place = key_hash(("order_id",), 7, "worker")
    laid_out = frame.repartition(parts, place).sortWithinPartitions(place)
    laid_out.write.format("delta").save(str(path))
    return frame.sparkSession.read.format("delta").load(str(path))


def as_arrays(table: DataFrame, features: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The rows in memory: inputs (float32), labels, slice; `--rows` of them."""
    names = [feature_column(number) for number in range(features)]
    inputs = table.select(*[F.col(name).cast("float") for name in names], LABEL, IS_EARLY_STOPPING).toArrow()
    matrix = np.empty((inputs.num_rows, features), dtype=np.float32)
    for number in range(features):
        matrix[:, number] = inputs.column(number).to_numpy()
    return matrix, inputs.column(LABEL).to_numpy(), inputs.column(IS_EARLY_STOPPING).to_numpy()


def fit_ours(table: DataFrame, base_score: float, features: int, rounds: int, workers: int) -> FittedBooster:
    """A fit that runs all its rounds."""
    return fit_booster(
        table,
        features=[f"feature_{number}" for number in range(features)],
        training=TrainingConfig(num_workers=workers, rounds=rounds, early_stopping_rounds=rounds),
        params=BoosterParams(),
        base_score=base_score,
        strategy="none",
    )


def _fit_ours(table: DataFrame, base_score: float, args: argparse.Namespace) -> float:
    start = time.perf_counter()
    booster = fit_ours(table, base_score, args.features, args.rounds, args.workers)
    assert booster.rounds_run == args.rounds
    return time.perf_counter() - start


def _fit_native(matrix: np.ndarray, labels: np.ndarray, is_slice: np.ndarray, args: argparse.Namespace) -> float:
    start = time.perf_counter()
    train = xgboost.QuantileDMatrix(matrix[~is_slice], labels[~is_slice], nthread=args.workers)
    stopping = xgboost.QuantileDMatrix(matrix[is_slice], labels[is_slice], ref=train, nthread=args.workers)
    params = {
        **BoosterParams().model_dump(), "objective": "binary:logistic", "eval_metric": "logloss", "tree_method": "hist",
        "base_score": float(labels[~is_slice].mean()), "seed": 7, "nthread": args.workers,
    }  # fmt: skip
    evals = [(train, "training"), (stopping, "validation")]
    xgboost.train(params, train, args.rounds, evals=evals, early_stopping_rounds=args.rounds, verbose_eval=False)
    return time.perf_counter() - start
