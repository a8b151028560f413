"""Another threshold, or other costs, for a model that is there: from its logged counts alone, no data, no refit."""

import math
from collections.abc import Mapping
from dataclasses import replace

from imbalance_spark.calibration import ledger_check
from imbalance_spark.comparison.retune_result import BeforeAfter, RetuneResult
from imbalance_spark.core.columns import VALIDATION
from imbalance_spark.core.errors import ConfigError, nearest
from imbalance_spark.metrics.curve import Curve
from imbalance_spark.metrics.evaluate import TargetNames, evaluate, ranking_metrics
from imbalance_spark.scoring.bundle import ModelBundle
from imbalance_spark.scoring.held_out_counts import HeldOutCounts, TargetCounts
from imbalance_spark.threshold.change import (
    EstimatedBaseRate,
    ThresholdChange,
    at_base_rate,
    base_rate_error,
    change_threshold,
    outcome_at,
)
from imbalance_spark.threshold.choice import cut_at
from imbalance_spark.threshold.class_rules import ClassThresholds, CostMatrix, Rule
from imbalance_spark.threshold.decisions import COST_MATRIX
from imbalance_spark.threshold.objective import Objective, require_number
from imbalance_spark.threshold.order_costs import OrderRule
from imbalance_spark.threshold.rule import design_effect
from imbalance_spark.tracking.models import LoggedModel, log_retuned
from imbalance_spark.tracking.registry import RegisteredModel, register_bundle
from imbalance_spark.tracking.runs import Evidence


def retune(
    bundle: ModelBundle,
    held_out: HeldOutCounts,
    objective: Objective,
    *,
    target: str = "",
    base_rate: float | None = None,
    base_rate_interval: tuple[float, float] | None = None,
    cost: Objective | None = None,
    orders_per_day: float | None = None,
) -> RetuneResult:
    """Choose a new threshold on all of validation by the rule that jobs serve, through the model's own calibrator.

    The booster, its encodings, its correction and its calibrator stay as they are. A bundle of two classes has the one
    new threshold: the others were chosen for objectives that no longer hold. One of K classes keeps its rules and gets
    one more, which decides: its thresholds with that of `target` replaced.

    Args:
        held_out: the counts that were logged with the model; of two classes their scores are corrected, not calibrated.
        target: of K classes the one whose threshold moves; empty for two classes.
        base_rate: share of positives to expect from now on, in (0, 1), for two classes; None when it is that of the
            counts, whatever an earlier retuning expected. The new bundle's probabilities, and its threshold, are at it.
            Probabilities move from the rate of validation.
        base_rate_interval: its 95 % interval, where it is an estimate; a monitor's intervals of the new bundle have it.
        cost: the costs to report; by default the objective itself where it is a cost.
        orders_per_day: orders that will be scored a day, above 0; tells alerts a day, and alert budgets need it.
    Raises:
        ConfigError: a setting is out of range, the objective needs what the counts lack, or the model has no such
            class or no thresholds.
        DataContractError: validation has no positive or no negative row.
    """
    if orders_per_day is not None:
        require_number("--orders-per-day", orders_per_day, above=0.0, hint="It is how many orders are scored a day.")
    number = _number_of(bundle, target, base_rate)
    counts, through = held_out.targets[number], bundle.calibrator.apply if not target else None
    sample = counts.bucketed(VALIDATION, through)
    thresholds = _old_rule(bundle, target) if target else None
    error = _base_rate_error(base_rate, base_rate_interval)
    old_rate = None if base_rate is None else EstimatedBaseRate.of(counts.validation)
    change = change_threshold(
        sample.curve,
        objective,
        old_threshold=_at_rate_of_counts(bundle) if thresholds is None else thresholds.thresholds[number],
        base_rate=base_rate,
        cost=cost,
        days=_days(sample.curve, orders_per_day),
        ledger=ledger_check(sample),
        design_effect=design_effect(sample, sample.curve, objective),
    )
    costs = cost or (objective if objective.is_loss else None)

    def outcomes(curve: Curve) -> BeforeAfter:
        moved, days = curve if base_rate is None else at_base_rate(curve, base_rate), _days(curve, orders_per_day)
        before, after = (
            outcome_at(threshold, cut_at(curve, threshold), moved, costs, days)
            for threshold in (change.before.threshold, change.after.threshold)
        )
        return BeforeAfter(before=before, after=after)

    return RetuneResult(
        bundle=replace(
            _retuned(bundle, thresholds, target, number, change, objective, base_rate), base_rate_error=error
        ),
        target=target,
        decides_by_order=None if objective.by_order is None else _amount_column(bundle) is not None,
        decided_by_order=bundle.order_rule is not None,
        change=change,
        folds={fold: outcomes(found.curve(through)) for fold, found in counts.by_fold.items()},
        base_rate=base_rate,
        old_rate=old_rate,
    )


