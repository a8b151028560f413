"""A strategy of several classes judged: its decisions chosen on one half of validation, reported on test."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from imbalance_spark.calibration import LedgerCheck, ledger_check
from imbalance_spark.core.columns import TEST, VALIDATION
from imbalance_spark.metrics.confusion import MulticlassConfusion
from imbalance_spark.metrics.curve import Curve
from imbalance_spark.metrics.evaluate_multiclass import evaluate_multiclass
from imbalance_spark.metrics.grid import FloatArray
from imbalance_spark.metrics.intervals import (
    Interval,
    class_differences,
    class_intervals,
    class_scale,
    jackknife_interval,
    sample_warning,
)
from imbalance_spark.multiclass.decisions import Rule
from imbalance_spark.multiclass.held_out import ClassHeldOut
from imbalance_spark.multiclass.temperature import ChosenTemperature
from imbalance_spark.threshold.class_rules import ChosenClassThresholds
from imbalance_spark.train_only.strategies.fit import FittedStrategy

HELD_OUT = (VALIDATION, TEST)


RANKING = ("average_precision", "roc_auc")
"""What neither decision nor temperature is part of; of each class, and as macro average."""


DECIDED = ("macro_f1", "macro_recall", "macro_precision", "mcc", "accuracy", "cost")


_WITH_INTERVAL = ("macro_f1", "macro_recall", "cost")


@dataclass(frozen=True, kw_only=True)
class ClassResult:
    """One strategy: its model, its counts, the rules of decision and what they give.

    `metrics` are flat and grouped by slash: `validation/macro_average_precision`, `test/recall/fraud` under the
    serving rule, `test/likeliest/macro_f1` under another one. `intervals` are those of some of them.
    """

    fitted: FittedStrategy
    held_out: ClassHeldOut
    calibration: ChosenTemperature
    rules: Mapping[str, Rule]
    chosen: Mapping[str, ChosenClassThresholds]
    """The thresholds of each rule that was chosen on data."""
    ledger: Mapping[str, LedgerCheck]
    """By class, on the half of validation that does not calibrate."""
    metrics: Mapping[str, float]
    intervals: Mapping[str, Interval]

    @property
    def name(self) -> str:
        """The strategy's name in the config."""
        return self.fitted.name

    @property
    def ledger_passed(self) -> bool:
        """Whether the mean probability of every class is its rate, as far as its rows can tell."""
        return all(check.passed for check in self.ledger.values())


def judge_classes(
    fitted: FittedStrategy,
    held_out: ClassHeldOut,
    calibration: ChosenTemperature,
    rules: Mapping[str, Rule],
    chosen: Mapping[str, ChosenClassThresholds],
    *,
    serving: str,
    classes: Sequence[str],
    costs: FloatArray | None,
) -> ClassResult:
    """Every number of one strategy, on the driver: no pass over rows."""
    ledger = {
        name: ledger_check(curve)
        for name, curve in zip(classes, held_out.choosing(), strict=True)
        if curve.positives > 0
    }
    metrics = {f"ledger/mean_over_base_rate/{name}": check.ratio for name, check in ledger.items()}
    metrics["ledger/passed"] = float(all(check.passed for check in ledger.values()))
    metrics["calibration/temperature"] = calibration.temperature
    for rule, found in chosen.items():
        pairs = zip(classes, found.rule.thresholds, strict=True)
        metrics |= {f"threshold/{rule}/{name}": threshold for name, threshold in pairs}
    intervals: dict[str, Interval] = {}
    for fold in HELD_OUT:
        metrics |= {f"{fold}/{name}": value for name, value in _of_fold(held_out, fold, serving, classes).items()}
        for rule in rules:
            decided = decision_metrics(held_out.confusions[rule].of(fold), costs)
            metrics |= {f"{fold}/{rule}/{name}": value for name, value in decided.items()}
        metrics |= {f"{fold}/cost": value for name, value in metrics.items() if name == f"{fold}/{serving}/cost"}
        intervals |= {
            f"{fold}/{name}": interval
            for name, interval in class_intervals(held_out.bucketed(fold), ranking_of(classes)).items()
        }
        intervals |= {
            f"{fold}/{serving}/{name}": interval
            for name, interval in _decision_intervals(held_out, fold, serving, costs).items()
        }
    return ClassResult(
        fitted=fitted,
        held_out=held_out,
        calibration=calibration,
        rules=rules,
        chosen=chosen,
        ledger=ledger,
        metrics={name: value for name, value in metrics.items() if math.isfinite(value)},
        intervals=intervals,
    )


