"""Paired gains: how much better one model is than another on the same validation rows, and what that is worth."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy.special import stdtrit

from imbalance_spark.comparison.evaluate import StrategyResult, class_error_cost, decision_metrics
from imbalance_spark.comparison.scored_strategy import ScoredStrategy
from imbalance_spark.config.run import DecideBy
from imbalance_spark.core.arrays import FloatArray
from imbalance_spark.core.columns import VALIDATION
from imbalance_spark.core.errors import ConfigError, DataContractError
from imbalance_spark.metrics.bucket_draws import BucketedCurve, rows_by_bucket
from imbalance_spark.metrics.confusion import MulticlassConfusion
from imbalance_spark.metrics.curve import Curve
from imbalance_spark.metrics.evaluate import TargetNames, ranking_metrics
from imbalance_spark.metrics.intervals import (
    REAL,
    Interval,
    degrees_of_freedom,
    jackknife_interval,
    rarest_of,
    with_unseen_errors,
)
from imbalance_spark.scoring.held_out_counts import HeldOutCounts
from imbalance_spark.threshold import BayesCost, MinCost
from imbalance_spark.threshold.choice import cut_at
from imbalance_spark.threshold.decisions import Decisions

COST = "cost"
CONFIDENCE = 0.95
FEWEST_POSITIVES = 10
"""Positive rows of validation below which nothing is decided: an interval of so few is no guide."""

Verdict = Literal["better", "worse", "equivalent", "undecided"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Jackknifed:
    """A number of one model on validation, and what it is without each hash bucket.

    Args:
        sample: the rows that it rests on, of the rarest target: the pairing of two models is checked on them.
        of_one_error: of a cost, what one more wrong decision adds.
    """

    value: float
    without: FloatArray
    sample: BucketedCurve
    of_one_error: float = 0.0


def deciding_metric(asked: DecideBy, ranked_by: str, decisions: Decisions) -> str:
    """What the verdict between two models is about: `cost`, or the metric that strategies are ranked by.

    Args:
        asked: the setting; `auto` is the cost where the serving objective is one, else `ranked_by`.
    Raises:
        ConfigError: the cost is asked for, and no objective says what errors cost.
    """
    if asked == "auto":
        return COST if _serves_cost(decisions) else ranked_by
    if asked == COST and not knows_costs(decisions):
        raise ConfigError(
            "gate.decide_by is cost, but no objective says what errors cost. Add min_cost or, for three or more "
            "classes, cost_matrix to objectives, or decide by average_precision."
        )
    return asked


def knows_costs(decisions: Decisions) -> bool:
    """Whether an objective says what errors cost: of K classes the cost matrix does."""
    return decisions.costs is not None or (
        not decisions.fixed and any(objective.is_loss for objective in decisions.swept.values())
    )


def of_strategy(scored: ScoredStrategy, metric: str, decisions: Decisions) -> Jackknifed:
    """The deciding metric of a strategy; its cost is that of the serving rule, cross-fitted on validation."""
    if metric != COST:
        return ranking_of(scored.held_out, metric)
    if len(scored.held_out.targets) > 1:
        return class_cost_of(scored.held_out, decisions.serve_objective, decisions)
    sample, threshold = scored.decided(decisions.serve_objective, VALIDATION)
    return cost_of(sample, decisions.cost_objective, threshold)


def ranking_of(counts: HeldOutCounts, metric: str) -> Jackknifed:
    """`average_precision` or `roc_auc`, as macro average over the targets."""
    samples = counts.bucketed(VALIDATION)
    names = TargetNames(tuple(map(str, range(len(samples)))))
    macro = names.macro(metric)
    return _jackknifed(samples, lambda curves: ranking_metrics(curves, names, [metric])[macro])


def cost_of(sample: BucketedCurve, objective: MinCost | BayesCost, threshold: float) -> Jackknifed:
    """The total cost of deciding a single target by a threshold."""
    found = _jackknifed([sample], lambda curves: _cost_at(curves[0], objective, threshold))
    return replace(found, of_one_error=objective.costs.of_one_error(sample))


def class_cost_of(counts: HeldOutCounts, rule: str, decisions: Decisions) -> Jackknifed:
    """The total cost of deciding between K classes by a rule that was counted, by the cost matrix."""
    by_bucket = counts.confusions[rule].by_bucket(VALIDATION)
    total = by_bucket.sum(axis=0)

    def cost(weight: FloatArray) -> float:
        scaled = weight * (total.sum() / weight.sum())  # of as many rows as there are, so that costs are comparable
        return decision_metrics(MulticlassConfusion(weight=scaled), decisions.costs)[COST]

    without = [cost(total - one) for one in by_bucket if one.any() and (total - one).any()]
    return Jackknifed(
        value=cost(total),
        without=np.array(without),
        sample=rarest_of(counts.bucketed(VALIDATION)),
        of_one_error=class_error_cost(by_bucket, decisions.costs),
    )


def paired_gain(one: Jackknifed, other: Jackknifed, *, is_loss: bool, level: float) -> Interval:
    """How much better `one` is than `other`, with the paired interval: above 0 is better, of a cost what it saves.

    Raises:
        DataContractError: the two were not counted on the same rows.
    """
    if len(one.without) != len(other.without) or not np.array_equal(
        rows_by_bucket(one.sample), rows_by_bucket(other.sample)
    ):
        raise DataContractError(
            "paired gain: the two models have other classes, or their buckets hold different rows. "
            "Count both in one scan, with the same group."
        )
    sign = -1.0 if is_loss else 1.0
    value, without = sign * (one.value - other.value), sign * (one.without - other.without)
    interval = jackknife_interval(value, without, REAL, one.sample, level=level)
    return with_unseen_errors(interval, max(one.of_one_error, other.of_one_error), below=True)


def repeated_gain(ones: Sequence[Jackknifed], others: Sequence[Jackknifed], *, is_loss: bool, level: float) -> Interval:
    """The mean gain over repeated fits, with the spread of training in its interval: does the recipe gain?

    The variance is that of the rows, by the jackknife of the mean, plus that of the mean over the fits; the degrees of
    freedom are matched to both (Satterthwaite, 1946). Of one fit it is `paired_gain`.

    Args:
        ones, others: of the same rows; the fits of one place are paired.
    """
    one, other = _mean(ones), _mean(others)
    gain = paired_gain(one, other, is_loss=is_loss, level=level)
    if len(ones) == 1 or not _is_finite(gain):
        return gain
    gained = [mine.value - theirs.value for mine, theirs in zip(ones, others, strict=True)]
    of_fits = float(np.std(gained, ddof=1)) / math.sqrt(len(gained))
    of_rows, total = gain.standard_error, math.hypot(gain.standard_error, of_fits)
    if total == 0.0:
        return gain
    parts = of_rows**4 / degrees_of_freedom(one.without - other.without) + of_fits**4 / (len(gained) - 1)
    reach = float(stdtrit(total**4 / parts, 0.5 + level / 2.0)) * total
    widened = replace(gain, low=gain.value - reach, high=gain.value + reach, standard_error=total)
    return with_unseen_errors(widened, max(one.of_one_error, other.of_one_error), below=True)


def training_spread(result: StrategyResult, metric: str, decisions: Decisions) -> float | None:
    """Standard deviation of a validation metric over the fits of a strategy; None of a single fit."""
    if not result.repeats:
        return None
    return float(np.std([one.value for one in _all_fits(result, metric, decisions)], ddof=1))


def gains_over(
    results: Sequence[StrategyResult], plain: StrategyResult, metric: str, decisions: Decisions
) -> dict[str, Interval]:
    """By strategy, how much better it is than `plain`, with intervals that hold all together at 95 % or more.

    With repeated fits the spread of training is part of the intervals, see `repeated_gain`.
    """
    level = joint_level(len(results) - 1)
    others = [result for result in results if result is not plain]
    reference = _all_fits(plain, metric, decisions)
    return {
        result.name: repeated_gain(_all_fits(result, metric, decisions), reference, is_loss=metric == COST, level=level)
        for result in others
    }


def joint_level(comparisons: int) -> float:
    """The level at which so many intervals hold all together at 95 % or more (Bonferroni): 0.95 or above."""
    return 1.0 - (1.0 - CONFIDENCE) / max(comparisons, 1)


def verdict_of(gain: Interval, margin: float) -> Verdict:
    """What an interval of a gain says.

    Args:
        margin: two models are equivalent where the whole interval is within it on either side, in the gain's unit.
    """
    if gain.positives < FEWEST_POSITIVES or not _is_finite(gain):
        return "undecided"
    if gain.low > 0.0:
        return "better"
    if gain.high < 0.0:
        return "worse"
    return "equivalent" if -margin <= gain.low and gain.high <= margin else "undecided"


def positives_to_decide(gain: Interval, margin: float) -> int | None:
    """About how many positive rows of validation would decide, if the gain stays as it is; to two digits, rounded up.

    The interval narrows with 1 / sqrt(positives) until it leaves 0 out, or lies within the margin.

    Returns:
        None where no number can be given: the interval has no ends.
    """
    reach, size = (gain.high - gain.low) / 2.0, abs(gain.value)
    apart = max(size, margin - size)
    if not _is_finite(gain) or gain.positives < FEWEST_POSITIVES or apart <= 0.0:
        return None
    wanted = gain.positives * (reach / apart) ** 2
    digit = 10.0 ** max(math.floor(math.log10(max(wanted, 1.0))) - 1, 0)
    return int(math.ceil(wanted / digit) * digit)


def gain_text(gain: Interval, words: str, comparisons: int = 1) -> str:
    """A gain in a sentence, with the interval that decides.

    Args:
        words: what is gained, such as `average_precision` or `cost saved`.
        comparisons: how many intervals hold all together.
    """
    joint = "joint 95 % interval" if comparisons > 1 else "95 % interval"
    value, low, high = (signed(number) for number in (gain.value, gain.low, gain.high))
    return f"{value} in {words} on validation, {joint} {low} to {high}"


def verdicts(gains: Mapping[str, Interval], margin: float) -> dict[str, Verdict]:
    """`verdict_of` by name."""
    return {name: verdict_of(gain, margin) for name, gain in gains.items()}


def signed(value: float) -> str:
    """A gain as text, with its sign: whole from 100 up, four digits of less."""
    if abs(value) >= 100.0:
        return f"{value:+,.0f}"
    return f"{value:+.4f}" if abs(value) < 1.0 else f"{value:+.4g}"


def _serves_cost(decisions: Decisions) -> bool:
    serving = decisions.swept.get(decisions.serve_objective)
    if decisions.fixed:  # K classes: thresholds have no cost of their own
        return decisions.serve_objective in decisions.fixed and decisions.costs is not None
    return serving is not None and serving.is_loss


def _all_fits(result: StrategyResult, metric: str, decisions: Decisions) -> list[Jackknifed]:
    """The number of a strategy that serves, then those of its further fits."""
    return [of_strategy(one, metric, decisions) for one in (result.scored, *result.repeats)]


def _mean(fits: Sequence[Jackknifed]) -> Jackknifed:
    value = float(np.mean([one.value for one in fits]))
    return replace(fits[0], value=value, without=np.mean([one.without for one in fits], axis=0))


def _is_finite(gain: Interval) -> bool:
    return math.isfinite(gain.low) and math.isfinite(gain.high)


def _cost_at(curve: Curve, objective: MinCost | BayesCost, threshold: float) -> float:
    return float(objective.values(curve)[cut_at(curve, threshold)])


def _jackknifed(samples: Sequence[BucketedCurve], number: Callable[[Sequence[Curve]], float]) -> Jackknifed:
    """All samples are of the same rows, so of the same buckets."""
    without = [number(curves) for curves in zip(*[sample.without_each() for sample in samples], strict=True)]
    value = number([sample.curve for sample in samples])
    return Jackknifed(value=value, without=np.array(without, dtype=np.float64), sample=rarest_of(samples))
