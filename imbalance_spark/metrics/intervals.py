"""Confidence intervals: Wilson's of a rate; of metrics and paired differences by a jackknife over hash buckets."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from imbalance_spark.core.arrays import FloatArray
from imbalance_spark.core.errors import ConfigError, DataContractError
from imbalance_spark.metrics.bucket_draws import BucketedCurve, rows_by_bucket
from imbalance_spark.metrics.curve import Curve


@dataclass(frozen=True, kw_only=True)
class Scale:
    """A rising map from (low, high) to all numbers, and back; infinite at a finite end."""

    low: float
    high: float
    forward: Callable[[FloatArray], FloatArray]
    inverse: Callable[[FloatArray], FloatArray]


def _quietly(function: Callable[[FloatArray], FloatArray]) -> Callable[[FloatArray], FloatArray]:
    def quiet(values: FloatArray) -> FloatArray:
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            return np.asarray(function(values), dtype=np.float64)

    return quiet


RATE = Scale(
    low=0.0,
    high=1.0,
    forward=_quietly(lambda values: np.log(values) - np.log1p(-values)),
    inverse=_quietly(lambda logit: 1.0 / (1.0 + np.exp(-logit))),
)


POSITIVE = Scale(low=0.0, high=math.inf, forward=_quietly(np.log), inverse=_quietly(np.exp))


NEGATIVE = Scale(
    low=-math.inf,
    high=0.0,
    forward=_quietly(lambda values: -np.log(-values)),
    inverse=_quietly(lambda log: -np.exp(-log)),
)


CORRELATION = Scale(low=-1.0, high=1.0, forward=_quietly(np.arctanh), inverse=_quietly(np.tanh))


REAL = Scale(low=-math.inf, high=math.inf, forward=lambda values: values, inverse=lambda values: values)


COST = Scale(low=-math.inf, high=math.inf, forward=REAL.forward, inverse=REAL.inverse)
"""Of a sum of costs, where gains are negative: POSITIVE, NEGATIVE or REAL, by the signs of the values at hand."""


_RATES = (
    *("average_precision", "roc_auc", "partial_roc_auc", "pr_auc_trapezoid", "h_measure", "brier"),
    *("ece_equal_width", "ece_equal_mass", "mean_score", "prevalence", "precision", "recall", "specificity"),
    *("accuracy", "balanced_accuracy", "g_mean", "value_detection_rate"),
)


_POSITIVE = ("log_loss", "lift", "mean_over_base_rate", "tp", "fp", "tn", "fn", "false_positives_per_hit")


_COSTS = ("cost", "expected_cost")


_CORRELATIONS = ("mcc", "kappa")


_NAMES = ((RATE, _RATES), (POSITIVE, _POSITIVE), (COST, _COSTS), (CORRELATION, _CORRELATIONS))


_F_BETA = re.compile(r"f\d+(_\d+)?")


def scale_of(metric: str) -> Scale:
    """The scale on which a metric's estimate is nearly normal; REAL for an unknown name.

    The metric is found in names such as `test/recall`, `recall/fraud`, `macro_recall` and `recall_at_1_percent`.
    REAL is safe for any metric: its interval may be rougher, and may reach beyond the metric's range.
    """
    for part in metric.split("/"):
        name = part.removeprefix("macro_").split("_at_", 1)[0]
        if _F_BETA.fullmatch(name):
            return RATE
        for scale, names in _NAMES:
            if name in names:
                return scale
    return REAL


Metrics = Callable[[Curve], Mapping[str, float]]
"""Numbers of a curve by name, such as `evaluate`; an absent name or NaN means undefined."""


TargetMetrics = Callable[[Sequence[Curve]], Mapping[str, float]]
"""Numbers of the curves of all targets, one a target, in the order of their numbers."""


FEW_POSITIVES = 100


FEW_BUCKETS = 20


_Z = 1.96  # a normal variable lies within it, either side of its mean, 95 % of the time


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A number with its confidence interval; `value` is the number of all rows, from the fine counts."""

    value: float
    low: float
    high: float
    level: float
    """Share of samples whose interval holds the true number, such as 0.95."""
    standard_error: float
    """In the number's own unit."""
    positives: int
    """Positive rows that it rests on."""
    warning: str | None
    """Why the interval is rough; None when nothing speaks against it."""


