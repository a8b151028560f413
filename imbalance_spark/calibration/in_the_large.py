"""Calibration in the large: whether corrected probabilities are right on average."""

import math
from dataclasses import dataclass

from imbalance_spark.core.errors import ConfigError
from imbalance_spark.metrics.curve import Curve


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
    sentence: str


def ledger_check(curve: Curve, *, tolerance: float = 0.05) -> LedgerCheck:
    r"""Compare the mean corrected probability with the base rate of held-out rows (calibration in the large).

    Their ratio may deviate from 1 by `tolerance` plus three relative standard errors of the base rate,
    3 sqrt((1 - rate) / positives): 0.3 with 100 positives, 0.03 with 10,000.

    Args:
        curve: of corrected probabilities.
        tolerance: relative deviation to accept on any number of rows, >= 0.
    Returns:
        The ratio, whether it is within the accepted deviation, and a sentence.
    Raises:
        ConfigError: `tolerance` is negative.

    Examples:
        >>> from imbalance_spark.metrics import ScoreCounts
        >>> curve = ScoreCounts.from_arrays([1] * 10 + [0] * 90, [0.12] * 100).curve()
        >>> print(ledger_check(curve).sentence.replace(": ", ":\n"))
        The mean probability is 1.2 times the base rate 0.1:
        calibrated as a whole (95.0% allowed with 10 positive rows).
    """
    if not tolerance >= 0.0:
        raise ConfigError(f"ledger_check: tolerance must be 0 or more, got {tolerance!r}. 0.05 allows 5 percent.")
    mean, rate, positives = curve.mean_score(), curve.prevalence(), int(curve.counts.positives.sum())
    ratio = mean / rate if rate > 0.0 else math.nan
    error = 3.0 * math.sqrt((1.0 - rate) / positives) if positives else math.inf
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


def _sentence(ratio: float, rate: float, allowed: float, positives: int) -> str:
    if not positives:
        return "Not checked: without positive rows the base rate is unknown."
    deviation = abs(ratio - 1.0)
    found = f"The mean probability is {ratio:.3g} times the base rate {rate:.3g}"
    limit = f"{allowed:.1%} allowed with {positives} positive rows"
    if deviation <= allowed:
        return f"{found}: calibrated as a whole ({limit})."
    side = "high" if ratio > 1.0 else "low"
    return (
        f"{found}: probabilities are too {side} ({limit}). "
        "Check the strategy's fractions and weights, and whether the base rate has changed since training."
    )
