"""Score held-out rows with every strategy's model, calibrate, and choose thresholds; each made once and kept.

Two classes and K part here and only here: with one target, calibration and thresholds work from counts, so that score
and count are one scan; `score_classes` says how it is with K.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pyspark.sql import DataFrame

from imbalance_spark.calibration import (
    LedgerCheck,
    MulticlassTemperature,
    fit_calibrator,
    fit_of,
    ledger_check,
)
from imbalance_spark.comparison.entities import orders_per_entity
from imbalance_spark.comparison.prepare import PreparedOrders
from imbalance_spark.comparison.score_classes import count_models, margins_of, score_classes
from imbalance_spark.comparison.scored_strategy import ScoredStrategy, kept_counts, unseen_by_calibration
from imbalance_spark.config.run import RunConfig
from imbalance_spark.core.columns import HELD_OUT_FOLDS, SPLIT, VALIDATION, col
from imbalance_spark.metrics.grid import LogitGrid
from imbalance_spark.metrics.spark_counts import count_days
from imbalance_spark.scoring.boosters import Candidate
from imbalance_spark.scoring.class_margins import (
    CountedModel,
)
from imbalance_spark.scoring.held_out import DecidingModel, scan_decisions, scan_held_out
from imbalance_spark.scoring.held_out_counts import HeldOutCounts, TargetCounts
from imbalance_spark.threshold.class_rules import (
    ClassThresholds,
    Rule,
    choose_thresholds,
)
from imbalance_spark.threshold.decisions import Decisions
from imbalance_spark.threshold.order_costs import OrderRule
from imbalance_spark.threshold.rule import Fit
from imbalance_spark.train_only.strategies.fit import FittedStrategy

SERVED_RULE = "served"
"""Under this name the rule that another run's model of K classes is served by is counted."""


def score_strategies(
    prepared: PreparedOrders, fitted: Sequence[FittedStrategy], decisions: Decisions, config: RunConfig
) -> dict[str, ScoredStrategy]:
    """Every strategy's counts, calibration and rules, by name; what the run has already is read back.

    Passes: one over test for the importance of features. With two classes one scan of validation and test, and a second
    one where costs are decided order by order, or where there are segments: such decisions need the calibration, and
    are counted row by row. With K, that scan writes margins; then, over that narrow table, one of validation to
    calibrate, one to count classes, one to count chosen decisions.

    Raises:
        DataContractError: a half of validation lacks rows, or a class that a threshold is to be chosen for.
    """
    candidates = [candidate_of(one) for one in fitted]
    score = _score_target if len(prepared.classes) == 2 else score_classes
    return score(prepared, candidates, decisions, config)


def candidate_of(fitted: FittedStrategy) -> Candidate:
    """A strategy's model, and those of its folds, as they are scored."""
    folds = ((one.booster.model_bytes, one.recipe.prior_shift.correction()) for one in fitted.folds)
    return Candidate(
        name=fitted.name,
        model_bytes=fitted.booster.model_bytes,
        features=fitted.booster.features,
        correction=fitted.recipe.prior_shift.correction(),
        folds=tuple(folds),
    )


def count_served(
    prepared: PreparedOrders, inputs: DataFrame, model: DecidingModel, config: RunConfig, *, decides: bool
) -> HeldOutCounts:
    """Counts of one model on validation and test rows that this run's strategies were counted on; nothing is written.

    Passes: one over these rows.

    Args:
        inputs: of `prepared.orders`, with the model's own features.
        model: with the one rule that it is served by. Of K classes its decisions are counted as `SERVED_RULE`.
        decides: of two classes, whether to count what the rule decides order by order instead of scores.
    """
    inputs, candidate, [rule] = prepared.scored(inputs), model.candidate, model.rules.values()
    if len(prepared.classes) == 2:
        if decides:
            return _scan_decisions(inputs, [model], config, segments=())[candidate.name][SERVED_RULE]
        return _scan(inputs, [candidate], config)[candidate.name]
    calibrator = model.calibrators[-1]
    assert isinstance(calibrator, MulticlassTemperature), "as of every model of K classes"  # noqa: S101
    assert not isinstance(rule, OrderRule), "whose costs are those of two classes"  # noqa: S101
    counted = CountedModel(correction=candidate.correction, temperature=calibrator, rules={SERVED_RULE: rule})
    return count_models(margins_of(inputs, [candidate], config), {candidate.name: counted}, config)[candidate.name]


def with_days(decisions: Decisions, prepared: PreparedOrders, config: RunConfig) -> Decisions:
    """The decisions with the days that validation amounts to, where an objective counts alerts a day."""
    if not decisions.needs_days:
        return decisions
    time = config.orders.time
    assert time is not None, "decisions_of has seen to it"  # noqa: S101  # for the type checker
    is_counted = col(SPLIT) == VALIDATION
    inputs = prepared.scored(prepared.inputs)
    days = prepared.run.document("days", lambda: count_days(inputs, time=time, is_counted=is_counted))
    return decisions.with_days(days)


