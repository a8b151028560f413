"""From a model's margins to the probabilities that are served: the one way, for the counts and for scoring."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from imbalance_spark.calibration.softmax import SoftmaxCorrection
from imbalance_spark.metrics.grid import FloatArray


@dataclass(frozen=True, kw_only=True)
class ClassProbabilities:
    """Corrected in closed form, then calibrated: p_k proportional to p_k^(1 / temperature) (Guo and others, 2017)."""

    correction: SoftmaxCorrection
    temperature: float = 1.0

    def of_margins(self, margins: npt.ArrayLike) -> FloatArray:
        """Probabilities, rows by classes."""
        return np.exp(self.logs_of_margins(margins))

    def logs_of_margins(self, margins: npt.ArrayLike) -> FloatArray:
        """Their logarithms, each at most 0."""
        logs = self.correction.log_probabilities(margins)
        return logs if self.temperature == 1.0 else heated(logs, self.temperature)


def heated(logs: FloatArray, temperature: float) -> FloatArray:
    """ln of p_k^(1 / temperature), scaled to sum to 1 a row."""
    return SoftmaxCorrection(factors=(1.0,) * logs.shape[1]).log_probabilities(logs / temperature)
