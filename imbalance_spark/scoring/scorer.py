"""The model as files: booster, encodings, prior correction and threshold, each with its hash; no pickle."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from imbalance_spark.calibration import (
    Calibrator,
    PriorCorrection,
    calibrator_from_dict,
)
from imbalance_spark.core.errors import ConfigError, DataContractError, MissingColumnsError
from imbalance_spark.metrics.grid import FloatArray
from imbalance_spark.orders.categories import CategoryEncoding
from imbalance_spark.orders.labels import LabelEncoding
from imbalance_spark.scoring.boosters import LinearModel, load_booster, probabilities
from imbalance_spark.scoring.bundle_files import BOOSTER, LINEAR, read_parts, write_parts

_FORMAT = 2


NO_THRESHOLD = -1.0
"""Default of the predict parameter `threshold`: the bundle's own cut-off decides."""


@dataclass(frozen=True, kw_only=True)
class ModelBundle:
    """All that is needed to turn orders into probabilities and decisions.

    The threshold stands in a file of its own: it can be moved later without touching the model.

    Args:
        booster_ubj: XGBoost's UBJ bytes, up to the best iteration; or a `LinearModel`'s.
        numeric, categorical: names of the features, in the booster's order.
        thresholds: cut-off per objective; `serve_objective` names the one that decides.
        base_rate_shift: from calibrated probabilities to those at another base rate; None when it has not moved.
            It stands with the threshold, which is on the probabilities behind it.
    """

    strategy: str
    booster_ubj: bytes
    numeric: tuple[str, ...]
    categorical: tuple[str, ...]
    categories: CategoryEncoding
    label: LabelEncoding
    correction: PriorCorrection
    calibrator: Calibrator
    thresholds: Mapping[str, float]
    serve_objective: str
    base_rate_shift: PriorCorrection | None = None

    @property
    def threshold(self) -> float:
        """Predict positive where probability >= threshold."""
        return self.thresholds[self.serve_objective]

    @property
    def decides(self) -> str:
        """How it decides, in words."""
        return f"threshold {self.threshold:.6g}"

    @property
    def output_columns(self) -> dict[str, str]:
        """What scoring a frame gives, with MLflow's names of the types."""
        return {"probability": "double", "decision": "long", "threshold": "double"}

    @property
    def predict_parameters(self) -> dict[str, float | str]:
        """What a call of `predict` may change, with the defaults, which change nothing."""
        return {"threshold": NO_THRESHOLD}

    def probabilities(self, corrected: FloatArray) -> FloatArray:
        """What is served: calibrated, then at the base rate that holds now. Rising in `corrected`."""
        found = self.calibrator.apply(corrected)
        return found if self.base_rate_shift is None else self.base_rate_shift.apply(found)

    def save(self, folder: str) -> dict[str, str]:
        """Write the parts and a manifest of their sha256; give the manifest."""
        shift = None if self.base_rate_shift is None else self.base_rate_shift.to_dict()
        threshold = {
            "thresholds": dict(self.thresholds),
            "serve_objective": self.serve_objective,
            "base_rate_shift": shift,
        }
        model = LINEAR if LinearModel.is_in(self.booster_ubj) else BOOSTER
        return write_parts(folder, model, self.booster_ubj, self._description(), threshold)

    @classmethod
    def load(cls, folder: str) -> "ModelBundle":
        """Read a saved bundle; every part's hash is checked before the part is parsed.

        Raises:
            DataContractError: a part is missing, or is not what the manifest says.
        """
        model, described, threshold = read_parts(folder)
        if described["format"] != _FORMAT:
            raise DataContractError(
                f"model bundle: format {described['format']}, this package reads {_FORMAT}. "
                "Use the package that wrote it."
            )
        shift = threshold.get("base_rate_shift")
        return cls(
            strategy=described["strategy"],
            booster_ubj=model,
            numeric=tuple(described["numeric"]),
            categorical=tuple(described["categorical"]),
            categories=CategoryEncoding.from_dict(described["categories"]),
            label=LabelEncoding.from_dict(described["label"]),
            correction=PriorCorrection.from_dict(described["correction"]),
            calibrator=calibrator_from_dict(described["calibrator"]),
            thresholds=threshold["thresholds"],
            serve_objective=threshold["serve_objective"],
            base_rate_shift=None if shift is None else PriorCorrection.from_dict(shift),
        )

    def _description(self) -> dict[str, Any]:
        return {
            "format": _FORMAT,
            "strategy": self.strategy,
            "numeric": list(self.numeric),
            "categorical": list(self.categorical),
            "categories": self.categories.to_dict(),
            "label": self.label.to_dict(),
            "correction": self.correction.to_dict(),
            "calibrator": self.calibrator.to_dict(),
        }


