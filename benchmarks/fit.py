"""The distributed fit on a laid-out Delta table, by both engines, against XGBoost in memory: rows, rounds, threads."""

import argparse
import math
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import xgboost
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from benchmarks import timing
from benchmarks.memory import python_workers_mb, workers_of
from imbalance_spark.calibration import PriorCorrection
from imbalance_spark.core.columns import IS_EARLY_STOPPING
from imbalance_spark.core.hashing import key_hash
from imbalance_spark.core.spark_session import spark_session
from imbalance_spark.orders.model_inputs import LABEL, feature_column
from imbalance_spark.train_only.config import BoosterParams, EngineName, TrainingConfig
from imbalance_spark.train_only.learners.xgboost import fit_booster

SETTINGS = {"spark.driver.memory": "6g", "spark.ui.showConsoleProgress": "false", "spark.log.level": "ERROR"}


add_arguments = timing.add_model_arguments


def run(args: argparse.Namespace) -> dict[str, object]:
    master = f"local[{args.workers}]"
    peaks: dict[str, list[float]] = {}
    with spark_session("bench-fit", master, SETTINGS, is_own=True) as spark, tempfile.TemporaryDirectory() as folder:
        rows = make_inputs(spark, args.rows, args.features, args.prevalence)
        table = written(rows, Path(folder) / "train", args.workers)
        matrix, labels, is_slice = as_arrays(table, args.features)

        def fit_with(engine: EngineName) -> None:
            with workers_of(spark.sparkContext, engine):
                _fit_ours(table, engine, float(labels[~is_slice].mean()), args)
            peaks[engine] = python_workers_mb(engine)

        sides: dict[str, Callable[[], object]] = {
            "XGBoost in memory": lambda: _fit_native(matrix, labels, is_slice, args),
            "ours: engine native": lambda: fit_with("native"),
            "engine xgboost_spark": lambda: fit_with("xgboost_spark"),
        }
        seconds = timing.alternately(sides, args.repeats)
    timing.show(seconds)
    raw_mb = args.rows * args.features * 4 / 2**20
    for engine, workers in peaks.items():
        print(f"{engine}: Python workers, peak {', '.join(f'{peak:,.0f}' for peak in workers)} MiB")
    print(f"the rows as float32: {raw_mb:,.0f} MiB")
    ours, theirs = sum(peaks["native"]), sum(peaks["xgboost_spark"])
    memory = {"peak_memory_mb": round(ours), "peak_memory_of_xgboost_spark_mb": round(theirs)}
    memory_ratio = round(ours / theirs, 3) if theirs else None
    return {
        **timing.compared(args, seconds),
        **memory,
        "memory_ratio": memory_ratio,
        "rows_as_float32_mb": round(raw_mb),
    }


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


def _fit_ours(table: DataFrame, engine: EngineName, base_score: float, args: argparse.Namespace) -> None:
    booster = fit_booster(
        table,
        features=[f"feature_{number}" for number in range(args.features)],
        key=["order_id"],
        training=TrainingConfig(
            engine=engine, num_workers=args.workers, rounds=args.rounds, early_stopping_rounds=args.rounds
        ),
        params=BoosterParams(),
        start=(math.log1p(-base_score), math.log(base_score)),
        correction=PriorCorrection.identity(),
        strategy="none",
    )
    assert booster.rounds_run == args.rounds


def _fit_native(matrix: np.ndarray, labels: np.ndarray, is_slice: np.ndarray, args: argparse.Namespace) -> None:
    train = xgboost.QuantileDMatrix(matrix[~is_slice], labels[~is_slice], nthread=args.workers)
    stopping = xgboost.QuantileDMatrix(matrix[is_slice], labels[is_slice], ref=train, nthread=args.workers)
    params = {
        **BoosterParams().model_dump(), "objective": "binary:logistic", "eval_metric": "logloss", "tree_method": "hist",
        "base_score": float(labels[~is_slice].mean()), "seed": 7, "nthread": args.workers,
    }  # fmt: skip
    evals = [(train, "training"), (stopping, "validation")]
    xgboost.train(params, train, args.rounds, evals=evals, early_stopping_rounds=args.rounds, verbose_eval=False)
