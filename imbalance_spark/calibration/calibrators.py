"""What every calibration can do, and how one is read back."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy.typing as npt

from imbalance_spark.calibration.isotonic import IsotonicCalibration
from imbalance_spark.calibration.log_odds import LogOddsCalibration
from imbalance_spark.metrics.grid import FloatArray


class Calibrator(Protocol):
    """A rising map of probabilities that can be written down."""

    @property
    def method(self) -> str:
        """Its name: identity, intercept, temperature, platt, beta or isotonic."""

    def apply(self, probabilities: npt.ArrayLike) -> FloatArray:
        """Calibrated probabilities, float64 in [0, 1]; order stays, NaN stays."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON values; `calibrator_from_dict` reads them back."""


def calibrator_from_dict(record: Mapping[str, Any]) -> Calibrator:
    """The calibration that `to_dict` wrote.

    Raises:
        ConfigError: it is of no known method, or its parameters make no rising map.
    """
    if record["method"] == "isotonic":
        return IsotonicCalibration.from_dict(record)
    return LogOddsCalibration.from_dict(record)