def bucket_intervals(sample: BucketedCurve, metrics: Metrics, *, level: float = 0.95) -> dict[str, Interval]:
    """An interval for each metric that is defined on all rows.

    Raises:
        ConfigError: `level` is not in (0, 1).
    """
    return target_intervals([sample], _of_the_only(metrics), level=level)


def target_intervals(
    samples: Sequence[BucketedCurve], metrics: TargetMetrics, *, level: float = 0.95
) -> dict[str, Interval]:
    """An interval for each metric of the targets that is defined on all rows.

    Args:
        samples: one for each target, of the same rows. What an interval rests on is that of the rarest.
    Raises:
        ConfigError: `level` is not in (0, 1).
    """
    check_level(level)
    values, without = metrics([sample.curve for sample in samples]), _without(samples, metrics)
    rarest = rarest_of(samples)
    return {
        name: jackknife_interval(value, _column(without, name), scale_of(name), rarest, level=level)
        for name, value in values.items()
        if math.isfinite(value)
    }


def paired_differences(
    one: BucketedCurve,
    other: BucketedCurve,
    metrics: Metrics,
    metrics_of_other: Metrics | None = None,
    *,
    level: float = 0.95,
) -> dict[str, Interval]:
    """An interval for `one` minus `other`, of each metric that is defined for both.

    Both models scored the same rows, so what makes a sample easy or hard for both drops out.

    Args:
        metrics_of_other: where the second model has another threshold; else `metrics`.
    Raises:
        DataContractError: the two were not counted on the same rows.
        ConfigError: `level` is not in (0, 1).
    """
    of_other = None if metrics_of_other is None else _of_the_only(metrics_of_other)
    return target_differences([one], [other], _of_the_only(metrics), of_other, level=level)


def target_differences(
    one: Sequence[BucketedCurve],
    other: Sequence[BucketedCurve],
    metrics: TargetMetrics,
    metrics_of_other: TargetMetrics | None = None,
    *,
    level: float = 0.95,
) -> dict[str, Interval]:
    """`paired_differences` of metrics of all targets.

    Raises:
        DataContractError: the two have other targets, or were not counted on the same rows.
        ConfigError: `level` is not in (0, 1).
    """
    check_level(level)
    pairs = zip(one, other, strict=False)
    if len(one) != len(other) or not all(np.array_equal(rows_by_bucket(a), rows_by_bucket(b)) for a, b in pairs):
        raise DataContractError(
            "paired_differences: the two models have other classes, or their buckets hold different rows. "
            "Count both in one scan, with the same group."
        )
    of_other = metrics if metrics_of_other is None else metrics_of_other
    values, others = metrics([sample.curve for sample in one]), of_other([sample.curve for sample in other])
    without, others_without = _without(one, metrics), _without(other, of_other)
    rarest, found = rarest_of(one), {}
    for name in values:
        if name in others and math.isfinite(difference := values[name] - others[name]):
            again = _column(without, name) - _column(others_without, name)
            found[name] = jackknife_interval(difference, again, REAL, rarest, level=level)
    return found


def with_unseen_errors(interval: Interval, size: float, *, below: bool) -> Interval:
    """A cost's interval that leaves room for costly errors of which the sample happens to have none.

    Where a false negative costs as much as 2,000 false positives, a sample may have none: its buckets then differ by
    false positives alone, and the one false negative of the next sample lies far outside. Where no event was seen, up
    to -ln((1 - level) / 2) may be expected (rule of three; Hanley and Lippman-Hand, 1983), so the interval reaches as
    far at least. Events that were seen widen it by themselves. An interval without any width stays as it is.

    Args:
        size: what one more error costs, see `event_size`.
        below: whether also downwards: of a difference, which either model's errors move.
    """
    if interval.low == interval.high:
        return interval
    reach = unseen_events(interval.level) * size
    low = min(interval.low, interval.value - reach) if below else interval.low
    return replace(interval, low=low, high=max(interval.high, interval.value + reach))


