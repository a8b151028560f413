"""Focal loss does not estimate probabilities: its exact inverse."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from imbalance_spark.errors import ConfigError
from imbalance_spark.metrics.grid import FloatArray


@dataclass(frozen=True, kw_only=True)
class FocalCorrection:
    """The true rate eta at which a score p minimises the expected focal loss (Lin and others, 2017).

    eta = G0 / (G0 + G1) with G0 = (1 - alpha) p^g (p - g (1 - p) ln(1 - p)), G1 = alpha (1 - p)^g ((1 - p) - g p ln p):
    where the derivative of eta * loss_1(p) + (1 - eta) * loss_0(p) is zero. Gamma 0 undoes alpha alone.

    Args:
        gamma: focusing, at least 0. alpha: weight of the positive class, in (0, 1); 0.5 weighs both alike.
    Raises:
        ConfigError: a parameter is out of range.
    """

    gamma: float = 2.0
    alpha: float = 0.5

    def __post_init__(self) -> None:
        if not 0.0 <= self.gamma <= 100.0:
            raise ConfigError(f"focal gamma must be in [0, 100], got {self.gamma!r}. 2 is usual, 0 is cross-entropy.")
        if not 0.0 < self.alpha < 1.0:
            raise ConfigError(f"focal alpha must be in (0, 1), got {self.alpha!r}. 0.5 weighs both classes alike.")

    def apply(self, scores: npt.ArrayLike) -> FloatArray:
        """Probabilities from scores in [0, 1]; 0 and 1 stay, NaN stays, order stays."""
        p = np.asarray(scores, dtype=np.float64)
        inside = np.clip(p, 1e-300, 1.0 - 2.0**-53)
        q, log_p, log_q = 1.0 - inside, np.log(inside), np.log1p(-inside)
        # As logarithms: p^gamma leaves the doubles for small p.
        negative = np.log1p(-self.alpha) + self.gamma * log_p + np.log(inside - self.gamma * q * log_q)
        positive = np.log(self.alpha) + self.gamma * log_q + np.log(q - self.gamma * inside * log_p)
        eta = np.exp(-np.logaddexp(0.0, positive - negative))
        return np.asarray(np.where((p == 0.0) | (p == 1.0), p, eta), dtype=np.float64)
