"""Temperature scaling for several classes."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar

from imbalance_spark.calibration.correction import PriorCorrection
from imbalance_spark.core.errors import ConfigError, DataContractError
from imbalance_spark.metrics.grid import FloatArray

MOST_ROWS = 1_000_000


_BOUND = 4.0  # temperatures from 1/55 to 55


_EPS = 1e-300


@dataclass(frozen=True, kw_only=True)
class MulticlassTemperature:
    """p_k proportional to p_k^(1 / temperature) (Guo and others, 2017); above 1 it makes a model less sure.

    Raises:
        ConfigError: the temperature is not above 0.
    """

    temperature: float

    def __post_init__(self) -> None:
        if not 0.0 < self.temperature < np.inf:
            raise ConfigError(f"temperature must be a number above 0, got {self.temperature!r}. 1 changes nothing.")

    @classmethod
    def fit(cls, labels: npt.ArrayLike, probabilities: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> Self:
        """The temperature of lowest log loss on these rows, between 1/55 and 55.

        Args:
            labels: class numbers, shape (rows,), at most `MOST_ROWS`: one number is fitted, a sample will do.
            probabilities: shape (rows, classes), rows that sum to 1. weights: at least 0.
        Raises:
            DataContractError: no rows, too many, or shapes that do not fit.
        """
        label, p = np.asarray(labels, dtype=np.int64), np.asarray(probabilities, dtype=np.float64)
        if p.ndim != 2 or len(label) != len(p) or not 0 < len(p) <= MOST_ROWS:
            raise DataContractError(
                f"temperature: {label.shape} labels, {p.shape} probabilities; (rows,) and (rows, classes) are needed, "
                f"1 to {MOST_ROWS} rows. Sample the rows by key hash."
            )
        weight = np.ones(len(p)) if weights is None else np.asarray(weights, dtype=np.float64)
        logs = np.log(np.maximum(p, _EPS))

        def loss(log_temperature: float) -> float:
            scaled = logs * np.exp(-log_temperature)
            return float(weight @ (np.logaddexp.reduce(scaled, axis=1) - scaled[np.arange(len(p)), label]))

        found = minimize_scalar(loss, bounds=(-_BOUND, _BOUND), method="bounded", options={"xatol": 1e-10})
        return cls(temperature=float(np.exp(found.x)))

    def apply(self, probabilities: npt.ArrayLike) -> FloatArray:
        """Probabilities of the same shape; the order of the classes in a row stays."""
        scaled = np.log(np.maximum(np.asarray(probabilities, dtype=np.float64), _EPS)) / self.temperature
        shares = np.exp(scaled - scaled.max(axis=1, keepdims=True))
        return np.asarray(shares / shares.sum(axis=1, keepdims=True), dtype=np.float64)


@dataclass(frozen=True, kw_only=True)
class ClassProbabilities:
    """Corrected in closed form, then calibrated: p_k proportional to p_k^(1 / temperature) (Guo and others, 2017)."""

    correction: PriorCorrection
    temperature: float = 1.0

    def of_margins(self, margins: npt.ArrayLike) -> FloatArray:
        """Probabilities, rows by classes."""
        return np.exp(self.logs_of_margins(margins))

    def logs_of_margins(self, margins: npt.ArrayLike) -> FloatArray:
        """Their logarithms, each at most 0."""
        logs = self.correction.log_probabilities(margins)
        return logs if self.temperature == 1.0 else heated(logs, self.temperature)


def heated(logs: FloatArray, temperature: float) -> FloatArray:
    """ln of p_k^(1 / temperature), scaled to sum to 1 a row."""
    return PriorCorrection.identity(logs.shape[1]).log_probabilities(logs / temperature)
