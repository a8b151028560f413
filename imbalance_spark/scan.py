"""Score held-out rows with every strategy's model in one pass; only counts come back."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from imbalance_spark.calibration import PriorCorrection
from imbalance_spark.checks import refuse_columns
from imbalance_spark.encoding import AMOUNT_VALUE, LABEL, ROW_WEIGHT, feature_column
from imbalance_spark.errors import ConfigError
from imbalance_spark.frames import SPLIT, TEST, VALIDATION, col, require_columns
from imbalance_spark.learners.xgboost import FittedBooster
from imbalance_spark.metrics.counts import ScoreCounts
from imbalance_spark.metrics.grid import INVALID_AMOUNT, FloatArray, LogitGrid
from imbalance_spark.metrics.kernel import bin_counts

if TYPE_CHECKING:
    import xgboost

_ArrowFunction = Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]

PROBABILITY = "probability"

_FOLD = "fold"
_FOLDS = (VALIDATION, TEST)
_PART = "strategy int, fold int, bin int, label int, n bigint, weight double, amount double"
_SUMS = ("n", "weight", "amount")


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A strategy that is scored: its model, and how its raw scores map back to probabilities."""

    name: str
    booster: FittedBooster
    correction: PriorCorrection


def scan_counts(
    inputs: DataFrame, contenders: Sequence[Contender], *, grid: LogitGrid, has_weight: bool, has_amount: bool
) -> dict[tuple[str, str], ScoreCounts]:
    """Score counts of each strategy on validation and on test, from one pass over these rows.

    Each task adds up counts of its rows; they are summed by Spark, and at most strategies x 2 folds x
    bins x 2 classes rows are collected. Counts do not depend on the partitioning; sums of weights do
    in the last digits.

    Args:
        inputs: `split`, `x_0..`, `y`; `row_weight` and `amount_value` where the flags say so. Rows of
            other folds are not read.
        contenders: of one list of features, with different names.
    Returns:
        By (strategy, fold); scores are corrected probabilities.
    Raises:
        ConfigError: no contenders, equal names, or models with different features.
        MissingColumnsError: an input column is absent.
        DataContractError: a fold without rows, or rows whose label, weight or amount cannot be counted.
    """
    features = _common_features(contenders)
    optional = {ROW_WEIGHT: has_weight, AMOUNT_VALUE: has_amount}
    measures = [name for name, is_there in optional.items() if is_there]
    require_columns(inputs, [SPLIT, *features, LABEL, *measures], "scan_counts")
    fold = F.when(col(SPLIT) == VALIDATION, 0).otherwise(1).alias(_FOLD)
    held_out = inputs.where(col(SPLIT).isin(*_FOLDS)).select(*_as_float(features), fold, LABEL, *measures)
    models = inputs.sparkSession.sparkContext.broadcast([(c.booster.ubj, c.correction) for c in contenders])
    try:
        parts = held_out.mapInArrow(_count_partition(models, len(features), grid, measures), _PART)
        summed = parts.groupBy("strategy", _FOLD, "bin", "label").agg(*[F.sum(name).alias(name) for name in _SUMS])
        table = summed.toArrow()
    finally:
        models.destroy()
    return {
        (contender.name, fold): ScoreCounts.from_table(_cell(table, number, place), grid)
        for number, contender in enumerate(contenders)
        for place, fold in enumerate(_FOLDS)
    }


def score_frame(inputs: DataFrame, contender: Contender) -> DataFrame:
    """The rows with `probability` (double, in [0, 1], corrected) instead of their features. Lazy.

    Every other column stays. The same score as XGBoost in memory, however rows are split into batches.

    Args:
        inputs: `x_0..`; null is missing.
    Raises:
        MissingColumnsError: a feature is absent.
        DataContractError: there is a column `probability` already.
    """
    features = _common_features([contender])
    require_columns(inputs, features, "score_frame")
    refuse_columns(inputs, (PROBABILITY,), "score_frame")
    kept = [name for name in inputs.columns if name not in features]
    rows = inputs.select(*_as_float(features), *[col(name) for name in kept])
    schema = T.StructType([*[inputs.schema[name] for name in kept], T.StructField(PROBABILITY, T.DoubleType())])
    # The plan is lazy and may run long after this call: the model lives as long as the frame does.
    model = inputs.sparkSession.sparkContext.broadcast([(contender.booster.ubj, contender.correction)])
    return rows.mapInArrow(_score_partition(model, len(features)), schema)


def probabilities(
    booster: "xgboost.Booster", matrix: npt.NDArray[np.float32], correction: PriorCorrection
) -> FloatArray:
    """Corrected probability of each row: the one way from features to a score, for the scan and for serving.

    XGBoost's margin is float32; from there on all is float64.

    Args:
        matrix: rows by features, in the order of the booster's; NaN is missing.
    """
    if not len(matrix):
        return np.zeros(0)
    margin = booster.inplace_predict(matrix, predict_type="margin", validate_features=False)
    logit = np.asarray(margin, dtype=np.float64) + correction.logit_shift
    # Either form alone would overflow on one side.
    small = np.exp(-np.abs(logit))
    return np.where(logit >= 0.0, 1.0, small) / (1.0 + small)


