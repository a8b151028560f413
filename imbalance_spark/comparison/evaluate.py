"""A strategy judged: calibrated on one half of validation, its thresholds chosen on the other, reported on test."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from imbalance_spark.calibration import ChosenCalibration, LedgerCheck, choose_calibrator, ledger_check
from imbalance_spark.core.columns import TEST, VALIDATION
from imbalance_spark.metrics.curve import Curve
from imbalance_spark.metrics.evaluate import evaluate, matrix_metrics
from imbalance_spark.metrics.intervals import Interval, bucket_intervals, paired_differences
from imbalance_spark.scoring.held_out_counts import HeldOutCounts
from imbalance_spark.threshold import ChosenThreshold, sweep
from imbalance_spark.threshold.objective import Objective
from imbalance_spark.threshold.objectives import MaxPrecision, MaxRecall, first_constant_costs
from imbalance_spark.threshold.uncertainty import ThresholdUncertainty, threshold_interval
from imbalance_spark.train_only.strategies.fit import FittedStrategy

HELD_OUT = (VALIDATION, TEST)


CHOOSE = "choose"
"""The half of validation that thresholds are chosen on; the other half calibrates."""


_REPORTED = ("precision", "recall", "f1", "f2", "f0_5", "mcc", "cost")


_WITH_INTERVAL = ("precision", "recall", "f1", "cost")


_DRAWS = 200


@dataclass(frozen=True, kw_only=True)
class StrategyResult:
    """One strategy: its model, its curves on validation and test, the thresholds and what they give.

    `metrics` are flat and grouped by slash: `validation/average_precision`, `test/recall` at the
    serving threshold, `test/max_f1/precision` at the threshold of another objective. `intervals` are those of some
    of them, under the same names. Curves are of calibrated probabilities.
    """

    fitted: FittedStrategy
    held_out: HeldOutCounts
    calibration: ChosenCalibration
    curves: Mapping[str, Curve]
    thresholds: Mapping[str, ChosenThreshold]
    uncertainty: ThresholdUncertainty
    ledger: LedgerCheck
    metrics: Mapping[str, float]
    intervals: Mapping[str, Interval]

    @property
    def name(self) -> str:
        """The strategy's name in the config."""
        return self.fitted.name


def judge(
    fitted: FittedStrategy, held_out: HeldOutCounts, objectives: Sequence[Objective], serve_objective: str
) -> StrategyResult:
    """Every number of one strategy, on the driver: no pass over rows.

    Raises:
        DataContractError: a half of validation has one class only.
    """
    calibration = choose_calibrator(held_out.calibrate, held_out.choose)
    through = calibration.calibrator.apply
    curves = {fold: counts.curve(through) for fold, counts in held_out.by_fold.items()}
    choose = held_out.choose.curve(through)
    ledger = ledger_check(choose)
    thresholds = {objective.name: sweep(choose, objective, ledger=ledger) for objective in objectives}
    costs = constant_costs(objectives)
    metrics = _metrics(curves, thresholds, serve_objective, costs)
    metrics |= _ledger_metrics(ledger, ledger_check(held_out.choose.curve()))
    serving = next(objective for objective in objectives if objective.name == serve_objective)
    return StrategyResult(
        fitted=fitted,
        held_out=held_out,
        calibration=calibration,
        curves=curves,
        thresholds=thresholds,
        uncertainty=_uncertainty(held_out, calibration, serving),
        ledger=ledger,
        metrics={name: value for name, value in metrics.items() if math.isfinite(value)},
        intervals=_intervals(held_out, calibration, thresholds[serve_objective].threshold, costs),
    )


def gains(
    results: Sequence[StrategyResult], against: StrategyResult, metric: str, *, level: float = 0.95
) -> dict[str, Interval]:
    """By strategy, how much more of a validation metric it has than `against`, with its paired interval."""
    others = [result for result in results if result is not against]
    return {result.name: gain_over(result, against.held_out, metric, level=level) for result in others}


def gain_over(result: StrategyResult, other: HeldOutCounts, metric: str, *, level: float = 0.95) -> Interval:
    """How much more of a validation metric a strategy has than another model on the same rows, with its interval."""

    def ranked(curve: Curve) -> Mapping[str, float]:
        return {name: value for name, value in ranking_metrics(curve).items() if name == metric}

    mine, theirs = result.held_out.bucketed(VALIDATION), other.bucketed(VALIDATION)
    return paired_differences(mine, theirs, ranked, level=level)[metric]


def ranking_metrics(curve: Curve) -> dict[str, float]:
    """The two numbers that neither threshold nor calibration moves."""
    found = {"average_precision": curve.average_precision(), "roc_auc": curve.roc_auc()}
    return {name: value for name, value in found.items() if value is not None}


def constant_costs(objectives: Sequence[Objective]) -> dict[str, float]:
    """What a miss and a false alarm cost in the reported `cost`: the first constant costs that are asked for."""
    miss, alarm = first_constant_costs(objectives) or (1.0, 1.0)
    return {"fn": miss, "fp": alarm}


def _metrics(
    curves: Mapping[str, Curve], thresholds: Mapping[str, ChosenThreshold], serving: str, costs: Mapping[str, float]
) -> dict[str, float]:
    metrics = {f"threshold/{name}": chosen.threshold for name, chosen in thresholds.items()}
    for fold, curve in curves.items():
        found = evaluate(curve, thresholds[serving].threshold, **costs)
        metrics |= {f"{fold}/{name}": value for name, value in found.items()}
        for name, chosen in thresholds.items():
            at_threshold = matrix_metrics(curve.at(chosen.threshold), **costs)
            metrics |= {f"{fold}/{name}/{metric}": at_threshold[metric] for metric in _REPORTED}
    return metrics


def _ledger_metrics(ledger: LedgerCheck, before: LedgerCheck) -> dict[str, float]:
    return {
        "ledger/mean_over_base_rate": ledger.ratio,
        "ledger/mean_over_base_rate_before_calibration": before.ratio,
        "ledger/passed": float(ledger.passed),
    }


def _intervals(
    held_out: HeldOutCounts, calibration: ChosenCalibration, threshold: float, costs: Mapping[str, float]
) -> dict[str, Interval]:
    def at_threshold(curve: Curve) -> Mapping[str, float]:
        found = matrix_metrics(curve.at(threshold), **costs)
        return ranking_metrics(curve) | {name: found[name] for name in _WITH_INTERVAL}

    return {
        f"{fold}/{name}": interval
        for fold in HELD_OUT
        for name, interval in bucket_intervals(
            held_out.bucketed(fold, calibration.calibrator.apply), at_threshold
        ).items()
    }


def _uncertainty(held_out: HeldOutCounts, calibration: ChosenCalibration, objective: Objective) -> ThresholdUncertainty:
    sample = held_out.bucketed(CHOOSE, calibration.calibrator.apply)
    # Under a constraint the lowest loss is not what the objective looks for, so there is no regret to tell.
    has_loss = not isinstance(objective, MaxRecall | MaxPrecision) and objective.is_loss
    loss = objective.values if has_loss else None
    return threshold_interval(sample, lambda curve: sweep(curve, objective).threshold, loss, draws=_DRAWS)
