"""Prior correction in closed form: what sampling, weights and focal loss did to a model's raw scores, undone."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from imbalance_spark.core.arrays import FloatArray, log_softmax
from imbalance_spark.core.errors import ConfigError

_FURTHEST = 700.0  # exp stays a double
_HALVINGS = 70  # of an interval of 1400: to the last bit of a double
_SMALLEST = 1e-300


def correct_prior(scores: npt.ArrayLike, factors: Sequence[float]) -> FloatArray:
    """Class probabilities before sampling and weighting: p_k proportional to score_k / factor_k.

    Training on a fraction f_k of class k with weight w_k shifts the class odds by f_k w_k, and a consistent learner
    learns the shifted odds. Exact for sampling and weights, approximate for synthetic samples. For undersampling this
    is p = b s / (b s - s + 1) (Dal Pozzolo, Caelen, Johnson and Bontempi, 2015).

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
        return PriorCorrection(factors=tuple(factor.tolist())).apply(score)
    # Scaled by the smallest factor, no quotient overflows.
    shares = score * (factor.min() / factor)
    return np.asarray(shares / shares.sum(axis=1, keepdims=True), dtype=np.float64)


@dataclass(frozen=True, kw_only=True)
class PriorCorrection:
    """p_k proportional to s_k / (f_k D_k(s_k)) of softmax scores s, D_k(s) = (1-s)^g_k - g_k (1-s)^(g_k-1) s ln s.

    Without focusing (g = 0) D is 1 and this is the prior correction (Elkan, 2001; Saerens and others, 2002): a factor
    f_k is the kept fraction of a class times its weight, and only ratios of factors matter. With focusing, p are the
    probabilities at which the expected focal loss is least at s (Charoenphakdee and others, 2021).

    Two classes have one target, class 1: `logit`, `apply` and `inverse` are about its score. They keep order.

    Args:
        factors: for each class its kept fraction times its weight, above 0.
        gammas: focusing of the loss for each class, in [0, 100]; () is none.
    Raises:
        ConfigError: a factor or a gamma is out of range, or there is not one for each class.
    """

    factors: tuple[float, ...]
    gammas: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        for k, factor in enumerate(self.factors):
            _positive(factor, f"PriorCorrection.factors[{k}]")
        if len(self.factors) < 2 or len(self.gammas) not in (0, len(self.factors)):
            raise ConfigError(
                f"PriorCorrection: needs a factor for each of two or more classes, and a gamma for each or none, got "
                f"factors {self.factors} and gammas {self.gammas}."
            )
        for gamma in self.gammas:
            if not 0.0 <= gamma <= 100.0:
                raise ConfigError(f"focal gamma must be in [0, 100], got {gamma!r}. 2 is usual, 0 is cross-entropy.")

    @classmethod
    def identity(cls, classes: int = 2) -> Self:
        """The correction of a model that was trained on the rows as they are."""
        return cls(factors=(1.0,) * classes)

    @classmethod
    def of_odds(cls, *, positive: float, negative: float) -> Self:
        """The correction of two classes from the factor of each."""
        return cls(factors=(negative, positive))

    @property
    def classes(self) -> int:
        """How many classes there are."""
        return len(self.factors)

    @property
    def is_identity(self) -> bool:
        """Whether raw scores are probabilities already, up to the rounding of factors that cancel."""
        return not self._is_focal and math.isclose(min(self.factors), max(self.factors), rel_tol=1e-12)

    @property
    def logit_shift(self) -> float:
        """What the factors add to logit(score) of class 1: below 0 where training made positives more frequent."""
        negative, positive = self._of_two("logit_shift")
        return math.log(negative) - math.log(positive)

    def log_probabilities(self, margins: npt.ArrayLike) -> FloatArray:
        """ln p, rows by classes, from a model's margins or from ln s of the same shape."""
        log_score = log_softmax(np.asarray(margins, dtype=np.float64))
        shares = log_score - np.log(np.array(self.factors))
        return log_softmax(shares - self._log_focus(log_score) if self._is_focal else shares)

    def margins(self, probabilities: npt.ArrayLike) -> FloatArray:
        """The margins ln s of one row that correct to these probabilities, each above 0: what a fit starts from."""
        wanted = np.log(np.asarray(probabilities, dtype=np.float64)) + np.log(np.array(self.factors))
        if not self._is_focal:
            return np.asarray(wanted - np.logaddexp.reduce(wanted), dtype=np.float64)
        low, high = -2.0 * _FURTHEST, 2.0 * _FURTHEST
        for _ in range(_HALVINGS):
            middle = (low + high) / 2.0
            # A common factor of all shares moves every score the same way: the one at which they sum to 1.
            low, high = (low, middle) if np.exp(self._log_scores(wanted + middle)).sum() > 1.0 else (middle, high)
        found = self._log_scores(wanted + low)
        return np.asarray(found - np.logaddexp.reduce(found), dtype=np.float64)

    def logit(self, margins: npt.ArrayLike) -> FloatArray:
        """logit(p) of class 1 of two from the model's margins, logit(s): `apply` on scores, without its rounding."""
        margin, shift = np.asarray(margins, dtype=np.float64), self.logit_shift
        if not self._is_focal:
            return np.asarray(margin + shift, dtype=np.float64)
        margin = np.clip(margin, -_FURTHEST, _FURTHEST)
        return self._focal_logit(-np.logaddexp(0.0, -margin), -np.logaddexp(0.0, margin))

    def apply(self, scores: npt.ArrayLike) -> FloatArray:
        """Probabilities of class 1 of two from its raw scores in [0, 1]; 0 and 1 stay, NaN stays, order stays."""
        score, (negative, positive) = np.asarray(scores, dtype=np.float64), self._of_two("apply")
        if not self._is_focal:
            return _rescaled(score, negative, positive)
        inside = np.clip(score, _SMALLEST, 1.0 - 2.0**-53)
        p = np.exp(-np.logaddexp(0.0, -self._focal_logit(np.log(inside), np.log1p(-inside))))
        return np.asarray(np.where((score == 0.0) | (score == 1.0), score, p), dtype=np.float64)

    def inverse(self, probabilities: npt.ArrayLike) -> FloatArray:
        """The raw scores of class 1 of two that `apply` maps to these probabilities."""
        p, (negative, positive) = np.asarray(probabilities, dtype=np.float64), self._of_two("inverse")
        if not self._is_focal:
            return _rescaled(p, positive, negative)
        low, high = np.full(p.shape, -_FURTHEST), np.full(p.shape, _FURTHEST)
        with np.errstate(divide="ignore"):
            wanted = np.log(p) - np.log1p(-p)
        for _ in range(_HALVINGS):
            middle = (low + high) / 2.0
            is_below = self.logit(middle) < wanted
            low, high = np.where(is_below, middle, low), np.where(is_below, high, middle)
        score = np.exp(-np.logaddexp(0.0, -(low + high) / 2.0))
        return np.asarray(np.where((p > 0.0) & (p < 1.0), score, p), dtype=np.float64)

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {"factors": list(self.factors), "gammas": list(self.gammas)}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Self:
        """What `to_dict` wrote, or what models logged before this class wrote."""
        if "positive_factor" in record:
            return cls.of_odds(positive=record["positive_factor"], negative=record["negative_factor"])
        if "alpha" in record:
            negative = record.get("gamma_negative")
            gammas = (record["gamma"] if negative is None else negative, record["gamma"])
            return cls(factors=(1.0 - record["alpha"], record["alpha"]), gammas=gammas)
        factors = tuple(record["factors"])
        gamma = record.get("gamma", 0.0)
        return cls(factors=factors, gammas=(gamma,) * len(factors) if gamma else tuple(record.get("gammas", ())))

    @property
    def _is_focal(self) -> bool:
        return any(self.gammas)

    def _of_two(self, what: str) -> tuple[float, float]:
        if len(self.factors) != 2:
            raise ConfigError(
                f"PriorCorrection.{what} is for two classes, there are {len(self.factors)}. Use log_probabilities."
            )
        return self.factors[0], self.factors[1]

    def _focal_logit(self, log_p: FloatArray, log_q: FloatArray) -> FloatArray:
        """ln (p_1 / p_0) from ln s and ln (1 - s) of class 1; as logarithms, since s^gamma leaves the doubles."""
        p, q, (gamma_0, gamma_1) = np.exp(log_p), np.exp(log_q), self.gammas
        negative = gamma_0 * log_p + np.log(p - gamma_0 * q * log_q)
        positive = gamma_1 * log_q + np.log(q - gamma_1 * p * log_p)
        return np.asarray(self.logit_shift + negative - positive, dtype=np.float64)

    def _log_focus(self, log_score: FloatArray) -> FloatArray:
        """ln D, rows by classes."""
        score = np.exp(log_score)
        # 1 - s as a sum of the others: where s is near 1, the difference has no digits left.
        others = [np.delete(score, k, axis=1).sum(axis=1) for k in range(score.shape[1])]
        return self._log_focus_of(log_score, np.maximum(np.stack(others, axis=1), _SMALLEST))

    def _log_focus_of(self, log_score: FloatArray, rest: FloatArray) -> FloatArray:
        gamma = np.array(self.gammas)
        bent = np.maximum(rest - gamma * np.exp(log_score) * log_score, _SMALLEST)
        return np.asarray((gamma - 1.0) * np.log(rest) + np.log(bent), dtype=np.float64)

    def _log_scores(self, wanted: FloatArray) -> FloatArray:
        """ln s of each class alone, where ln s - ln D(s) is the wanted number: it rises with s, so by halving."""
        low, high = np.full_like(wanted, -_FURTHEST), np.full_like(wanted, _FURTHEST)
        for _ in range(_HALVINGS):
            logit = (low + high) / 2.0
            log_score, log_rest = -np.logaddexp(0.0, -logit), -np.logaddexp(0.0, logit)
            reached = log_score - self._log_focus_of(log_score, np.exp(log_rest))
            low, high = np.where(reached > wanted, low, logit), np.where(reached > wanted, logit, high)
        return np.asarray(-np.logaddexp(0.0, -low), dtype=np.float64)


def _rescaled(score: FloatArray, times: float, against: float) -> FloatArray:
    """score times / (score times + (1 - score) against)."""
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
