"""Metrics of a ranking: areas under curves, the H-measure, and precision, recall and lift of the top rows."""

import math
from dataclasses import dataclass

import numpy as np

from imbalance_spark.core.arrays import FloatArray
from imbalance_spark.core.errors import ConfigError
from imbalance_spark.metrics.curve import Curve


def h_measure(curve: Curve, *, severity_ratio: float | None = None) -> float | None:
    """Hand's H-measure: 1 - expected loss at the best threshold / that of the best constant decision, over costs.

    The cost share c of a false positive has the distribution Beta(2, 1 + 1 / SR), the same for every model, unlike in
    the ROC-AUC (Hand, 2009; with the prior of Hand and Anagnostopoulos, 2014, and of their R package).

    Args:
        severity_ratio: SR, cost of a false positive / cost of a false negative at the mode of the distribution; above
            0. None is positives / negatives: a false negative costs more in proportion to the imbalance.
    Returns:
        In [0, 1]; 0 is no better than a constant decision. None if a class has no row.
    Raises:
        ConfigError: `severity_ratio` is not above 0.
    """
    if curve.missing_class:
        return None
    ratio = curve.positives / curve.negatives if severity_ratio is None else severity_ratio
    if not 0.0 < ratio < np.inf:
        raise ConfigError(f"h_measure: severity_ratio must be above 0 and finite, got {severity_ratio!r}.")
    share, shape = curve.prevalence(), 1.0 + 1.0 / ratio
    chance = np.array([0.0, 1.0])
    return 1.0 - _least_loss(*_convex_hull(curve), share, shape) / _least_loss(chance, chance, share, shape)


def _least_loss(recall: FloatArray, fpr: FloatArray, share: float, shape: float) -> float:
    """Mean loss over c ~ Beta(2, shape) with the best corner of a convex ROC curve for each c.

    The loss is c x false positives + (1 - c) x false negatives, as shares of all rows. A corner is best for the c
    between the slopes of its two sides, which fall from left to right.
    """
    rise, run = share * np.diff(recall), (1.0 - share) * np.diff(fpr)
    switch = np.concatenate([[1.0], rise / (rise + run), [0.0]])
    mean, rest = 2.0 / (2.0 + shape), shape / (2.0 + shape)
    of_alarms = -mean * np.diff(_beta_3(switch, shape))
    of_misses = -rest * np.diff(_beta_2(switch, shape + 1.0))
    return float((1.0 - share) * fpr @ of_alarms + share * (1.0 - recall) @ of_misses)


def _convex_hull(curve: Curve) -> tuple[FloatArray, FloatArray]:
    """Recall and false positive rate at the corners of the upper convex hull of the ROC curve, ends included."""
    hits, alarms = curve.counts.positive_weight, curve.counts.negative_weight
    used = hits + alarms > 0.0
    hits, alarms = hits[used], alarms[used]
    # A corner has positives before and negatives after it, so with rare positives there are few of them.
    is_corner = (hits[:-1] > 0.0) & (alarms[1:] > 0.0)
    corners = np.concatenate([[True], is_corner, [True]])
    tp, fp = (np.concatenate([[0.0], np.cumsum(weight)])[corners].tolist() for weight in (hits, alarms))
    hull: list[tuple[float, float]] = []
    for x, y in zip(fp, tp, strict=True):
        while len(hull) > 1 and _turns_left(hull[-2], hull[-1], (x, y)):
            hull.pop()
        hull.append((x, y))
    points = np.array(hull)
    return points[:, 1] / curve.positives, points[:, 0] / curve.negatives


def _turns_left(one: tuple[float, float], two: tuple[float, float], three: tuple[float, float]) -> bool:
    return (two[0] - one[0]) * (three[1] - one[1]) >= (two[1] - one[1]) * (three[0] - one[0])


def _beta_2(x: FloatArray, shape: float) -> FloatArray:
    """Distribution function of Beta(2, shape)."""
    return np.asarray(1.0 - (1.0 - x) ** shape * (1.0 + shape * x), dtype=np.float64)


def _beta_3(x: FloatArray, shape: float) -> FloatArray:
    """Distribution function of Beta(3, shape)."""
    rest = 1.0 + shape * x + 0.5 * shape * (shape + 1.0) * x**2
    return np.asarray(1.0 - (1.0 - x) ** shape * rest, dtype=np.float64)


