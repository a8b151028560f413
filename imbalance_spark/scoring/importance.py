"""Global importance of features: how far each one moves a model's log-odds, on a sample of rows."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from imbalance_spark.core.columns import col
from imbalance_spark.core.hashing import uniform
from imbalance_spark.orders.model_inputs import ROW_WEIGHT
from imbalance_spark.scoring.boosters import (
    ArrowFunction,
    Candidate,
    as_float,
    column_of,
    common_features,
    effects,
    load_booster,
    matrix_of,
)

EXPLAINED_ROWS = 500
"""Rows on average, whatever their number: the contributions of one take as long as hundreds of scores."""

_SUMS = "model int, feature int, moved double, weight double"


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
