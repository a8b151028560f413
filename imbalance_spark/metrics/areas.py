"""Areas under curves other than average precision and the whole ROC curve."""

import numpy as np

from imbalance_spark.errors import ConfigError
from imbalance_spark.metrics.curve import Curve
from imbalance_spark.metrics.grid import FloatArray


def pr_auc_trapezoid(curve: Curve) -> float | None:
    """Trapezoids under the precision-recall curve from (recall 0, precision 1), as scikit-learn's `auc` gives it.

    Straight lines between its points are too optimistic (Davis and Goadrich, 2006): it is here to compare with others'
    numbers, `average_precision` is the one to trust. None when a class has no row.
    """
    if curve.missing_class:
        return None
    is_flagging = curve.tp + curve.fp > 0.0
    precision = np.concatenate([[1.0], curve.precision[is_flagging]])
    recall = np.concatenate([[0.0], curve.recall[is_flagging]])
    return float(np.trapezoid(precision, recall))


def partial_roc_auc(curve: Curve, *, max_fpr: float) -> float | None:
    """The ROC-AUC up to a false positive rate, rescaled so that chance is 0.5 and perfect is 1 (McClish, 1989).

    Args:
        max_fpr: in (0, 1], as in scikit-learn's `roc_auc_score`; 1 is the whole area.
    Returns:
        A value in [0, 1]; None when a class has no row.
    Raises:
        ConfigError: `max_fpr` is not in (0, 1].
    """
    if not 0.0 < max_fpr <= 1.0:
        raise ConfigError(f"partial_roc_auc: max_fpr must be in (0, 1], got {max_fpr!r}. It is a false positive rate.")
    if curve.missing_class:
        return None
    if max_fpr == 1.0:
        return curve.roc_auc()
    fpr, tpr = curve.false_positive_rate, curve.recall
    stop = int(np.searchsorted(fpr, max_fpr, side="right"))
    last = np.interp(max_fpr, fpr[stop - 1 : stop + 1], tpr[stop - 1 : stop + 1])
    area = np.trapezoid(np.append(tpr[:stop], last), np.append(fpr[:stop], max_fpr))
    chance = 0.5 * max_fpr**2
    return float(0.5 * (1.0 + (area - chance) / (max_fpr - chance)))


def pr_gain_auc(curve: Curve) -> float | None:
    """The area under the precision-recall-gain curve where recall beats chance (Flach and Kull, 2015).

    Gain(x) = (x - prevalence) / ((1 - prevalence) x), of precision over gain of recall, by trapezoids, which are exact:
    between two cut-offs the curve is straight. 1 is perfect, 0 is flagging everybody; it may be negative. None when a
    class has no row.
    """
    if curve.missing_class:
        return None
    tp, fp = _from_recall(curve, curve.positives * curve.prevalence())
    odds = curve.positives / curve.negatives
    return float(np.trapezoid(1.0 - odds * fp / tp, 1.0 - odds * (curve.positives - tp) / tp))


def _from_recall(curve: Curve, least: float) -> tuple[FloatArray, FloatArray]:
    """tp and fp from the point of the curve that has `least` true positives; in between the curve is straight."""
    first = int(np.searchsorted(curve.tp, least, side="right"))
    before, after = first - 1, min(first, len(curve.tp) - 1)
    rise = curve.tp[after] - curve.tp[before]
    part = (least - curve.tp[before]) / rise if rise > 0.0 else 0.0
    start = curve.fp[before] + part * (curve.fp[after] - curve.fp[before])
    return np.append(least, curve.tp[first:]), np.append(start, curve.fp[first:])
