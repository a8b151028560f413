"""Scores as probabilities: Brier skill, expected calibration error, expected cost, and the CORP decomposition."""

from dataclasses import dataclass
from functools import partial

import numpy as np

from imbalance_spark.core.arrays import FloatArray, IntArray
from imbalance_spark.core.errors import ConfigError
from imbalance_spark.metrics.curve import Curve

_DRAWS = 200


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


@dataclass(frozen=True, kw_only=True)
class BrierParts:
    """Brier score = miscalibration - discrimination + uncertainty, each at least 0."""

    miscalibration: float
    """What recalibration by isotonic regression would take off the score; 0 is calibrated."""
    discrimination: float
    """What the recalibrated probabilities are better than the share of positives for every row."""
    uncertainty: float
    """The score of that share."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ReliabilityBand:
    """The isotonic reliability curve, and where it would lie by chance if the probabilities were right."""

    score: FloatArray
    """Rising; one for each entry with rows."""
    rate: FloatArray
    """Conditional event probability: the isotonic fit, rising."""
    low: FloatArray
    high: FloatArray


def brier_parts(curve: Curve) -> BrierParts | None:
    """The CORP decomposition of the Brier score (Dimitriadis, Gneiting and Jordan, 2021), by weight.

    The isotonic fit of the labels on the scores needs no choice of bins, and makes all parts at least 0.

    Args:
        curve: of probabilities, on rows that they were not fitted on.
    Returns:
        The parts; None if a class has no row.
    """
    if curve.missing_class:
        return None
    score, positive, weight = _rising(curve)
    fitted, share = _isotonic(positive / weight, weight), curve.prevalence()
    before, after = (_brier(p, positive, weight) for p in (score, fitted))
    uncertainty = share * (1.0 - share)
    # Differences of nearly equal numbers: what is below 0 is rounding.
    return BrierParts(
        miscalibration=max(before - after, 0.0), discrimination=max(uncertainty - after, 0.0), uncertainty=uncertainty
    )


def reliability_band(curve: Curve, *, level: float = 0.9, draws: int = _DRAWS, seed: int = 0) -> ReliabilityBand | None:
    """The isotonic reliability curve with its consistency band.

    The band holds the curve of a calibrated model at each score in `level` of samples: labels are drawn from the
    probabilities themselves (Bröcker and Smith, 2007), for rows that are independent.

    Args:
        curve: of probabilities, on rows that they were not fitted on.
        level: of the band at each score, in (0, 1).
        draws: number of samples of labels. seed: of the draws.
    Returns:
        The curve and its band; None if a class has no row.
    """
    if curve.missing_class:
        return None
    score, positive, weight = _rising(curve)
    rows = (curve.counts.positives + curve.counts.negatives)[::-1]
    used, draw = rows[rows > 0], np.random.default_rng(seed)
    p = np.clip(score, 0.0, 1.0)
    again = np.stack([_isotonic(draw.binomial(used, p) / used, weight) for _ in range(draws)])
    quantile = partial(np.quantile, again, axis=0)
    return ReliabilityBand(
        score=score,
        rate=_isotonic(positive / weight, weight),
        low=np.asarray(quantile((1.0 - level) / 2.0), dtype=np.float64),
        high=np.asarray(quantile((1.0 + level) / 2.0), dtype=np.float64),
    )


def _rising(curve: Curve) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Score, weight of the positives and of all rows, of the entries that have rows; scores rise."""
    weight = curve.counts.positive_weight + curve.counts.negative_weight
    used = np.flatnonzero(weight > 0.0)[::-1]
    return curve.score[used], curve.counts.positive_weight[used], weight[used]


def _isotonic(rate: FloatArray, weight: FloatArray) -> FloatArray:
    from sklearn.isotonic import isotonic_regression  # slow to import, and not needed on workers

    return np.asarray(isotonic_regression(rate, sample_weight=weight, y_min=0.0, y_max=1.0), dtype=np.float64)


def _brier(p: FloatArray, positive: FloatArray, weight: FloatArray) -> float:
    return float((positive @ (1.0 - p) ** 2 + (weight - positive) @ p**2) / weight.sum())
