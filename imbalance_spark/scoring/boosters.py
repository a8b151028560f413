"""Models as bytes, and rows to their margins: XGBoost's boosters, linear models and networks."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Union

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import Column

from imbalance_spark.calibration import PriorCorrection
from imbalance_spark.core.arrays import FloatArray, IntArray
from imbalance_spark.core.columns import col
from imbalance_spark.core.errors import ConfigError
from imbalance_spark.core.imports import without_sklearn
from imbalance_spark.orders.model_inputs import feature_column
from imbalance_spark.scoring.linear import LinearModel, sum_of_linear_models
from imbalance_spark.scoring.network import NetworkModel, NetworkSum, is_network, load_network, sum_of_networks
from imbalance_spark.scoring.tree_json import sum_of_boosters

if TYPE_CHECKING:
    import xgboost


Model = Union["xgboost.Booster", LinearModel, NetworkModel, NetworkSum]
"""A loaded model, which gives margins by `inplace_predict`."""

ArrowFunction = Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A model that is scored, as XGBoost's UBJ or bytes of another `Model`; how its raw scores map to probabilities."""

    name: str
    model_bytes: bytes
    features: tuple[str, ...]
    """Real names of `x_0, x_1, ...`."""
    correction: PriorCorrection
    folds: tuple[tuple[bytes, PriorCorrection], ...] = ()
    """Of a cross-fit, the model of each fold: it scores the rows that its fit left out."""

    @property
    def models(self) -> tuple[tuple[bytes, PriorCorrection], ...]:
        """All models by `fit_number`: those of the folds, then the model itself."""
        return (*self.folds, (self.model_bytes, self.correction))


def margins_of_matrix(booster: Model, matrix: npt.NDArray[np.float32], classes: int) -> npt.NDArray[np.floating]:
    """The model's margins: shape (rows,) for two classes, else (rows, classes); float32 from XGBoost.

    Args:
        matrix: rows by features, in the order of the booster's; NaN is missing.
    """
    if not len(matrix):
        return np.zeros(0 if classes == 2 else (0, classes))
    return np.asarray(booster.inplace_predict(matrix, predict_type="margin", validate_features=False))


NO_CONTRIBUTIONS = (
    "reasons: the model is a network (learner torch), whose score is no sum of what each feature adds: there is no "
    "TreeSHAP of it. Leave reasons out, or serve a model of another learner."
)


def contributions(model: Model, matrix: npt.NDArray[np.float32], decided: IntArray | None = None) -> FloatArray:
    """What each feature adds to a row's margin, which is in log-odds: with the last column they add up to it.

    Of a booster by TreeSHAP (Lundberg and others, 2020), against the mean margin of its training rows, which is the
    last column; of a linear model against the centres of its numbers, with the intercept as the last column.

    Args:
        matrix: rows by features, in the order of the model's; NaN is missing.
        decided: of K classes, whose margin is meant in each row.
    Returns:
        Rows by features and one more.
    Raises:
        ConfigError: the model is a network.
    """
    if isinstance(model, NetworkModel | NetworkSum):
        raise ConfigError(NO_CONTRIBUTIONS)
    if not len(matrix):
        return np.zeros((0, matrix.shape[1] + 1))
    classes = np.zeros(len(matrix), dtype=np.int64) if decided is None else decided
    return np.asarray(_by_margin(model, matrix)[np.arange(len(matrix)), classes])


def effects(model: Model, matrix: npt.NDArray[np.float32]) -> FloatArray:
    """How far each feature moves the margins of a row, at least 0: by `contributions`, or a network's `effects`.

    Of K classes the mean over their margins.

    Args:
        matrix: at least one row, by features in the order of the model's; NaN is missing.
    Returns:
        Rows by features.
    """
    if isinstance(model, NetworkModel | NetworkSum):
        found = model.effects(matrix)
    else:
        found = _by_margin(model, matrix)[:, :, :-1]
    return np.asarray(np.abs(found).mean(axis=1))


def _by_margin(model: "xgboost.Booster | LinearModel", matrix: npt.NDArray[np.float32]) -> FloatArray:
    """Contributions to each margin: rows by margins by features and one more."""
    if isinstance(model, LinearModel):
        return np.stack([margin.contributions(matrix) for margin in model.margins], axis=1)
    import xgboost  # importing this package needs no xgboost

    rows = xgboost.DMatrix(matrix, nthread=1, feature_names=model.feature_names)
    found = np.asarray(model.predict(rows, pred_contribs=True), dtype=np.float64)
    return found.reshape(len(matrix), -1, matrix.shape[1] + 1)


def probabilities(booster: Model, matrix: npt.NDArray[np.float32], correction: PriorCorrection) -> FloatArray:
    """Corrected probability of class 1 of two for each row: the one way from features to a score.

    XGBoost's margin is float32; from there on all is float64.

    Args:
        matrix: rows by features, in the order of the booster's; NaN is missing.
    """
    logit = correction.logit(margins_of_matrix(booster, matrix, 2))
    # Either form alone would overflow on one side.
    small = np.exp(-np.abs(logit))
    return np.where(logit >= 0.0, 1.0, small) / (1.0 + small)


def sum_of_models(members: Sequence[bytes], factor: float) -> bytes:
    """One model whose margins are `factor` times the sum of the members', up to rounding; with 1 / n, their mean.

    Args:
        members: of one learner, on the same features and classes; at least one.
    """
    if LinearModel.is_in(members[0]):
        return sum_of_linear_models(members, factor)
    return (sum_of_networks if is_network(members[0]) else sum_of_boosters)(members, factor)


def load_booster(model_bytes: bytes) -> Model:
    """A model that predicts on one thread: Spark's tasks are the parallelism."""
    if LinearModel.is_in(model_bytes):
        return LinearModel.from_bytes(model_bytes)
    if is_network(model_bytes):
        return load_network(model_bytes)
    with without_sklearn():
        import xgboost  # importing this package needs no xgboost

    booster = xgboost.Booster(model_file=bytearray(model_bytes))
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


def common_features(candidates: Sequence[Candidate]) -> list[str]:
    """The feature columns that all candidates read.

    Raises:
        ConfigError: no candidates, equal names, or models with different features.
    """
    names = [candidate.name for candidate in candidates]
    if not names or len(set(names)) != len(names):
        raise ConfigError(f"scan: strategies {names}: at least one is needed, each with a name of its own.")
    if len({candidate.features for candidate in candidates}) > 1:
        raise ConfigError(f"scan: the models of {names} read different features. Fit them on the same table.")
    return [feature_column(i) for i in range(len(candidates[0].features))]
