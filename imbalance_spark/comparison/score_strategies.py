"""Score held-out rows with every strategy's model, calibrate, and choose thresholds; each made once and kept.

Two classes and K part here and only here. With one target, calibration and thresholds work from counts, so that score
and count are one scan. With K, a temperature mixes the classes, so margins are written once and read three times.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pyspark.sql import DataFrame

from imbalance_spark.calibration import (
    Calibrator,
    ChosenCalibration,
    LedgerCheck,
    MulticlassTemperature,
    fit_calibrator,
    fit_of,
    ledger_check,
)
from imbalance_spark.calibration.temperature import ChosenTemperature, choose_temperatures
from imbalance_spark.comparison.entities import orders_per_entity
from imbalance_spark.comparison.prepare import PreparedOrders
from imbalance_spark.config.run import RunConfig
from imbalance_spark.core.columns import HELD_OUT_FOLDS, SPLIT, VALIDATION, col
from imbalance_spark.core.errors import DataContractError
from imbalance_spark.core.run import Run
from imbalance_spark.metrics.bucket_draws import BucketedCurve
from imbalance_spark.metrics.curve import Curve
from imbalance_spark.metrics.grid import FloatArray, LogitGrid
from imbalance_spark.metrics.spark_counts import count_days
from imbalance_spark.scoring.boosters import Candidate
from imbalance_spark.scoring.class_margins import (
    CountedModel,
    collect_temperature_losses,
    count_classes,
    count_decisions,
    held_out_margins,
)
from imbalance_spark.scoring.held_out import DecidingModel, scan_decisions, scan_held_out
from imbalance_spark.scoring.held_out_counts import Confusions, HeldOutCounts, TargetCounts, confusions_from_records
from imbalance_spark.threshold.class_rules import (
    ChosenClassThresholds,
    ClassThresholds,
    Rule,
    checked_on_decisions,
    choose_thresholds,
)
from imbalance_spark.threshold.decisions import Decisions
from imbalance_spark.threshold.objective import Objective
from imbalance_spark.threshold.order_costs import OrderRule
from imbalance_spark.threshold.rule import DECIDED_AT, Fit
from imbalance_spark.train_only.strategies.fit import FittedStrategy

SERVED_RULE = "served"
"""Under this name the rule that another run's model of K classes is served by is counted."""

CHOOSE = "choose"
"""The half of validation that checks a calibration which the other half was used for."""


