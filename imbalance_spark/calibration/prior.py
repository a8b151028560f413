"""The closed-form prior correction: what sampling and weights did to the class odds, undone."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from numbers import Real
from typing import Self

import numpy as np
import numpy.typing as npt

from imbalance_spark.errors import ConfigError
from imbalance_spark.metrics.grid import FloatArray


def correct_prior(scores: npt.ArrayLike, factors: Sequence[float]) -> FloatArray:
    """Class probabilities before sampling and weighting: p_k proportional to score_k / factor_k.

    Training on a fraction f_k of class k with weight w_k shifts the class odds by f_k w_k, and a consistent learner
    learns the shifted odds. Exact for sampling and weights, approximate for synthetic rows. For undersampling this is
    p = b s / (b s - s + 1) (Dal Pozzolo, Caelen, Johnson and Bontempi, 2015).

    Args:
        scores: shape (rows, classes), rows that sum to 1; or shape (rows,), the score of class 1 of two.
        factors: f_k w_k for each class, in the order of the columns, class 0 first.
    Returns:
        Float64 probabilities of the same shape.
    Raises:
        ConfigError: a factor is not a positive number, or their number is not that of the classes.
    """
    score = np.asarray(scores, dtype=np.float64)
    factor = np.array([_positive(value, f"factors[{k}]") for k, value in enumerate(factors)])
    classes = 2 if score.ndim == 1 else score.shape[1]
    if len(factor) != classes:
        raise ConfigError(f"correct_prior: {len(factor)} factors for {classes} classes. Give one for each class.")
    if score.ndim == 1:
        return PriorCorrection(positive_factor=factor[1], negative_factor=factor[0]).apply(score)
    # Scaled by the smallest factor, no quotient overflows.
    shares = score * (factor.min() / factor)
    return np.asarray(shares / shares.sum(axis=1, keepdims=True), dtype=np.float64)


@dataclass(frozen=True, kw_only=True)
class PriorCorrection:
    """What sampling and weights did to the class odds, and how to undo it: logit(p) = logit(score) + logit_shift.

    A factor is the kept fraction of a class times its weight; only their ratio matters.

    Raises:
        ConfigError: a factor is not a positive number.
    """

    positive_factor: float
    negative_factor: float

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            _positive(value, f"PriorCorrection.{name}")

    @classmethod
    def identity(cls) -> Self:
        """The correction of a model that was trained on the rows as they are."""
        return cls(positive_factor=1.0, negative_factor=1.0)

    @property
    def logit_shift(self) -> float:
        """What is added to logit(score): below 0 where training made positives more frequent than they are."""
        return math.log(self.negative_factor) - math.log(self.positive_factor)

    def apply(self, scores: npt.ArrayLike) -> FloatArray:
        """Probabilities from raw scores in [0, 1]; 0 and 1 stay, NaN stays, order stays."""
        return _shifted(np.asarray(scores, dtype=np.float64), self.negative_factor, self.positive_factor)

    def logit(self, margins: npt.ArrayLike) -> FloatArray:
        """logit(probability) from the model's margins, logit(score)."""
        return np.asarray(margins, dtype=np.float64) + self.logit_shift

    def inverse(self, probabilities: npt.ArrayLike) -> FloatArray:
        """Raw scores from probabilities: a threshold on probabilities as a threshold on raw scores."""
        return _shifted(np.asarray(probabilities, dtype=np.float64), self.positive_factor, self.negative_factor)

    def to_dict(self) -> dict[str, float]:
        """The factors by name, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, factors: Mapping[str, float]) -> Self:
        """What `to_dict` wrote."""
        return cls(**factors)


def _shifted(score: FloatArray, times: float, against: float) -> FloatArray:
    largest = max(times, against)
    share = score * (times / largest)
    return np.asarray(share / (share + (1.0 - score) * (against / largest)), dtype=np.float64)


def _positive(value: float, name: str) -> float:
    # Within these limits no product or quotient of two factors leaves the doubles.
    if not (isinstance(value, Real) and 1e-100 <= value <= 1e100):
        raise ConfigError(
            f"{name} must be a positive number from 1e-100 to 1e100, got {value!r}. It is kept fraction times weight."
        )
    return float(value)
