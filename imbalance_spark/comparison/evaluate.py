"""Every number of a strategy: its rules chosen on validation, cross-fitted there, and reported on test."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from imbalance_spark.calibration import ChosenCalibration, LedgerCheck, ledger_check
from imbalance_spark.calibration.temperature import ChosenTemperature
from imbalance_spark.comparison.scored_strategy import ScoredStrategy
from imbalance_spark.core.arrays import FloatArray
from imbalance_spark.core.columns import HELD_OUT_FOLDS, VALIDATION
from imbalance_spark.metrics.bucket_draws import BucketedCurve
from imbalance_spark.metrics.confusion import MulticlassConfusion
from imbalance_spark.metrics.curve import Curve
from imbalance_spark.metrics.evaluate import (
    TargetNames,
    deciding,
    evaluate,
    evaluate_multiclass,
    majority_baseline,
    matrix_metrics,
    operating_metrics,
    ranking_metrics,
    threshold_metrics,
)
from imbalance_spark.metrics.intervals import (
    Interval,
    bucket_intervals,
    event_size,
    jackknife_interval,
    rarest_of,
    scale_of,
    target_intervals,
    with_unseen_errors,
)
from imbalance_spark.scoring.held_out_counts import HeldOutCounts
from imbalance_spark.threshold import ChosenThreshold, Objective, TopEntities
from imbalance_spark.threshold.choice import ThresholdUncertainty, cut_at, threshold_interval
from imbalance_spark.threshold.class_rules import ChosenClassThresholds, Rule
from imbalance_spark.threshold.decisions import Decisions
from imbalance_spark.threshold.order_costs import OrderRule
from imbalance_spark.threshold.rule import choose_again
from imbalance_spark.train_only.strategies.fit import FittedStrategy

AT_SINGLE_THRESHOLD = "cost_at_single_threshold"
"""What the best single threshold costs where orders are decided one by one."""


OPERATING = ("cost_saved", "value_detection_rate", "alerts_per_day", "false_positives_per_hit", "capacity_used")
"""What decisions on a single target mean for a team, see `operating_metrics`; and what they save, in money."""


AT_THRESHOLD = ("precision", "recall", "f1", "f2", "f0_5", "mcc", "cost", AT_SINGLE_THRESHOLD, *OPERATING)
"""What a threshold gives of a single target."""


DECIDED = ("macro_f1", "macro_recall", "macro_precision", "mcc", "accuracy", "cost")
"""What a rule of decision between K classes gives."""


ORDERS_PER_ENTITY = "entities/orders_per_entity"
"""How many flagged orders a flagged entity has a day, see `TopEntities`."""


_WITH_INTERVAL = ("precision", "recall", "f1", "cost", "macro_f1", "macro_recall", "value_detection_rate")


_DRAWS = 200


@dataclass(frozen=True, kw_only=True)
class StrategyResult:
    """One strategy: its model, its counts, the rules of decision and what they give.

    `metrics` are flat and grouped by slash. Of two classes: `validation/average_precision`, `test/recall` at the
    serving threshold, `test/max_f1/precision` at the threshold of another objective. Of K classes:
    `validation/macro_average_precision`, `test/recall/fraud` under the serving rule, `test/argmax/macro_f1` under
    another one. `intervals` are those of some of them, under the same names.

    Args:
        scored: its counts, calibration and rules.
        curves: by fold, of calibrated probabilities, one for each target.
        uncertainty: by target, of the serving thresholds where they were chosen on data.
        ledger: calibration in the large by target, on the half of validation that the check does not calibrate on.
    """

    fitted: FittedStrategy
    scored: ScoredStrategy
    curves: Mapping[str, Sequence[Curve]]
    uncertainty: Mapping[str, ThresholdUncertainty]
    ledger: Mapping[str, LedgerCheck]
    metrics: Mapping[str, float]
    intervals: Mapping[str, Interval]
    repeats: tuple[ScoredStrategy, ...] = ()
    """What further fits of the strategy scored on the same rows; see `training.repeats`."""

    @property
    def name(self) -> str:
        """The strategy's name in the config."""
        return self.fitted.name

    @property
    def held_out(self) -> HeldOutCounts:
        """Its counts on validation and test."""
        return self.scored.held_out

    @property
    def calibration(self) -> ChosenCalibration | ChosenTemperature:
        """How its probabilities are calibrated."""
        return self.scored.calibration

    @property
    def rules(self) -> Mapping[str, Rule]:
        """Its rules of decision, by name."""
        return self.scored.rules

    @property
    def chosen(self) -> Mapping[str, ChosenClassThresholds]:
        """The thresholds of the rules that were chosen on data."""
        return self.scored.chosen

    @property
    def counted_decisions(self) -> Mapping[str, HeldOutCounts]:
        """What rules decide row by row, by name."""
        return self.scored.counted_decisions

    @property
    def ledger_passed(self) -> bool:
        """Whether the mean probability of every target is its rate, as far as its rows can tell."""
        return all(check.passed for check in self.ledger.values())