class Scorer:
    """A loaded bundle that scores matrices and pandas frames; the booster is parsed once."""

    def __init__(self, bundle: ModelBundle) -> None:
        self.bundle = bundle
        self._booster = load_booster(bundle.booster_ubj)

    def probabilities(self, matrix: npt.NDArray[np.float32]) -> FloatArray:
        """Probability of each row, corrected to the real class shares and calibrated.

        Args:
            matrix: rows by the bundle's features, numeric ones first, categories as codes; NaN is missing.

        Raises:
            DataContractError: a numeric feature holds infinities.
        """
        refuse_infinite(self.bundle.numeric, matrix)
        return self.bundle.probabilities(probabilities(self._booster, matrix, self.bundle.correction))

    def predict(self, orders: pd.DataFrame, parameters: Mapping[str, Any]) -> pd.DataFrame:
        """`score`, with the threshold that `parameters` may name."""
        asked = parameters.get("threshold", NO_THRESHOLD)
        return self.score(orders, None if asked == NO_THRESHOLD else float(asked))

    def score(self, orders: pd.DataFrame, threshold: float | None = None) -> pd.DataFrame:
        """Probability and decision of each order.

        Args:
            orders: one row per order with the bundle's features, in any column order; others are not read.
                Null and NaN are missing, a category never seen in training has a code of its own.
            threshold: cut-off in [0, 1] instead of the bundle's.

        Returns:
            `probability` (float64, corrected to the real class shares and calibrated), `decision` (int, 1 where
            probability >= threshold) and `threshold`, on the index of `orders`.

        Raises:
            MissingColumnsError: a feature is absent.
            DataContractError: a numeric feature holds text, or infinities.
            ConfigError: the threshold is not in [0, 1].
        """
        cut_off = self.bundle.threshold if threshold is None else _valid_threshold(threshold)
        found = self.probabilities(order_matrix(orders, self.bundle))
        columns = {"probability": found, "decision": (found >= cut_off).astype(np.int64), "threshold": cut_off}
        return pd.DataFrame(columns, index=orders.index)


class OrderFeatures(Protocol):
    """What a model reads of an order."""

    @property
    def numeric(self) -> tuple[str, ...]:
        """Names of the numeric features, which come first."""

    @property
    def categorical(self) -> tuple[str, ...]:
        """Names of the categorical features."""

    @property
    def categories(self) -> CategoryEncoding:
        """Their values."""


def order_matrix(orders: pd.DataFrame, features: OrderFeatures) -> npt.NDArray[np.float32]:
    """Orders as rows by features, in the booster's order; see `Scorer.score` for what is read and refused."""
    needed = features.numeric + features.categorical
    if missing := set(needed) - set(orders.columns):
        raise MissingColumnsError.of("scoring", missing, [str(name) for name in orders.columns])
    numeric = [_numbers(orders[name], name) for name in features.numeric]
    codes = [features.categories.encode_pandas(name, orders[name]) for name in features.categorical]
    with np.errstate(over="ignore"):  # what is beyond float32 becomes infinite, and is refused as such
        return np.column_stack([*numeric, *codes]).astype(np.float32)


def _numbers(column: "pd.Series[Any]", name: str) -> npt.NDArray[np.float64]:
    try:
        if column.map(lambda value: isinstance(value, str)).any():
            raise TypeError
        # Cell by cell where a value is there: an object column may hold pandas' NA, which is no float.
        present = column.notna().to_numpy()
        values = np.full(len(column), np.nan)
        values[present] = column[present].astype("float64")
        return values
    except (TypeError, ValueError):
        raise DataContractError(
            f"scoring: column {name!r} holds values that are not numbers (type {column.dtype}). Cast it upstream."
        ) from None


def refuse_infinite(names: Sequence[str], matrix: npt.NDArray[np.float32]) -> None:
    """Raise `DataContractError` for infinities in the columns of the matrix that have these names."""
    # Training quarantines these; scored, they would pass for a huge value.
    found = {name: int(np.isinf(matrix[:, number]).sum()) for number, name in enumerate(names)}
    if bad := {name: rows for name, rows in found.items() if rows}:
        raise DataContractError(f"scoring: infinite or beyond float32, rows by column {bad}. Quarantine these rows.")


def _valid_threshold(threshold: float) -> float:
    if not (math.isfinite(threshold) and threshold >= 0.0):
        raise ConfigError(f"threshold must be a number in [0, 1], or above 1 to flag nobody, got {threshold!r}.")
    return float(threshold)