def retune_costs(bundle: ModelBundle, costs: CostMatrix) -> RetuneResult:
    """A model of K classes that decides by other costs of errors; nothing is counted, see `RetuneResult.lines`.

    Raises:
        ConfigError: the model knows two classes.
    """
    if len(bundle.classes) == 2:
        raise ConfigError("--costs: the model knows two classes. Give --objective min_cost with --fn and --fp.")
    rules = {**bundle.rules, COST_MATRIX: costs}
    return RetuneResult(bundle=replace(bundle, rules=rules, serve_objective=COST_MATRIX))


def register_retuned(
    source: LoggedModel,
    result: RetuneResult,
    name: str,
    *,
    costs: tuple[float, float] = (1.0, 1.0),
    alias: str | None = None,
) -> RegisteredModel:
    """Log the retuned model beside its source and register it.

    Registered twice, an equal bundle from the same source is one MLflow run and one version; any other is a new one.

    Args:
        name: of the registered model.
        costs: of a false negative and of a false positive, for the logged metric `cost`.
        alias: to move to the new version, such as `champion`; None moves none.
    Returns:
        The version, with the bundle as it is read back from the registry.
    Raises:
        DataContractError: the registry holds another bundle. No alias was moved.
    """
    evidence = retuned_evidence(source, source.held_out, result, costs={"fn": costs[0], "fp": costs[1]})
    model_uri = log_retuned(source, result.bundle, evidence)
    return register_bundle(name, model_uri, result.bundle, tags=version_tags(source, result), alias=alias)


def version_tags(source: LoggedModel, result: RetuneResult) -> dict[str, str]:
    """The lineage that the new model version carries."""
    number = source.registered_version
    return {
        "source_version": "-" if number is None else f"{source.registered_name}/{number}",
        "source_run_id": source.run_id,
        "objective": result.rule,
        "base_rate": "-" if result.base_rate is None else repr(result.base_rate),
        "threshold": "-" if result.change is None else repr(result.change.chosen.threshold),
        "reason": result.sentence,
    }


def retuned_evidence(
    source: LoggedModel, held_out: HeldOutCounts, result: RetuneResult, *, costs: Mapping[str, float]
) -> Evidence:
    """What the retuned run is given: metrics that compare with its neighbours', the counts, and what changed.

    Metrics are at the base rate of the counts, as those of every other run of the experiment; `retune.json` has them
    at the new one. With the counts the run can be retuned itself. Of K classes there are only metrics that no rule of
    decision has a part in.

    Args:
        costs: `fn` and `fp` of the metric `cost`.
    """
    metrics: dict[str, float] = {}
    if result.change is not None and not result.target:
        metrics = _metrics_at(held_out.target, result.bundle, result.change.after.threshold, costs)
        metrics[f"threshold/{result.rule}"] = result.bundle.threshold
    else:
        names = TargetNames.of_classes(result.bundle.classes)
        for fold in held_out.targets[0].by_fold:
            found = ranking_metrics(held_out.curves(fold), names)
            metrics |= {f"{fold}/{name}": value for name, value in found.items()}
    return Evidence(
        params={
            "strategy": result.bundle.strategy,
            "objective": result.rule,
            "base_rate": "that of the counts" if result.base_rate is None else result.base_rate,
            "retuned_from": source.run_id,
        },
        metrics={name: value for name, value in metrics.items() if math.isfinite(value)},
        documents={**source.documents, "retune.json": result.to_dict()},
        description=result.sentence,
    )


