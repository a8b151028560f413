"""From raw scores to probabilities: prior correction in closed form, calibration from counts, and a check of both."""

from imbalance_spark.calibration.choose import (
    Calibrator,
    ChosenCalibration,
    calibrator_from_dict,
    choose_calibrator,
    fit_calibrator,
    fit_of,
)
from imbalance_spark.calibration.correction import PriorCorrection, correct_prior
from imbalance_spark.calibration.in_the_large import LedgerCheck, ledger_check
from imbalance_spark.calibration.isotonic import IsotonicCalibration
from imbalance_spark.calibration.log_odds import LogOddsCalibration
from imbalance_spark.calibration.temperature import MulticlassTemperature

__all__ = [
    "Calibrator",
    "ChosenCalibration",
    "IsotonicCalibration",
    "LedgerCheck",
    "LogOddsCalibration",
    "MulticlassTemperature",
    "PriorCorrection",
    "calibrator_from_dict",
    "choose_calibrator",
    "correct_prior",
    "fit_calibrator",
    "fit_of",
    "ledger_check",
]
