"""How raw scores map back to probabilities, in closed form: what sampling, weights and focal loss did, undone."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from numbers import Real
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt

from imbalance_spark.core.errors import ConfigError
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


_FURTHEST = 700.0  # exp stays a double


_HALVINGS = 70  # of an interval of 1400: to the last bit of a double


@dataclass(frozen=True, kw_only=True)
class FocalCorrection:
    """The true rate eta at which a score p minimises the expected focal loss (Lin and others, 2017).

    eta = G0 / (G0 + G1) with G0 = (1 - alpha) p^g (p - g (1 - p) ln(1 - p)), G1 = alpha (1 - p)^g ((1 - p) - g p ln p):
    where the derivative of eta * loss_1(p) + (1 - eta) * loss_0(p) is zero. Gamma 0 undoes alpha alone.
    With a gamma of its own for each class (asymmetric loss, Ridnik and others, 2021), g is that of the term's class.

    Args:
        gamma: focusing, at least 0. alpha: weight of the positive class, in (0, 1); 0.5 weighs both alike.
        gamma_negative: focusing of class 0 where it differs.
    Raises:
        ConfigError: a parameter is out of range.
    """

    gamma: float = 2.0
    alpha: float = 0.5
    gamma_negative: float | None = None

    def __post_init__(self) -> None:
        for gamma in self._gammas:
            if not 0.0 <= gamma <= 100.0:
                raise ConfigError(f"focal gamma must be in [0, 100], got {gamma!r}. 2 is usual, 0 is cross-entropy.")
        if not 0.0 < self.alpha < 1.0:
            raise ConfigError(f"focal alpha must be in (0, 1), got {self.alpha!r}. 0.5 weighs both classes alike.")

    def apply(self, scores: npt.ArrayLike) -> FloatArray:
        """Probabilities from scores in [0, 1]; 0 and 1 stay, NaN stays, order stays."""
        p = np.asarray(scores, dtype=np.float64)
        inside = np.clip(p, 1e-300, 1.0 - 2.0**-53)
        eta = np.exp(-np.logaddexp(0.0, -self._log_odds(np.log(inside), np.log1p(-inside))))
        return np.asarray(np.where((p == 0.0) | (p == 1.0), p, eta), dtype=np.float64)

    def logit(self, margins: npt.ArrayLike) -> FloatArray:
        """logit(eta) from the model's margins, logit(p): what `apply` is on scores, without its loss of digits."""
        margin = np.clip(np.asarray(margins, dtype=np.float64), -_FURTHEST, _FURTHEST)
        return self._log_odds(-np.logaddexp(0.0, -margin), -np.logaddexp(0.0, margin))

    def inverse(self, probabilities: npt.ArrayLike) -> FloatArray:
        """The scores that `apply` maps to these probabilities, found by halving an interval of margins."""
        eta = np.asarray(probabilities, dtype=np.float64)
        low, high = np.full(eta.shape, -_FURTHEST), np.full(eta.shape, _FURTHEST)
        with np.errstate(divide="ignore"):
            wanted = np.log(eta) - np.log1p(-eta)
        for _ in range(_HALVINGS):
            middle = (low + high) / 2.0
            is_below = self.logit(middle) < wanted
            low, high = np.where(is_below, middle, low), np.where(is_below, high, middle)
        score = np.exp(-np.logaddexp(0.0, -(low + high) / 2.0))
        return np.asarray(np.where((eta > 0.0) & (eta < 1.0), score, eta), dtype=np.float64)

    def to_dict(self) -> dict[str, float | None]:
        """The parameters by name, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, parameters: Mapping[str, Any]) -> Self:
        """What `to_dict` wrote."""
        return cls(**parameters)

    @property
    def _gammas(self) -> tuple[float, float]:
        return self.gamma if self.gamma_negative is None else self.gamma_negative, self.gamma

    def _log_odds(self, log_p: FloatArray, log_q: FloatArray) -> FloatArray:
        p, q, (gamma_0, gamma_1) = np.exp(log_p), np.exp(log_q), self._gammas
        # As logarithms: p^gamma leaves the doubles for small p.
        negative = np.log1p(-self.alpha) + gamma_0 * log_p + np.log(p - gamma_0 * q * log_q)
        positive = np.log(self.alpha) + gamma_1 * log_q + np.log(q - gamma_1 * p * log_p)
        return np.asarray(negative - positive, dtype=np.float64)


_SMALLEST = 1e-300


@dataclass(frozen=True, kw_only=True)
class SoftmaxCorrection:
    """p_k proportional to s_k / (c_k D(s_k)), of softmax scores s, with D(s) = (1 - s)^g - g (1 - s)^(g-1) s ln s.

    Where the expected focal loss of gamma g is least, -d/ds_k of eta_k c_k (1 - s_k)^g ln s_k is the same for every
    class (Charoenphakdee and others, 2021). With g = 0, D is 1: what is left is the prior correction.

    Args:
        factors: for each class its kept fraction times its weight, above 0; only their ratios matter.
        gamma: focusing of the loss, at least 0.
    Raises:
        ConfigError: a parameter is out of range.
    """

    factors: tuple[float, ...]
    gamma: float = 0.0

    def __post_init__(self) -> None:
        if len(self.factors) < 2 or not all(0.0 < factor < np.inf for factor in self.factors):
            raise ConfigError(f"softmax correction: factors must be numbers above 0, one a class, got {self.factors}.")
        if not 0.0 <= self.gamma <= 100.0:
            raise ConfigError(f"focal gamma must be in [0, 100], got {self.gamma!r}. 2 is usual, 0 is cross-entropy.")

    @property
    def is_identity(self) -> bool:
        """Whether scores are probabilities already."""
        return self.gamma == 0.0 and len(set(self.factors)) == 1

    def log_probabilities(self, margins: npt.ArrayLike) -> FloatArray:
        """ln p, rows by classes, from a model's margins or from ln s."""
        log_score = _log_softmax(np.asarray(margins, dtype=np.float64))
        return _log_softmax(log_score - np.log(np.array(self.factors)) - self._log_focus(log_score))

    def margins(self, probabilities: npt.ArrayLike) -> FloatArray:
        """The ln s of one row that corrects to these probabilities, each above 0: what a fit starts from."""
        wanted = np.log(np.asarray(probabilities, dtype=np.float64)) + np.log(np.array(self.factors))
        if self.gamma == 0.0:
            return np.asarray(wanted - np.logaddexp.reduce(wanted), dtype=np.float64)
        low, high = -2.0 * _FURTHEST, 2.0 * _FURTHEST
        for _ in range(_HALVINGS):
            middle = (low + high) / 2.0
            # A common factor of all shares moves every score the same way: the one at which they sum to 1.
            low, high = (low, middle) if np.exp(self._log_scores(wanted + middle)).sum() > 1.0 else (middle, high)
        found = self._log_scores(wanted + low)
        return np.asarray(found - np.logaddexp.reduce(found), dtype=np.float64)

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {**asdict(self), "factors": list(self.factors)}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Self:
        """What `to_dict` wrote."""
        return cls(factors=tuple(record["factors"]), gamma=record["gamma"])

    def _log_focus(self, log_score: FloatArray) -> FloatArray:
        """ln D."""
        if self.gamma == 0.0:
            return np.zeros_like(log_score)
        score = np.exp(log_score)
        # 1 - s as a sum of the others: where s is near 1, the difference has no digits left.
        others = [np.delete(score, k, axis=1).sum(axis=1) for k in range(score.shape[1])]
        rest = np.maximum(np.stack(others, axis=1), _SMALLEST)
        return self._log_focus_of(log_score, rest)

    def _log_focus_of(self, log_score: FloatArray, rest: FloatArray) -> FloatArray:
        bent = np.maximum(rest - self.gamma * np.exp(log_score) * log_score, _SMALLEST)
        return np.asarray((self.gamma - 1.0) * np.log(rest) + np.log(bent), dtype=np.float64)

    def _log_scores(self, wanted: FloatArray) -> FloatArray:
        """ln s of each class alone, where ln s - ln D(s) is the wanted number: it rises with s, so by halving."""
        low, high = np.full_like(wanted, -_FURTHEST), np.full_like(wanted, _FURTHEST)
        for _ in range(_HALVINGS):
            logit = (low + high) / 2.0
            log_score, log_rest = -np.logaddexp(0.0, -logit), -np.logaddexp(0.0, logit)
            found = log_score - self._log_focus_of(log_score, np.exp(log_rest))
            low, high = np.where(found > wanted, low, logit), np.where(found > wanted, logit, high)
        return np.asarray(-np.logaddexp(0.0, -low), dtype=np.float64)


