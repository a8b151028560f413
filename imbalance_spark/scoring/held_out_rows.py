"""Rows of validation and test as they are scored and counted, and the one Spark scan that adds up what is counted."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import reduce
from operator import and_
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from imbalance_spark.calibration import PriorCorrection
from imbalance_spark.core.arrays import FloatArray, IntArray
from imbalance_spark.core.columns import FIT_NUMBER, HELD_OUT_FOLDS, SPLIT, VALIDATION, col, require_columns
from imbalance_spark.core.hashing import check_key, key_hash
from imbalance_spark.metrics.buckets import BUCKETS
from imbalance_spark.orders.model_inputs import AMOUNT_VALUE, LABEL, ROW_WEIGHT
from imbalance_spark.scoring.boosters import (
    as_float,
    column_of,
    load_booster,
    matrix_of,
    probabilities,
)
from imbalance_spark.scoring.count_kernel import (
    KEYS,
    MEASURES,
    SUMS_SCHEMA,
    ModelSums,
    ScanRows,
    SegmentValues,
)

FOLD, BUCKET = "fold", "bucket"
"""Columns of held-out rows: 0 is validation, 1 is test; hash bucket, 0 to 63."""


_BUCKET_PURPOSE = "bucket"


_Model = TypeVar("_Model")


def bucket_hash(key: Sequence[str], group: Sequence[str] = ()) -> Column:
    """The hash whose remainder by 64 is a row's bucket: of the group, or of the key where the group has a null."""
    by_key = key_hash(key, 0, _BUCKET_PURPOSE)
    if not group:
        return by_key
    has_group = reduce(and_, [col(name).isNotNull() for name in group])
    return F.when(has_group, key_hash(group, 0, _BUCKET_PURPOSE)).otherwise(by_key)


def held_out_rows(
    inputs: DataFrame,
    features: Sequence[str],
    *,
    key: Sequence[str],
    group: Sequence[str],
    segments: Sequence[str],
    measures: Sequence[str],
    more: Mapping[str, Column] | None = None,
) -> DataFrame:
    """Rows of validation and test: the features as float32, then what counts need of a row, and more columns."""
    check_key(inputs, key, "scan")
    check_key(inputs, [*key, *group], "scan")
    require_columns(inputs, [SPLIT, *features, LABEL, *measures, *segments], "scan")
    return inputs.where(col(SPLIT).isin(*HELD_OUT_FOLDS)).select(
        *as_float(features),
        F.when(col(SPLIT) == VALIDATION, 0).otherwise(1).alias(FOLD),
        F.pmod(bucket_hash(key, group), F.lit(BUCKETS)).cast("int").alias(BUCKET),
        col(LABEL).cast("double").alias(LABEL),
        *[col(name).cast("int").alias(name) for name in inputs.columns if name == FIT_NUMBER],
        *[col(name).cast("double").alias(name) for name in measures],
        *[col(name).cast("string").alias(_segment(i)) for i, name in enumerate(segments)],
        *[column.alias(name) for name, column in (more or {}).items()],
    )


def measures_of(has_weight: bool, has_amount: bool) -> list[str]:
    """The columns of measures that rows have."""
    return [name for name, is_there in ((ROW_WEIGHT, has_weight), (AMOUNT_VALUE, has_amount)) if is_there]


Scores = Callable[[pa.RecordBatch], Iterator[FloatArray]]
"""A batch to the scores of each model, as `ModelSums.add` takes them."""


def scores_of_features(
    candidates: Sequence[Sequence[tuple[bytes, PriorCorrection]]],
    width: int,
    score: Callable[[Any, npt.NDArray[np.float32], PriorCorrection], npt.NDArray[Any]] = probabilities,
) -> Scores:
    """What gives a batch the scores of each candidate; called once in each task.

    Args:
        candidates: the models of each, see `Candidate.models`.
        width: number of features, the first columns of a batch.
        score: of a loaded model, features and correction.
    """
    loaded = [[(load_booster(model), correction) for model, correction in models] for models in candidates]

    def scores(batch: pa.RecordBatch) -> Iterator[FloatArray]:
        matrix, fit = matrix_of(batch, width), fit_of(batch)
        for models in loaded:
            yield by_fit(fit, models, lambda model, rows: score(model[0], matrix[rows], model[1]))

    return scores


def fit_of(batch: pa.RecordBatch) -> IntArray | None:
    """Each row's `fit_number`, where rows have one."""
    return column_of(batch, FIT_NUMBER).astype(np.int64) if FIT_NUMBER in batch.schema.names else None


def by_fit(
    fit: IntArray | None, models: Sequence[_Model], scores: Callable[[_Model, Any], npt.NDArray[Any]]
) -> npt.NDArray[Any]:
    """The scores of each row by the model of its own fit; a single model scores all rows.

    Args:
        scores: of a model, for the rows that an index selects.
    """
    if len(models) == 1 or fit is None:
        return scores(models[-1], slice(None))
    rows = [np.flatnonzero(fit == number) for number in range(len(models))]
    found = np.concatenate([scores(model, part) for model, part in zip(models, rows, strict=True)])
    return found[np.argsort(np.concatenate(rows))]


def collect_sums(
    rows: DataFrame,
    load: Callable[[], Scores],
    new_sums: Callable[[], list[ModelSums]],
    measures: Sequence[str],
    segments: int,
) -> pa.Table:
    """Rows of SUMS_SCHEMA from one Spark scan; `load` and `new_sums` are called once in each task."""

    def count(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        scores, sums, values = load(), new_sums(), [SegmentValues() for _ in range(segments)]
        for batch in batches:
            if not batch.num_rows:
                continue
            counted = scan_rows(batch, measures, values)
            for of_model, scored in zip(sums, scores(batch), strict=True):
                of_model.add(counted, scored)
        for number, of_model in enumerate(sums):
            yield from of_model.batches(number, [seen.values for seen in values])

    return added_up(rows.mapInArrow(count, SUMS_SCHEMA))


def added_up(parts: DataFrame) -> pa.Table:
    """Rows of SUMS_SCHEMA of all tasks."""
    return parts.groupBy(*KEYS).agg(*[F.sum(name).alias(name) for name in MEASURES]).toArrow()


def model_sums(sums: pa.Table, number: int) -> pa.Table:
    """What was summed of one model, by its number."""
    return sums.filter(pc.field("model") == number)


def scan_rows(batch: pa.RecordBatch, measures: Sequence[str], values: Sequence[SegmentValues]) -> ScanRows:
    """What counting needs of a batch, and no score."""
    return ScanRows(
        fold=column_of(batch, FOLD).astype(np.int64),
        bucket=column_of(batch, BUCKET).astype(np.int64),
        label=column_of(batch, LABEL),
        weight=column_of(batch, ROW_WEIGHT) if ROW_WEIGHT in measures else None,
        amount=column_of(batch, AMOUNT_VALUE) if AMOUNT_VALUE in measures else None,
        segments=[
            seen.numbers(batch.column(batch.schema.get_field_index(_segment(i)))) for i, seen in enumerate(values)
        ],
    )


def _segment(number: int) -> str:
    return f"segment_{number}"