def _metrics_at(
    counts: TargetCounts, bundle: ModelBundle, threshold: float, costs: Mapping[str, float]
) -> dict[str, float]:
    return {
        f"{fold}/{name}": value
        for fold, found in counts.by_fold.items()
        for name, value in evaluate(found.curve(bundle.calibrator.apply), threshold, **costs).items()
    }


def _number_of(bundle: ModelBundle, target: str, base_rate: float | None) -> int:
    """Which of the targets' counts to choose on."""
    if len(bundle.classes) == 2:
        if target:
            raise ConfigError(f"--class {target}: the model knows two classes, whose threshold is one. Leave it out.")
        return 0
    if target not in bundle.classes:
        known = list(bundle.classes)
        raise ConfigError(
            f"--class {target or '(none)'}: the model knows {known}, each with a threshold of its own."
            f"{nearest([target], known)} Name the class whose threshold is to move, or give --costs."
        )
    if base_rate is not None:
        raise ConfigError("--base-rate: of K classes, the rate of one cannot move alone. Train on newer orders.")
    return bundle.classes.index(target)


def _old_rule(bundle: ModelBundle, target: str) -> ClassThresholds:
    """The thresholds to change: those that decide, else the first ones that the model has."""
    rules = [bundle.rules[bundle.serve_objective], *bundle.rules.values()]
    found = next((rule for rule in rules if isinstance(rule, ClassThresholds)), None)
    if found is None:
        raise ConfigError(
            f"--class {target}: the model decides by {bundle.serve_objective} and has no thresholds. Give --costs, or "
            "train with an objective that chooses thresholds, such as max_f_beta."
        )
    if target and bundle.classes.index(target) == found.default_class:
        raise ConfigError(
            f"--class {target}: it is decided where no other class reaches its threshold, and has none itself. Name "
            f"one of {[name for name in bundle.classes if name != target]}."
        )
    return found


def _retuned(
    bundle: ModelBundle,
    old: ClassThresholds | None,
    target: str,
    number: int,
    change: ThresholdChange,
    objective: Objective,
    base_rate: float | None,
) -> ModelBundle:
    chosen, costs, column = change.chosen, objective.by_order, _amount_column(bundle)
    if old is not None:
        thresholds = tuple(chosen.threshold if k == number else value for k, value in enumerate(old.thresholds))
        name = f"{chosen.objective} of {target}"
        return replace(bundle, rules={**bundle.rules, name: replace(old, thresholds=thresholds)}, serve_objective=name)
    rule: Rule = ClassThresholds.of_threshold(chosen.threshold)
    if costs is not None and column is not None:
        rule = OrderRule(costs=costs, column=column, threshold=chosen.threshold)
    return replace(
        bundle,
        rules={chosen.objective: rule},
        serve_objective=chosen.objective,
        base_rate_shift=None if base_rate is None else change.correction,
    )


def _amount_column(bundle: ModelBundle) -> str | None:
    """The orders' column of amounts, as far as a rule of the model tells it."""
    return next((rule.column for rule in bundle.rules.values() if isinstance(rule, OrderRule)), None)


def _at_rate_of_counts(bundle: ModelBundle) -> float:
    """The bundle's threshold on its calibrated probabilities, before any shift to another base rate."""
    if bundle.base_rate_shift is None or bundle.threshold > 1.0:
        return bundle.threshold
    return float(bundle.base_rate_shift.inverse(bundle.threshold))


def _base_rate_error(base_rate: float | None, interval: tuple[float, float] | None) -> float:
    if interval is None:
        return 0.0
    if base_rate is None:
        raise ConfigError("--base-rate-interval: it is of --base-rate, which is not given.")
    return base_rate_error(base_rate, interval)


def _days(curve: Curve, orders_per_day: float | None) -> float | None:
    """How many days of orders the counted rows amount to."""
    if orders_per_day is None:
        return None
    return float(curve.flagged_rows[-1]) / orders_per_day
