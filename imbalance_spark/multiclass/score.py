"""Orders to scored orders with a model of several classes, in one pass."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from imbalance_spark.core.columns import col
from imbalance_spark.multiclass.model import DECIDED_BY, DECISION, ClassBundle, ClassScorer
from imbalance_spark.orders.schema import check_features
from imbalance_spark.scoring.boosters import ArrowFunction, matrix_of
from imbalance_spark.scoring.score_orders import model_features

_MARK = "imbalance_spark.core.errors.DataContractError: "
"""How a failed job tells which error of this package it means."""


def score_class_orders(orders: DataFrame, bundle: ClassBundle, *, model_version: str, scored_at: datetime) -> DataFrame:
    """The orders with the probability of each class and the decision. Lazy; one pass, no shuffle.

    Args:
        orders: one row an order with the bundle's features; null and NaN are missing, a category never seen in
            training has a code of its own. Every column passes through.
        model_version: as the registry counts it.
        scored_at: stands in every row, so that a task that runs again writes the same row.

    Returns:
        All columns of the orders, then a `probability_<class>` (double; a row sums to 1) for each class, `decision`
        (string, the class's name), `decided_by` (string, the objective), `model_version` (string) and `scored_at`
        (timestamp).

    Raises:
        DataContractError: the orders are not what the model was trained on, see `check_features`. When the frame
            is read: a numeric feature holds infinities; or the orders have the label, with a class that the model
            does not know.
    """
    added = (*bundle.output_columns, "model_version", "scored_at")
    check_features(orders, bundle.numeric, bundle.categorical, added)
    features = model_features(bundle)
    features[0] = _unless_unknown_class(orders, bundle, features[0])
    rows = orders.select(*features, *[col(name) for name in orders.columns])
    probability = [T.StructField(name, T.DoubleType()) for name in bundle.probability_columns]
    schema = T.StructType([*orders.schema.fields, *probability, T.StructField(DECISION, T.StringType())])
    # The plan is lazy and may run long after this call: the model lives as long as the frame does.
    model = orders.sparkSession.sparkContext.broadcast(bundle)
    scored = rows.mapInArrow(_score_partition(model, len(features)), schema)
    return scored.select(
        "*",
        F.lit(bundle.serve_objective).alias(DECIDED_BY),
        F.lit(model_version).alias("model_version"),
        F.lit(scored_at).alias("scored_at"),
    )


def _unless_unknown_class(orders: DataFrame, bundle: ClassBundle, feature: Column) -> Column:
    """The feature; where the orders say what happened, a class that the model cannot name fails the job."""
    if bundle.label_column not in orders.columns:
        return feature
    label = col(bundle.label_column)
    message = (
        f"{_MARK}scoring: column {bundle.label_column!r} has a class that the model does not know; it knows "
        f"{list(bundle.classes)}. Train a model with that class in orders.classes, or score without the column."
    )
    is_unknown = label.isNotNull() & bundle.label.encode(label).isNull()
    alias = "_feature_0"
    return F.when(is_unknown, F.raise_error(F.lit(message)).cast("float")).otherwise(feature).alias(alias)


def _score_partition(model: Any, width: int) -> ArrowFunction:
    def score(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        scorer = ClassScorer(model.value)
        names = np.array(scorer.bundle.classes, dtype=object)
        for batch in batches:
            found = scorer.probabilities(matrix_of(batch, width))
            decided = pa.array(names[scorer.decide(found)].tolist(), pa.string())
            columns = [*batch.schema.names[width:], *scorer.bundle.probability_columns, DECISION]
            values = [*batch.columns[width:], *[pa.array(np.ascontiguousarray(p)) for p in found.T], decided]
            yield pa.RecordBatch.from_arrays(values, names=columns)

    return score
