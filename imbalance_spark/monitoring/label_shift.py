"""The base rate of a day without labels, if only the class shares changed; and whether the scores allow for that."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from imbalance_spark.core.arrays import FloatArray, IntArray, logit, sigmoid
from imbalance_spark.monitoring.cells import GRID, BoolArray, ScoreCells
from imbalance_spark.monitoring.expected import Estimate, Reference

Verdict = Literal["none", "label", "other"]

_WIDEST, _STEPS, _CLOSE = 30.0, 30, 1e-9  # logits that are searched, and how close to the optimum
_BANDS = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999])
_LEAST_ROWS = 5.0  # of a band, for its share of the chi-squared statistic


@dataclass(frozen=True, kw_only=True, eq=False)
class Shift:
    """The day's base rate under label shift, by two methods, and how well label shift fits the day's scores.

    Args:
        em: the maximum likelihood estimate, which expectation maximization converges to (Saerens, Latinne and
            Decaestecker, 2002).
        bbse: black box shift estimation, from the share of flagged orders (Lipton, Wang and Smola, 2018).
        expected_rate: base rate that the probabilities are at, that of validation.
        p_unchanged: p-value of the scores being distributed as in validation.
        p_label_shift: p-value of their being a mixture of validation's positives and negatives.
        move: logits from the served probabilities to those at the base rate of `em`: the estimate, then each draw.
    """

    em: Estimate
    bbse: Estimate
    expected_rate: float
    p_unchanged: float
    p_label_shift: float
    move: FloatArray

    def verdict(self, level: float = 0.01) -> Verdict:
        """`none` if the scores look as in validation; `label` if another base rate explains them; `other` if not.

        It is `none`, too, if a base rate would explain them that cannot be told from validation's.

        What is `other` is covariate or concept shift; scores alone cannot tell which, labels can.

        Args:
            level: of each of the two tests, in (0, 1).
        """
        if self.p_unchanged >= level:
            return "none"
        if self.p_label_shift < level:
            return "other"
        return "none" if self.em.holds(self.expected_rate) else "label"


def estimate_shift(day: ScoreCells, reference: Reference, *, seed: int = 0) -> Shift:
    """Both estimates with 95 % intervals, and both tests; one parametric bootstrap for all of them.

    Under label shift the density of scores is pi' q1 + (1 - pi') q0. With calibrated p, q1 and q0 are validation's
    density times p / pi and (1 - p) / (1 - pi): the density ratio of the day is linear in p. Intervals draw the
    validation rows with their calibration, and the day's rows (Poisson). The tests compare the day's share of each band
    of scores with what the fit expects; their null distributions are drawn from the fit, validation redrawn, too.

    Args:
        day: at least one row.
    """
    random = np.random.default_rng(seed)
    own, pi = reference.labelled.cells, reference.labelled.cells.mean
    rate = float(em_rate(day.rows[None], day.probability[None], np.array([pi]))[0])
    em_drawn = em_rate(random.poisson(day.rows, (reference.draws, len(day.rows))).astype(np.float64),
                       reference.probabilities(day), reference.rates)  # fmt: skip
    centres = logit(np.concatenate([[rate], em_drawn])) - logit(np.concatenate([[pi], reference.rates]))
    bands = _bands(own, day.total)
    seen = _by_band(day.rows[None], day.probability, bands)
    unchanged = _p_value(seen, pi, reference, day.total, bands, random, fits=False)
    mixture = _p_value(seen, rate, reference, day.total, bands, random, fits=True)
    return Shift(
        em=_interval(rate, em_drawn),
        bbse=_bbse(day, reference, random),
        expected_rate=pi,
        p_unchanged=unchanged,
        p_label_shift=mixture,
        move=centres,
    )


def em_rate(rows: FloatArray, probability: FloatArray, old_rate: FloatArray) -> FloatArray:
    """The base rate of most likelihood, of each line of rows by cell.

    The likelihood sum n ln(1 + l (p - pi)), with l = (pi' - pi) / (pi (1 - pi)), is concave: Newton's method between
    bounds.

    Args:
        rows: (lines, cells). probability: (lines, cells), at the base rate `old_rate` (lines,) in (0, 1).
    """
    low, high, x = np.full(len(rows), -_WIDEST), np.full(len(rows), _WIDEST), logit(old_rate)
    apart, scale = probability - old_rate[:, None], old_rate * (1.0 - old_rate)
    for _ in range(_STEPS):
        rate = sigmoid(x)
        term = apart / (1.0 + ((rate - old_rate) / scale)[:, None] * apart)
        slope, bend = (rows * term).sum(axis=1), (rows * term**2).sum(axis=1)
        low, high = np.where(slope > 0.0, x, low), np.where(slope > 0.0, high, x)
        # Newton's step in logits where it stays between the bounds, else their middle.
        tilt = rate * (1.0 - rate) / scale
        curvature = bend * tilt**2 - slope * tilt * (1.0 - 2.0 * rate)
        step = x + slope * tilt / np.where(curvature > 0.0, curvature, np.nan)
        x, before = np.where((step > low) & (step < high), step, (low + high) / 2.0), x
        if np.max(np.abs(x - before)) < _CLOSE:
            break
    return sigmoid(x)


def _bbse(day: ScoreCells, reference: Reference, random: np.random.Generator) -> Estimate:
    flagged, labelled = reference.labelled.cells.flagged, reference.labelled
    negative = labelled.cells.rows - labelled.positives
    value = _solved(np.array([day.alerts / day.total]), labelled.positives[None], negative[None], flagged)[0]
    share = random.binomial(int(day.total), day.alerts / day.total, reference.draws) / day.total
    drawn = _solved(share, reference.positives, reference.negatives, flagged)
    return _interval(float(value), drawn) if np.isfinite(value) else Estimate(value=None)


def _solved(share: FloatArray, positive: FloatArray, negative: FloatArray, flagged: BoolArray) -> FloatArray:
    """Where the share of flagged rows lies between the false positive rate and the recall; NaN if these are equal."""
    with np.errstate(invalid="ignore", divide="ignore"):
        recall, false = (rows @ flagged / rows.sum(axis=1) for rows in (positive, negative))
        rate = (share - false) / (recall - false)
    return np.asarray(np.where(recall > false, np.clip(rate, 0.0, 1.0), np.nan), dtype=np.float64)


def _interval(value: float, drawn: FloatArray) -> Estimate:
    finite = drawn[np.isfinite(drawn)]
    if not len(finite):
        return Estimate(value=value)
    low, high = np.quantile(finite, [0.025, 0.975])
    return Estimate(value=value, low=float(min(low, value)), high=float(max(high, value)))


def _bands(own: ScoreCells, rows: float) -> IntArray:
    """The last bins of bands of scores, by shares of validation's rows; each band is to have rows of the day."""
    below, bins = np.cumsum(own.rows[::-1]) / own.total, GRID.bin_of(own.probability[::-1])
    ends, last = [], 0.0
    for share in _BANDS:
        # Both cells of the threshold's bin fall into one band: a day's cells may have other means.
        position = int(np.searchsorted(bins, bins[np.searchsorted(below, share)], side="right")) - 1
        at = float(below[position])
        if rows * min(at - last, 1.0 - at) >= _LEAST_ROWS:
            ends.append(int(bins[position]))
            last = at
    return np.array(ends, dtype=np.int64)


def _by_band(rows: FloatArray, probability: FloatArray, ends: IntArray) -> FloatArray:
    """Rows of each band, by line."""
    band = np.searchsorted(ends, GRID.bin_of(probability), side="left")
    return np.asarray(rows @ (band[:, None] == np.arange(len(ends) + 1)), dtype=np.float64)


def _p_value(
    seen: FloatArray, rate: float, reference: Reference, rows: float, ends: IntArray, random: np.random.Generator,
    *, fits: bool,
) -> float:  # fmt: skip
    """How often a day of this base rate departs as much from its fit as the one that was seen."""
    own, pi = reference.labelled.cells, reference.labelled.cells.mean
    redrawn = reference.positives + reference.negatives
    true = redrawn * _tilt(reference.own_probabilities, np.full(reference.draws, rate) if fits else reference.rates,
                           reference.rates)  # fmt: skip
    true *= rows / true.sum(axis=1, keepdims=True)
    made = random.poisson(np.maximum(true, 0.0)).astype(np.float64)
    rates = np.full(len(made), pi)
    if fits:
        rates = em_rate(made, np.broadcast_to(own.probability, made.shape), rates)
    drawn = _by_band(made, own.probability, ends)
    spread = _departure(drawn, rates, reference, ends)
    return float((1 + np.sum(spread >= _departure(seen, np.array([rate]), reference, ends)[0])) / (1 + len(spread)))


def _departure(seen: FloatArray, rates: FloatArray, reference: Reference, ends: IntArray) -> FloatArray:
    """Pearson's statistic of bands against the mixture of each line's base rate."""
    own, pi = reference.labelled.cells, reference.labelled.cells.mean
    tilted = own.rows * _tilt(own.probability[None], rates, np.full(len(rates), pi))
    shares = _by_band(tilted / tilted.sum(axis=1, keepdims=True), own.probability, ends)
    fit = shares * seen.sum(axis=1, keepdims=True)
    return np.asarray(((seen - fit) ** 2 / np.maximum(fit, 1e-9)).sum(axis=1), dtype=np.float64)


def _tilt(probability: FloatArray, new_rate: FloatArray, old_rate: FloatArray) -> FloatArray:
    """Density ratio of each cell, by line: 1 at the old base rate, linear in p."""
    slope = (new_rate - old_rate) / (old_rate * (1.0 - old_rate))
    return np.asarray(1.0 + slope[:, None] * (probability - old_rate[:, None]), dtype=np.float64)
