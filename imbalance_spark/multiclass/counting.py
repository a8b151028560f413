"""Temperatures, counts and decisions of a run's strategies, from the margins of their models; each made once."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pyspark.sql import DataFrame

from imbalance_spark.calibration.temperature import ChosenTemperature, choose_temperatures
from imbalance_spark.comparison.prepare import PreparedOrders
from imbalance_spark.config.run import RunConfig
from imbalance_spark.core.columns import SPLIT, col
from imbalance_spark.core.errors import DataContractError
from imbalance_spark.metrics.grid import LogitGrid
from imbalance_spark.multiclass.fit import FittedClasses
from imbalance_spark.multiclass.judge import HELD_OUT, ClassResult, judge_classes
from imbalance_spark.scoring.boosters import Contender
from imbalance_spark.scoring.held_out import (
    CountedModel,
    collect_temperature_losses,
    count_classes,
    count_decisions,
    held_out_margins,
)
from imbalance_spark.scoring.held_out_counts import Confusions, HeldOutCounts, confusions_from_records
from imbalance_spark.threshold.class_rules import ChosenClassThresholds, Rule, choose_thresholds
from imbalance_spark.threshold.decisions import Decisions


def contender_margins(inputs: DataFrame, contenders: Sequence[Contender], config: RunConfig) -> DataFrame:
    """Margins of models of one list of features on validation and test; see `held_out_margins`."""
    return held_out_margins(
        inputs.where(col(SPLIT).isin(*HELD_OUT)),
        contenders,
        key=config.orders.key,
        group=config.orders.grouping,
        has_weight=config.orders.weight is not None,
    )


def counts_of_margins(
    margins: DataFrame, models: Mapping[str, CountedModel], config: RunConfig
) -> dict[str, HeldOutCounts]:
    """Counts of models from their margins; see `count_classes`."""
    return count_classes(
        margins,
        models,
        grid=LogitGrid(bins=config.scoring.bins),
        has_weight=config.orders.weight is not None,
    )


def judged_strategies(
    prepared: PreparedOrders,
    fitted: Sequence[FittedClasses],
    margins: DataFrame,
    decisions: Decisions,
    config: RunConfig,
) -> list[ClassResult]:
    """Every strategy with its temperature, counts and decisions; each is read back if the run has it already.

    Passes over the margins: one over validation to calibrate, one to count classes, one to count chosen decisions.

    Raises:
        DataContractError: a half of validation lacks rows, or a class that a threshold is to be chosen for.
    """
    run, classes, has_weight = prepared.run, config.orders.class_names, config.orders.weight is not None
    corrected = {s.config.name: s.recipe.ledger.correction() for s in fitted}
    temperatures = {
        name: ChosenTemperature(**found)
        for name, found in run.document(
            "temperatures",
            lambda: _records(
                choose_temperatures(collect_temperature_losses(margins, corrected, has_weight=has_weight))
            ),
        ).items()
    }
    models = {
        name: CountedModel(correction=found, temperature=temperatures[name].calibrator, rules=decisions.fixed)
        for name, found in corrected.items()
    }
    counted = _counted(prepared, margins, models, config)
    chosen = {name: _chosen(found, decisions, classes) for name, found in counted.items()}
    confusions = _decided(prepared, margins, models, chosen, config)
    return [
        judge_classes(
            s,
            counted[s.config.name].with_confusions(confusions[s.config.name]),
            temperatures[s.config.name],
            rules_of(decisions, chosen[s.config.name]),
            chosen[s.config.name],
            serving=config.serve_objective,
            classes=classes,
            costs=decisions.costs,
        )
        for s in fitted
    ]


def rules_of(decisions: Decisions, chosen: Mapping[str, ChosenClassThresholds]) -> dict[str, Rule]:
    """Every rule of a strategy by name."""
    return {**decisions.fixed, **{name: found.rule for name, found in chosen.items()}}


def _counted(
    prepared: PreparedOrders, margins: DataFrame, models: Mapping[str, CountedModel], config: RunConfig
) -> dict[str, HeldOutCounts]:
    """Counts by strategy: from the ledger if the run has them all, else from one pass."""
    run = prepared.run
    if not all(run.is_done(f"counts_{name}") for name in models):
        for name, found in counts_of_margins(margins, models, config).items():
            run.record(f"counts_{name}", found.to_records())
    return {name: HeldOutCounts.from_records(run.read_document(f"counts_{name}")) for name in models}


def _decided(
    prepared: PreparedOrders,
    margins: DataFrame,
    models: Mapping[str, CountedModel],
    chosen: Mapping[str, Mapping[str, ChosenClassThresholds]],
    config: RunConfig,
) -> dict[str, dict[str, Confusions]]:
    """Confusions of the rules that were chosen on counts, by strategy and rule; no pass where there are none."""
    deciding = {
        name: replace(model, rules={rule: found.rule for rule, found in chosen[name].items()})
        for name, model in models.items()
    }
    if not any(model.rules for model in deciding.values()):
        return {name: {} for name in models}

    def counted() -> Any:
        found = count_decisions(margins, deciding, has_weight=config.orders.weight is not None)
        return {name: {rule: c.to_records() for rule, c in by_rule.items()} for name, by_rule in found.items()}

    records = prepared.run.document("decisions", counted)
    return {name: confusions_from_records(by_rule) for name, by_rule in records.items()}


def _chosen(counts: HeldOutCounts, decisions: Decisions, classes: Sequence[str]) -> dict[str, ChosenClassThresholds]:
    curves = counts.choosing()
    empty = [name for name, curve in zip(classes, curves, strict=True) if not curve.positives > 0.0]
    if decisions.swept and empty:
        raise DataContractError(
            f"thresholds: the half of validation that chooses them has no row of {empty}. Hold out more rows, or "
            "decide by a cost_matrix alone, which needs none."
        )
    return {name: choose_thresholds(objective, curves) for name, objective in decisions.swept.items()}


def _records(found: Mapping[str, ChosenTemperature]) -> dict[str, Any]:
    return {name: chosen.to_dict() for name, chosen in found.items()}
