"""Isotonic calibration: the best rising step function, with ties broken so that the ranking does not change."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from imbalance_spark.core.arrays import FloatArray
from imbalance_spark.core.errors import ConfigError, DataContractError
from imbalance_spark.metrics.grid import ScoreEntries

TIE_BREAK = 1e-6
"""Share of the score itself in the result: it orders the rows of one step, and moves probabilities by no more."""


@dataclass(frozen=True, kw_only=True)
class IsotonicCalibration:
    """p' = (1 - TIE_BREAK) f(p) + TIE_BREAK p, with f linear between knots and constant beyond them.

    Args:
        scores: rising; two for each step of more than one score. values: f at the scores, not falling, in [0, 1].
    Raises:
        ConfigError: knots that do not rise.
    """

    scores: tuple[float, ...]
    values: tuple[float, ...]
    method: str = "isotonic"

    def __post_init__(self) -> None:
        scores, values = np.array(self.scores), np.array(self.values)
        if len(scores) != len(values) or not len(scores) or (np.diff(scores) <= 0).any() or (np.diff(values) < 0).any():
            raise ConfigError("calibration 'isotonic': knots must rise, in scores and in values. Fit it again.")

    @classmethod
    def fit(cls, counts: ScoreEntries) -> Self:
        """Fit by pooling adjacent violators (Ayer et al., 1955) on weighted counts, as scikit-learn.

        Raises:
            DataContractError: one class only.
        """
        from sklearn.isotonic import isotonic_regression  # slow to import, and not needed on workers

        weight = counts.positive_weight + counts.negative_weight
        if not (counts.positive_weight.sum() > 0.0 and counts.negative_weight.sum() > 0.0):
            raise DataContractError(
                "calibration 'isotonic': the rows to calibrate on have one class only. Use a larger validation fold."
            )
        used = np.flatnonzero(weight > 0.0)[::-1]  # counts are from the highest score down
        score, rate = counts.score[used], counts.positive_weight[used] / weight[used]
        fitted = isotonic_regression(rate, sample_weight=weight[used], y_min=0.0, y_max=1.0)
        is_end = np.r_[True, np.diff(fitted) != 0.0] | np.r_[np.diff(fitted) != 0.0, True]
        return cls(scores=tuple(score[is_end].tolist()), values=tuple(fitted[is_end].tolist()))

    def apply(self, probabilities: npt.ArrayLike) -> FloatArray:
        """Calibrated probabilities, float64 in [0, 1]; order stays, NaN stays."""
        p = np.asarray(probabilities, dtype=np.float64)
        steps = np.interp(p, self.scores, self.values)
        # Rounding in np.interp can leave the range of a step by one digit, and with it the order.
        steps = np.clip(steps, self.values[0], self.values[-1])
        return np.asarray(steps + TIE_BREAK * (p - steps), dtype=np.float64)

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {"method": self.method, "scores": list(self.scores), "values": list(self.values)}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Self:
        """What `to_dict` wrote."""
        return cls(scores=tuple(record["scores"]), values=tuple(record["values"]))