def _log_softmax(margins: FloatArray) -> FloatArray:
    # The largest one's own term as log1p of the others: near 1, its logarithm keeps its digits.
    shifted, row, largest = (
        margins - margins.max(axis=1, keepdims=True),
        np.arange(len(margins)),
        margins.argmax(axis=1),
    )
    others = np.exp(shifted)
    others[row, largest] = 0.0
    return np.asarray(shifted - np.log1p(others.sum(axis=1, keepdims=True)), dtype=np.float64)


class Correction(Protocol):
    """A rising map from raw scores to probabilities, known before any row is scored."""

    def apply(self, scores: npt.ArrayLike, /) -> FloatArray:
        """Probabilities from raw scores in [0, 1]."""

    def logit(self, margins: npt.ArrayLike, /) -> FloatArray:
        """logit(probability) from the model's margins, logit(score)."""

    def inverse(self, probabilities: npt.ArrayLike, /) -> FloatArray:
        """Raw scores from probabilities."""

    def to_dict(self) -> dict[str, Any]:
        """The parameters by name, for JSON."""


def correction_from_dict(parameters: Mapping[str, Any]) -> Correction:
    """What `Correction.to_dict` wrote."""
    return (FocalCorrection if "gamma" in parameters else PriorCorrection).from_dict(parameters)
