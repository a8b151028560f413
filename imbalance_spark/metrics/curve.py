"""All thresholds of score counts, and the metrics of the whole curve, with bounds where bins hold several scores."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
import numpy.typing as npt

from imbalance_spark.core.arrays import FloatArray, IntArray
from imbalance_spark.core.errors import ConfigError, DataContractError
from imbalance_spark.metrics.confusion import ConfusionMatrix
from imbalance_spark.metrics.grid import ScoreEntries
from imbalance_spark.metrics.logistic import Reliability, intercept_of, reliability_of, slope_of

FLAG_NOBODY = float(np.nextafter(1.0, 2.0))
"""A threshold that no score in [0, 1] reaches: the next double above 1, which JSON can represent, unlike infinity."""

LOG_LOSS_EPS = 2.0**-52
"""Scores are clipped to [eps, 1 - eps] in the log loss: scikit-learn's eps for float64, whatever their type was."""


@dataclass(frozen=True, kw_only=True)
class Bracket:
    """A metric's value on counts, with its lowest and highest possible value on the rows behind them."""

    low: float
    value: float
    high: float

    @property
    def width(self) -> float:
        """high - low; 0 if every entry that matters is one score."""
        return self.high - self.low


def average_precision_bracket(counts: ScoreEntries, value: float) -> Bracket:
    """Bounds around `value`, the average precision of counts with rows of both classes.

    Highest: the positives of a bin tie, above its negatives. Lowest: its negatives come first, then its positives one
    by one; that sum of precisions is at least its integral, shifted by half a row if all weights seem to be 1. A bin
    of positives alone has bounds too, since its positives need not tie.
    """
    hits, misses = counts.positive_weight, counts.negative_weight
    tp, fp = (np.concatenate([[0.0], np.cumsum(weight)]) for weight in (hits, misses))
    positives, above_tp, above_fp = float(tp[-1]), tp[:-1], fp[:-1]
    tied = hits * _precision(tp, fp)[1:]
    gain = np.where(counts.is_bin, hits * _precision(above_tp + hits, above_fp) - tied, 0.0)
    one_by_one = _one_by_one(counts, above_tp + above_fp + misses, above_fp + misses)
    loss = np.where(counts.is_bin, tied - one_by_one, 0.0)
    # Both are >= 0 except for rounding.
    low, high = (float(np.maximum(change, 0.0).sum() / positives) for change in (loss, gain))
    return Bracket(low=value - low, value=value, high=value + high)


def roc_auc_bracket(counts: ScoreEntries, value: float) -> Bracket:
    """Bounds around `value`, the ROC-AUC: each pair inside one bin changes it by half a pair."""
    positive, negative = counts.positive_weight, counts.negative_weight
    pairs = (positive * negative)[counts.is_bin].sum()
    half = float(pairs / np.cumsum(positive)[-1] / np.cumsum(negative)[-1] / 2.0)
    return Bracket(low=value - half, value=value, high=value + half)


def _precision(tp: FloatArray, fp: FloatArray) -> FloatArray:
    return np.asarray(tp / np.maximum(tp + fp, 1e-300), dtype=np.float64)


def _one_by_one(counts: ScoreEntries, above: FloatArray, fp: FloatArray) -> FloatArray:
    """Sum of the precisions of each bin's positives if none tie, `above` being the rows before the first of them."""
    hits, half = counts.positive_weight, 0.0 if counts.is_weighted else 0.5
    integral = hits - fp * np.log1p(hits / np.maximum(above + half, 1e-300))
    # A single row has no ties: its precision is exact, whatever its weight.
    alone = hits * _precision(above - fp + hits, fp)
    return np.where(counts.positives <= 1, alone, integral)


