"""Calibration of binned scores: intercept and slope of a logistic recalibration, and the reliability table."""

from dataclasses import dataclass

import numpy as np

from imbalance_spark.core.arrays import FloatArray, logit, sigmoid

_LOGIT_LIMIT = 36.0  # beyond it 1 - p rounds to 0; scores 0 and 1 count as this logit
_STEPS = 100


@dataclass(frozen=True, kw_only=True, eq=False)
class Reliability:
    """Groups of neighbouring scores, highest first: mean prediction and observed rate."""

    mean_score: FloatArray
    observed_rate: FloatArray
    """Share of positives, in [0, 1]."""
    weight: FloatArray
    """Rows, or their weight."""
    positives: FloatArray
    """Positive rows, or their weight."""


def intercept_of(score: FloatArray, positive: FloatArray, negative: FloatArray) -> float:
    """The a for which mean(sigmoid(a + logit(score))) is the share of positives; both classes have rows."""
    logits, weight, wanted = _finite_logit(score), positive + negative, positive.sum()
    low, high = -2.0 * _LOGIT_LIMIT, 2.0 * _LOGIT_LIMIT
    shift = 0.0
    for _ in range(_STEPS):
        predicted = sigmoid(logits + shift)
        excess = weight @ predicted - wanted
        low, high = (low, shift) if excess > 0.0 else (shift, high)
        newton = shift - excess / max(weight @ (predicted * (1.0 - predicted)), 1e-300)
        # Newton's step if it stays between the bounds found so far, else bisection, so that it cannot diverge.
        following = newton if low < newton < high else (low + high) / 2.0
        if abs(following - shift) <= 1e-12:
            return float(following)
        shift = following
    return float(shift)


def slope_of(score: FloatArray, positive: FloatArray, negative: FloatArray) -> float | None:
    """The b of the maximum likelihood fit of sigmoid(a + b logit(score)), or None if none is finite."""
    logits, weight = _finite_logit(score), positive + negative
    if _is_separated(logits[positive > 0.0], logits[negative > 0.0]):
        return None
    centred = logits - weight @ logits / weight.sum()
    share = positive.sum() / weight.sum()
    estimate = np.array([np.log(share / (1.0 - share)), 0.0])
    loss = _loss(estimate, centred, positive, negative)
    for _ in range(_STEPS):
        predicted = sigmoid(estimate[0] + estimate[1] * centred)
        pull = positive - weight * predicted
        spread = weight * predicted * (1.0 - predicted)
        cross = spread @ centred
        curvature = np.array([[spread.sum(), cross], [cross, spread @ centred**2]])
        step = np.linalg.solve(curvature, np.array([pull.sum(), pull @ centred]))
        # Steps below 1e-6 are accepted: their gain is below the rounding error of the loss.
        while (further := _loss(estimate + step, centred, positive, negative)) > loss and np.abs(step).max() > 1e-6:
            step /= 2.0
        estimate, loss = estimate + step, further
        if np.abs(step).max() <= 1e-9:
            return float(estimate[1])
    return None


def reliability_of(score: FloatArray, positive: FloatArray, negative: FloatArray, *, groups: int) -> Reliability:
    """Group the scores, highest first, into at most `groups` runs with equal sums of predicted probability.

    Groups of equal size would have nearly all positives of a rare class in one of them.
    """
    weight = positive + negative
    expected = np.cumsum(score * weight)
    share = (expected - score * weight / 2.0) / max(expected[-1], 1e-300)
    group = np.minimum((share * groups).astype(np.int64), groups - 1)
    columns = (weight, positive, score * weight)
    total, hits, predicted = (np.bincount(group, values).astype(np.float64) for values in columns)
    used = total > 0.0
    return Reliability(
        mean_score=predicted[used] / total[used],
        observed_rate=hits[used] / total[used],
        weight=total[used],
        positives=hits[used],
    )


def _is_separated(one: FloatArray, other: FloatArray) -> bool:
    return bool(one.min() >= other.max() or other.min() >= one.max())


def _finite_logit(score: FloatArray) -> FloatArray:
    return np.asarray(np.clip(logit(score), -_LOGIT_LIMIT, _LOGIT_LIMIT), dtype=np.float64)


def _loss(estimate: FloatArray, logits: FloatArray, positive: FloatArray, negative: FloatArray) -> float:
    margin = estimate[0] + estimate[1] * logits
    return float(positive @ np.logaddexp(0.0, -margin) + negative @ np.logaddexp(0.0, margin))
