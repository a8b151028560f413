"""Calibrations that are linear in ln p and -ln(1 - p): identity, intercept, temperature, Platt and beta."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self, get_args

import numpy as np
import numpy.typing as npt

from imbalance_spark.core.arrays import FloatArray, sigmoid
from imbalance_spark.core.errors import ConfigError, DataContractError
from imbalance_spark.metrics.grid import ScoreEntries

Method = Literal["identity", "intercept", "temperature", "platt", "platt_prior", "beta"]
_SMALLEST, _LARGEST = 1e-300, 1.0 - 2.0**-53  # scores 0 and 1 have no finite odds
_STEPS = 100
_CONVERGED = 1e-10
_PRIOR = np.array([2.0, 0.5])
"""Standard deviations of the shift and of the slope's departure from 1, in logits. The optimum is flat: 1 to 5 and 0.3
to 0.5 give the same cost within 0.2 %."""


@dataclass(frozen=True, kw_only=True)
class LogOddsCalibration:
    """p' = sigmoid(a ln p - b ln(1 - p) + c), rising for a, b >= 0 with one of them above 0.

    With a = b it is a line in logit(p): `identity` (1, 1, 0), `intercept` (1, 1, c), `temperature` (a, a, 0),
    `platt` (a, a, c; Platt, 1999, on logits), `platt_prior` (the same, held near the identity by a prior). `beta` is
    the whole family (Kull, Silva Filho and Flach, 2017).

    Raises:
        ConfigError: a parameter is not finite, or the map does not rise.
    """

    method: Method
    a: float = 1.0
    b: float = 1.0
    c: float = 0.0

    def __post_init__(self) -> None:
        finite = all(math.isfinite(value) for value in (self.a, self.b, self.c))
        if self.method not in get_args(Method) or not finite or min(self.a, self.b) < 0.0 or self.a + self.b <= 0.0:
            raise ConfigError(
                f"calibration {self.method!r}: a and b must be at least 0 and not both 0, c finite, got a={self.a!r}, "
                f"b={self.b!r}, c={self.c!r}. A map that does not rise would reverse the ranking."
            )

    @classmethod
    def fit(cls, counts: ScoreEntries, method: Method) -> Self:
        """Fit the parameters by maximum likelihood on weighted counts.

        `platt` is fitted to Platt's smoothed targets (N+ + 1) / (N+ + 2) and 1 / (N- + 2), as scikit-learn's
        sigmoid calibration does.

        Raises:
            DataContractError: one class only, or a slope <= 0: higher scores are not more likely positive.
        """
        positive, negative = counts.positive_weight, counts.negative_weight
        if not (positive.sum() > 0.0 and negative.sum() > 0.0):
            raise DataContractError(
                f"calibration {method!r}: the rows to calibrate on have one class only. Use a larger validation fold."
            )
        if method == "identity":
            return cls(method=method)
        up, down = _terms(counts.score)
        if method == "intercept":
            (c,) = _logistic([], up + down, positive, negative, has_intercept=True)
            return cls(method=method, c=c)
        if method == "beta":
            return cls._beta(up, down, positive, negative)
        if method == "platt":
            positive, negative = _platt_targets(positive, negative)
        found = _logistic([up + down], np.zeros_like(up), positive, negative, has_intercept=method == "platt")
        if found[0] <= 0.0:
            raise DataContractError(
                f"calibration {method!r}: the best slope is {found[0]:.4g}: higher scores are not more likely positive "
                "on these rows. Check the model and the labels."
            )
        return cls(method=method, a=found[0], b=found[0], c=found[1] if method == "platt" else 0.0)

    @classmethod
    def fit_with_prior(cls, counts: ScoreEntries) -> Self:
        """Platt scaling with a normal prior: the maximum a posteriori of logit p' = s + d + e (s - s0).

        s is the logit of p, s0 that of the base rate, d ~ N(0, 2^2), e ~ N(0, 0.5^2). With one positive row it is
        nearly the identity, with many it is Platt scaling, so that no number of rows is too small for it. Weights are
        scaled to a mean of 1.

        Returns:
            The identity where a class has no row, and a shift alone where higher scores are less likely positive.
        """
        rows = float(counts.positives.sum() + counts.negatives.sum())
        total = float(counts.positive_weight.sum() + counts.negative_weight.sum())
        positive, negative = (w * (rows / total) for w in (counts.positive_weight, counts.negative_weight))
        if not (positive.sum() > 0.0 and negative.sum() > 0.0):
            return cls(method="platt_prior")
        up, down = _terms(counts.score)
        score, centre = up + down, math.log(positive.sum() / negative.sum())
        shift, more = _with_prior(score, np.column_stack([np.ones_like(score), score - centre]), positive, negative)
        if more <= -1.0:
            more, (shift,) = 0.0, _with_prior(score, np.ones((len(score), 1)), positive, negative)
        return cls(method="platt_prior", a=1.0 + more, b=1.0 + more, c=shift - more * centre)

    @classmethod
    def _beta(cls, up: FloatArray, down: FloatArray, positive: FloatArray, negative: FloatArray) -> Self:
        nothing = np.zeros_like(up)
        a, b, c = _logistic([up, down], nothing, positive, negative, has_intercept=True)
        # As its authors do: a negative coefficient is set to 0 and the others are fitted again.
        if a < 0.0:
            a, (b, c) = 0.0, _logistic([down], nothing, positive, negative, has_intercept=True)
        elif b < 0.0:
            b, (a, c) = 0.0, _logistic([up], nothing, positive, negative, has_intercept=True)
        if min(a, b) < 0.0 or a + b <= 0.0:
            raise DataContractError("calibration 'beta': higher scores are not more likely positive on these rows.")
        return cls(method="beta", a=a, b=b, c=c)

    def apply(self, probabilities: npt.ArrayLike) -> FloatArray:
        """Calibrated probabilities, float64 in [0, 1]; order stays, NaN stays."""
        p = np.asarray(probabilities, dtype=np.float64)
        if self.method == "identity":
            return p
        up, down = _terms(p)
        logit = self.a * up + self.b * down + self.c
        # Each of the two forms alone would overflow on one side.
        small = np.exp(-np.abs(logit))
        return np.asarray(np.where(logit >= 0.0, 1.0, small) / (1.0 + small), dtype=np.float64)

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Self:
        """What `to_dict` wrote."""
        return cls(**record)


def _terms(p: FloatArray) -> tuple[FloatArray, FloatArray]:
    finite = np.clip(p, _SMALLEST, _LARGEST)
    return np.log(finite), -np.log1p(-finite)


def _platt_targets(positive: FloatArray, negative: FloatArray) -> tuple[FloatArray, FloatArray]:
    ones, zeros = positive.sum(), negative.sum()
    high, low = (ones + 1.0) / (ones + 2.0), 1.0 / (zeros + 2.0)
    return positive * high + negative * low, positive * (1.0 - high) + negative * (1.0 - low)


def _logistic(
    columns: list[FloatArray],
    offset: FloatArray,
    positive: FloatArray,
    negative: FloatArray,
    *,
    has_intercept: bool,
) -> tuple[float, ...]:
    """Coefficients of an unpenalized logistic regression on counts, by Newton's method with step halving.

    The intercept comes last.
    """
    design = np.column_stack([*columns, np.ones_like(offset)] if has_intercept else columns)
    centre, spread = _standard(design, positive + negative, has_intercept)
    scaled = (design - centre) / spread
    estimate = np.zeros(scaled.shape[1])
    estimate[: len(columns)] = spread[: len(columns)] / max(len(columns), 1)
    reached = _loss(estimate, scaled, offset, positive, negative)
    for _ in range(_STEPS):
        step, before = _newton_step(estimate, scaled, offset, positive, negative), reached
        reached = _loss(estimate + step, scaled, offset, positive, negative)
        while reached > before and np.abs(step).max() > _CONVERGED:
            step /= 2.0
            reached = _loss(estimate + step, scaled, offset, positive, negative)
        estimate = estimate + step
        if np.abs(step).max() <= _CONVERGED:
            break
    found = estimate / spread
    if has_intercept:
        found[-1] = estimate[-1] - float((estimate[:-1] / spread[:-1]) @ centre[:-1])
    return tuple(float(value) for value in found)


def _with_prior(
    offset: FloatArray, design: FloatArray, positive: FloatArray, negative: FloatArray
) -> tuple[float, ...]:
    """Coefficients beside an offset, of most posterior density under `_PRIOR`, by Newton's method with step halving."""
    precision = _PRIOR[: design.shape[1]] ** -2.0
    estimate = np.zeros(design.shape[1])

    def loss(values: FloatArray) -> float:
        return _loss(values, design, offset, positive, negative) + float(precision @ values**2) / 2.0

    reached = loss(estimate)
    for _ in range(_STEPS):
        p = sigmoid(design @ estimate + offset)
        gradient = design.T @ (positive - (positive + negative) * p) - precision * estimate
        hessian = (design * ((positive + negative) * p * (1.0 - p))[:, None]).T @ design + np.diag(precision)
        step, before = np.linalg.solve(hessian, gradient), reached
        reached = loss(estimate + step)
        while reached > before and np.abs(step).max() > _CONVERGED:
            step /= 2.0
            reached = loss(estimate + step)
        estimate = estimate + step
        if np.abs(step).max() <= _CONVERGED:
            break
    return tuple(estimate.tolist())


