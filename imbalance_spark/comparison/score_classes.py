"""Score held-out rows of K classes: a temperature mixes these, so margins are written once and read three times."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pyspark.sql import DataFrame

from imbalance_spark.calibration.temperature import ChosenTemperature, choose_temperatures
from imbalance_spark.comparison.prepare import PreparedOrders
from imbalance_spark.comparison.scored_strategy import ScoredStrategy, kept_counts
from imbalance_spark.config.run import RunConfig
from imbalance_spark.core.columns import HELD_OUT_FOLDS, SPLIT, VALIDATION, col
from imbalance_spark.core.errors import DataContractError
from imbalance_spark.core.run import Run
from imbalance_spark.metrics.grid import LogitGrid
from imbalance_spark.scoring.boosters import Candidate
from imbalance_spark.scoring.class_margins import (
    CountedModel,
    collect_temperature_losses,
    count_classes,
    count_decisions,
    held_out_margins,
)
from imbalance_spark.scoring.held_out_counts import Confusions, HeldOutCounts, confusions_from_records
from imbalance_spark.threshold.class_rules import (
    ChosenClassThresholds,
    checked_on_decisions,
    choose_thresholds,
)
from imbalance_spark.threshold.decisions import Decisions


def score_classes(
    prepared: PreparedOrders, candidates: Sequence[Candidate], decisions: Decisions, config: RunConfig
) -> dict[str, ScoredStrategy]:
    """What `score_strategies` says of K classes."""
    run, has_weight = prepared.run, config.orders.weight is not None
    margins = run.table("margins", lambda: margins_of(prepared.scored(prepared.inputs), candidates, config))
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
    counted = kept_counts(prepared, candidates, config, lambda: count_models(margins, models, config))
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


def margins_of(inputs: DataFrame, candidates: Sequence[Candidate], config: RunConfig) -> DataFrame:
    """Margins of every model on the rows of validation and test, as the config names their columns; lazy."""
    return held_out_margins(
        inputs.where(col(SPLIT).isin(*HELD_OUT_FOLDS)),
        candidates,
        key=config.orders.key,
        group=config.orders.grouping,
        segments=config.scoring.segments,
        has_weight=config.orders.weight is not None,
        has_amount=config.orders.amount is not None,
    )


def count_models(margins: DataFrame, models: Mapping[str, CountedModel], config: RunConfig) -> dict[str, HeldOutCounts]:
    """Counts of each model from its margins, on the config's grid; one pass."""
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