def chosen_thresholds(chosen: ChosenClassThresholds, names: TargetNames) -> dict[str, ChosenThreshold]:
    """The threshold of each target that has one: of K classes all but the largest, which is what is left."""
    by_target = zip(names.targets, chosen.by_target, strict=True)
    has_one = len(names.targets) == 1
    return {
        target: one for number, (target, one) in enumerate(by_target) if has_one or number != chosen.rule.default_class
    }


def evaluate_strategy(
    fitted: FittedStrategy,
    scored: ScoredStrategy,
    decisions: Decisions,
    names: TargetNames,
    *,
    orders_per_day: float | None = None,
    every_metric: bool = False,
) -> StrategyResult:
    """Every number of one strategy, on the driver: no pass over rows.

    Args:
        orders_per_day: of the log; None where it has no time.
        every_metric: also those that decide nothing, see `deciding`.
    """
    curves = {fold: scored.curves(fold) for fold in HELD_OUT_FOLDS}
    single, samples = len(names.targets) == 1, dict(zip(names.targets, scored.ledger_samples(), strict=True))
    ledger = {target: ledger_check(sample) for target, sample in samples.items() if single or sample.positives}
    metrics = _calibration_metrics(scored, ledger, names)
    for rule, chosen in scored.chosen.items():
        for number in range(len(names.targets)):
            metrics[names.of(f"threshold/{rule}", number)] = _threshold_of(chosen, number)
    for asked in scored.objectives.values():
        if isinstance(asked, TopEntities) and asked.orders_per_entity is not None:
            metrics[f"{VALIDATION}/{ORDERS_PER_ENTITY}"] = asked.orders_per_entity
    intervals: dict[str, Interval] = {}
    for number, sample in enumerate(samples.values()):
        found_ratio = bucket_intervals(sample, _mean_over_rate)
        intervals |= {names.of(f"ledger/{name}", number): one for name, one in found_ratio.items()}
    for fold in HELD_OUT_FOLDS:
        decided = _Decided(scored, fold, decisions, names, orders_per_day)
        found = decided.metrics() if every_metric else deciding(decided.metrics())
        metrics |= {f"{fold}/{name}": value for name, value in found.items()}
        intervals |= {f"{fold}/{name}": interval for name, interval in decided.intervals().items()}
    return StrategyResult(
        fitted=fitted,
        scored=scored,
        curves=curves,
        uncertainty=_uncertainty(scored, decisions, names),
        ledger=ledger,
        metrics={name: value for name, value in metrics.items() if math.isfinite(value)},
        intervals=intervals,
    )


def error_costs(decisions: Decisions) -> dict[str, float]:
    """Constant costs of a false negative and of a false positive of a single target; 1 if none are given."""
    costs = decisions.costs or ((0.0, 1.0), (1.0, 0.0))
    return {"fn": costs[1][0], "fp": costs[0][1]}


def baseline(scored: ScoredStrategy, fold: str, decisions: Decisions) -> dict[str, float]:
    """What naming the largest class for every row of a fold gives; NaN where undefined."""
    if not scored.held_out.confusions:
        [curve] = scored.curves(fold)
        found = matrix_metrics(majority_baseline(curve))
        everyone = len(curve.threshold) - 1
        return found | _costs_at(curve, everyone if found["tp"] > 0.0 else 0, decisions.cost_objective)
    support = scored.held_out.confusions[decisions.serve_objective].of(fold).support
    all_largest = np.zeros((len(support), len(support)))
    all_largest[:, int(np.argmax(support))] = support
    return decision_metrics(MulticlassConfusion(weight=all_largest), decisions.costs)