def _score_target(
    prepared: PreparedOrders, candidates: Sequence[Candidate], decisions: Decisions, config: RunConfig
) -> dict[str, ScoredStrategy]:
    inputs = prepared.scored(prepared.inputs)
    counted = kept_counts(prepared, candidates, config, lambda: _scan(inputs, candidates, config))
    asked = dict.fromkeys(counted, decisions)
    if budgets := decisions.entities_per_day:
        of_entities = orders_per_entity(prepared, candidates, counted, budgets, config)
        asked = {name: decisions.with_orders_per_entity(of_entities[name]) for name in counted}
    scored = {name: calibrate_and_choose(counts, asked[name]) for name, counts in counted.items()}
    rules = {name: _counted_rules(found, decisions, config) for name, found in scored.items()}
    return _with_decisions(prepared, candidates, scored, rules, config) if any(rules.values()) else scored


def _counted_rules(
    scored: ScoredStrategy, decisions: Decisions, config: RunConfig
) -> dict[str, ClassThresholds | OrderRule]:
    """Rules whose decisions are counted row by row: those by order, and the serving one where there are segments."""
    found: dict[str, ClassThresholds | OrderRule] = {}
    for name, chosen in scored.chosen.items():
        costs, column = decisions.by_order.get(name), config.orders.amount
        if costs is not None and column is not None:
            found[name] = OrderRule(costs=costs, column=column, threshold=chosen.rule.threshold)
        elif name == decisions.serve_objective and config.scoring.segments:
            found[name] = chosen.rule
    return found


def _with_decisions(
    prepared: PreparedOrders,
    candidates: Sequence[Candidate],
    scored: Mapping[str, ScoredStrategy],
    rules: Mapping[str, Mapping[str, ClassThresholds | OrderRule]],
    config: RunConfig,
) -> dict[str, ScoredStrategy]:
    """The strategies with these rules and what they decide; one scan of validation and test."""

    def counted() -> Any:
        models = [
            DecidingModel(candidate=one, calibrators=scored[one.name].cross_fitted, rules=rules[one.name])
            for one in candidates
        ]
        inputs = prepared.scored(prepared.inputs)
        found = _scan_decisions(inputs, models, config, segments=config.scoring.segments)
        return {name: {rule: c.to_records() for rule, c in by_rule.items()} for name, by_rule in found.items()}

    records = prepared.run.document("counted_decisions", counted)
    return {
        name: replace(
            found,
            rules={**found.rules, **rules[name]},
            counted_decisions={rule: HeldOutCounts.from_records(record) for rule, record in records[name].items()},
        )
        for name, found in scored.items()
    }


def calibrate_and_choose(counts: HeldOutCounts, decisions: Decisions) -> ScoredStrategy:
    """A single target: both from its counts alone, on all of validation.

    Raises:
        DataContractError: validation has one class only.
    """
    sample = counts.target.halved
    calibration = fit_calibrator(sample.whole)
    fit = fit_of(calibration.calibrator.method)
    ledger = check_ledger(counts.target, fit)
    chosen = {
        name: choose_thresholds(objective, [sample], fit, ledger=ledger) for name, objective in decisions.swept.items()
    }
    rules: dict[str, Rule] = {name: found.rule for name, found in chosen.items()}
    return ScoredStrategy(
        held_out=counts, calibration=calibration, rules=rules, chosen=chosen, objectives=decisions.swept
    )


def check_ledger(target: TargetCounts, fit: Fit) -> LedgerCheck:
    """Whether probabilities are right on average, on the half of validation that they were not calibrated on."""
    return ledger_check(unseen_by_calibration(target, fit))


def _scan(inputs: DataFrame, candidates: Sequence[Candidate], config: RunConfig) -> dict[str, HeldOutCounts]:
    return scan_held_out(
        inputs.where(col(SPLIT).isin(*HELD_OUT_FOLDS)),
        candidates,
        key=config.orders.key,
        group=config.orders.grouping,
        segments=config.scoring.segments,
        grid=LogitGrid(bins=config.scoring.bins),
        has_weight=config.orders.weight is not None,
        has_amount=config.orders.amount is not None,
    )


def _scan_decisions(
    inputs: DataFrame, models: Sequence[DecidingModel], config: RunConfig, *, segments: Sequence[str]
) -> dict[str, dict[str, HeldOutCounts]]:
    return scan_decisions(
        inputs.where(col(SPLIT).isin(*HELD_OUT_FOLDS)),
        models,
        key=config.orders.key,
        group=config.orders.grouping,
        segments=segments,
        has_weight=config.orders.weight is not None,
        has_amount=config.orders.amount is not None,
    )
