"""What is wrong with probabilities and what they tell apart: the CORP decomposition of the Brier score."""

from dataclasses import dataclass
from functools import partial

import numpy as np

from imbalance_spark.core.arrays import FloatArray
from imbalance_spark.metrics.curve import Curve

_DRAWS = 200


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