def _costs_at(curve: Curve, cut: int, objective: Objective) -> dict[str, float]:
    """What a cut of the curve costs by the objective's own costs, amounts and gains included, and what it saves.

    Saved is against the cheaper of flagging nobody and everybody: `savings` as a share, `cost_saved` in money.
    """
    costs = objective.values(curve)
    cost, trivial = float(costs[cut]), float(min(costs[0], costs[-1]))
    savings = {"savings": 1.0 - cost / trivial} if trivial > 0.0 else {}
    return {"cost": cost, "cost_saved": trivial - cost, **savings}


def decision_metrics(confusion: MulticlassConfusion, costs: Sequence[Sequence[float]] | None) -> dict[str, float]:
    """What decisions between K classes give, by the names of `DECIDED`; the cost only where costs are known.

    Args:
        costs: by true class, then decided class.
    """
    macro = confusion.macro
    found = {
        "macro_f1": macro.f1,
        "macro_recall": macro.recall,
        "macro_precision": macro.precision,
        "mcc": confusion.mcc,
        "accuracy": confusion.accuracy,
    }
    return found if costs is None else {**found, "cost": float((confusion.weight * np.array(costs)).sum())}


def class_error_cost(by_bucket: FloatArray, costs: Sequence[Sequence[float]] | None) -> float:
    """What one more wrong decision between K classes costs at most, of the class whose errors cost most.

    Args:
        by_bucket: weights of rows, buckets x true class x decided class.
        costs: by true class, then decided class; without any an error costs nothing.
    """
    if costs is None:
        return 0.0
    by_class = np.array(costs)
    largest = by_class.max(axis=1) - np.diag(by_class)
    support = by_bucket[by_bucket.any(axis=(1, 2))].sum(axis=2)
    return max(event_size(largest[number] * support[:, number]) for number in range(len(largest)))


class _Decided:
    """The metrics of one strategy on one fold.

    Of a single target the curve says what each threshold does. Decisions between K classes were counted row by row.
    """

    def __init__(
        self,
        scored: ScoredStrategy,
        fold: str,
        decisions: Decisions,
        names: TargetNames,
        orders_per_day: float | None = None,
    ) -> None:
        self._scored, self._fold, self._decisions, self._names = scored, fold, decisions, names
        self._orders_per_day = orders_per_day
        self._serving = decisions.serve_objective
        self._is_single = len(names.targets) == 1

    def metrics(self) -> dict[str, float]:
        """Under the serving rule, then `<rule>/<metric>` for every rule."""
        found = self._of_target() if self._is_single else self._of_classes()
        for rule in self._scored.rules:
            found |= {f"{rule}/{name}": value for name, value in self._under(rule).items()}
        if (cost := found.get(f"{self._serving}/cost")) is not None:
            found["cost"] = cost
        return found

    def intervals(self) -> dict[str, Interval]:
        """Of the ranking and of what the serving rule gives; of K classes the latter as `<rule>/<metric>`."""
        samples = self._scored.bucketed(self._fold)
        if self._is_single:
            sample, threshold = self._scored.decided(self._serving, self._fold)
            at_threshold = target_intervals([sample], lambda curves: self._at_threshold(curves[0], threshold))
            size = self._decisions.cost_objective.costs.of_one_error(sample)
            return target_intervals(samples, self._ranked) | _with_unseen_errors(at_threshold, size)
        decided = self._decision_intervals(rarest=rarest_of(samples))
        return target_intervals(samples, self._ranked) | {f"{self._serving}/{n}": one for n, one in decided.items()}

    def _of_target(self) -> dict[str, float]:
        [curve] = self._scored.curves(self._fold)
        return evaluate(curve, **error_costs(self._decisions)) | self._of_threshold(self._serving)

    def _of_classes(self) -> dict[str, float]:
        held_out, fold = self._scored.held_out, self._fold
        found = evaluate_multiclass(held_out.counts(fold, self._serving), self._names.targets)
        return found | {name: held_out.mean_loss(fold, name) for name in held_out.losses}

    def _under(self, rule: str) -> dict[str, float]:
        if not self._is_single:
            return decision_metrics(self._scored.held_out.confusions[rule].of(self._fold), self._decisions.costs)
        found = self._of_threshold(rule)
        return {name: found[name] for name in AT_THRESHOLD if name in found}

    def _of_threshold(self, rule: str) -> dict[str, float]:
        """What the threshold of a rule gives; costs are those of the rule, where it is one, else the reported ones."""
        sample, threshold = self._scored.decided(rule, self._fold)
        asked = self._decisions.swept[rule]
        costs = asked if asked.is_loss else self._decisions.cost_objective
        found, cut = threshold_metrics(sample.curve, threshold), cut_at(sample.curve, threshold)
        found |= _costs_at(sample.curve, cut, costs) | self._for_a_team(sample.curve, cut)
        if isinstance(self._scored.rules[rule], OrderRule):
            single, at = self._scored.decided_by_threshold(rule, self._fold)
            found[AT_SINGLE_THRESHOLD] = float(costs.values(single.curve)[cut_at(single.curve, at)])
        return found

    def _for_a_team(self, curve: Curve, cut: int) -> dict[str, float]:
        capacity = self._decisions.alerts_per_day
        return operating_metrics(curve, cut, orders_per_day=self._orders_per_day, capacity=capacity)

    def _ranked(self, curves: Sequence[Curve]) -> dict[str, float]:
        return ranking_metrics(curves, self._names)

    def _at_threshold(self, curve: Curve, threshold: float) -> dict[str, float]:
        found = matrix_metrics(curve.at(threshold))
        cut = cut_at(curve, threshold)
        found |= _costs_at(curve, cut, self._decisions.cost_objective) | self._for_a_team(curve, cut)
        return {name: value for name, value in found.items() if name in _WITH_INTERVAL}

    def _decision_intervals(self, rarest: BucketedCurve) -> dict[str, Interval]:
        costs, by_bucket = self._decisions.costs, self._scored.held_out.confusions[self._serving].by_bucket(self._fold)
        total, occupied = by_bucket.sum(axis=0), by_bucket.any(axis=(1, 2))
        values = decision_metrics(MulticlassConfusion(weight=total), costs)
        without = [total - one for one in by_bucket[occupied]]
        # Of as many rows as there are, so that a cost is comparable.
        again = [
            decision_metrics(MulticlassConfusion(weight=left * (total.sum() / left.sum())), costs)
            for left in without
            if left.sum() > 0.0
        ]
        found = {
            name: jackknife_interval(value, np.array([one[name] for one in again]), scale_of(name), rarest)
            for name, value in values.items()
            if name in _WITH_INTERVAL
        }
        return _with_unseen_errors(found, class_error_cost(by_bucket, costs))


