"""Temperature scaling for K classes: fitted on rows, or chosen from sums of losses at every step of a grid."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from imbalance_spark.calibration.correction import PriorCorrection
from imbalance_spark.core.arrays import FloatArray, IntArray
from imbalance_spark.core.errors import ConfigError, DataContractError
from imbalance_spark.metrics.buckets import BUCKETS
from imbalance_spark.metrics.intervals import ratio_error

MOST_ROWS = 1_000_000


_BOUND = 4.0  # temperatures from 1/55 to 55


_EPS = 1e-300


TEMPERATURES = tuple(float(2.0 ** (step / 12.0)) for step in range(-24, 25))
"""A quarter to 4 in steps of 6 %: the loss is flat around its least, so that no finer step is worth a pass."""


LOSS_SUMS = ("n", "weight", "loss", "more")
"""What `loss_sums` gives at each temperature."""


_UNCHANGED = TEMPERATURES.index(1.0)


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
        from scipy.optimize import minimize_scalar  # here: each worker of a fit imports this room

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

    @property
    def method(self) -> str:
        """Its name among calibrators."""
        return "multiclass_temperature"

    def apply(self, probabilities: npt.ArrayLike) -> FloatArray:
        """Probabilities of the same shape; the order of the classes in a row stays."""
        p = np.asarray(probabilities, dtype=np.float64)
        return np.exp(self.apply_logs(np.log(np.maximum(p, _EPS))))

    def apply_logs(self, logs: FloatArray) -> FloatArray:
        """ln p, each at most 0, from ln p before calibration, rows by classes."""
        if self.temperature == 1.0:
            return logs
        return PriorCorrection.identity(logs.shape[1]).log_probabilities(logs / self.temperature)

    def to_dict(self) -> dict[str, Any]:
        """As JSON values; `calibrator_from_dict` reads them back."""
        return {"method": self.method, "temperature": self.temperature}


@dataclass(frozen=True, kw_only=True)
class ChosenTemperature:
    """How a model's probabilities are calibrated, and what that is worth on rows it was not chosen on."""

    temperature: float
    log_loss: float
    """Mean, on the threshold set, at this temperature."""
    log_loss_before: float
    sentence: str

    @property
    def calibrator(self) -> MulticlassTemperature:
        """The calibration itself."""
        return MulticlassTemperature(temperature=self.temperature)

    def to_dict(self) -> dict[str, Any]:
        """As JSON values; `ChosenTemperature(**values)` reads them back."""
        return asdict(self)


def loss_sums(logs: FloatArray, label: IntArray, bucket: IntArray, weight: FloatArray) -> FloatArray:
    """Sums of the log loss at each temperature of the grid, by hash bucket: shape (64, 49, 4).

    Args:
        logs: ln p before calibration, rows by classes. label: class numbers. bucket: 0 to 63.
    Returns:
        By bucket and step the sums named in LOSS_SUMS: rows, their weight, and, weighted, the loss and what it is more
        than without calibration.
    """
    row, sums = np.arange(len(label)), np.zeros((BUCKETS, len(TEMPERATURES), len(LOSS_SUMS)))
    unchanged, n = -logs[row, label], np.ones(len(label))
    for step, temperature in enumerate(TEMPERATURES):
        calibrator = MulticlassTemperature(temperature=temperature)
        loss = unchanged if step == _UNCHANGED else -calibrator.apply_logs(logs)[row, label]
        for number, values in enumerate((n, weight, weight * loss, weight * (loss - unchanged))):
            sums[:, step, number] = np.bincount(bucket, values, minlength=BUCKETS)
    return sums


def choose_temperatures(losses: Mapping[str, FloatArray]) -> dict[str, ChosenTemperature]:
    """For each model, the temperature of least log loss on one half of validation, if the other half confirms it.

    1, which changes nothing, stays unless the other half is better by more than one standard error over its hash
    buckets, whose rows may depend on each other: what is gained by less may be noise. The even buckets calibrate.

    Args:
        losses: by model, what `loss_sums` gives, summed over all rows of validation.
    Raises:
        DataContractError: a half of validation has no row.
    """
    return {name: _chosen(sums) for name, sums in losses.items()}


def _chosen(sums: FloatArray) -> ChosenTemperature:
    calibrate, confirm = sums[::2].sum(axis=0), sums[1::2]
    choose = confirm.sum(axis=0)
    if not (calibrate[0, 0] > 0 and choose[0, 0] > 0):
        raise DataContractError(
            "calibration: a half of validation has no row. A fold is halved by the hash of the group, or of the key "
            "where rows have no group: give the fold more of them."
        )
    best = int(np.argmin(calibrate[:, 2]))
    _, weight, loss, more = choose[best]
    before, gain = float(choose[_UNCHANGED, 2] / weight), -float(more / weight)
    error = ratio_error(confirm[:, best, 3], confirm[:, best, 1])
    if best == _UNCHANGED or not gain > error:
        return ChosenTemperature(
            temperature=1.0, log_loss=before, log_loss_before=before,
            sentence=f"Not calibrated: temperature {TEMPERATURES[best]:.3g} would change the log loss by {-gain:+.2g}, "
            f"standard error {error:.2g}, on rows it was not chosen on.",
        )  # fmt: skip
    return ChosenTemperature(
        temperature=TEMPERATURES[best], log_loss=float(loss / weight), log_loss_before=before,
        sentence=f"Calibrated by temperature {TEMPERATURES[best]:.3g}: log loss {loss / weight:.6g}, {gain:.2g} less "
        "than without, on rows it was not chosen on.",
    )  # fmt: skip