def unseen_events(level: float) -> float:
    """How many events are expected at most where none was seen, at the upper end of a two-sided interval."""
    return -math.log((1.0 - level) / 2.0)


def event_size(sums: FloatArray) -> float:
    """Of events that fall into buckets at random, how large one is: the variance of the buckets' sums by their mean.

    Of independent events of sizes s it is sum s^2 / sum s, and events of one group, which share a bucket, count as one
    (a compound Poisson distribution). 0 of sums that are all 0, or of one bucket.
    """
    return float(sums.var(ddof=1) / sums.mean()) if len(sums) > 1 and sums.mean() > 0.0 else 0.0


def wilson_interval(rate: npt.ArrayLike, rows: npt.ArrayLike, z: float = _Z) -> tuple[FloatArray, FloatArray]:
    """Lower and upper end of the interval of a share of independent rows, also of a rare one (Wilson, 1927).

    Args:
        rate: share in [0, 1]. rows: how many rows it is the share of, above 0; of the same shape.
        z: standard deviations to either side, at least 0; by default those of a 95 % interval.
    """
    p, n = np.asarray(rate, dtype=np.float64), np.asarray(rows, dtype=np.float64)
    centre = (p + z**2 / (2.0 * n)) / (1.0 + z**2 / n)
    reach = z * np.sqrt(p * (1.0 - p) / n + z**2 / (4.0 * n**2)) / (1.0 + z**2 / n)
    return np.maximum(centre - reach, 0.0), np.minimum(centre + reach, 1.0)


def rarest_of(samples: Sequence[BucketedCurve]) -> BucketedCurve:
    """The sample of the target with the fewest rows: what numbers of all targets rest on."""
    return min(samples, key=lambda sample: sample.positives)


def sample_warning(sample: BucketedCurve) -> str | None:
    """Why intervals of this sample are rough, as a sentence; None when they are not."""
    positives, buckets = sample.positives, sample.buckets_with_positives
    if positives < FEW_POSITIVES:
        return (
            f"Only {positives} positive rows: intervals are wide and rough below {FEW_POSITIVES}. "
            "Hold out more rows before a small difference decides."
        )
    if buckets < FEW_BUCKETS:
        return (
            f"The {positives} positive rows lie in only {buckets} of {sample.buckets.size} buckets: few groups hold "
            "them, and intervals are rough."
        )
    return None


def check_level(level: float) -> None:
    """Refuse a level that is no share of samples.

    Raises:
        ConfigError: it is not in (0, 1).
    """
    if not 0.0 < level < 1.0:
        raise ConfigError(f"intervals: level must be in (0, 1), got {level!r}. 0.95 suits most uses.")


def _of_the_only(metrics: Metrics) -> TargetMetrics:
    return lambda curves: metrics(curves[0])


def _without(samples: Sequence[BucketedCurve], metrics: TargetMetrics) -> list[Mapping[str, float]]:
    """The metrics without each of the buckets; all samples are of the same rows, so of the same buckets."""
    return [metrics(curves) for curves in zip(*[sample.without_each() for sample in samples], strict=True)]


def _column(without: Sequence[Mapping[str, float]], name: str) -> FloatArray:
    return np.array([values.get(name, math.nan) for values in without], dtype=np.float64)