@dataclass(frozen=True, kw_only=True)
class ScoredStrategy:
    """Counts of one strategy, how it is calibrated, and what was chosen on its counts.

    Args:
        held_out: of two classes of corrected probabilities, of K of calibrated ones.
        rules: by name; `chosen` are those whose thresholds were chosen on data, for `objectives`.
        counted_decisions: by name, what rules decide row by row, where scores do not tell; see `scan_decisions`.
    """

    held_out: HeldOutCounts
    calibration: ChosenCalibration | ChosenTemperature
    rules: Mapping[str, Rule]
    chosen: Mapping[str, ChosenClassThresholds]
    objectives: Mapping[str, Objective]
    counted_decisions: Mapping[str, HeldOutCounts] = field(default_factory=dict)

    def bucketed(self, part: str) -> list[BucketedCurve]:
        """The curve of each target, of calibrated probabilities, with its buckets; see `TargetCounts.bucketed`."""
        return self.held_out.bucketed(part, self.through)

    def curves(self, fold: str) -> list[Curve]:
        """The curve of each target on a fold, of calibrated probabilities."""
        return self.held_out.curves(fold, self.through)

    def decided(self, rule: str, fold: str) -> tuple[BucketedCurve, float]:
        """Of a single target: rows of a fold, and the threshold on their scores by which a rule decides them.

        On validation thresholds and calibration are cross-fitted, since they were chosen there.
        """
        if isinstance(self.rules[rule], OrderRule):
            return self.counted_decisions[rule].target.bucketed(fold), DECIDED_AT
        return self.decided_by_threshold(rule, fold)

    def decided_by_threshold(self, rule: str, fold: str) -> tuple[BucketedCurve, float]:
        """The same by the rule's one threshold, also where orders are decided one by one."""
        [chosen] = self.chosen[rule].by_target
        if fold == VALIDATION and chosen.decided is not None:
            return chosen.decided, DECIDED_AT
        [sample] = self.bucketed(fold)
        return sample, chosen.threshold

    @property
    def fit(self) -> Fit:
        """How other rows of a single target would be calibrated; counts of K classes are of calibrated scores."""
        return fit_of(self.calibration.calibrator.method if len(self.held_out.targets) == 1 else "identity")

    @property
    def cross_fitted(self) -> tuple[Calibrator, Calibrator, Calibrator]:
        """How rows of the even buckets of validation are calibrated, those of the odd ones, and those of test.

        Of K classes one temperature serves all.
        """
        if len(self.held_out.targets) > 1:
            return (self.calibration.calibrator,) * 3
        even, odd = (self.fit(half.curve.counts) for half in self.held_out.target.halved.halves)
        return odd, even, self.calibration.calibrator

    def ledger_samples(self) -> list[BucketedCurve]:
        """Each target's probabilities on the half of validation that they are not calibrated on.

        Of a single target the other half calibrates.
        """
        if len(self.held_out.targets) == 1:
            return [_unseen_by_calibration(self.held_out.target, self.fit)]
        return self.held_out.bucketed(CHOOSE)

    @property
    def through(self) -> Callable[[FloatArray], FloatArray] | None:
        """From counted scores to calibrated ones; None where counts are of calibrated ones already."""
        return self.calibration.calibrator.apply if len(self.held_out.targets) == 1 else None


def score_strategies(
    prepared: PreparedOrders, fitted: Sequence[FittedStrategy], decisions: Decisions, config: RunConfig
) -> dict[str, ScoredStrategy]:
    """Every strategy's counts, calibration and rules, by name; what the run has already is read back.

    Passes: with two classes, one scan of validation and test, and a second one where costs are decided order by order,
    or where there are segments: such decisions need the calibration, and are counted row by row. With K, that scan
    writes margins; then, over that narrow table, one of validation to calibrate, one to count classes, one to count
    chosen decisions.

    Raises:
        DataContractError: a half of validation lacks rows, or a class that a threshold is to be chosen for.
    """
    candidates = [candidate_of(one) for one in fitted]
    score = _score_target if len(prepared.classes) == 2 else _score_classes
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
    return _count(_margins(inputs, [candidate], config), {candidate.name: counted}, config)[candidate.name]


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
    names, inputs = [candidate.name for candidate in candidates], prepared.scored(prepared.inputs)
    counted = _kept_counts(prepared, names, lambda: _scan(inputs, candidates, config))
    asked = dict.fromkeys(names, decisions)
    if budgets := decisions.entities_per_day:
        of_entities = orders_per_entity(prepared, candidates, counted, budgets, config)
        asked = {name: decisions.with_orders_per_entity(of_entities[name]) for name in names}
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
    return ledger_check(_unseen_by_calibration(target, fit))


def _unseen_by_calibration(target: TargetCounts, fit: Fit) -> BucketedCurve:
    return target.bucketed(CHOOSE, fit(target.calibrate).apply)


