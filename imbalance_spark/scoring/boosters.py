"""Models as bytes, and rows to their margins: XGBoost's boosters, linear models and networks."""

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any, Self, Union

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import Column

from imbalance_spark.calibration import PriorCorrection
from imbalance_spark.core.arrays import FloatArray, IntArray
from imbalance_spark.core.columns import col
from imbalance_spark.core.errors import ConfigError
from imbalance_spark.orders.model_inputs import feature_column
from imbalance_spark.scoring.network import NetworkModel

if TYPE_CHECKING:
    import xgboost


_KIND = "linear_model"
_FIRST_BYTES = f'{{"{_KIND}"'.encode()
"""XGBoost's binary JSON has a length where this has the first key's quotation mark."""


@dataclass(frozen=True, kw_only=True)
class LinearMargin:
    """intercept + sum of slope (x - centre) over numbers + what each category adds: the margin of one class.

    A missing number adds nothing, as if it were at its centre; so does a missing category, and one that training
    lacked.

    Args:
        slopes, centres: of each numeric feature; these come first among the features.
        categories: for each categorical feature what its codes 0, 1, ... add.
    """

    intercept: float
    slopes: tuple[float, ...]
    centres: tuple[float, ...]
    categories: tuple[tuple[float, ...], ...]

    def of(self, data: npt.NDArray[np.float32]) -> FloatArray:
        """The margin of each row; rows by features, NaN is missing."""
        # Column by column: a matrix product may round a row differently in another batch.
        margin = np.full(len(data), self.intercept)
        for added in self._added(data):
            margin += added
        return margin

    def contributions(self, data: npt.NDArray[np.float32]) -> FloatArray:
        """What each feature adds to the margin of each row; the last column is the intercept."""
        return np.column_stack([*self._added(data), np.full(len(data), self.intercept)])

    def _added(self, data: npt.NDArray[np.float32]) -> Iterator[FloatArray]:
        for slope, centre, values in zip(self.slopes, self.centres, data.T, strict=False):
            yield np.nan_to_num(slope * (values.astype(np.float64) - centre), nan=0.0)
        for added, codes in zip(self.categories, data.T[len(self.slopes) :], strict=True):
            table = np.array([*added, 0.0])
            # NaN is above no number: it takes the last entry, as an unseen code does.
            entry = np.where(codes < len(added), codes, len(added)).astype(np.int64)
            yield table[entry]

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Self:
        """From JSON values of the fields."""
        return cls(
            intercept=record["intercept"],
            slopes=tuple(record["slopes"]),
            centres=tuple(record["centres"]),
            categories=tuple(tuple(added) for added in record["categories"]),
        )


@dataclass(frozen=True, kw_only=True)
class LinearModel:
    """A linear margin for each class, or the one of two classes, scored like a booster."""

    margins: tuple[LinearMargin, ...]

    def inplace_predict(
        self, data: npt.NDArray[np.float32], predict_type: str = "margin", validate_features: bool = False
    ) -> FloatArray:
        """Margins, (rows,) or (rows, classes): what XGBoost's method of this name gives for `predict_type="margin"`.

        Args:
            data: rows by features; NaN is missing.
        """
        columns = [margin.of(data) for margin in self.margins]
        return columns[0] if len(columns) == 1 else np.column_stack(columns)

    def to_bytes(self) -> bytes:
        """The model as JSON; floats come back to the last bit."""
        if len(self.margins) == 1:
            return json.dumps({_KIND: 1, **asdict(self.margins[0])}).encode()
        return json.dumps({_KIND: 2, "margins": [asdict(margin) for margin in self.margins]}).encode()

    @staticmethod
    def is_in(model: bytes) -> bool:
        """Whether these bytes are a linear model's, not a booster's."""
        return model.startswith(_FIRST_BYTES)

    @classmethod
    def from_bytes(cls, model: bytes) -> Self:
        """What `to_bytes` wrote."""
        record: dict[str, Any] = json.loads(model)
        return cls(margins=tuple(LinearMargin.from_dict(margin) for margin in record.get("margins", [record])))


_IS_LEAF = -1


def average_boosters(members: Sequence[bytes]) -> bytes:
    """One booster whose margins are the mean of the members' margins: their trees, leaves divided by their number.

    Equal to the mean but for the rounding of leaves to float32. Members may differ in rounds, not in classes.

    Args:
        members: UBJ of boosters on the same features and classes; at least one.
    """
    documents = [_document(ubj) for ubj in members]
    start = np.mean([_start(found) for found in documents], axis=0)
    rounds = (
        [(_scaled(tree, 1.0 / len(members)), number) for tree, number in trees]
        for found in documents
        for trees in _rounds(found["learner"]["gradient_booster"]["model"])
    )
    return _with_trees(documents[0], rounds, start.tolist())