def jackknife_interval(
    value: float, without: FloatArray, scale: Scale, sample: BucketedCurve, *, level: float = 0.95
) -> Interval:
    """The interval of a number that is `without[b]` without bucket b; `sample` says on how many positives it rests.

    It is value +- t * standard error on the scale, carried back (Efron and Tibshirani, 1993, chapter 12). Where a value
    has no finite place on the scale, such as the logarithm of 0, it is symmetric around the value itself, within the
    scale's range. The scale COST is taken by sign: the interval of -x is the mirrored interval of x.

    No bucket that differs is no certainty. A rate of 0 or 1 reaches to the rate at which so many groups would still
    agree (rule of three; Hanley and Lippman-Hand, 1983). A sum of 0, such as a cost, is unbounded above, since what one
    more error costs is not known from sums of 0.
    """
    low, high, notes = _limits(value, without, scale, level, sample.buckets_with_positives)
    return Interval(
        value=value,
        low=min(low, value),
        high=max(high, value),
        level=level,
        standard_error=jackknife_error(without),
        positives=sample.positives,
        warning=" ".join(filter(None, [sample_warning(sample), notes])) or None,
    )


def _limits(
    value: float, without: FloatArray, scale: Scale, level: float, groups: int
) -> tuple[float, float, str | None]:
    if len(without) < 2 or not np.isfinite(without).all():
        return scale.low, scale.high, "It is undefined without one of the buckets: nothing is known of its range."
    values = np.append(without, value)
    scale = _of_sign(values) if scale is COST else scale
    if np.ptp(without) == 0.0:
        return _limits_of_constant(value, scale, level, groups)
    on_scale = scale if np.isfinite(scale.forward(values)).all() else REAL
    moved = on_scale.forward(without)
    reach = float(stdtrit(degrees_of_freedom(moved), 0.5 + level / 2.0)) * jackknife_error(moved)
    centre = on_scale.forward(np.array([value]))[0]
    low, high = on_scale.inverse(np.array([centre - reach, centre + reach]))
    return max(float(low), scale.low), min(float(high), scale.high), None


def _of_sign(values: FloatArray) -> Scale:
    """The scale of the one sign that all values but zeros have, else REAL."""
    if (values >= 0.0).all():
        return POSITIVE
    return NEGATIVE if (values <= 0.0).all() else REAL


def _limits_of_constant(value: float, scale: Scale, level: float, groups: int) -> tuple[float, float, str | None]:
    """The range of a number that is the same without each bucket; see `jackknife_interval`."""
    if value == scale.low and math.isinf(scale.high):
        return value, scale.high, "It is 0 in every bucket: one more row could make it any size."
    note = "No bucket differs from the others: its range is that of groups which all agree."
    reach = 1.0 - ((1.0 - level) / 2.0) ** (1.0 / max(groups, 1))
    if value == scale.low:
        return value, scale.low + reach * (scale.high - scale.low), note
    if value == scale.high:
        return scale.high - reach * (scale.high - scale.low), value, note
    return value, value, note


def jackknife_error(without: FloatArray) -> float:
    """Standard error of a number that is `without[b]` without bucket b; NaN of fewer than 2 (Efron, 1982)."""
    buckets = len(without)
    if buckets < 2:
        return math.nan
    return math.sqrt((buckets - 1) / buckets * float(np.sum((without - without.mean()) ** 2)))


def ratio_error(sums: FloatArray, weights: FloatArray) -> float:
    """Standard error of sums / weights, both added up over independent hash buckets; NaN of fewer than two.

    Linearized: the spread of what each bucket is above its share (Cochran, 1977, chapter 6).

    Args:
        sums, weights: one for each bucket; a bucket of weight 0 has no rows.
    """
    occupied, total = int(np.count_nonzero(weights)), float(weights.sum())
    if occupied < 2:
        return math.nan
    above = sums - float(sums.sum()) / total * weights
    return math.sqrt(float(above @ above) * occupied / (occupied - 1)) / total


def degrees_of_freedom(without: FloatArray) -> float:
    """2 n / (kurtosis - 1): the variance of a sum of squares, matched to a chi-squared one (Satterthwaite, 1946)."""
    buckets, squares = len(without), (without - without.mean()) ** 2
    kurtosis = buckets * float(np.sum(squares**2)) / float(np.sum(squares)) ** 2
    return float(np.clip(2.0 * buckets / max(kurtosis - 1.0, 1e-9), 1.0, buckets - 1.0))