def _with_unseen_errors(intervals: dict[str, Interval], size: float) -> dict[str, Interval]:
    """An error that was not seen only adds to a cost."""
    if (cost := intervals.get("cost")) is None:
        return intervals
    return intervals | {"cost": with_unseen_errors(cost, size, below=False)}


def _mean_over_rate(curve: Curve) -> dict[str, float]:
    rate = curve.prevalence()
    return {"mean_over_base_rate": curve.mean_score() / rate if rate > 0.0 else math.nan}


def _calibration_metrics(
    scored: ScoredStrategy, ledger: Mapping[str, LedgerCheck], names: TargetNames
) -> dict[str, float]:
    ratio = "ledger/mean_over_base_rate"
    found = {
        names.of(ratio, number): ledger[target].ratio for number, target in enumerate(names.targets) if target in ledger
    }
    found["ledger/passed"] = float(all(check.passed for check in ledger.values()))
    if isinstance(scored.calibration, ChosenTemperature):
        # Counts of K classes are of calibrated probabilities already.
        return found | {"calibration/temperature": scored.calibration.temperature}
    return found | {f"{ratio}_before_calibration": ledger_check(scored.held_out.target.choose.curve()).ratio}


def _threshold_of(chosen: ChosenClassThresholds, number: int) -> float:
    """Of a target: of two classes that of class 1."""
    thresholds = chosen.rule.thresholds
    return chosen.by_target[0].threshold if len(chosen.by_target) == 1 else thresholds[number]


def _uncertainty(scored: ScoredStrategy, decisions: Decisions, names: TargetNames) -> dict[str, ThresholdUncertainty]:
    """Of the serving thresholds, where they were chosen on data."""
    objective = scored.objectives.get(decisions.serve_objective)
    if objective is None:
        return {}
    # Under a constraint the lowest loss is not what the objective looks for, so there is no regret to report.
    loss = objective.values if objective.is_loss else None
    samples = dict(zip(names.targets, scored.bucketed(VALIDATION), strict=True))
    return {
        target: threshold_interval(
            samples[target], partial(choose_again, objective=objective, fit=scored.fit), loss, draws=_DRAWS
        )
        for target in chosen_thresholds(scored.chosen[objective.name], names)
    }
