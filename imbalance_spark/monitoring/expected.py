"""Performance without labels: what calibrated probabilities expect, with the luck of the labels and the calibration's
uncertainty in the interval."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2

from imbalance_spark.core.arrays import FloatArray, sigmoid
from imbalance_spark.monitoring.cells import LabelledCells, ScoreCells
from imbalance_spark.monitoring.reference import Reference

METRICS = ("base_rate", "positives", "precision", "recall", "average_precision", "cost")
_TAIL = 0.025


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A number with its 95 % interval; None where it is undefined, such as the precision of no alert."""

    value: float | None
    low: float | None = None
    high: float | None = None

    def holds(self, value: float | None) -> bool:
        """Whether the interval holds a number; what is undefined contradicts nothing."""
        if value is None or self.low is None or self.high is None:
            return True
        return self.low <= value <= self.high


@dataclass(frozen=True, kw_only=True)
class Costs:
    """What errors cost.

    Args:
        fn: of a positive that is not flagged, at least 0.
        fp: of a negative that is flagged, at least 0.
    """

    fn: float
    fp: float


def realised(cells: ScoreCells, positives: FloatArray, costs: Costs) -> dict[str, float | None]:
    """The metrics of rows whose positives are known in each cell; None where one is undefined."""
    found = _metrics(cells, positives[None], costs)
    return {name: None if np.isnan(values[0]) else float(values[0]) for name, values in found.items()}


def expected(
    day: ScoreCells, reference: Reference, costs: Costs, *, move: FloatArray | None = None, seed: int = 0
) -> dict[str, Estimate]:
    """What the labels of a day will say, from its probabilities alone.

    Confidence-based performance estimation, as in NannyML: the expected confusion matrix sums p over flagged orders
    and 1 - p over the others. It holds as long as an order's probability does not depend on the day: under covariate
    shift, not under concept shift. The 95 % interval is for the value that will be counted once the labels are known.
    Each draw takes a calibration of `reference`, then labels with its probabilities: a binomial number of positives in
    each cell, whose sum is, within a cell of 0.02 logits, Poisson-binomial.

    Args:
        day: at least one row.
        move: logits that probabilities move by, of the estimate and then of each draw, for another base rate; see
            `label_shift.Shift.move`. None leaves them as they were served.

    Returns:
        The names of `METRICS`; rates in [0, 1], positives in orders, cost in the unit of `costs`.
    """
    labels = drawn_positives(day, reference, move=move, seed=seed)
    drawn = _metrics(day, labels, costs)
    p = day.probability if move is None else sigmoid(day.log_odds + move[0])
    values = realised(day, day.rows * p, costs)
    return {name: _estimate(values[name], drawn[name]) for name in METRICS}


def drawn_positives(
    day: ScoreCells, reference: Reference, *, move: FloatArray | None = None, seed: int = 0
) -> FloatArray:
    """Positives of each cell, by draw; see `expected`."""
    p = reference.probabilities(day, None if move is None else move[1:])
    return np.random.default_rng(seed).binomial(day.rows.astype(np.int64), p).astype(np.float64)


def contradiction(
    day: LabelledCells, reference: Reference, *, move: FloatArray | None = None, seed: int = 0
) -> float | None:
    """P-value of the labels being those that the probabilities expect; small under concept shift.

    Compared are the number of positives and their mean logit, that is, calibration in the large and its slope: the
    distance of Mahalanobis from the draws of `expected` is chi-squared with two degrees of freedom.

    Returns:
        None where the draws do not vary, since next to no positive is expected.
    """
    cells = day.cells
    features = np.stack([np.ones_like(cells.probability), cells.log_odds - reference.centre], axis=1)
    drawn = drawn_positives(cells, reference, move=move, seed=seed) @ features
    covariance = np.cov(drawn.T)
    if not np.linalg.det(covariance) > 0.0:
        return None
    apart = day.positives @ features - drawn.mean(axis=0)
    return float(chi2.sf(apart @ np.linalg.solve(covariance, apart), 2))


def _metrics(cells: ScoreCells, positives: FloatArray, costs: Costs) -> dict[str, FloatArray]:
    """The metrics by draw, of positives by draw and cell; NaN where undefined."""
    total, hits = positives.sum(axis=1), positives @ cells.flagged
    below = np.cumsum(positives, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        precision_at = below / np.cumsum(cells.rows)
        return {
            "base_rate": total / cells.total,
            "positives": total,
            "precision": hits / np.float64(cells.alerts),
            "recall": hits / total,
            "average_precision": (positives * precision_at).sum(axis=1) / total,
            "cost": costs.fn * (total - hits) + costs.fp * (cells.alerts - hits),
        }


def _estimate(value: float | None, drawn: FloatArray) -> Estimate:
    defined = drawn[~np.isnan(drawn)]
    if value is None or not len(defined):
        return Estimate(value=value)
    low, high = np.quantile(defined, [_TAIL, 1.0 - _TAIL], method="nearest")
    return Estimate(value=value, low=float(low), high=float(high))


def as_numbers(estimates: Mapping[str, Estimate], prefix: str) -> dict[str, float]:
    """The defined values and limits as metrics of a run."""
    return {
        f"{prefix}/{name}{suffix}": number
        for name, estimate in estimates.items()
        for suffix, number in (("", estimate.value), ("_low", estimate.low), ("_high", estimate.high))
        if number is not None
    }