def _standard(design: FloatArray, weight: FloatArray, has_intercept: bool) -> tuple[FloatArray, FloatArray]:
    """Centre and spread that standardize the columns, for a well-conditioned Hessian; the intercept is unchanged."""
    centre, spread = np.zeros(design.shape[1]), np.ones(design.shape[1])
    if not has_intercept:
        return centre, spread
    mean = np.average(design, axis=0, weights=weight)
    deviation = np.sqrt(np.average((design - mean) ** 2, axis=0, weights=weight))
    centre[:-1], spread[:-1] = mean[:-1], np.where(deviation[:-1] > 0.0, deviation[:-1], 1.0)
    return centre, spread


def _newton_step(
    estimate: FloatArray, design: FloatArray, offset: FloatArray, positive: FloatArray, negative: FloatArray
) -> FloatArray:
    p = sigmoid(design @ estimate + offset)
    gradient = design.T @ (positive - (positive + negative) * p)
    hessian = (design * ((positive + negative) * p * (1.0 - p))[:, None]).T @ design
    return np.asarray(np.linalg.lstsq(hessian, gradient, rcond=None)[0], dtype=np.float64)


def _loss(
    estimate: FloatArray, design: FloatArray, offset: FloatArray, positive: FloatArray, negative: FloatArray
) -> float:
    margin = design @ estimate + offset
    tail = np.log1p(np.exp(-np.abs(margin)))  # as np.logaddexp(0, margin), several times faster
    return float(positive @ (np.maximum(-margin, 0.0) + tail) + negative @ (np.maximum(margin, 0.0) + tail))
