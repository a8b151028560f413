"""Intervals of numbers that several classes share, such as a macro average, by the same jackknife over hash buckets."""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from imbalance_spark.errors import DataContractError
from imbalance_spark.metrics.bootstrap import BucketedCurve, rows_by_bucket
from imbalance_spark.metrics.curve import Curve
from imbalance_spark.metrics.intervals import Interval, jackknife_interval, sample_warning
from imbalance_spark.metrics.scales import REAL, Scale, scale_of

ClassMetrics = Callable[[Sequence[Curve]], Mapping[str, float]]
"""Numbers of one curve a class, of the class against all others; NaN means undefined."""

_LEVEL = 0.95


def class_intervals(samples: Sequence[BucketedCurve], metrics: ClassMetrics) -> dict[str, Interval]:
    """An interval for each metric that is defined on all rows.

    Args:
        samples: one for each class in the order of their numbers, of the same rows.
    """
    values, without = metrics([sample.curve for sample in samples]), _without(samples, metrics)
    rarest = min(samples, key=lambda sample: sample.positives)
    warning = sample_warning(rarest)
    return {
        name: jackknife_interval(value, _column(without, name), class_scale(name), _LEVEL, rarest, warning)
        for name, value in values.items()
        if math.isfinite(value)
    }


def class_differences(
    one: Sequence[BucketedCurve], other: Sequence[BucketedCurve], metrics: ClassMetrics, *, level: float = _LEVEL
) -> dict[str, Interval]:
    """An interval for `one` minus `other`, of each metric that is defined for both models of the same rows.

    Raises:
        DataContractError: the two have other classes, or were not counted on the same rows.
    """
    if len(one) != len(other) or any(
        not np.array_equal(rows_by_bucket(mine), rows_by_bucket(theirs))
        for mine, theirs in zip(one, other, strict=True)
    ):
        raise DataContractError(
            "class_differences: the two models have other classes, or their buckets hold different rows. "
            "Count both on the same rows, with the same group."
        )
    rarest = min(one, key=lambda sample: sample.positives)
    values, others = (metrics([sample.curve for sample in samples]) for samples in (one, other))
    without, others_without = _without(one, metrics), _without(other, metrics)
    return {
        name: jackknife_interval(
            values[name] - others[name], _column(without, name) - _column(others_without, name), REAL, level, rarest,
            sample_warning(rarest),
        )
        for name in values
        if name in others and math.isfinite(values[name] - others[name])
    }  # fmt: skip


def class_scale(name: str) -> Scale:
    """The scale of `macro_recall`, or of `recall/fraud`."""
    return scale_of(name.split("/", 1)[0].removeprefix("macro_"))


def _without(samples: Sequence[BucketedCurve], metrics: ClassMetrics) -> list[Mapping[str, float]]:
    occupied = samples[0].occupied
    others = [occupied & (np.arange(len(occupied)) != bucket) for bucket in np.flatnonzero(occupied)]
    return [metrics([sample.draw(kept) for sample in samples]) for kept in others]


def _column(without: Sequence[Mapping[str, float]], name: str) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    return np.array([values.get(name, math.nan) for values in without], dtype=np.float64)
