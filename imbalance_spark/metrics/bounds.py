"""Bounds of metrics on binned scores: the lowest and highest value over all orders of rows inside the bins."""

from dataclasses import dataclass

import numpy as np

from imbalance_spark.core.arrays import FloatArray
from imbalance_spark.metrics.entries import ScoreEntries


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
