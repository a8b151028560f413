"""Rows to probabilities: Arrow batches as matrices, and one model on a matrix."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import Column

from imbalance_spark.calibration import Correction
from imbalance_spark.encoding import feature_column
from imbalance_spark.errors import ConfigError
from imbalance_spark.frames import col
from imbalance_spark.linear_model import LinearModel
from imbalance_spark.metrics.grid import FloatArray

if TYPE_CHECKING:
    import xgboost

ArrowFunction = Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A model that is scored: XGBoost's UBJ bytes, or a `LinearModel`'s; how its raw scores map to probabilities."""

    name: str
    ubj: bytes
    features: tuple[str, ...]
    """Real names of `x_0, x_1, ...`."""
    correction: Correction


def probabilities(
    booster: "xgboost.Booster | LinearModel", matrix: npt.NDArray[np.float32], correction: Correction
) -> FloatArray:
    """Corrected probability of each row: the one way from features to a score, for the scan and for serving.

    XGBoost's margin is float32; from there on all is float64.

    Args:
        matrix: rows by features, in the order of the booster's; NaN is missing.
    """
    if not len(matrix):
        return np.zeros(0)
    margin = booster.inplace_predict(matrix, predict_type="margin", validate_features=False)
    logit = correction.logit(margin)
    # Either form alone would overflow on one side.
    small = np.exp(-np.abs(logit))
    return np.where(logit >= 0.0, 1.0, small) / (1.0 + small)


def load_booster(ubj: bytes) -> "xgboost.Booster | LinearModel":
    """A model that predicts on one thread: Spark's tasks are the parallelism."""
    if LinearModel.is_in(ubj):
        return LinearModel.from_bytes(ubj)
    import xgboost  # importing this package needs no xgboost

    booster = xgboost.Booster(model_file=bytearray(ubj))
    booster.set_param({"nthread": 1})
    return booster


def matrix_of(batch: pa.RecordBatch, width: int) -> npt.NDArray[np.float32]:
    """The first `width` columns, which are float32, as rows by features; null is NaN."""
    matrix = np.empty((batch.num_rows, width), dtype=np.float32)
    for number in range(width):
        matrix[:, number] = batch.column(number).to_numpy(zero_copy_only=False)
    return matrix


def column_of(batch: pa.RecordBatch, name: str) -> npt.NDArray[Any]:
    """A column by name, as numpy; null is NaN."""
    return np.asarray(batch.column(batch.schema.get_field_index(name)).to_numpy(zero_copy_only=False))


def as_float(features: Sequence[str]) -> list[Column]:
    """The features as float32, which is what `matrix_of` expects."""
    # XGBoost reads float32: half the bytes to Python.
    return [col(name).cast("float").alias(name) for name in features]


def common_features(contenders: Sequence[Contender]) -> list[str]:
    """The feature columns that all contenders read.

    Raises:
        ConfigError: no contenders, equal names, or models with different features.
    """
    names = [contender.name for contender in contenders]
    if not names or len(set(names)) != len(names):
        raise ConfigError(f"scan: strategies {names}: at least one is needed, each with a name of its own.")
    if len({contender.features for contender in contenders}) > 1:
        raise ConfigError(f"scan: the models of {names} read different features. Fit them on the same table.")
    return [feature_column(i) for i in range(len(contenders[0].features))]
