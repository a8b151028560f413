"""The flat, named metrics of one model on one set of rows: what a run logs."""

import math

from imbalance_spark.metrics.confusion import ConfusionMatrix
from imbalance_spark.metrics.curve import Curve

NEEDS_BOTH_CLASSES = (
    *("average_precision", "roc_auc", "calibration_intercept", "calibration_slope"),
    *("precision", "recall", "f1", "f2", "f0_5", "mcc", "kappa", "balanced_accuracy", "g_mean"),
)
"""Metrics that rows of one class leave undefined, or would make a meaningless 0 or 1."""


def evaluate(curve: Curve, threshold: float | None = None, *, fn: float = 1.0, fp: float = 1.0) -> dict[str, float]:
    """Every metric that these rows define, by name; `undefined` names the others and says why.

    Args:
        curve: counts of one model on one set of rows.
        threshold: adds the metrics of "positive if score >= threshold"; None leaves them out.
        fn, fp: cost of a missed positive and of a false alarm, for `cost`.
    """
    values = curve_metrics(curve)
    if threshold is not None:
        values |= matrix_metrics(curve.at(threshold), fn=fn, fp=fp)
    absent = undefined(curve)
    return {name: value for name, value in values.items() if name not in absent and not math.isnan(value)}


def undefined(curve: Curve) -> dict[str, str]:
    """Reason by name for each metric that `evaluate` leaves out; empty when both classes have rows."""
    reason = curve.missing_class
    return {} if reason is None else dict.fromkeys(NEEDS_BOTH_CLASSES, reason)


def curve_metrics(curve: Curve) -> dict[str, float]:
    """Metrics of the scores themselves; NaN where undefined."""
    values = {
        "average_precision": curve.average_precision(),
        "roc_auc": curve.roc_auc(),
        "brier": curve.brier(),
        "log_loss": curve.log_loss(),
        "mean_score": curve.mean_score(),
        "prevalence": curve.prevalence(),
        "calibration_intercept": curve.calibration_intercept(),
        "calibration_slope": curve.calibration_slope(),
    }
    return {name: math.nan if value is None else value for name, value in values.items()}


def matrix_metrics(matrix: ConfusionMatrix, *, fn: float = 1.0, fp: float = 1.0) -> dict[str, float]:
    """Metrics of one confusion matrix; NaN where undefined. Accuracy comes beside recall, as it must be read."""
    return {
        "precision": matrix.precision,
        "recall": matrix.recall,
        "accuracy": matrix.accuracy,
        "f1": matrix.f1,
        "f2": matrix.f_beta(2.0),
        "f0_5": matrix.f_beta(0.5),
        "mcc": matrix.mcc,
        "kappa": matrix.kappa,
        "balanced_accuracy": matrix.balanced_accuracy,
        "g_mean": matrix.g_mean,
        "cost": matrix.cost(fn=fn, fp=fp),
        "tp": matrix.tp,
        "fp": matrix.fp,
        "tn": matrix.tn,
        "fn": matrix.fn,
    }


def majority_baseline(curve: Curve) -> ConfusionMatrix:
    """What a model gets that predicts the larger class for every row of these counts."""
    return ConfusionMatrix.majority_baseline(positives=curve.positives, negatives=curve.negatives)
