"""How a model's raw scores map back to probabilities, whatever its training did: one face for all ways."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy.typing as npt

from imbalance_spark.calibration.focal import FocalCorrection
from imbalance_spark.calibration.prior import PriorCorrection
from imbalance_spark.metrics.grid import FloatArray


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