@dataclass(frozen=True, eq=False)
class Curve:
    """Counts of flagged rows at each threshold. A row is flagged if its score is at or above the threshold.

    Entry 0 flags no row, entry i flags the rows of the first i entries of the counts. Metrics that are undefined
    because a class has no rows are None; `missing_class` gives the reason.

    Examples:
        >>> from imbalance_spark.metrics import ScoreCounts
        >>> curve = ScoreCounts.from_arrays([0, 0, 1, 0, 1], [0.1, 0.3, 0.35, 0.6, 0.9]).curve()
        >>> curve.average_precision(), curve.precision[1:4]
        (0.8333333333333333, array([1.        , 0.5       , 0.66666667]))
        >>> curve.at(0.5)
        ConfusionMatrix(tp=1.0, fp=1.0, tn=2.0, fn=1.0)
    """

    counts: ScoreEntries
    score: FloatArray
    """Probability of each entry of the counts, highest first."""
    threshold: FloatArray
    """One more than the entries: FLAG_NOBODY, then the lowest score that each further entry holds."""
    orders_per_row: tuple[float, float] = (1.0, 1.0)
    """Orders to expect for each counted negative and positive row: other than 1 at another base rate."""

    @classmethod
    def of(cls, counts: ScoreEntries, through: Callable[[FloatArray], FloatArray] | None = None) -> Self:
        """The curve of `counts`, its scores mapped by the rising function `through`.

        Raises:
            DataContractError: `through` changes the order of the scores.
        """
        score, lowest = (values if through is None else through(values) for values in (counts.score, counts.threshold))
        if np.any(np.diff(score) > 0.0):
            raise DataContractError("Curve: `through` changes the order of the scores. Give a rising map.")
        return cls(counts, score, np.concatenate([[FLAG_NOBODY], lowest]))

    @cached_property
    def tp(self) -> FloatArray:
        """Weight of flagged positives at each threshold."""
        return _running(self.counts.positive_weight)

    @cached_property
    def fp(self) -> FloatArray:
        """Weight of flagged negatives at each threshold."""
        return _running(self.counts.negative_weight)

    @cached_property
    def flagged_rows(self) -> IntArray:
        """Number of flagged rows at each threshold, without weights."""
        return np.concatenate([[0], np.cumsum(self.counts.positives + self.counts.negatives)])

    @cached_property
    def alerts(self) -> FloatArray:
        """Number of flagged orders at each threshold: rows, whatever they weigh, at the base rate of the curve."""
        of_negative, of_positive = self.orders_per_row
        return _running(self.counts.positives * of_positive + self.counts.negatives * of_negative)

    @cached_property
    def missed_amount(self) -> FloatArray | None:
        """Amount of the positives that are not flagged at each threshold; None if the counts have no amounts."""
        amount = self.counts.positive_amount
        return None if amount is None else np.concatenate([np.cumsum(amount[::-1])[::-1], [0.0]])

    @cached_property
    def caught_amount(self) -> FloatArray | None:
        """Amount of the flagged positives at each threshold; None if the counts have no amounts."""
        amount = self.counts.positive_amount
        return None if amount is None else _running(amount)

    @cached_property
    def false_alarm_amount(self) -> FloatArray | None:
        """Amount of the flagged negatives at each threshold; None if the counts have no amounts."""
        amount = self.counts.negative_amount
        return None if amount is None else _running(amount)

    @property
    def positives(self) -> float:
        """Weight of all positive rows."""
        return float(self.tp[-1])

    @property
    def negatives(self) -> float:
        """Weight of all negative rows."""
        return float(self.fp[-1])

    @property
    def precision(self) -> FloatArray:
        """Precision at each threshold; 0 where nothing is flagged."""
        flagged = self.tp + self.fp
        return np.divide(self.tp, flagged, out=np.zeros_like(flagged), where=flagged > 0.0)

    @property
    def recall(self) -> FloatArray:
        """Recall at each threshold; NaN if there is no positive row."""
        return _share(self.tp)

    @property
    def false_positive_rate(self) -> FloatArray:
        """Share of the negatives that are flagged at each threshold; NaN if there is no negative row."""
        return _share(self.fp)

    @property
    def missing_class(self) -> str | None:
        """Why metrics of two classes are undefined here, as a clause; None if both classes have rows."""
        if self.positives > 0.0 and self.negatives > 0.0:
            return None
        return f"there is no {'positive' if self.positives <= 0.0 else 'negative'} row"

    def average_precision(self) -> float | None:
        """sum (R_n - R_(n-1)) P_n over the thresholds, as in scikit-learn; a bin counts as a tie."""
        if self.missing_class:
            return None
        return float(np.sum(np.diff(self.tp) * self.precision[1:]) / self.positives)

    def average_precision_bracket(self) -> Bracket | None:
        """The average precision between the lowest and highest that any order of rows inside the bins can have."""
        value = self.average_precision()
        return None if value is None else average_precision_bracket(self.counts, value)

    def roc_auc(self) -> float | None:
        """Share of (positive, negative) pairs in the right order, ties counted half."""
        if self.missing_class:
            return None
        return float(np.trapezoid(self.tp, self.fp) / self.positives / self.negatives)

    def roc_auc_bracket(self) -> Bracket | None:
        """The ROC-AUC between the lowest and highest that any order of rows inside the bins can have."""
        value = self.roc_auc()
        return None if value is None else roc_auc_bracket(self.counts, value)

    def at(self, threshold: float) -> ConfusionMatrix:
        """The confusion matrix of "positive if score >= threshold".

        On bins, a threshold inside a bin takes effect at the bin's upper edge: the bin is not flagged.

        Raises:
            ConfigError: the threshold is NaN.
        """
        if math.isnan(threshold):
            raise ConfigError("Curve.at: the threshold is NaN. Give a number; FLAG_NOBODY flags no row.")
        return self.matrix(int(np.searchsorted(-self.threshold, -threshold, side="right")) - 1)

    def matrix(self, cut: int) -> ConfusionMatrix:
        """The confusion matrix at entry `cut` of `threshold`."""
        tp, fp = float(self.tp[max(cut, 0)]), float(self.fp[max(cut, 0)])
        return ConfusionMatrix(tp=tp, fp=fp, tn=self.negatives - fp, fn=self.positives - tp)

    def prevalence(self) -> float:
        """Share of positives, in [0, 1]."""
        return self.positives / (self.positives + self.negatives)

    def mean_score(self) -> float:
        """Mean predicted probability; equal to the prevalence when scores are calibrated as a whole."""
        return self._mean(self.score, self.score)

    def brier(self) -> float:
        """Mean of (y - p)^2."""
        return self._mean((1.0 - self.score) ** 2, self.score**2)

    def log_loss(self) -> float:
        """Mean of -ln of the probability of the true class, clipped at LOG_LOSS_EPS."""
        clipped = np.clip(self.score, LOG_LOSS_EPS, 1.0 - LOG_LOSS_EPS)
        return self._mean(-np.log(clipped), -np.log1p(-clipped))

    def calibration_intercept(self) -> float | None:
        """The logit shift that makes the mean probability the prevalence; 0 is calibrated, < 0 scores are too high."""
        return None if self.missing_class else intercept_of(self.score, *self._weights)

    def calibration_slope(self) -> float | None:
        """Slope of a logistic fit of the label on logit(score): 1 is calibrated, below 1 overconfident (Cox, 1958).

        None if the fit does not converge: scores that separate the classes have no finite slope.
        """
        return None if self.missing_class else slope_of(self.score, *self._weights)

    def reliability(self, groups: int = 10) -> Reliability:
        """Mean score and observed rate in `groups` runs of scores that each predict the same number of positives."""
        return reliability_of(self.score, *self._weights, groups=groups)

    @property
    def _weights(self) -> tuple[FloatArray, FloatArray]:
        return self.counts.positive_weight, self.counts.negative_weight

    def _mean(self, if_positive: npt.NDArray[np.float64], if_negative: npt.NDArray[np.float64]) -> float:
        positive, negative = self._weights
        return float((if_positive @ positive + if_negative @ negative) / (self.positives + self.negatives))


def _running(weight: FloatArray) -> FloatArray:
    return np.concatenate([[0.0], np.cumsum(weight)])


def _share(running: FloatArray) -> FloatArray:
    return running / running[-1] if running[-1] > 0.0 else np.full_like(running, np.nan)
