"""Losses that XGBoost has not: picklable objectives of gradients and Hessians, for `obj=`.

XGBoost gives a custom objective float32 margins and applies no weights to what it returns, so both objects multiply
by the rows' weights themselves; `scale_pos_weight` has no effect on them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt

from imbalance_spark.calibration import PriorCorrection
from imbalance_spark.core.errors import ConfigError
from imbalance_spark.metrics.grid import FloatArray

if TYPE_CHECKING:
    import xgboost


_SMALLEST_HESSIAN = 1e-16
"""Focal loss curves downwards on badly wrong rows, where Newton's step would lead uphill; XGBoost's own floor."""


@dataclass(frozen=True, kw_only=True)
class FocalLoss:
    """-w_y (1 - p_y)^gamma_y ln p_y of the true class y, p the sigmoid of the margin (Lin and others, 2017).

    Gammas of 0 are cross-entropy, with weights the weighted logistic loss.

    Args:
        gammas: focusing on hard rows of class 0 and of class 1, each in [0, 100].
        weights: of class 0 and of class 1, each above 0.
    Raises:
        ConfigError: a parameter is out of range; all problems at once.
    """

    gammas: tuple[float, float] = (2.0, 2.0)
    weights: tuple[float, float] = (1.0, 1.0)

    def __post_init__(self) -> None:
        _check(self.gammas, self.weights)

    @classmethod
    def weighted_logistic(cls, weights: tuple[float, float]) -> Self:
        """Cross-entropy with a weight for each class."""
        return cls(gammas=(0.0, 0.0), weights=weights)

    @classmethod
    def focal(cls, gamma: float = 2.0, alpha: float | None = None) -> Self:
        """The usual focal loss; `alpha` in (0, 1) weighs class 1, 1 - alpha class 0, None both with 1."""
        if alpha is not None and not 0.0 < alpha < 1.0:
            raise ConfigError(f"focal alpha must be in (0, 1), got {alpha!r}. 0.5 weighs both classes alike.")
        return cls(gammas=(gamma, gamma), weights=(1.0, 1.0) if alpha is None else (1.0 - alpha, alpha))

    @classmethod
    def asymmetric(cls, gamma_negative: float, gamma_positive: float) -> Self:
        """A focusing of its own for each class (Ridnik and others, 2021), without their probability margin."""
        return cls(gammas=(gamma_negative, gamma_positive))

    @classmethod
    def class_balanced(cls, counts: Mapping[int, int], *, beta: float, gamma: float = 2.0) -> Self:
        """Weights by the effective number of rows; see `effective_number_weights`."""
        found = effective_number_weights(counts, beta)
        return cls(gammas=(gamma, gamma), weights=(found[0], found[1]))

    def __call__(self, margins: npt.NDArray[np.float32], data: "xgboost.DMatrix") -> tuple[FloatArray, FloatArray]:
        """Gradient and Hessian by margin of each row, times its weight: what `xgboost.train(obj=)` asks for."""
        gradient, hessian = self.derivatives(margins, data.get_label())
        weight = data.get_weight()
        return (gradient * weight, hessian * weight) if len(weight) else (gradient, hessian)

    def value(self, margins: npt.ArrayLike, labels: npt.ArrayLike) -> FloatArray:
        """The loss of each row of weight 1."""
        _, gamma, weight, log_p, log_q = self._of_true_class(margins, labels)
        return np.asarray(-weight * np.exp(gamma * log_q) * log_p, dtype=np.float64)

    def derivatives(self, margins: npt.ArrayLike, labels: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
        """First and second derivative of `value` by the margin, the second one floored at 1e-16.

        With p the probability of the true class, g its gamma and z its margin (times -1 for class 0):
        d/dz = (1 - p)^g (g p ln p - (1 - p)), d2/dz2 = p (1 - p)^g ((1 - p) (g ln p + 2 g + 1) - g^2 p ln p).
        """
        sign, gamma, weight, log_p, log_q = self._of_true_class(margins, labels)
        p, q = np.exp(log_p), np.exp(log_q)
        scale = weight * np.exp(gamma * log_q)
        gradient = sign * scale * (gamma * p * log_p - q)
        hessian = scale * p * (q * (gamma * log_p + 2.0 * gamma + 1.0) - gamma**2 * p * log_p)
        return gradient, np.maximum(hessian, _SMALLEST_HESSIAN)

    def correction(self) -> PriorCorrection:
        """From the score that minimises this loss to the rate of the positive class."""
        return PriorCorrection(factors=self.weights, gammas=self.gammas)

    def _of_true_class(self, margins: npt.ArrayLike, labels: npt.ArrayLike) -> tuple[FloatArray, ...]:
        is_positive = np.asarray(labels) == 1
        sign = np.where(is_positive, 1.0, -1.0)
        margin = sign * np.asarray(margins, dtype=np.float64)
        gamma, weight = (np.where(is_positive, pair[1], pair[0]) for pair in (self.gammas, self.weights))
        return sign, gamma, weight, -np.logaddexp(0.0, -margin), -np.logaddexp(0.0, margin)


@dataclass(frozen=True, kw_only=True)
class SoftmaxFocalLoss:
    """-w_y (1 - p_y)^gamma ln p_y of the true class y, p the softmax of a row's margins; gamma 0 is cross-entropy.

    Args:
        gamma: focusing on hard rows, in [0, 100].
        weights: of each class in the order of their numbers, each above 0.
    Raises:
        ConfigError: a parameter is out of range; all problems at once.
    """

    weights: tuple[float, ...]
    gamma: float = 2.0

    def __post_init__(self) -> None:
        _check((self.gamma,), self.weights)

    def __call__(self, margins: npt.NDArray[np.float32], data: "xgboost.DMatrix") -> tuple[FloatArray, FloatArray]:
        """Gradient and diagonal Hessian, rows by classes, times each row's weight."""
        gradient, hessian = self.derivatives(margins, data.get_label())
        weight = data.get_weight()
        return (gradient * weight[:, None], hessian * weight[:, None]) if len(weight) else (gradient, hessian)

    def value(self, margins: npt.ArrayLike, labels: npt.ArrayLike) -> FloatArray:
        """The loss of each row of weight 1."""
        label = np.asarray(labels, dtype=np.int64)
        log_p, others, _ = _softmax(margins, label)
        return np.asarray(-np.array(self.weights)[label] * others**self.gamma * log_p, dtype=np.float64)

    def derivatives(self, margins: npt.ArrayLike, labels: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
        """First and second derivative of `value` by each margin of its row, the second one floored at 1e-16.

        With q the probability of the true class, g gamma, d_j = [j is true] - p_j and r = q ln q / (1 - q):
        d/dz_j = A d_j and d2/dz_j2 = q A' d_j^2 - A p_j (1 - p_j), where A = (1 - q)^g (g r - 1) and
        A' = g (1 - q)^(g-1) (2 + ln q - (g - 1) r).
        """
        label = np.asarray(labels, dtype=np.int64)
        log_q, others, p = _softmax(margins, label)
        q, gamma, weight = np.exp(log_q), self.gamma, np.array(self.weights)[label]
        ratio = q * log_q / others
        first = weight * others**gamma * (gamma * ratio - 1.0)
        second = weight * q * gamma * others ** (gamma - 1.0) * (2.0 + log_q - (gamma - 1.0) * ratio)
        difference = -p
        difference[np.arange(len(label)), label] = others
        hessian = second[:, None] * difference**2 - first[:, None] * p * (1.0 - p)
        return first[:, None] * difference, np.maximum(hessian, _SMALLEST_HESSIAN)


def effective_number_weights(counts: Mapping[int, int], beta: float) -> dict[int, float]:
    """Class weights (1 - beta) / (1 - beta^n_k), scaled to sum to the number of classes (Cui and others, 2019).

    Beta 0 weighs all classes alike; towards 1 the weights near 1 / n_k.

    Raises:
        ConfigError: beta is not in [0, 1), or a class has no rows.
    """
    problems = []
    if not 0.0 <= beta < 1.0:
        problems.append(f"class-balanced beta must be in [0, 1), got {beta!r}. 0.999 is usual.")
    if empty := sorted(label for label, rows in counts.items() if rows < 1):
        problems.append(f"class-balanced loss: classes {empty} have no rows to weigh. Take more rows.")
    if problems:
        raise ConfigError.of_all(problems)
    # 1 - beta^n as expm1: n may be a handful and beta close to 1.
    effective = {k: -np.expm1(n * np.log(beta)) / (1.0 - beta) if beta else 1.0 for k, n in counts.items()}
    total = sum(1.0 / number for number in effective.values())
    return {label: float(len(counts) / (number * total)) for label, number in effective.items()}


def _softmax(margins: npt.ArrayLike, label: npt.NDArray[np.int64]) -> tuple[FloatArray, FloatArray, FloatArray]:
    """ln of the true class's probability, that of all others together, and the probabilities: rows by classes."""
    margin = np.asarray(margins, dtype=np.float64)
    log_p = margin - np.logaddexp.reduce(margin, axis=1, keepdims=True)
    p, row = np.exp(log_p), np.arange(len(label))
    rest = p.copy()
    rest[row, label] = 0.0
    # As a sum, not as 1 - q, which has no digits left where the model is sure; never 0, as it is divided by.
    return log_p[row, label], np.maximum(rest.sum(axis=1), 1e-300), p


def _check(gammas: tuple[float, ...], weights: tuple[float, ...]) -> None:
    problems = [
        f"focal gamma must be in [0, 100], got {gamma!r}. 2 is usual, 0 is cross-entropy."
        for gamma in dict.fromkeys(gammas)
        if not 0.0 <= gamma <= 100.0
    ]
    if not all(0.0 < weight < np.inf for weight in weights):
        problems.append(f"the loss's class weights must be numbers above 0, got {weights}. 1 for each weighs none.")
    if problems:
        raise ConfigError.of_all(problems)


Float32Array = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class BalancedSketchLoss:
    """`multi:softprob` of rows whose class weights balance the cuts: they are divided out of the gradient.

    Gradient p_k - [k is true] and Hessian 2 p_k (1 - p_k), as XGBoost's own, times a row's weight over its class's.

    Args:
        weights: of each class in the weight column, above 0.
    Raises:
        ConfigError: a weight is not above 0.
    """

    weights: tuple[float, ...]

    def __post_init__(self) -> None:
        if not all(0.0 < weight < np.inf for weight in self.weights):
            raise ConfigError(f"the loss's class weights must be numbers above 0, got {self.weights}.")

    def __call__(self, margins: Float32Array, data: "xgboost.DMatrix") -> tuple[Float32Array, Float32Array]:
        """Gradient and Hessian, rows by classes."""
        label, weight = data.get_label().astype(np.int64), data.get_weight().astype(np.float64)
        left = (weight if len(weight) else 1.0) / np.array(self.weights)[label]
        p = np.exp(margins - margins.max(axis=1, keepdims=True), dtype=np.float64)
        p /= p.sum(axis=1, keepdims=True)
        hessian = np.maximum(2.0 * p * (1.0 - p), _SMALLEST_HESSIAN) * left[:, None]
        p[np.arange(len(label)), label] -= 1.0
        return (p * left[:, None]).astype(np.float32), hessian.astype(np.float32)
