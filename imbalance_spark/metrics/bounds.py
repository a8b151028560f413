"""Bounds of metrics on binned scores: the lowest and highest value over all orders of rows inside the bins."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from imbalance_spark.metrics.grid import FloatArray

if TYPE_CHECKING:
    from imbalance_spark.metrics.curve import Curve


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


def average_precision_bracket(curve: "Curve") -> Bracket | None:
    """Bounds of the average precision; None if a class has no row.

    Highest: the positives of a bin tie, above its negatives. Lowest: its negatives come first, then its positives one
    by one; that sum of precisions is at least its integral, shifted by half a row if all weights seem to be 1. A bin
    of positives alone has bounds too, since its positives need not tie.
    """
    if (value := curve.average_precision()) is None:
        return None
    hits, misses = curve.counts.positive_weight, curve.counts.negative_weight
    tp, fp = curve.tp[:-1], curve.fp[:-1]
    tied = hits * curve.precision[1:]
    is_open = curve.counts.is_bin
    gain = np.where(is_open, hits * _precision(tp + hits, fp) - tied, 0.0)
    loss = np.where(is_open, tied - _one_by_one(curve, tp + fp + misses, fp + misses), 0.0)
    # Both are >= 0 except for rounding.
    low, high = (float(np.maximum(change, 0.0).sum() / curve.positives) for change in (loss, gain))
    return Bracket(low=value - low, value=value, high=value + high)


def roc_auc_bracket(curve: "Curve") -> Bracket | None:
    """Bounds of the ROC-AUC; None if a class has no row. Each pair inside one bin changes it by half a pair."""
    if (value := curve.roc_auc()) is None:
        return None
    pairs = curve.counts.positive_weight * curve.counts.negative_weight
    half = float(pairs[curve.counts.is_bin].sum() / curve.positives / curve.negatives / 2.0)
    return Bracket(low=value - half, value=value, high=value + half)


def _precision(tp: FloatArray, fp: FloatArray) -> FloatArray:
    return np.asarray(tp / np.maximum(tp + fp, 1e-300), dtype=np.float64)


def _one_by_one(curve: "Curve", above: FloatArray, fp: FloatArray) -> FloatArray:
    """Sum of the precisions of each bin's positives when they do not tie, `above` the rows before the first of them."""
    counts = curve.counts
    hits, half = counts.positive_weight, 0.0 if counts.is_weighted else 0.5
    integral = hits - fp * np.log1p(hits / np.maximum(above + half, 1e-300))
    # A single row has no ties: its precision is exact, whatever its weight.
    alone = hits * _precision(above - fp + hits, fp)
    return np.where(counts.positives <= 1, alone, integral)
