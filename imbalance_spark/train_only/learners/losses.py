"""Losses that XGBoost does not have: picklable objectives of gradients and Hessians, for `obj=`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from imbalance_spark.calibration import PriorCorrection
from imbalance_spark.core.arrays import FloatArray
from imbalance_spark.core.errors import ConfigError

if TYPE_CHECKING:
    import lightgbm
    import xgboost

_SMALLEST_HESSIAN = 1e-16
"""Focal loss curves downwards on badly wrong rows, where Newton's step would lead uphill; XGBoost's own floor."""
_SMALLEST_REST = 1e-300  # stands for a probability of 0 that is divided by


@dataclass(frozen=True, kw_only=True)
class FocalLoss:
    """-w_y (1 - p_y)^g_y ln p_y of the true class y (Lin and others, 2017), p the softmax of a row's margins.

    Gammas of 0 are weighted cross-entropy. Margins of shape (rows, K) are those of K classes; of shape (rows,) they
    are z of two classes with margins (0, z), as `binary:logistic` has them.

    XGBoost hands over float32 margins; neither it nor LightGBM applies weights to what a custom objective returns, so
    this one multiplies by the rows' weights itself; `scale_pos_weight` has no effect on it.

    Args:
        weights: of each class in the order of their numbers, above 0.
        gammas: focusing on hard rows of each class, in [0, 100]; () is none.
        hessian_scale: factor of the Hessian; 2 gives the diagonal that XGBoost's own softmax uses.
        offsets: added to the margin of each class before all else; () is none. Not together with gammas.
    Raises:
        ConfigError: a parameter is out of range; all problems at once.
    """

    weights: tuple[float, ...]
    gammas: tuple[float, ...] = ()
    hessian_scale: float = 1.0
    offsets: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        problems = [
            f"focal gamma must be in [0, 100], got {gamma!r}. 2 is usual, 0 is cross-entropy."
            for gamma in dict.fromkeys(self.gammas)
            if not 0.0 <= gamma <= 100.0
        ]
        if not all(0.0 < weight < np.inf for weight in self.weights):
            problems.append(
                f"the loss's class weights must be numbers above 0, got {self.weights}. 1 for each weighs none."
            )
        if len(self.weights) < 2 or len(self.gammas) not in (0, len(self.weights)):
            problems.append(f"a loss needs a weight, and a gamma or none, for each class, got {self}.")
        if self.offsets and (any(self.gammas) or len(self.offsets) != len(self.weights)):
            problems.append(f"a loss needs an offset for each class, and then no gammas, got {self}.")
        if problems:
            raise ConfigError.of_all(problems)

    @classmethod
    def focal(cls, gamma: float = 2.0, alpha: float | None = None, *, classes: int = 2) -> Self:
        """The usual focal loss; `alpha` in (0, 1) weighs class 1 of two, 1 - alpha class 0, None all classes with 1."""
        if alpha is not None and not 0.0 < alpha < 1.0:
            raise ConfigError(f"focal alpha must be in (0, 1), got {alpha!r}. 0.5 weighs both classes alike.")
        weights = (1.0,) * classes if alpha is None else (1.0 - alpha, alpha)
        return cls(weights=weights, gammas=(gamma,) * len(weights))

    @classmethod
    def asymmetric(cls, gamma_negative: float, gamma_positive: float, *, classes: int = 2, largest: int = 0) -> Self:
        """Focusing of its own for the largest class (Ridnik and others, 2021), without their probability margin."""
        gammas = tuple(gamma_negative if k == largest else gamma_positive for k in range(classes))
        return cls(weights=(1.0,) * classes, gammas=gammas)

    @classmethod
    def class_balanced(cls, counts: Mapping[int, int], *, beta: float, gamma: float = 2.0) -> Self:
        """Weights by the effective number of rows; see `effective_number_weights`."""
        weights = effective_number_weights(counts, beta)
        return cls(weights=tuple(weights[k] for k in sorted(weights)), gammas=(gamma,) * len(weights))

    @classmethod
    def logit_adjusted(cls, counts: Mapping[int, int], *, tau: float = 1.0) -> Self:
        """Cross-entropy of margins plus tau ln(share of the class) (Menon and others, 2021, equation 10).

        The margins that minimise it are those of probabilities over shares^tau: with tau 1, of classes as frequent as
        each other. Its minimum is that of cross-entropy, reached from margins that the offsets move.
        """
        total = sum(counts.values())
        offsets = tuple(tau * float(np.log(counts[k] / total)) for k in sorted(counts))
        return cls(weights=(1.0,) * len(counts), offsets=offsets)

    def __call__(
        self, margins: npt.NDArray[Any], data: "xgboost.DMatrix | lightgbm.Dataset"
    ) -> tuple[FloatArray, FloatArray]:
        """What `xgboost.train(obj=)` and LightGBM's `update(fobj=)` ask for; see `weighted`."""
        return self.weighted(margins, data.get_label(), data.get_weight())

    def weighted(self, margins: npt.ArrayLike, labels: Any, weights: Any) -> tuple[FloatArray, FloatArray]:
        """Gradient and diagonal Hessian by margin, times each row's weight; None or an empty array weighs all alike."""
        gradient, hessian = self.derivatives(margins, labels)
        weight = np.asarray(() if weights is None else weights, dtype=np.float64)
        if not len(weight):
            return gradient, hessian
        if gradient.ndim == 2:
            weight = weight[:, None]
        return gradient * weight, hessian * weight

    def value(self, margins: npt.ArrayLike, labels: npt.ArrayLike) -> FloatArray:
        """The loss of each row of weight 1."""
        label, margins = np.asarray(labels, dtype=np.int64), self._moved(margins)
        gamma, weight = self._of_class(label)
        if margins.ndim == 1:
            log_p, log_rest = _sigmoid_logs(_towards(label) * margins.astype(np.float64))
            return np.asarray(-weight * np.exp(gamma * log_rest) * log_p, dtype=np.float64)
        log_p, rest, _ = _softmax(margins, label)
        return np.asarray(-weight * rest**gamma * log_p, dtype=np.float64)

    def derivatives(self, margins: npt.ArrayLike, labels: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
        """First and second derivative of `value` by each margin of its row, the second one floored at 1e-16."""
        label, margins = np.asarray(labels, dtype=np.int64), self._moved(margins)
        if margins.ndim == 1:
            return self._of_two(margins.astype(np.float64), label)
        return self._of_many(margins, label) if any(self.gammas) else self._cross_entropy(margins, label)

    def correction(self) -> PriorCorrection:
        """From the scores that minimise this loss to the probabilities of the classes."""
        return PriorCorrection(factors=self.factors, gammas=self.gammas)

    @property
    def factors(self) -> tuple[float, ...]:
        """What the loss does to the odds of each class: its weight, over the exponential of its offset."""
        offsets = self.offsets or (0.0,) * len(self.weights)
        return tuple(float(weight * np.exp(-offset)) for weight, offset in zip(self.weights, offsets, strict=True))

    @property
    def is_class_weight(self) -> bool:
        """Whether it is cross-entropy with weights of the classes, which rows can have as well."""
        return not any(self.gammas) and not any(self.offsets)

    def _moved(self, margins: npt.ArrayLike) -> npt.NDArray[np.floating]:
        """The margins with their offsets."""
        found = np.asarray(margins)
        if not self.offsets:
            return found
        return found + (self.offsets[1] - self.offsets[0] if found.ndim == 1 else np.array(self.offsets))

    def _of_class(self, label: npt.NDArray[np.int64]) -> tuple[FloatArray, FloatArray]:
        return np.array(self.gammas or (0.0,) * len(self.weights))[label], np.array(self.weights)[label]

    def _of_two(self, margin: FloatArray, label: npt.NDArray[np.int64]) -> tuple[FloatArray, FloatArray]:
        """By z of the margins (0, z), with p the probability of the true class, g its gamma, z times -1 for class 0.

        d/dz = (1 - p)^g (g p ln p - (1 - p)), d2/dz2 = p (1 - p)^g ((1 - p) (g ln p + 2 g + 1) - g^2 p ln p).
        """
        sign, (gamma, weight) = _towards(label), self._of_class(label)
        log_p, log_q = _sigmoid_logs(sign * margin)
        p, q = np.exp(log_p), np.exp(log_q)
        scale = weight * np.exp(gamma * log_q)
        gradient = sign * scale * (gamma * p * log_p - q)
        hessian = scale * p * (q * (gamma * log_p + 2.0 * gamma + 1.0) - gamma**2 * p * log_p)
        return gradient, np.maximum(self.hessian_scale * hessian, _SMALLEST_HESSIAN)

    def _of_many(self, margins: npt.ArrayLike, label: npt.NDArray[np.int64]) -> tuple[FloatArray, FloatArray]:
        """With q the probability of the true class, g its gamma, d_j = [j is true] - p_j and r = q ln q / (1 - q).

        d/dz_j = A d_j and d2/dz_j2 = q A' d_j^2 - A p_j (1 - p_j), where A = (1 - q)^g (g r - 1) and
        A' = g (1 - q)^(g-1) (2 + ln q - (g - 1) r).
        """
        log_q, rest, p = _softmax(margins, label)
        q, (gamma, weight) = np.exp(log_q), self._of_class(label)
        ratio = q * log_q / rest
        first = weight * rest**gamma * (gamma * ratio - 1.0)
        second = weight * q * gamma * rest ** (gamma - 1.0) * (2.0 + log_q - (gamma - 1.0) * ratio)
        difference = -p
        difference[np.arange(len(label)), label] = rest
        hessian = second[:, None] * difference**2 - first[:, None] * p * (1.0 - p)
        return first[:, None] * difference, np.maximum(self.hessian_scale * hessian, _SMALLEST_HESSIAN)

    def _cross_entropy(
        self, margins: npt.NDArray[np.floating], label: npt.NDArray[np.int64]
    ) -> tuple[FloatArray, FloatArray]:
        """Gradient p_j - [j is true] and Hessian p_j (1 - p_j), times the weight of the true class."""
        # Differences in the margins' own float32, as in XGBoost's softmax.
        p = np.exp(margins - margins.max(axis=1, keepdims=True), dtype=np.float64)
        p /= p.sum(axis=1, keepdims=True)
        weight = np.array(self.weights)[label][:, None]
        hessian = np.maximum(self.hessian_scale * p * (1.0 - p), _SMALLEST_HESSIAN) * weight
        p[np.arange(len(label)), label] -= 1.0
        return p * weight, hessian


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


def _towards(label: npt.NDArray[np.int64]) -> FloatArray:
    """1 where class 1 is the true one of two, else -1."""
    return np.where(label == 1, 1.0, -1.0)


def _sigmoid_logs(margin: FloatArray) -> tuple[FloatArray, FloatArray]:
    """ln of the sigmoid and of its complement."""
    return -np.logaddexp(0.0, -margin), -np.logaddexp(0.0, margin)


def _softmax(margins: npt.ArrayLike, label: npt.NDArray[np.int64]) -> tuple[FloatArray, FloatArray, FloatArray]:
    """ln of the true class's probability, that of all others together, and the probabilities, rows by classes."""
    margin = np.asarray(margins, dtype=np.float64)
    log_p = margin - np.logaddexp.reduce(margin, axis=1, keepdims=True)
    p, row = np.exp(log_p), np.arange(len(label))
    rest = p.copy()
    rest[row, label] = 0.0
    # As a sum, not as 1 - q, which has no digits left where the model is sure.
    return log_p[row, label], np.maximum(rest.sum(axis=1), _SMALLEST_REST), p
