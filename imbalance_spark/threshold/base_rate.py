"""Probabilities and counts at a different base rate, in closed form: no new data, no refit."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from scipy.stats import norm

from imbalance_spark.calibration import PriorCorrection
from imbalance_spark.core.arrays import logit
from imbalance_spark.core.errors import ConfigError, DataContractError
from imbalance_spark.metrics.counts import ScoreCounts
from imbalance_spark.metrics.curve import FLAG_NOBODY, Curve
from imbalance_spark.metrics.intervals import wilson_interval
from imbalance_spark.threshold.objective import require_number


@dataclass(frozen=True, kw_only=True)
class EstimatedBaseRate:
    """The share of positives of counted rows, with Wilson's 95 % interval.

    Weights count in the share; the width of the interval is that of so many rows without weights.
    """

    rate: float
    low: float
    high: float
    positives: int
    """Positive rows, without weights."""

    @classmethod
    def of(cls, counts: ScoreCounts) -> Self:
        """The base rate of counts with at least one row."""
        curve = counts.curve()
        rate = curve.prevalence()
        low, high = wilson_interval(rate, curve.flagged_rows[-1])
        return cls(rate=rate, low=float(low), high=float(high), positives=int(counts.positives.sum()))

    def __str__(self) -> str:
        return f"{self.rate:.3g} ({self.low:.3g} to {self.high:.3g}, 95 %, {self.positives:,} positives)"


def base_rate_error(rate: float, interval: tuple[float, float]) -> float:
    """Standard error of a base rate in logits, from its 95 % interval.

    Raises:
        ConfigError: the interval is not one around the rate.
    """
    low, high = interval
    if not 0.0 < low <= rate <= high < 1.0:
        raise ConfigError(
            f"base rate interval: {low:g} to {high:g} is none around {rate:g}. Give its 95 % limits as shares of "
            "positives, the lower one first."
        )
    width = np.diff(logit(np.array([low, high])))
    return float(width[0] / (2.0 * norm.ppf(0.975)))


def base_rate_correction(old_rate: float, new_rate: float) -> PriorCorrection:
    """The correction of probabilities from one base rate to another: logit(p) moves by ln(new odds / old odds).

    It assumes label shift: only the share of positives changed, not the distribution of features within a class
    (Saerens, Latinne and Decaestecker, 2002).

    Args:
        old_rate, new_rate: shares of positives, in (0, 1).
    Returns:
        The correction, whose `apply` maps probabilities at the old rate to probabilities at the new one.
    Raises:
        ConfigError: a rate is out of range.
    """
    for name, rate in (("old", old_rate), ("new", new_rate)):
        _check_rate(rate, name)
    return PriorCorrection.of_odds(
        positive=old_rate / new_rate,
        negative=(1.0 - old_rate) / (1.0 - new_rate),
    )


def at_base_rate(curve: Curve, new_rate: float) -> Curve:
    """The curve of the same rows at a different base rate.

    Weights of each class are rescaled so that positives make up `new_rate` of an unchanged total: precision, costs and
    alerts are then those expected at the new rate; recall and false positive rate do not change. Scores and thresholds
    move by `base_rate_correction`, so that calibrated scores stay calibrated. Row counts do not change, since they
    are the sample size. The result is a curve, not counts, because moved scores are not on the counts' grid.

    Args:
        curve: on probabilities, of rows whose share of positives is the old rate.
        new_rate: share of positives, in (0, 1).
    Returns:
        A curve of the same row counts, with weights, scores and thresholds at the new rate.
    Raises:
        ConfigError: a rate is out of range.
        DataContractError: a class has no row.
    """
    if curve.missing_class:
        raise DataContractError(f"at_base_rate: {curve.missing_class} to weight. Use rows of both classes.")
    correction, counts = base_rate_correction(curve.prevalence(), new_rate), curve.counts
    # A factor is the share that training kept of a class; here it is the old share over the new one.
    negative, positive = (1.0 / factor for factor in correction.factors)
    reweighted = replace(
        counts,
        positive_weight=counts.positive_weight * positive,
        negative_weight=counts.negative_weight * negative,
        positive_amount=None if counts.positive_amount is None else counts.positive_amount * positive,
        negative_amount=None if counts.negative_amount is None else counts.negative_amount * negative,
    )
    threshold = np.concatenate([[FLAG_NOBODY], correction.apply(curve.threshold[1:])])
    orders = (curve.orders_per_row[0] * negative, curve.orders_per_row[1] * positive)
    moved = correction.apply(curve.score)
    return replace(curve, counts=reweighted, score=moved, threshold=threshold, orders_per_row=orders)


def _check_rate(rate: float, name: str) -> None:
    hint = "It is a share of positives: 0.004 is 4 in 1000."
    require_number(f"base rate ({name})", rate, above=0.0, most=1.0 - 1e-12, hint=hint)
