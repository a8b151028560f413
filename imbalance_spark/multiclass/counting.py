"""Temperatures, counts and decisions of a run's strategies, from the margins of their models; each made once."""

from collections.abc import Mapping, Sequence
from typing import Any

from pyspark.sql import DataFrame

from imbalance_spark.calibration.temperature import ClassProbabilities
from imbalance_spark.comparison.prepare import PreparedOrders
from imbalance_spark.config.run import RunConfig
from imbalance_spark.core.columns import SPLIT, col
from imbalance_spark.core.errors import DataContractError
from imbalance_spark.metrics.grid import LogitGrid
from imbalance_spark.multiclass.decisions import Decisions, Rule, thresholds_for
from imbalance_spark.multiclass.held_out import ClassHeldOut, Confusions, classes_without_rows, confusions_from_records
from imbalance_spark.multiclass.judge import HELD_OUT, ClassResult, judge_classes
from imbalance_spark.multiclass.margins import ClassContender, held_out_margins
from imbalance_spark.multiclass.scan import CountedModel, count_classes, count_decisions
from imbalance_spark.multiclass.temperature import ChosenTemperature, choose_temperatures
from imbalance_spark.threshold.class_rules import ChosenClassThresholds
from imbalance_spark.train_only.strategies.fit import FittedStrategy


def contender_margins(inputs: DataFrame, contenders: Sequence[ClassContender], config: RunConfig) -> DataFrame:
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
) -> dict[str, ClassHeldOut]:
    """Counts of models from their margins; see `count_classes`."""
    return count_classes(
        margins,
        models,
        classes=len(config.orders.classes),
        grid=LogitGrid(bins=config.scoring.bins),
        has_weight=config.orders.weight is not None,
    )


def judged_strategies(
    prepared: PreparedOrders,
    fitted: Sequence[FittedStrategy],
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
    corrected = {s.name: ClassProbabilities(correction=s.recipe.prior_shift.correction()) for s in fitted}
    temperatures = {
        name: ChosenTemperature(**found)
        for name, found in run.document(
            "temperatures", lambda: _records(choose_temperatures(margins, corrected, has_weight=has_weight))
        ).items()
    }
    models = {
        name: CountedModel(
            probabilities=ClassProbabilities(correction=found.correction, temperature=temperatures[name].temperature),
            rules=decisions.fixed,
        )
        for name, found in corrected.items()
    }
    counted = _counted(prepared, margins, models, config)
    chosen = {name: _chosen(found, decisions, classes) for name, found in counted.items()}
    confusions = _decided(prepared, margins, models, chosen, config)
    return [
        judge_classes(
            s,
            _with_confusions(counted[s.name], confusions[s.name]),
            temperatures[s.name],
            rules_of(decisions, chosen[s.name]),
            chosen[s.name],
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
) -> dict[str, ClassHeldOut]:
    """Counts by strategy: from the ledger if the run has them all, else from one pass."""
    run = prepared.run
    if not all(run.is_done(f"counts_{name}") for name in models):
        for name, found in counts_of_margins(margins, models, config).items():
            run.record(f"counts_{name}", found.to_records())
    return {name: ClassHeldOut.from_records(run.read_document(f"counts_{name}")) for name in models}


def _decided(
    prepared: PreparedOrders,
    margins: DataFrame,
    models: Mapping[str, CountedModel],
    chosen: Mapping[str, Mapping[str, ChosenClassThresholds]],
    config: RunConfig,
) -> dict[str, dict[str, Confusions]]:
    """Confusions of the rules that were chosen on counts, by strategy and rule; no pass where there are none."""
    deciding = {
        name: CountedModel(
            probabilities=model.probabilities, rules={rule: found.rule for rule, found in chosen[name].items()}
        )
        for name, model in models.items()
    }
    if not any(model.rules for model in deciding.values()):
        return {name: {} for name in models}

    def counted() -> Any:
        found = count_decisions(
            margins, deciding, classes=len(config.orders.classes), has_weight=config.orders.weight is not None
        )
        return {name: {rule: c.to_records() for rule, c in by_rule.items()} for name, by_rule in found.items()}

    records = prepared.run.document("decisions", counted)
    return {name: confusions_from_records(by_rule) for name, by_rule in records.items()}


def _chosen(counts: ClassHeldOut, decisions: Decisions, classes: Sequence[str]) -> dict[str, ChosenClassThresholds]:
    curves = counts.choosing()
    if decisions.swept and (empty := classes_without_rows(curves, classes)):
        raise DataContractError(
            f"thresholds: the half of validation that chooses them has no row of {empty}. Hold out more rows, or "
            "decide by a cost_matrix alone, which needs none."
        )
    return {name: thresholds_for(objective, curves, classes) for name, objective in decisions.swept.items()}


def _with_confusions(counts: ClassHeldOut, more: Mapping[str, Confusions]) -> ClassHeldOut:
    return ClassHeldOut(by_class=counts.by_class, confusions={**counts.confusions, **more}, losses=counts.losses)


def _records(found: Mapping[str, ChosenTemperature]) -> dict[str, Any]:
    return {name: chosen.to_dict() for name, chosen in found.items()}
