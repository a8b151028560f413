"""Average precision per round where each worker has one class only: ours, XGBoost's aucpr, and scikit-learn's."""

import argparse
import math
import tempfile
from pathlib import Path

import numpy as np
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from sklearn.metrics import average_precision_score

from benchmarks.fit import make_inputs
from imbalance_spark.calibration import PriorCorrection
from imbalance_spark.core.columns import IS_EARLY_STOPPING
from imbalance_spark.core.spark_session import spark_session
from imbalance_spark.orders.model_inputs import LABEL, feature_column
from imbalance_spark.scoring.boosters import load_booster
from imbalance_spark.train_only.config import BoosterParams, TrainingConfig
from imbalance_spark.train_only.learners.xgboost import fit_booster

SETTINGS = {"spark.driver.memory": "4g", "spark.ui.showConsoleProgress": "false", "spark.log.level": "ERROR"}
_PATIENCE = 3
_FEATURES = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", type=lambda text: int(float(text)), default=100_000, help="rows of the table")
    parser.add_argument("--rounds", type=int, default=20, help="rounds of both fits, at most")
    parser.add_argument("--prevalence", type=float, default=0.01, help="share of positives, roughly")


def run(args: argparse.Namespace) -> dict[str, object]:
    with spark_session("bench-stopping", "local[2]", SETTINGS) as spark, tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "train")
        make_inputs(spark, args.rows, _FEATURES, args.prevalence).repartitionByRange(2, LABEL).write.parquet(path)
        table = spark.read.parquet(path)
        peer = _aucpr(table, args.rounds)
        ours, error = _ours(table, args.rounds)
    print(f"{'rounds run':<28} {'aucpr':>8} {len(peer):>6}   ours {len(ours):>6}")
    print(f"{'rounds without a number':<28} {'aucpr':>8} {_lost(peer):>6}   ours {_lost(ours):>6}")
    print(f"ours at the best round is off scikit-learn's average precision by {error:.1e}")
    return {
        "rows": args.rows, "rounds": args.rounds, "prevalence": args.prevalence, "peer_rounds": len(peer),
        "peer_nan_rounds": _lost(peer), "ours_rounds": len(ours), "ours_nan_rounds": _lost(ours), "ap_error": error,
    }  # fmt: skip


def _aucpr(table: DataFrame, rounds: int) -> list[float]:
    from xgboost.spark import SparkXGBClassifier

    estimator = SparkXGBClassifier(
        features_col=["values", *_inputs()[1:]], label_col=LABEL, validation_indicator_col=IS_EARLY_STOPPING,
        num_workers=2, n_estimators=rounds, early_stopping_rounds=_PATIENCE, eval_metric="aucpr", verbose=False,
        repartition_random_shuffle=False,
    )  # fmt: skip
    # Partitioned by class again: XGBoost repartitions the rows unless there are as many partitions as workers.
    rows = table.withColumnRenamed(_inputs()[0], "values").repartitionByRange(2, LABEL)
    history = estimator.fit(rows).training_summary.validation_objective_history
    return [float(value) for value in history["aucpr"]]


def _ours(table: DataFrame, rounds: int) -> tuple[list[float], float]:
    """The curve, and how far its best value is from scikit-learn's on the same rows."""
    rate = float(table.agg(F.avg(LABEL)).collect()[0][0])
    booster = fit_booster(
        table,
        features=_inputs(),
        training=TrainingConfig(
            num_workers=2, rounds=rounds, early_stopping_rounds=_PATIENCE, early_stopping_metric="average_precision"
        ),
        params=BoosterParams(),
        start=(math.log1p(-rate), math.log(rate)),
        correction=PriorCorrection.identity(),
        strategy="benchmark",
    )
    curve = booster.learning_curve["validation"]
    rows = table.where(IS_EARLY_STOPPING).toPandas()
    matrix = rows[_inputs()].to_numpy(np.float32)
    margin = load_booster(booster.model_bytes).inplace_predict(matrix, predict_type="margin")
    return list(curve), abs(curve[booster.best_iteration] - float(average_precision_score(rows[LABEL], margin)))


def _inputs() -> list[str]:
    return [feature_column(number) for number in range(_FEATURES)]


def _lost(curve: list[float]) -> int:
    return sum(map(math.isnan, curve))