def booster_of_trees(trees: Iterable[dict[str, Any]], start: Sequence[float], feature_names: Sequence[str]) -> bytes:
    """UBJ of a booster from trees in XGBoost's JSON.

    Args:
        trees: those of a round together, one for each entry of `start`.
        start: margin that scores start from: one for two classes, else one for each.
    """
    import xgboost  # importing this package needs no xgboost

    params = {"objective": "binary:logistic", "base_score": 0.5}
    if len(start) > 1:
        params = {"objective": "multi:softprob", "num_class": len(start)}
    rows = xgboost.DMatrix(np.zeros((2, len(feature_names))), [0.0, 1.0], feature_names=list(feature_names))
    empty = xgboost.train(params, rows, 0)
    return _with_trees(_document(bytes(empty.save_raw("ubj"))), _rounds_of(trees, len(start)), start)


_Round = Sequence[tuple[dict[str, Any], int]]
"""The trees of a round, each with the number of the margin that it adds to; of a forest several have the same."""


def _rounds_of(trees: Iterable[dict[str, Any]], margins: int) -> Iterator[_Round]:
    """Trees in turn, one of a round for each margin."""
    for trees_of_round in zip(*[iter(trees)] * margins, strict=True):
        yield list(zip(trees_of_round, range(margins), strict=True))


def _rounds(model: Mapping[str, Any]) -> Iterator[_Round]:
    for begin, end in pairwise(model["iteration_indptr"]):
        yield list(zip(model["trees"][begin:end], model["tree_info"][begin:end], strict=True))


def _with_trees(document: dict[str, Any], rounds: Iterable[_Round], start: Sequence[float]) -> bytes:
    """The document's booster with these trees and a start for each margin."""
    listed = list(rounds)
    trees = [found for trees_of_round in listed for found in trees_of_round]
    model = document["learner"]["gradient_booster"]["model"]
    model["trees"] = [{**tree, "id": number} for number, (tree, _) in enumerate(trees)]
    model["tree_info"] = [margin for _, margin in trees]
    model["iteration_indptr"] = list(accumulate(map(len, listed), initial=0))
    model["gbtree_model_param"]["num_trees"] = str(len(trees))
    # XGBoost keeps a probability for one margin, and margins for several.
    scores = [1.0 / (1.0 + math.exp(-start[0]))] if len(start) == 1 else start
    document["learner"]["learner_model_param"]["base_score"] = f"[{','.join(map(repr, scores))}]"
    document["learner"]["attributes"] = {}  # such as the best round of one member
    return _ubj(document)


def with_missing_left(ubj: bytes) -> bytes:
    """The booster with every split sending missing values left, where the lowest ones go."""
    document = _document(ubj)
    for tree in document["learner"]["gradient_booster"]["model"]["trees"]:
        tree["default_left"] = [1] * len(tree["default_left"])
    return _ubj(document)


def _ubj(document: dict[str, Any]) -> bytes:
    import xgboost

    return bytes(xgboost.Booster(model_file=bytearray(json.dumps(document).encode())).save_raw("ubj"))


def _document(ubj: bytes) -> dict[str, Any]:
    import xgboost

    found: dict[str, Any] = json.loads(xgboost.Booster(model_file=bytearray(ubj)).save_raw("json"))
    return found


def _scaled(tree: dict[str, Any], factor: float) -> dict[str, Any]:
    is_leaf = np.array(tree["left_children"]) == _IS_LEAF
    # A leaf keeps its value where a node keeps its cut.
    conditions = np.where(is_leaf, np.array(tree["split_conditions"]) * factor, tree["split_conditions"])
    weights = np.array(tree["base_weights"]) * factor
    return {**tree, "split_conditions": conditions.tolist(), "base_weights": weights.tolist()}


def _start(document: dict[str, Any]) -> list[float]:
    scores: list[float] = json.loads(document["learner"]["learner_model_param"]["base_score"])
    return scores if len(scores) > 1 else [math.log(scores[0]) - math.log1p(-scores[0])]


Model = Union["xgboost.Booster", LinearModel, NetworkModel]
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
    if isinstance(model, NetworkModel):
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
    found = model.effects(matrix) if isinstance(model, NetworkModel) else _by_margin(model, matrix)[:, :, :-1]
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


def load_booster(model_bytes: bytes) -> Model:
    """A model that predicts on one thread: Spark's tasks are the parallelism."""
    if LinearModel.is_in(model_bytes):
        return LinearModel.from_bytes(model_bytes)
    if NetworkModel.is_in(model_bytes):
        return NetworkModel.from_bytes(model_bytes)
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