def load_booster(ubj: bytes) -> "xgboost.Booster":
    """A booster that predicts on one thread: Spark's tasks are the parallelism."""
    import xgboost  # importing this package needs no xgboost

    booster = xgboost.Booster(model_file=bytearray(ubj))
    booster.set_param({"nthread": 1})
    return booster


def _count_partition(models: Any, width: int, grid: LogitGrid, measures: Sequence[str]) -> _ArrowFunction:
    def count(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        loaded = [(load_booster(ubj), correction) for ubj, correction in models.value]
        sums: defaultdict[tuple[int, int], FloatArray] = defaultdict(lambda: _no_sums(grid))
        for batch in batches:
            fold, matrix = _numpy(batch, _FOLD), _matrix(batch, width)
            for number, (booster, correction) in enumerate(loaded):
                score = probabilities(booster, matrix, correction)
                for place in range(len(_FOLDS)):
                    _add(sums[number, place], batch, score, fold == place, grid, measures)
        for (number, place), counted in sums.items():
            yield _as_batch(number, place, counted)

    return count


def _no_sums(grid: LogitGrid) -> FloatArray:
    """One row a measure of `_SUMS`, one column a (bin, label), the bins of invalid rows included."""
    return np.zeros((len(_SUMS), 2 * (grid.bins - INVALID_AMOUNT)))


def _add(
    sums: FloatArray,
    batch: pa.RecordBatch,
    score: FloatArray,
    is_in_fold: npt.NDArray[np.bool_],
    grid: LogitGrid,
    measures: Sequence[str],
) -> None:
    if not is_in_fold.any():
        return
    weight, amount = (
        _numpy(batch, name)[is_in_fold] if name in measures else None for name in (ROW_WEIGHT, AMOUNT_VALUE)
    )
    counts = bin_counts(_numpy(batch, LABEL)[is_in_fold], score[is_in_fold], weight, amount, grid=grid)
    slot = 2 * (counts["bin"].astype(np.int64) - INVALID_AMOUNT) + counts["label"].astype(np.int64)
    sums[:, slot] += np.stack([counts[name].astype(np.float64) for name in _SUMS])


def _as_batch(number: int, place: int, sums: FloatArray) -> pa.RecordBatch:
    slot = np.flatnonzero(sums[0])
    rows, weight, amount = sums[:, slot]
    columns = {
        "strategy": np.full(len(slot), number, dtype=np.int32),
        _FOLD: np.full(len(slot), place, dtype=np.int32),
        "bin": (slot // 2 + INVALID_AMOUNT).astype(np.int32),
        "label": (slot % 2).astype(np.int32),
        "n": rows.astype(np.int64),
        "weight": weight,
        "amount": amount,
    }
    return pa.RecordBatch.from_pydict({name: pa.array(values) for name, values in columns.items()})


def _cell(table: pa.Table, number: int, place: int) -> pa.Table:
    return table.filter((pc.field("strategy") == number) & (pc.field(_FOLD) == place))


def _score_partition(model: Any, width: int) -> _ArrowFunction:
    def score(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        [(booster, correction)] = [(load_booster(ubj), correction) for ubj, correction in model.value]
        for batch in batches:
            found = pa.array(probabilities(booster, _matrix(batch, width), correction))
            names = [*batch.schema.names[width:], PROBABILITY]
            yield pa.RecordBatch.from_arrays([*batch.columns[width:], found], names=names)

    return score


def _matrix(batch: pa.RecordBatch, width: int) -> npt.NDArray[np.float32]:
    """The first `width` columns, which are float32, as rows by features; null is NaN."""
    matrix = np.empty((batch.num_rows, width), dtype=np.float32)
    for number in range(width):
        matrix[:, number] = batch.column(number).to_numpy(zero_copy_only=False)
    return matrix


def _numpy(batch: pa.RecordBatch, name: str) -> npt.NDArray[Any]:
    return np.asarray(batch.column(batch.schema.get_field_index(name)).to_numpy(zero_copy_only=False))


def _as_float(features: Sequence[str]) -> list[Column]:
    # XGBoost reads float32: half the bytes to Python.
    return [col(name).cast("float").alias(name) for name in features]


def _common_features(contenders: Sequence[Contender]) -> list[str]:
    names = [contender.name for contender in contenders]
    if not names or len(set(names)) != len(names):
        raise ConfigError(f"scan: strategies {names}: at least one is needed, each with a name of its own.")
    if len({contender.booster.features for contender in contenders}) > 1:
        raise ConfigError(f"scan: the models of {names} read different features. Fit them on the same table.")
    return [feature_column(i) for i in range(len(contenders[0].booster.features))]
