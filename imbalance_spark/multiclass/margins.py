"""The margins of every strategy's model on the held-out rows: what all counts of them are made from."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from imbalance_spark.core.columns import SPLIT, VALIDATION, col, require_columns
from imbalance_spark.core.hashing import check_key
from imbalance_spark.metrics.buckets import BUCKETS
from imbalance_spark.orders.model_inputs import LABEL, ROW_WEIGHT, feature_column
from imbalance_spark.scoring.boosters import ArrowFunction, as_float, load_booster, matrix_of
from imbalance_spark.scoring.count_kernel import FOLDS
from imbalance_spark.scoring.held_out import bucket_hash

FOLD, BUCKET = "fold", "bucket"


@dataclass(frozen=True, kw_only=True)
class ClassContender:
    """A model of several classes that is scored: XGBoost's UBJ bytes, and the real names of `x_0, x_1, ...`."""

    name: str
    ubj: bytes
    features: tuple[str, ...]


def margin_column(number: int) -> str:
    """The column of the margins of contender `number`."""
    return f"margins_{number}"


def held_out_margins(
    inputs: DataFrame,
    contenders: Sequence[ClassContender],
    *,
    key: Sequence[str],
    group: Sequence[str] = (),
    has_weight: bool,
) -> DataFrame:
    """Every model's margins on each row of validation and test. Lazy; one pass, no shuffle.

    Counts need them several times: to calibrate, to choose, and to count what was chosen. Written once, they
    are a narrow table, and no model runs twice.

    Args:
        inputs: `split`, `x_0..`, `y`; `row_weight` where rows have one; the columns named here.
        contenders: of one list of features.
        key: what identifies a row. group: what rows depend on each other within; see `scan_held_out`.

    Returns:
        `fold` (int, 0 is validation, 1 test), `bucket` (int, 0 to 63), `y` (int), `row_weight` (double, where rows
        have one), and `margins_<number>` (array of float, one a class) for each contender.

    Raises:
        MissingColumnsError: an input column is absent.
        DataContractError: a column cannot be a key.
    """
    check_key(inputs, key, "scan")
    check_key(inputs, [*key, *group], "scan")
    features = [feature_column(i) for i in range(len(contenders[0].features))]
    weight = [ROW_WEIGHT] if has_weight else []
    require_columns(inputs, [SPLIT, *features, LABEL, *weight], "scan")
    held_out = inputs.where(col(SPLIT).isin(*FOLDS)).select(
        *as_float(features),
        F.when(col(SPLIT) == VALIDATION, 0).otherwise(1).alias(FOLD),
        F.pmod(bucket_hash(key, group), F.lit(BUCKETS)).cast("int").alias(BUCKET),
        col(LABEL).cast("int").alias(LABEL),
        *[col(name).cast("double").alias(name) for name in weight],
    )
    own = ", ".join([f"{FOLD} int, {BUCKET} int, {LABEL} int", *[f"{name} double" for name in weight]])
    scored = ", ".join(f"{margin_column(number)} array<float>" for number in range(len(contenders)))
    # The plan is lazy: the models live as long as the frame does.
    models = inputs.sparkSession.sparkContext.broadcast([contender.ubj for contender in contenders])
    return held_out.mapInArrow(_score_partition(models, len(features)), f"{own}, {scored}")


def margins_of(batch: pa.RecordBatch, number: int) -> npt.NDArray[np.float32]:
    """A contender's margins in a batch of the table, rows by classes."""
    column = batch.column(batch.schema.get_field_index(margin_column(number)))
    values = np.asarray(column.flatten().to_numpy(zero_copy_only=False), dtype=np.float32)
    return values.reshape(batch.num_rows, -1)


def _score_partition(models: Any, width: int) -> ArrowFunction:
    def score(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        boosters = [load_booster(ubj) for ubj in models.value]
        for batch in batches:
            if not batch.num_rows:
                continue
            matrix = matrix_of(batch, width)
            found = [
                np.asarray(booster.inplace_predict(matrix, predict_type="margin", validate_features=False), np.float32)
                for booster in boosters
            ]
            names = [*batch.schema.names[width:], *[margin_column(number) for number in range(len(found))]]
            yield pa.RecordBatch.from_arrays([*batch.columns[width:], *map(_as_lists, found)], names=names)

    return score


def _as_lists(margins: npt.NDArray[np.float32]) -> pa.Array:
    rows, classes = margins.shape
    offsets = pa.array(np.arange(0, (rows + 1) * classes, classes, dtype=np.int32))
    return pa.ListArray.from_arrays(offsets, pa.array(np.ascontiguousarray(margins).ravel()))
