"""The flat, named metrics of one model on one set of rows: what a run logs."""

import math

from imbalance_spark.metrics.areas import h_measure, partial_roc_auc, pr_auc_trapezoid, pr_gain_auc, top_share
from imbalance_spark.metrics.confusion import ConfusionMatrix
from imbalance_spark.metrics.curve import Curve
from imbalance_spark.metrics.probability import (
    brier_skill,
    expected_calibration_error,
    expected_calibration_error_equal_mass,
    expected_cost,
)

MAX_FPR = 0.01
"""False positive rate up to which `partial_roc_auc` looks."""


TOP_SHARES = {"0.1_percent": 0.001, "1_percent": 0.01}
"""Shares of the rows whose precision, recall and lift are told."""


NEEDS_BOTH_CLASSES = (
    *("average_precision", "roc_auc", "calibration_intercept", "calibration_slope", "brier_skill", "h_measure"),
    *("pr_auc_trapezoid", "partial_roc_auc", "pr_gain_auc"),
    *(f"{name}_at_{share}" for share in TOP_SHARES for name in ("precision", "recall", "lift")),
    *("precision", "recall", "specificity", "f1", "f2", "f0_5", "mcc", "kappa", "balanced_accuracy", "g_mean", "iba"),
    *("accuracy", "savings"),
)
"""Metrics that rows of one class leave undefined, or would make a meaningless 0 or 1.

Accuracy is one of them: it never comes without the recall beside it.
"""


NEEDS_FLAGGED_ROWS = ("precision", "mcc")
"""Metrics that are 0 / 0 when no row is flagged."""


def evaluate(curve: Curve, threshold: float | None = None, *, fn: float = 1.0, fp: float = 1.0) -> dict[str, float]:
    """Every metric that these rows define, by name; `undefined` names the others and says why.

    Args:
        curve: counts of one model on one set of rows.
        threshold: adds the metrics of "positive if score >= threshold"; None leaves them out.
        fn, fp: cost of a missed positive and of a false alarm, for `cost`, `expected_cost` and `savings`.
    """
    values = curve_metrics(curve) | {"expected_cost": expected_cost(curve, fn=fn, fp=fp)}
    if threshold is not None:
        values |= matrix_metrics(curve.at(threshold), fn=fn, fp=fp)
    absent = _meaningless(curve, threshold)
    return {name: value for name, value in values.items() if name not in absent and not math.isnan(value)}


def undefined(curve: Curve, threshold: float | None = None) -> dict[str, str]:
    """Reason by name for each metric that `evaluate` leaves out at this threshold; usually empty."""
    reasons = _meaningless(curve, threshold)
    if not curve.missing_class and curve.calibration_slope() is None:
        reasons["calibration_slope"] = "no finite slope fits: the scores separate the classes, or are all equal"
    return reasons


def curve_metrics(curve: Curve) -> dict[str, float]:
    """Metrics of the scores themselves; NaN where undefined."""
    values = {
        "average_precision": curve.average_precision(),
        "roc_auc": curve.roc_auc(),
        "partial_roc_auc": partial_roc_auc(curve, max_fpr=MAX_FPR),
        "pr_auc_trapezoid": pr_auc_trapezoid(curve),
        "pr_gain_auc": pr_gain_auc(curve),
        "h_measure": h_measure(curve),
        "brier": curve.brier(),
        "brier_skill": brier_skill(curve),
        "log_loss": curve.log_loss(),
        "mean_score": curve.mean_score(),
        "prevalence": curve.prevalence(),
        "calibration_intercept": curve.calibration_intercept(),
        "calibration_slope": curve.calibration_slope(),
        "ece_equal_width": expected_calibration_error(curve),
        "ece_equal_mass": expected_calibration_error_equal_mass(curve),
    }
    return {name: math.nan if value is None else value for name, value in values.items()} | _top_metrics(curve)


def matrix_metrics(matrix: ConfusionMatrix, *, fn: float = 1.0, fp: float = 1.0) -> dict[str, float]:
    """Metrics of one confusion matrix; NaN where undefined. Accuracy comes beside recall, as it must be read."""
    return {
        "precision": matrix.precision,
        "recall": matrix.recall,
        "accuracy": matrix.accuracy,
        "specificity": matrix.specificity,
        "f1": matrix.f1,
        "f2": matrix.f_beta(2.0),
        "f0_5": matrix.f_beta(0.5),
        "mcc": matrix.mcc,
        "kappa": matrix.kappa,
        "balanced_accuracy": matrix.balanced_accuracy,
        "g_mean": matrix.g_mean,
        "iba": matrix.index_balanced_accuracy(),
        "cost": matrix.cost(fn=fn, fp=fp),
        "savings": matrix.savings(fn=fn, fp=fp),
        "tp": matrix.tp,
        "fp": matrix.fp,
        "tn": matrix.tn,
        "fn": matrix.fn,
    }


def majority_baseline(curve: Curve) -> ConfusionMatrix:
    """What a model gets that predicts the larger class for every row of these counts."""
    return ConfusionMatrix.majority_baseline(positives=curve.positives, negatives=curve.negatives)


def _meaningless(curve: Curve, threshold: float | None) -> dict[str, str]:
    """Reasons for metrics that have a formula's value but no meaning here."""
    if reason := curve.missing_class:
        return dict.fromkeys(NEEDS_BOTH_CLASSES, reason)
    is_flagging = threshold is None or curve.at(threshold).flagged > 0.0
    return {} if is_flagging else dict.fromkeys(NEEDS_FLAGGED_ROWS, "no row is flagged")


def _top_metrics(curve: Curve) -> dict[str, float]:
    values: dict[str, float] = {}
    for name, share in TOP_SHARES.items():
        top = top_share(curve, share)
        values |= {f"precision_at_{name}": top.precision, f"recall_at_{name}": top.recall, f"lift_at_{name}": top.lift}
    return values
