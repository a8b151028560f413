"""Orders to scored orders: a logged model on every row of a table, in one Spark scan; rows stay on the cluster."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from imbalance_spark.core.arrays import FloatArray
from imbalance_spark.core.columns import col
from imbalance_spark.core.spark_errors import CONTRACT_BROKEN
from imbalance_spark.orders.schema import check_features
from imbalance_spark.scoring.boosters import ArrowFunction, matrix_of
from imbalance_spark.scoring.bundle import DECIDED_BY, DECISION, EXPECTED_COST, THRESHOLD, ModelBundle
from imbalance_spark.scoring.reasons import FOUND, REASONS, check_reasons, largest, named_reasons
from imbalance_spark.scoring.scorer import Scorer, decided_by_order


def added_columns(bundle: ModelBundle, reasons: int = 0) -> tuple[str, ...]:
    """What scoring adds to the orders; see `score_orders`."""
    return (*bundle.output_columns, *([REASONS] if reasons else []), "model_version", "scored_at")


def score_orders(
    orders: DataFrame, bundle: ModelBundle, *, model_version: str, scored_at: datetime, reasons: int = 0
) -> DataFrame:
    """The orders with what the model says of each. Lazy; one scan, no shuffle, however rows fall into batches.

    The numbers are those of the same model behind `mlflow models serve` and in `mlflow.pyfunc.spark_udf`.

    Args:
        orders: one row per order with the bundle's features; null and NaN are missing, a category never seen in
            training has a code of its own. Every column passes through.
        model_version: as the registry counts it.
        scored_at: stands in every row, so that a task that runs again writes the same row.
        reasons: how many features to name as reasons; 0 for none.

    Returns:
        All columns of the orders. Then, of two classes, `probability` (double, in [0, 1], corrected to the real class
        shares and calibrated), `decision` (bigint, 1 where probability >= threshold) and `threshold` (double), which
        is the order's own where costs depend on its amount, with `expected_cost` (double, of the decision, in the unit
        of the costs; null where the amount is missing); of K
        classes a `probability_<class>` (double; a row sums to 1) for each, `decision` (string, the class's name) and
        `decided_by` (string, the objective). Where they are asked for, `reasons` (array, the largest first; of two
        classes of flagged orders, else null) of
        `feature` (string), `value` (string, the order's own, null where it is missing) and `contribution` (double, in
        log-odds of the model's margin, of K classes that of the decided class). At last `model_version` (string) and
        `scored_at` (timestamp).

    Raises:
        DataContractError: the orders are not what the model was trained on, see `check_features`. When the frame
            is read: a numeric feature holds infinities; or, of K classes, the orders have the label, with a class
            that the model does not know.
        ConfigError: more reasons are asked for than there are features, or reasons of a network.
    """
    check_features(orders, bundle.numbers, bundle.categorical, added_columns(bundle, reasons))
    check_reasons(reasons, bundle)
    features = _model_features(bundle)
    if bundle.targets > 1:
        features[0] = _unless_unknown_class(orders, bundle, features[0])
    rule = bundle.order_rule
    amount = [] if rule is None else [col(rule.column).cast("double")]
    named = [value.alias(f"_feature_{i}") for i, value in enumerate([*features, *amount])]
    # By position: `mapInArrow` looks names up as they are, so that one with a dot or a backtick is another column.
    passed = [col(name).alias(f"_column_{i}") for i, name in enumerate(orders.columns)]
    rows = orders.select(*named, *passed)
    # The plan is lazy and may run long after this call: the model lives as long as the frame does.
    model = orders.sparkSession.sparkContext.broadcast(bundle)
    scored = rows.mapInArrow(_score_partition(model, len(features), reasons), _scored_schema(orders, bundle, reasons))
    found = scored.select(
        *[F.col(f"_column_{i}").alias(name) for i, name in enumerate(orders.columns)],
        *[col(name) for name in scored.columns[len(passed) :] if name != REASONS],
        *_decision_columns(bundle),
        *([col(REASONS)] if reasons else []),
        F.lit(model_version).alias("model_version"),
        F.lit(scored_at).alias("scored_at"),
    )
    if not reasons:
        return found
    return found.withColumn(REASONS, named_reasons(col(REASONS), (*bundle.numeric, *bundle.categorical)))


def _scored_schema(orders: DataFrame, bundle: ModelBundle, reasons: int) -> T.StructType:
    fields = [T.StructField(name, T.DoubleType()) for name in bundle.probability_columns]
    if bundle.targets > 1:
        fields.append(T.StructField(DECISION, T.StringType()))
    if bundle.order_rule is not None:
        fields.append(T.StructField(DECISION, T.LongType()))
        fields += [T.StructField(name, T.DoubleType()) for name in (THRESHOLD, EXPECTED_COST)]
    if reasons:
        fields.append(T.StructField(REASONS, FOUND))
    passed = [
        T.StructField(f"_column_{i}", field.dataType, field.nullable, field.metadata)
        for i, field in enumerate(orders.schema.fields)
    ]
    return T.StructType([*passed, *fields])


def _decision_columns(bundle: ModelBundle) -> list[Column]:
    """What follows from the probabilities: of two classes the decision too, so that Python need not send it."""
    if bundle.targets > 1:
        return [F.lit(bundle.serve_objective).alias(DECIDED_BY)]
    if bundle.order_rule is not None:
        return []
    [probability] = bundle.probability_columns
    is_positive = (col(probability) >= bundle.threshold).cast("bigint")
    return [is_positive.alias(DECISION), F.lit(bundle.threshold).alias(THRESHOLD)]


def _model_features(bundle: ModelBundle) -> list[Column]:
    """The model's inputs from the orders' columns (float, null is missing)."""
    numeric = [col(name).cast("double") for name in bundle.numeric]
    categorical = [bundle.categories.encode(name) for name in bundle.categorical]
    # By way of double, as in training: a decimal or a long would round otherwise.
    return [value.cast("float") for value in [*numeric, *categorical]]


def _unless_unknown_class(orders: DataFrame, bundle: ModelBundle, feature: Column) -> Column:
    """The feature; where the orders say what happened, a class that the model cannot name fails the job."""
    if bundle.label_column is None or bundle.label_column not in orders.columns:
        return feature
    label = col(bundle.label_column)
    message = (
        f"{CONTRACT_BROKEN}scoring: column {bundle.label_column!r} has a class that the model does not know; it knows "
        f"{list(bundle.classes)}. Train a model with that class in orders.classes, or score without the column."
    )
    is_unknown = label.isNotNull() & bundle.label.encode(label).isNull()
    return F.when(is_unknown, F.raise_error(F.lit(message)).cast("float")).otherwise(feature)


def _reasons(
    scorer: Scorer, matrix: npt.NDArray[np.float32], p: FloatArray, by_order: pa.Array | None, number: int
) -> pa.Array:
    """Of K classes all rows are explained, of two the flagged ones; `by_order` are decisions that costs have made."""
    bundle = scorer.bundle
    if bundle.targets > 1:
        explained = np.ones(len(p), dtype=bool)
    elif by_order is not None:
        explained = np.asarray(by_order) == 1
    else:
        explained = p[:, 0] >= bundle.threshold
    return largest(scorer.contributions(matrix[explained], p[explained]), number, explained)


def _score_partition(model: Any, width: int, reasons: int) -> ArrowFunction:
    def score(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        scorer, rule = Scorer(model.value), model.value.order_rule
        bundle, names = scorer.bundle, np.array(scorer.bundle.classes, dtype=object)
        for batch in batches:
            matrix = matrix_of(batch, width)
            p = scorer.probabilities(matrix)
            columns = dict(zip(bundle.probability_columns, map(pa.array, map(np.ascontiguousarray, p.T)), strict=True))
            if bundle.targets > 1:
                columns[DECISION] = pa.array(names[scorer.decide(p)].tolist(), pa.string())
            if rule is not None:
                amounts = batch.column(width).to_numpy(zero_copy_only=False)
                decided = decided_by_order(rule, p[:, 0], amounts)
                columns |= {name: pa.array(values, from_pandas=True) for name, values in decided.items()}
            if reasons:
                columns[REASONS] = _reasons(scorer, matrix, p, columns.get(DECISION), reasons)
            own = width + (rule is not None)
            values = [*batch.columns[own:], *columns.values()]
            yield pa.RecordBatch.from_arrays(values, names=[*batch.schema.names[own:], *columns])

    return score