def _score_classes(
    prepared: PreparedOrders, candidates: Sequence[Candidate], decisions: Decisions, config: RunConfig
) -> dict[str, ScoredStrategy]:
    run, has_weight = prepared.run, config.orders.weight is not None
    margins = run.table("margins", lambda: _margins(prepared.scored(prepared.inputs), candidates, config))
    raw = {
        candidate.name: CountedModel(
            correction=candidate.correction, fold_corrections=tuple(correction for _, correction in candidate.folds)
        )
        for candidate in candidates
    }

    def chosen_temperatures() -> Any:
        losses = collect_temperature_losses(margins, raw, has_weight=has_weight)
        return {name: found.to_dict() for name, found in choose_temperatures(losses).items()}

    records = run.document("temperatures", chosen_temperatures)
    temperatures = {name: ChosenTemperature(**found) for name, found in records.items()}
    models = {
        name: replace(model, temperature=temperatures[name].calibrator, rules=decisions.fixed)
        for name, model in raw.items()
    }
    counted = _kept_counts(prepared, list(models), lambda: _count(margins, models, config))
    chosen = {name: _choose(counts, decisions, prepared.classes) for name, counts in counted.items()}
    confusions = _decided(run, margins, models, chosen, has_weight)
    chosen = {
        name: {
            rule: checked_on_decisions(found, decisions.swept[rule], confusions[name][rule].of(VALIDATION))
            for rule, found in by_rule.items()
        }
        for name, by_rule in chosen.items()
    }
    return {
        name: ScoredStrategy(
            held_out=counts.with_confusions(confusions[name]),
            calibration=temperatures[name],
            rules={**decisions.fixed, **{rule: found.rule for rule, found in chosen[name].items()}},
            chosen=chosen[name],
            objectives=decisions.swept,
        )
        for name, counts in counted.items()
    }


def _kept_counts(
    prepared: PreparedOrders, names: Sequence[str], count: Callable[[], Mapping[str, HeldOutCounts]]
) -> dict[str, HeldOutCounts]:
    """Counts by strategy: from the step log if the run has them all, else from one scan."""
    run = prepared.run
    if not all(run.is_done(f"counts_{name}") for name in names):
        for name, counts in count().items():
            run.record(f"counts_{name}", counts.to_records())
    return {name: HeldOutCounts.from_records(run.read_document(f"counts_{name}")) for name in names}


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


def _margins(inputs: DataFrame, candidates: Sequence[Candidate], config: RunConfig) -> DataFrame:
    return held_out_margins(
        inputs.where(col(SPLIT).isin(*HELD_OUT_FOLDS)),
        candidates,
        key=config.orders.key,
        group=config.orders.grouping,
        segments=config.scoring.segments,
        has_weight=config.orders.weight is not None,
        has_amount=config.orders.amount is not None,
    )


def _count(margins: DataFrame, models: Mapping[str, CountedModel], config: RunConfig) -> dict[str, HeldOutCounts]:
    return count_classes(
        margins,
        models,
        grid=LogitGrid(bins=config.scoring.bins),
        segments=config.scoring.segments,
        has_weight=config.orders.weight is not None,
        has_amount=config.orders.amount is not None,
    )


def _choose(counts: HeldOutCounts, decisions: Decisions, classes: Sequence[str]) -> dict[str, ChosenClassThresholds]:
    samples = [target.halved for target in counts.targets]
    empty = [name for name, one in zip(classes, samples, strict=True) if not one.whole.curve.positives > 0.0]
    if decisions.swept and empty:
        raise DataContractError(
            f"thresholds: validation has no row of {empty}. Hold out more rows, or decide by a cost_matrix alone, "
            "which needs none."
        )
    return {name: choose_thresholds(objective, samples) for name, objective in decisions.swept.items()}


def _decided(
    run: Run,
    margins: DataFrame,
    models: Mapping[str, CountedModel],
    chosen: Mapping[str, Mapping[str, ChosenClassThresholds]],
    has_weight: bool,
) -> dict[str, dict[str, Confusions]]:
    """Confusions of the rules that were chosen on counts, by strategy and rule; no pass where there are none."""
    deciding = {
        name: replace(model, rules={rule: found.rule for rule, found in chosen[name].items()})
        for name, model in models.items()
    }
    if not any(model.rules for model in deciding.values()):
        return {name: {} for name in models}

    def counted() -> Any:
        found = count_decisions(margins, deciding, has_weight=has_weight)
        return {name: {rule: c.to_records() for rule, c in by_rule.items()} for name, by_rule in found.items()}

    return {name: confusions_from_records(found) for name, found in run.document("decisions", counted).items()}