def class_gains(
    results: Sequence[ClassResult], against: ClassResult, metric: str, *, level: float = 0.95
) -> dict[str, Interval]:
    """By strategy, how much more of a macro average on validation it has than `against`, with its paired interval."""
    others = [result for result in results if result is not against]
    return {result.name: class_gain(result, against.held_out, metric, level=level) for result in others}


def class_gain(result: ClassResult, other: ClassHeldOut, metric: str, *, level: float = 0.95) -> Interval:
    """How much more of a macro average on validation a strategy has than another model on the same rows."""

    def ranked(curves: Sequence[Curve]) -> Mapping[str, float]:
        return {metric: _macro(curves, metric)}

    mine, theirs = result.held_out.bucketed(VALIDATION), other.bucketed(VALIDATION)
    return class_differences(mine, theirs, ranked, level=level)[metric]


def ranking_of(classes: Sequence[str]) -> "_Ranking":
    """The numbers of `RANKING` of each class and as macro averages, for `class_intervals`."""
    return _Ranking(classes)


class _Ranking:
    def __init__(self, classes: Sequence[str]) -> None:
        self._classes = classes

    def __call__(self, curves: Sequence[Curve]) -> dict[str, float]:
        found: dict[str, float] = {}
        for metric in RANKING:
            each = [_of_curve(curve, metric) for curve in curves]
            found |= {f"{metric}/{name}": value for name, value in zip(self._classes, each, strict=True)}
            found[f"macro_{metric}"] = _mean(each)
        return found


def decision_metrics(confusion: MulticlassConfusion, costs: FloatArray | None) -> dict[str, float]:
    """What a rule's decisions give, by the names of `DECIDED`; the cost only where costs are known."""
    macro = confusion.macro
    found = {
        "macro_f1": macro.f1,
        "macro_recall": macro.recall,
        "macro_precision": macro.precision,
        "mcc": confusion.mcc,
        "accuracy": confusion.accuracy,
    }
    return found if costs is None else {**found, "cost": float((confusion.weight * costs).sum())}


def _of_fold(held_out: ClassHeldOut, fold: str, serving: str, classes: Sequence[str]) -> dict[str, float]:
    found = evaluate_multiclass(held_out.counts(fold, serving), classes)
    return found | {name: held_out.mean_loss(fold, name) for name in held_out.losses}


def _decision_intervals(
    held_out: ClassHeldOut, fold: str, serving: str, costs: FloatArray | None
) -> dict[str, Interval]:
    by_bucket = held_out.confusions[serving].by_bucket(fold)
    total, occupied = by_bucket.sum(axis=0), by_bucket.any(axis=(1, 2))
    values = decision_metrics(MulticlassConfusion(weight=total), costs)
    without = [total - one for one in by_bucket[occupied]]
    # Of as many rows as there are, so that a cost is comparable.
    again = [
        decision_metrics(MulticlassConfusion(weight=left * (total.sum() / left.sum())), costs)
        for left in without
        if left.sum() > 0.0
    ]
    rarest = min(held_out.bucketed(fold), key=lambda sample: sample.positives)
    return {
        name: jackknife_interval(
            values[name], np.array([numbers[name] for numbers in again]), class_scale(name), 0.95, rarest,
            sample_warning(rarest),
        )
        for name in _WITH_INTERVAL
        if name in values
    }  # fmt: skip


def _macro(curves: Sequence[Curve], metric: str) -> float:
    return _mean([_of_curve(curve, metric) for curve in curves])


def _of_curve(curve: Curve, metric: str) -> float:
    value = curve.average_precision() if metric == "average_precision" else curve.roc_auc()
    return math.nan if value is None else value


def _mean(values: Sequence[float]) -> float:
    defined = [value for value in values if not math.isnan(value)]
    return sum(defined) / len(defined) if defined else math.nan
