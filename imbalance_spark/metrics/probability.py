"""Scores as probabilities: Brier skill, expected calibration error and expected cost."""

import numpy as np

from imbalance_spark.core.arrays import FloatArray, IntArray
from imbalance_spark.core.errors import ConfigError
from imbalance_spark.metrics.curve import Curve


def brier_skill(curve: Curve) -> float | None:
    """1 - Brier score / Brier score of predicting the prevalence (`d2_brier_score`): 1 is perfect, 0 no better.

    None if a class has no row.

    Args:
        curve: of probabilities.
    Returns:
        At most 1; None if a class has no row.
    """
    if curve.missing_class:
        return None
    share = curve.prevalence()
    return 1.0 - curve.brier() / (share * (1.0 - share))


def expected_calibration_error(curve: Curve, *, bins: int = 10) -> float:
    """ECE over score bins of equal width: sum over bins of |positives - sum of scores|, over all rows.

    Bins are open on the left, as in scikit-learn's `calibration_curve`. If positives are rare, nearly all rows are in
    the first bin, and the ECE is close to the error of the mean.

    Args:
        curve: of probabilities. bins: at least 1.
    Returns:
        A difference of probabilities, in [0, 1].
    Raises:
        ConfigError: fewer than one bin.
    """
    _check(bins)
    edges = np.linspace(0.0, 1.0, bins + 1)[1:-1]
    return _calibration_error(curve, np.searchsorted(edges, curve.score, side="left"))


def expected_calibration_error_equal_mass(curve: Curve, *, bins: int = 10) -> float:
    """ECE over score bins of equal weight. Equal scores stay in one bin, the one of their middle row.

    Args:
        curve: of probabilities. bins: at least 1.
    Returns:
        A difference of probabilities, in [0, 1].
    Raises:
        ConfigError: fewer than one bin.
    """
    _check(bins)
    weight = curve.counts.positive_weight + curve.counts.negative_weight
    middle = (np.cumsum(weight) - weight / 2.0) / weight.sum()
    return _calibration_error(curve, np.minimum((middle * bins).astype(np.int64), bins - 1))


def expected_cost(curve: Curve, *, fn: float, fp: float) -> float:
    """Expected cost if each row is flagged with its probability: sum of fn y (1 - p) + fp (1 - y) p (Bahnsen, 2014).

    Args:
        curve: of probabilities.
        fn, fp: cost of a false negative and of a false positive.
    Returns:
        In the unit of the costs, for all rows together.
    """
    missed = curve.counts.positive_weight @ (1.0 - curve.score)
    alarmed = curve.counts.negative_weight @ curve.score
    return float(fn * missed + fp * alarmed)


def _check(bins: int) -> None:
    if bins < 1:
        raise ConfigError(f"expected calibration error: bins must be at least 1, got {bins!r}. 10 is usual.")


def _calibration_error(curve: Curve, group: IntArray) -> float:
    positive, negative = curve.counts.positive_weight, curve.counts.negative_weight
    gap: FloatArray = positive - curve.score * (positive + negative)
    return float(np.abs(np.bincount(group, gap)).sum() / (curve.positives + curve.negatives))