def pr_auc_trapezoid(curve: Curve) -> float | None:
    """The trapezoidal area under the precision-recall curve from (recall 0, precision 1), as scikit-learn's `auc`.

    Linear interpolation between its points is too optimistic (Davis and Goadrich, 2006): use it to compare with
    published numbers, and `average_precision` otherwise. None if a class has no row.

    Args:
        curve: of one model on one set of rows.
    Returns:
        The area, in [0, 1]; None if a class has no row.
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
        A value in [0, 1]; None if a class has no row.
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

    Gain(x) = (x - prevalence) / ((1 - prevalence) x), precision gain over recall gain, by trapezoids, which are exact:
    between two thresholds the curve is straight. 1 is perfect, 0 is flagging every row; it can be negative. None if a
    class has no row.

    Args:
        curve: of one model on one set of rows.
    Returns:
        The area, at most 1; None if a class has no row.
    """
    if curve.missing_class:
        return None
    tp, fp = _from_recall(curve, curve.positives * curve.prevalence())
    odds = curve.positives / curve.negatives
    return float(np.trapezoid(1.0 - odds * fp / tp, 1.0 - odds * (curve.positives - tp) / tp))


def _from_recall(curve: Curve, least: float) -> tuple[FloatArray, FloatArray]:
    """tp and fp from the point of the curve with `least` true positives on, interpolated between thresholds."""
    first = int(np.searchsorted(curve.tp, least, side="right"))
    before, after = first - 1, min(first, len(curve.tp) - 1)
    rise = curve.tp[after] - curve.tp[before]
    part = (least - curve.tp[before]) / rise if rise > 0.0 else 0.0
    start = curve.fp[before] + part * (curve.fp[after] - curve.fp[before])
    return np.append(least, curve.tp[first:]), np.append(start, curve.fp[first:])


@dataclass(frozen=True, kw_only=True)
class TopRows:
    """Metrics of the `k` rows of highest score; NaN if undefined without positives."""

    k: float
    """Flagged rows, or their weight."""
    precision: float
    """Share of the flagged rows that are positive."""
    recall: float
    """Share of the positives that are flagged."""
    lift: float
    """Precision over prevalence: 1 is a random choice."""


def top_rows(curve: Curve, k: float) -> TopRows:
    """Precision, recall and lift of the `k` rows of highest score; the mean over the orders of ties at the end.

    Args:
        k: rows, or their weight if rows have weights, as with survey weights; above 0.
    Returns:
        Precision and recall in [0, 1], and lift, precision over prevalence; the last two NaN where no row is positive.
    Raises:
        ConfigError: `k` is not above 0, or is more than all rows.

    Examples:
        >>> from imbalance_spark.metrics import ScoreCounts
        >>> curve = ScoreCounts.from_arrays([0, 0, 1, 0, 1, 1, 0, 0], [0.1, 0.2, 0.3, 0.4, 0.5, 0.9, 0, 0]).curve()
        >>> top_rows(curve, 2)
        TopRows(k=2, precision=1.0, recall=0.6666666666666666, lift=2.6666666666666665)
    """
    total = curve.positives + curve.negatives
    if not 0.0 < k <= total:
        raise ConfigError(f"top_rows: k must be above 0 and at most all {total:g} rows, got {k!r}.")
    hits = float(np.interp(k, curve.tp + curve.fp, curve.tp))
    if curve.positives <= 0.0:
        return TopRows(k=k, precision=0.0, recall=math.nan, lift=math.nan)
    return TopRows(k=k, precision=hits / k, recall=hits / curve.positives, lift=hits / k / curve.prevalence())


def top_share(curve: Curve, share: float) -> TopRows:
    """`top_rows` for a share of all rows, in (0, 1].

    Args:
        curve: of one model on one set of rows.
        share: of all rows, in (0, 1]; of their weight if rows have weights.
    Returns:
        As `top_rows`.
    Raises:
        ConfigError: `share` is not in (0, 1].
    """
    if not 0.0 < share <= 1.0:
        raise ConfigError(f"top_share: share must be in (0, 1], got {share!r}. 0.01 flags one row in a hundred.")
    return top_rows(curve, share * (curve.positives + curve.negatives))
