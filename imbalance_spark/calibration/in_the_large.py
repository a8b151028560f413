"""Calibration in the large: whether corrected probabilities are right on average."""

import math
from dataclasses import dataclass

import numpy as np

from imbalance_spark.core.errors import ConfigError
from imbalance_spark.metrics.bucket_draws import BucketedCurve
from imbalance_spark.metrics.curve import Curve
from imbalance_spark.metrics.intervals import jackknife_error

_POWER = 0.5
"""Largest accepted deviation at which a check that passes still says something."""


@dataclass(frozen=True, kw_only=True)
class LedgerCheck:
    """Calibration in the large of corrected probabilities; `sentence` summarizes it."""

    mean_score: float
    base_rate: float
    """Share of positives, in [0, 1]."""
    ratio: float
    """mean_score / base_rate; 1 is calibrated. NaN without positives."""
    intercept: float | None
    """Calibration intercept in logits; 0 is calibrated. None if a class has no rows."""
    allowed_deviation: float
    """Largest accepted deviation of `ratio` from 1."""
    passed: bool
    """False where probabilities are off beyond chance; few positives prove nothing."""
    sentence: str


def ledger_check(rows: Curve | BucketedCurve, *, tolerance: float = 0.05) -> LedgerCheck:
    r"""Compare the mean corrected probability with the base rate of held-out rows (calibration in the large).

    Their ratio may deviate from 1 by `tolerance` plus three of its standard errors: of independent rows
    3 sqrt((1 - rate) / positives), 0.3 with 100 positives, 0.03 with 10,000; from hash buckets the jackknife, which
    knows of dependent rows and of weights. Where that is above 0.5, it cannot tell half the rate from the rate, and
    says that there are not enough positives to check.

    Args:
        rows: a curve of corrected probabilities; with its buckets where rows depend on each other or have weights.
        tolerance: relative deviation to accept on any number of rows, >= 0.
    Returns:
        The ratio, whether it is within the accepted deviation, and a sentence.
    Raises:
        ConfigError: `tolerance` is negative.

    Examples:
        >>> from imbalance_spark.metrics import ScoreCounts
        >>> curve = ScoreCounts.from_arrays([1] * 100 + [0] * 900, [0.12] * 1000).curve()
        >>> print(ledger_check(curve).sentence.replace(": ", ":\n"))
        The mean probability is 1.2 times the base rate 0.1:
        calibrated as a whole (33.5% allowed with 100 positive rows).
    """
    if not tolerance >= 0.0:
        raise ConfigError(f"ledger_check: tolerance must be 0 or more, got {tolerance!r}. 0.05 allows 5 percent.")
    curve = rows.curve if isinstance(rows, BucketedCurve) else rows
    mean, rate, positives = curve.mean_score(), curve.prevalence(), int(curve.counts.positives.sum())
    ratio = mean / rate if rate > 0.0 else math.nan
    error = 3.0 * math.sqrt((1.0 - rate) / positives) if positives else math.inf
    if isinstance(rows, BucketedCurve) and positives:
        error = max(error, 3.0 * _error_of_ratio(rows))
    passed = abs(ratio - 1.0) <= tolerance + error
    return LedgerCheck(
        mean_score=mean,
        base_rate=rate,
        ratio=ratio,
        intercept=curve.calibration_intercept(),
        allowed_deviation=tolerance + error,
        passed=passed,
        sentence=_sentence(ratio, rate, tolerance + error, positives),
    )


def _error_of_ratio(sample: BucketedCurve) -> float:
    """Standard error of mean probability / rate over the buckets; infinite where all positives are in one."""
    if sample.buckets_with_positives < 2:
        return math.inf
    ratios = np.array([curve.mean_score() / curve.prevalence() for curve in sample.without_each()])
    return jackknife_error(ratios)


def _sentence(ratio: float, rate: float, allowed: float, positives: int) -> str:
    if not positives:
        return "Not checked: without positive rows the base rate is unknown."
    deviation = abs(ratio - 1.0)
    found = f"The mean probability is {ratio:.3g} times the base rate {rate:.3g}"
    limit = f"{allowed:.1%} allowed with {positives} positive rows"
    if deviation <= allowed and allowed > _POWER:
        return f"{found}: not enough positives to check ({limit})."
    if deviation <= allowed:
        return f"{found}: calibrated as a whole ({limit})."
    side = "high" if ratio > 1.0 else "low"
    return (
        f"{found}: probabilities are too {side} ({limit}). "
        "Check the strategy's fractions and weights, and whether the base rate has changed since training."
    )
