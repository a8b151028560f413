"""Which features move a model's log-odds: those of one order as reason codes, and of a sample as importance."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from imbalance_spark.core.arrays import FloatArray
from imbalance_spark.core.columns import col
from imbalance_spark.core.errors import ConfigError
from imbalance_spark.core.hashing import uniform
from imbalance_spark.orders.model_inputs import ROW_WEIGHT
from imbalance_spark.scoring.boosters import (
    NO_CONTRIBUTIONS,
    ArrowFunction,
    Candidate,
    as_float,
    column_of,
    common_features,
    effects,
    load_booster,
    matrix_of,
)
from imbalance_spark.scoring.bundle import ModelBundle
from imbalance_spark.scoring.network import is_network

REASONS = "reasons"
"""Column of scored orders: array of struct of `feature`, `value` (text) and `contribution`, the largest first.

Of two classes flagged orders have them: those are what people look at, and exact contributions take hundreds of times
what a score takes.
"""

_FEATURE, _VALUE, _CONTRIBUTION = "feature", "value", "contribution"
FOUND = T.ArrayType(
    T.StructType([T.StructField(_FEATURE, T.IntegerType()), T.StructField(_CONTRIBUTION, T.DoubleType())])
)
"""The Spark type of what a scoring task says: the feature by its number."""

EXPLAINED_ROWS = 500
"""Rows on average, whatever their number: the contributions of one take as long as hundreds of scores."""

_SUMS = "model int, feature int, moved double, weight double"


def check_reasons(number: int, bundle: ModelBundle) -> None:
    """Raise unless the model can give so many reasons.

    Raises:
        ConfigError: it has fewer features, or it is a network; or the number is negative.
    """
    features = (*bundle.numeric, *bundle.categorical)
    if number and is_network(bundle.model_bytes):
        raise ConfigError(NO_CONTRIBUTIONS)
    if not 0 <= number <= len(features):
        raise ConfigError(f"reasons: {number} are asked for, the model has {len(features)} features. Ask for 1 to 5.")


def largest(contribution: FloatArray, number: int, explained: npt.NDArray[np.bool_]) -> pa.Array:
    """For each row the features of the largest contributions in either direction; of equal ones the first.

    Args:
        contribution: as of `boosters.contributions`, of the explained rows. number: of features.
        explained: of all rows, which have reasons.
    Returns:
        A list for each row, of the type `FOUND`; null for rows without.
    """
    of_features = contribution[:, :-1]
    order = np.argsort(-np.abs(of_features), axis=1, kind="stable")[:, :number]
    values = np.take_along_axis(of_features, order, axis=1)
    structs = pa.StructArray.from_arrays(
        [pa.array(order.ravel().astype(np.int32)), pa.array(values.ravel())], names=[_FEATURE, _CONTRIBUTION]
    )
    offsets = pa.array(np.concatenate([[0], np.cumsum(explained * number)]).astype(np.int32))
    return pa.ListArray.from_arrays(offsets, structs, mask=pa.array(~explained))


def named_reasons(found: Column, features: Sequence[str]) -> Column:
    """The reasons with the features' names, and the order's own values as text (null where they are missing).

    Args:
        found: of the type `FOUND`. features: columns of the orders, in the model's order.
    """
    names = F.array(*[F.lit(name) for name in features])
    values = F.array(*[col(name).cast("string") for name in features])

    def named(one: Column) -> Column:
        number = one[_FEATURE] + 1
        return F.struct(
            F.element_at(names, number).alias(_FEATURE),
            F.element_at(values, number).alias(_VALUE),
            one[_CONTRIBUTION].alias(_CONTRIBUTION),
        )

    return F.transform(found, named)


def is_explained(key: Sequence[str], share: float) -> Column:
    """Whether a row is of the sample, by a hash of its key; never null.

    Args:
        share: of all rows, in [0, 1].
    """
    return uniform(key, 0, "importance") < F.lit(share)


def collect_importance(
    rows: DataFrame, candidates: Sequence[Candidate], *, key: Sequence[str], share: float, has_weight: bool
) -> dict[str, dict[str, float]]:
    """By name of the model the mean effect of each feature on the log-odds of a row, see `boosters.effects`.

    One Spark scan; a sum for each model and feature comes back.

    Args:
        rows: `x_0..` and, where `has_weight`, `row_weight`.
        candidates: of one list of features; of a cross-fit the model that serves is explained.
        share: of the rows, by a hash of the key, that are.
    Returns:
        Empty by name of the model where no row was.
    """
    features = common_features(candidates)
    columns = [*as_float(features), *([col(ROW_WEIGHT)] if has_weight else [])]
    models = rows.sparkSession.sparkContext.broadcast([candidate.model_bytes for candidate in candidates])
    try:
        sample = rows.where(is_explained(key, share)).select(*columns)
        parts = sample.mapInArrow(_effects_of(models, len(features)), _SUMS)
        sums = parts.groupBy("model", "feature").agg(F.sum("moved"), F.sum("weight")).collect()
    finally:
        models.destroy()
    found: dict[str, dict[str, float]] = {candidate.name: {} for candidate in candidates}
    for model, feature, moved, weight in sorted(sums):
        if weight > 0.0:
            found[candidates[model].name][candidates[model].features[feature]] = moved / weight
    return found


def _effects_of(models: Any, width: int) -> ArrowFunction:
    def explain(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        loaded = None
        for batch in filter(lambda batch: batch.num_rows, batches):
            # Most tasks have no row of the sample.
            loaded = loaded or [load_booster(model) for model in models.value]
            matrix = matrix_of(batch, width)
            weight = column_of(batch, ROW_WEIGHT) if ROW_WEIGHT in batch.schema.names else np.ones(len(matrix))
            for number, model in enumerate(loaded):
                moved = weight @ effects(model, matrix)
                columns = [np.full(width, number, np.int32), np.arange(width, dtype=np.int32), moved]
                yield pa.RecordBatch.from_arrays(
                    [pa.array(values) for values in (*columns, np.full(width, weight.sum()))],
                    names=["model", "feature", "moved", "weight"],
                )

    return explain
