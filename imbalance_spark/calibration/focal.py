"""Focal loss does not estimate probabilities: its exact inverse."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from imbalance_spark.errors import ConfigError
from imbalance_spark.metrics.grid import FloatArray

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
