"""Probabilities of a table's rows, against `SparkXGBClassifierModel.transform` with the same trees; reasons on top."""

import argparse
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from pyspark.ml.functions import vector_to_array
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from xgboost.spark import SparkXGBClassifier, SparkXGBClassifierModel

from benchmarks import timing
from benchmarks.fit import SETTINGS, make_inputs, written
from imbalance_spark.calibration import LogOddsCalibration, PriorCorrection
from imbalance_spark.core.spark_session import spark_session
from imbalance_spark.orders.labels import LabelEncoding
from imbalance_spark.orders.model_inputs import LABEL, CategoryEncoding, feature_column
from imbalance_spark.scoring.bundle import ModelBundle
from imbalance_spark.scoring.score_orders import score_orders
from imbalance_spark.threshold.class_rules import ClassThresholds


def add_arguments(parser: argparse.ArgumentParser) -> None:
    timing.add_model_arguments(parser)
    parser.add_argument("--flagged", type=float, default=0.005, help="share of the orders that have reasons")


def run(args: argparse.Namespace) -> dict[str, object]:
    master = f"local[{args.workers}]"
    with spark_session("bench-score", master, SETTINGS) as spark, tempfile.TemporaryDirectory() as folder:
        rows = make_inputs(spark, args.rows, args.features, args.prevalence)
        table = written(rows, Path(folder) / "orders", args.workers)
        (peer, bundle), now = _models(table, args), datetime.now(UTC)
        flagging = replace(bundle, rules={bundle.serve_objective: _flagging(table, bundle, args.flagged)})
        sides: dict[str, Callable[[], DataFrame]] = {
            "peer: transform": lambda: peer.transform(table).select(
                "order_id", vector_to_array("probability")[1].alias("probability")
            ),
            "ours: score_orders": lambda: score_orders(table, bundle, model_version="1", scored_at=now).select(
                "order_id", "probability"
            ),
            "ours: 3 reasons of flagged": lambda: score_orders(
                table, flagging, model_version="1", scored_at=now, reasons=3
            ).select("order_id", "probability", "reasons"),
        }
        difference = _largest_difference(*[make() for make in list(sides.values())[:2]])
        seconds = timing.alternately({name: partial(_run, make) for name, make in sides.items()}, args.repeats)
    timing.show(seconds)
    print(f"largest difference   {difference:.1e}")
    _, plain, explained = (statistics.median(runs) for runs in seconds.values())
    print(f"with reasons         {explained / plain:.2f} times as long, {args.flagged:.1%} flagged")
    ratios = {"largest_difference": difference, "with_reasons": round(explained / plain, 3)}
    return {**timing.compared(args, seconds), **ratios}


def _run(make: Callable[[], DataFrame]) -> None:
    make().write.format("noop").mode("overwrite").save()


def _models(table: DataFrame, args: argparse.Namespace) -> tuple[SparkXGBClassifierModel, ModelBundle]:
    """One fit on a part of the rows, as the peer's model and as ours."""
    inputs = [feature_column(number) for number in range(args.features)]
    peer = SparkXGBClassifier(
        features_col=inputs, label_col=LABEL, num_workers=args.workers, force_repartition=True,
        n_estimators=args.rounds, base_score=args.prevalence, verbose=False,
    ).fit(table.where(F.col("order_id") < 200_000))  # fmt: skip
    bundle = ModelBundle(
        strategy="none", model_bytes=bytes(peer.get_booster().save_raw("ubj")), numeric=tuple(inputs), categorical=(),
        categories=CategoryEncoding(values={}), label=LabelEncoding(classes=("0", "1")),
        correction=PriorCorrection.identity(),
        calibrator=LogOddsCalibration(method="identity", a=1.0, b=1.0, c=0.0),
        rules={"max_f1": ClassThresholds.of_threshold(0.5)},
        serve_objective="max_f1",
    )  # fmt: skip
    return peer, bundle


def _flagging(table: DataFrame, bundle: ModelBundle, share: float) -> ClassThresholds:
    """The threshold that this share of the orders reaches."""
    scored = score_orders(table, bundle, model_version="1", scored_at=datetime.now(UTC))
    [threshold] = scored.approxQuantile("probability", [1.0 - share], share / 20.0)
    return ClassThresholds.of_threshold(threshold)


def _largest_difference(peer: DataFrame, ours: DataFrame) -> float:
    both = peer.join(ours.withColumnRenamed("probability", "ours"), on="order_id", how="inner")
    return float(both.agg(F.max(F.abs(F.col("ours") - F.col("probability")))).first()[0])
