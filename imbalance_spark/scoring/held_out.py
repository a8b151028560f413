"""Score held-out rows with every strategy's model in one pass; only counts come back."""

from collections.abc import Iterator, Sequence
from functools import reduce
from operator import and_
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from imbalance_spark.core.columns import SPLIT, VALIDATION, col, require_columns
from imbalance_spark.core.hashing import check_key, key_hash
from imbalance_spark.metrics.buckets import BUCKETS
from imbalance_spark.metrics.grid import LogitGrid
from imbalance_spark.orders.model_inputs import AMOUNT_VALUE, LABEL, ROW_WEIGHT
from imbalance_spark.scoring.boosters import (
    ArrowFunction,
    Candidate,
    as_float,
    column_of,
    common_features,
    load_booster,
    matrix_of,
    probabilities,
)
from imbalance_spark.scoring.count_kernel import (
    FOLDS,
    KEYS,
    MEASURES,
    SUMS_SCHEMA,
    ScanRows,
    SegmentValues,
    StrategySums,
    held_out_counts,
)
from imbalance_spark.scoring.held_out_counts import HeldOutCounts

_FOLD, _BUCKET = "fold", "bucket"


_BUCKET_PURPOSE = "bucket"


def scan_held_out(
    inputs: DataFrame,
    contenders: Sequence[Candidate],
    *,
    key: Sequence[str],
    group: Sequence[str] = (),
    segments: Sequence[str] = (),
    grid: LogitGrid,
    has_weight: bool,
    has_amount: bool,
) -> dict[str, HeldOutCounts]:
    """Counts of each strategy's scores on validation and test, from one pass over these rows.

    Each task adds up counts of its rows; Spark sums them. Collected are at most, for each strategy, 3 x bins x 2 rows
    of fine counts, and of coarse ones (512 bins) 2 x 512 x 2 for each of the 64 buckets and for each value of a
    segment column; in practice far fewer, since only what occurs is counted. Counts do not depend on the partitioning;
    sums of weights do in the last digits.

    Args:
        inputs: `split`, `x_0..`, `y`; `row_weight` and `amount_value` where the flags say so; the columns named here.
            Rows of other folds are not read.
        contenders: of one list of features, with different names.
        key: what identifies a row.
        group: what rows depend on each other within, such as the customer; it decides the hash bucket. A row with a
            null in it stands for itself, by its key.
        segments: columns of at most 50 values each, taken as text.
    Returns:
        By strategy; scores are corrected probabilities.
    Raises:
        ConfigError: no contenders, equal names, or models with different features.
        MissingColumnsError: an input column is absent.
        DataContractError: a column cannot be a key, test or a half of validation has no row, rows whose label, weight
            or amount cannot be counted, or a segment column with too many values.
    """
    check_key(inputs, key, "scan")
    check_key(inputs, [*key, *group], "scan")
    bucket = F.pmod(bucket_hash(key, group), F.lit(BUCKETS)).cast("int")
    measures = _measures(has_weight, has_amount)
    table = _scan_table(inputs, contenders, bucket=bucket, segments=segments, grid=grid, measures=measures)
    return {
        contender.name: held_out_counts(table.filter(pc.field("strategy") == number), grid, segments)
        for number, contender in enumerate(contenders)
    }


def in_choosing_half(key: Sequence[str], group: Sequence[str] = ()) -> Column:
    """Whether a validation row is of the half that thresholds are chosen on: its bucket is odd."""
    return F.pmod(bucket_hash(key, group), F.lit(2)) == 1


def bucket_hash(key: Sequence[str], group: Sequence[str] = ()) -> Column:
    """The hash whose remainder by 64 is a row's bucket: of the group, or of the key where the group has a null."""
    by_key = key_hash(key, 0, _BUCKET_PURPOSE)
    if not group:
        return by_key
    has_group = reduce(and_, [col(name).isNotNull() for name in group])
    return F.when(has_group, key_hash(group, 0, _BUCKET_PURPOSE)).otherwise(by_key)


def _measures(has_weight: bool, has_amount: bool) -> list[str]:
    return [name for name, is_there in ((ROW_WEIGHT, has_weight), (AMOUNT_VALUE, has_amount)) if is_there]


def _scan_table(
    inputs: DataFrame,
    contenders: Sequence[Candidate],
    *,
    bucket: Column,
    segments: Sequence[str],
    grid: LogitGrid,
    measures: Sequence[str],
) -> pa.Table:
    features = common_features(contenders)
    require_columns(inputs, [SPLIT, *features, LABEL, *measures, *segments], "scan")
    held_out = inputs.where(col(SPLIT).isin(*FOLDS)).select(
        *as_float(features),
        F.when(col(SPLIT) == VALIDATION, 0).otherwise(1).alias(_FOLD),
        bucket.alias(_BUCKET),
        col(LABEL).cast("double").alias(LABEL),
        *[col(name).cast("double").alias(name) for name in measures],
        *[col(name).cast("string").alias(_segment(i)) for i, name in enumerate(segments)],
    )
    models = inputs.sparkSession.sparkContext.broadcast([(c.model_bytes, c.correction) for c in contenders])
    try:
        parts = held_out.mapInArrow(_sum_partition(models, len(features), grid, measures, len(segments)), SUMS_SCHEMA)
        return parts.groupBy(*KEYS).agg(*[F.sum(name).alias(name) for name in MEASURES]).toArrow()
    finally:
        models.destroy()


def _sum_partition(models: Any, width: int, grid: LogitGrid, measures: Sequence[str], segments: int) -> ArrowFunction:
    def count(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        loaded = [(load_booster(ubj), correction, StrategySums(grid, segments)) for ubj, correction in models.value]
        values = [SegmentValues() for _ in range(segments)]
        for batch in batches:
            matrix, rows = matrix_of(batch, width), _scan_rows(batch, measures, values)
            for booster, correction, sums in loaded:
                sums.add(rows, probabilities(booster, matrix, correction))
        for number, (_, _, sums) in enumerate(loaded):
            yield from sums.batches(number, [found.values for found in values])

    return count


def _scan_rows(batch: pa.RecordBatch, measures: Sequence[str], values: Sequence[SegmentValues]) -> ScanRows:
    return ScanRows(
        fold=column_of(batch, _FOLD).astype(np.int64),
        bucket=column_of(batch, _BUCKET).astype(np.int64),
        label=column_of(batch, LABEL),
        weight=column_of(batch, ROW_WEIGHT) if ROW_WEIGHT in measures else None,
        amount=column_of(batch, AMOUNT_VALUE) if AMOUNT_VALUE in measures else None,
        segments=[found.numbers(batch.column(_segment(i))) for i, found in enumerate(values)],
    )


def _segment(number: int) -> str:
    return f"segment_{number}"
