"""The closed-form correction of several classes: what sampling, weights and focal loss did, undone."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from imbalance_spark.errors import ConfigError
from imbalance_spark.metrics.grid import FloatArray

_SMALLEST = 1e-300
_FURTHEST = 700.0  # exp stays a double
_HALVINGS = 70  # of an interval of 1400: to the last bit of a double


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
