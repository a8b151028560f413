"""Orders to scored orders: a logged model on every row of a table, in one pass; rows stay on the cluster."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from imbalance_spark.core.columns import col
from imbalance_spark.orders.schema import check_features
from imbalance_spark.scoring.boosters import ArrowFunction, matrix_of
from imbalance_spark.scoring.scorer import ModelBundle, OrderFeatures, Scorer

PROBABILITY, DECISION, THRESHOLD = "probability", "decision", "threshold"


SCORE_COLUMNS = (PROBABILITY, DECISION, THRESHOLD, "model_version", "scored_at")
"""What scoring adds to the orders."""


def score_orders(orders: DataFrame, bundle: ModelBundle, *, model_version: str, scored_at: datetime) -> DataFrame:
    """The orders with what the model says of each. Lazy; one pass, no shuffle, however rows fall into batches.

    The numbers are those of the same model behind `mlflow models serve` and in `mlflow.pyfunc.spark_udf`.

    Args:
        orders: one row an order with the bundle's features; null and NaN are missing, a category never seen in
            training has a code of its own. Every column passes through.
        model_version: as the registry counts it.
        scored_at: stands in every row, so that a task that runs again writes the same row.

    Returns:
        All columns of the orders, then `probability` (double, in [0, 1], corrected to the real class shares and
        calibrated), `decision` (bigint, 1 where probability >= threshold), `threshold` (double), `model_version`
        (string) and `scored_at` (timestamp).

    Raises:
        DataContractError: the orders are not what the model was trained on, see `check_features`. When the frame
            is read: a numeric feature holds infinities.
    """
    check_features(orders, bundle.numeric, bundle.categorical, SCORE_COLUMNS)
    features = model_features(bundle)
    rows = orders.select(*features, *[col(name) for name in orders.columns])
    schema = T.StructType([*orders.schema.fields, T.StructField(PROBABILITY, T.DoubleType())])
    # The plan is lazy and may run long after this call: the model lives as long as the frame does.
    model = orders.sparkSession.sparkContext.broadcast(bundle)
    scored = rows.mapInArrow(_score_partition(model, len(features)), schema)
    return scored.select(
        "*",
        (col(PROBABILITY) >= bundle.threshold).cast("bigint").alias(DECISION),
        F.lit(bundle.threshold).alias(THRESHOLD),
        F.lit(model_version).alias("model_version"),
        F.lit(scored_at).alias("scored_at"),
    )


def model_features(bundle: OrderFeatures) -> list[Column]:
    """The model's inputs from the orders' columns (float, null is missing), under names that none of these has."""
    numeric = [col(name).cast("double") for name in bundle.numeric]
    categorical = [bundle.categories.encode(name) for name in bundle.categorical]
    # By way of double, as in training: a decimal or a long would round otherwise.
    return [value.cast("float").alias(f"_feature_{i}") for i, value in enumerate([*numeric, *categorical])]


def _score_partition(model: Any, width: int) -> ArrowFunction:
    def score(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        scorer = Scorer(model.value)
        for batch in batches:
            found = pa.array(scorer.probabilities(matrix_of(batch, width)))
            names = [*batch.schema.names[width:], PROBABILITY]
            yield pa.RecordBatch.from_arrays([*batch.columns[width:], found], names=names)

    return score
