"""Performance without labels: what calibrated probabilities expect, with the luck of the labels and the calibration's
uncertainty in the interval."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from scipy.special import chdtrc

from imbalance_spark.core.arrays import FloatArray, sigmoid
from imbalance_spark.monitoring.cells import LabelledCells, ScoreCells

DRAWS = 400
"""Resamples behind an interval: the 2.5 % quantile is the tenth lowest."""
_PRIOR = np.array([2.0, 0.5])  # as in calibration.LogOddsCalibration.fit_with_prior, which scores were calibrated by
_STEPS = 12

METRICS = ("base_rate", "positives", "precision", "recall", "average_precision", "cost")
_TAIL = 0.025


@dataclass(frozen=True, kw_only=True, eq=False)
class Reference:
    """Validation rows of a model, and draws of what else they might have been.

    A draw has a Poisson number of positives and of negatives in each cell (Poisson bootstrap). Platt scaling with the
    prior of the jobs, fitted again on each draw, says how uncertain the calibration is: `shift` and `slope` are its
    departures from the fit on all rows, so that p becomes sigmoid(s + shift + slope (s - centre)), with s = logit p.

    Args:
        positives, negatives: rows by draw and cell.
        shift, slope: by draw.
        centre: the logit at which the slope does not matter, that of the base rate.
    """

    labelled: LabelledCells
    positives: FloatArray
    negatives: FloatArray
    shift: FloatArray
    slope: FloatArray
    centre: float

    @classmethod
    def of(cls, labelled: LabelledCells, *, base_rate_error: float = 0.0, draws: int = DRAWS, seed: int = 0) -> Self:
        """Resample the rows of validation `draws` times.

        Args:
            base_rate_error: standard error of the base rate that the probabilities were moved to, in logits, which
                validation knows nothing of.
        """
        random = np.random.default_rng(seed)
        negative = labelled.cells.rows - labelled.positives
        positives, negatives = (
            random.poisson(rows, (draws, len(rows))).astype(np.float64) for rows in (labelled.positives, negative)
        )
        rate, score = labelled.base_rate, labelled.cells.log_odds
        centre = float(np.log(rate) - np.log1p(-rate))
        design = np.stack([np.ones_like(score), score - centre])
        fitted = _platt(design, score, labelled.positives[None], negative[None])[0]
        shift, slope = (_platt(design, score, positives, negatives) - fitted).T
        return cls(
            labelled=labelled,
            positives=positives,
            negatives=negatives,
            shift=shift + random.normal(0.0, base_rate_error, draws) if base_rate_error > 0.0 else shift,
            slope=slope,
            centre=centre,
        )

    @property
    def draws(self) -> int:
        """Number of draws."""
        return len(self.shift)

    def probabilities(self, cells: ScoreCells, move: FloatArray | None = None) -> FloatArray:
        """Probabilities of each cell, by draw of the calibration.

        Args:
            move: logits by draw that probabilities move by, too.
        """
        s, shift = cells.log_odds, self.shift if move is None else self.shift + move
        return sigmoid(s + shift[:, None] + self.slope[:, None] * (s - self.centre))

    @cached_property
    def own_probabilities(self) -> FloatArray:
        """`probabilities` of validation's own cells."""
        return self.probabilities(self.labelled.cells)

    @cached_property
    def rates(self) -> FloatArray:
        """By draw the mean probability of the draw's rows: the base rate that its probabilities are at."""
        rows = self.positives + self.negatives
        return np.asarray((rows * self.own_probabilities).sum(axis=1) / rows.sum(axis=1), dtype=np.float64)


def _platt(design: FloatArray, offset: FloatArray, positive: FloatArray, negative: FloatArray) -> FloatArray:
    """By draw, the shift and the slope's departure from 1 of most posterior density; Newton's method on all draws."""
    estimate, rows, penalty = np.zeros((len(positive), 2)), positive + negative, _PRIOR**-2.0
    for _ in range(_STEPS):
        p = sigmoid(estimate @ design + offset)
        gradient = (positive - rows * p) @ design.T - penalty * estimate
        curvature = np.einsum("kb,ib,jb->kij", rows * p * (1.0 - p), design, design) + np.diag(penalty)
        step = np.linalg.solve(curvature, gradient[..., None])[..., 0]
        # The prior bounds the optimum; a step of more than a logit comes from too flat a start.
        estimate = estimate + np.clip(step, -1.0, 1.0)
    return estimate


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
    return float(chdtrc(2, apart @ np.linalg.solve(covariance, apart)))


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
