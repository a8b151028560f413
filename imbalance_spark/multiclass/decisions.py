"""How a class is decided on: by what errors cost, by a threshold for each class, or by the likeliest class."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from imbalance_spark.config.run import RunConfig
from imbalance_spark.core.errors import ConfigError, nearest
from imbalance_spark.metrics.curve import FLAG_NOBODY, Curve
from imbalance_spark.metrics.grid import FloatArray
from imbalance_spark.threshold.class_rules import ChosenClassThresholds, ClassThresholds, CostMatrix, sweep_classes
from imbalance_spark.threshold.objective import Objective
from imbalance_spark.threshold.objectives import OBJECTIVES, AlertBudget, BayesCost, MinCost, objective_from_config

Rule = CostMatrix | ClassThresholds


COST_MATRIX, LIKELIEST = "cost_matrix", "likeliest"


@dataclass(frozen=True, kw_only=True)
class Decisions:
    """What the config's objectives ask for, by name.

    Args:
        fixed: rules that no data decides: a cost matrix, and the likeliest class, which is always reported.
        swept: objectives that a threshold is chosen for, for each class but the largest.
        costs: K x K, what a row of a class (first axis) costs when it is taken for a class (second axis); None without
            a cost matrix.
    """

    fixed: Mapping[str, CostMatrix]
    swept: Mapping[str, Objective]
    costs: FloatArray | None


def decisions_of(config: RunConfig) -> Decisions:
    """The config's objectives for its classes, checked before Spark starts.

    Raises:
        ConfigError: an objective is wrong, or `serve_objective` names none; all problems at once.
    """
    classes = config.orders.class_names
    fixed: dict[str, CostMatrix] = {}
    swept: dict[str, Objective] = {}
    problems: list[str] = []
    for number, entry in enumerate(config.objectives):
        name = entry if isinstance(entry, str) else entry.get("name")
        try:
            if name in fixed or name == LIKELIEST:
                if name in fixed:
                    raise ConfigError(f"{name} is named twice.")
            elif name == COST_MATRIX:
                fixed[COST_MATRIX] = cost_matrix_from_config(entry, classes)
            else:
                found = _swept(entry)
                swept[found.name] = found
        except ConfigError as error:
            problems.append(f"objectives.{number}: {error}")
    fixed[LIKELIEST] = _likeliest(len(classes))
    names = [*fixed, *swept]
    if config.serve_objective not in names and not problems:
        hint = nearest([config.serve_objective], names)
        problems.append(f"serve_objective: {config.serve_objective!r} is none of the objectives {names}.{hint}")
    if problems:
        raise ConfigError.of_all(problems)
    return Decisions(fixed=fixed, swept=swept, costs=None if COST_MATRIX not in fixed else _by_true(fixed[COST_MATRIX]))


def cost_matrix_from_config(entry: str | Mapping[str, Any], classes: Sequence[str]) -> CostMatrix:
    """The matrix of `{name: cost_matrix, costs: {TRUE: {PREDICTED: cost}}}`; a right answer costs 0 unless it is said.

    Raises:
        ConfigError: a class without its costs, an unknown class or setting, what is no number; all problems at once.
    """
    settings = {} if isinstance(entry, str) else dict(entry)
    costs = settings.get("costs")
    if set(settings) != {"name", "costs"} or not isinstance(costs, Mapping):
        raise ConfigError(
            f"cost_matrix takes name and costs, got {sorted(settings)}. Give costs as TRUE: {{PREDICTED: cost}}, such "
            f"as {classes[-1]}: {{{classes[0]}: 100}}."
        )
    by_true = {_text(true): row for true, row in costs.items()}
    problems = [f"cost_matrix: {name!r} is no class of {list(classes)}." for name in by_true if name not in classes]
    rows: dict[str, dict[str, Any]] = {}
    for true in classes:
        found = by_true.get(true, {})
        row = {_text(name): cost for name, cost in found.items()} if isinstance(found, Mapping) else {}
        problems += [
            f"cost_matrix.{true}: {name!r} is no class of {list(classes)}." for name in set(row) - set(classes)
        ]
        if missing := [name for name in classes if name != true and name not in row]:
            problems.append(f"cost_matrix.{true}: give what it costs to take a row of {true!r} for {missing}.")
        rows[true] = {true: 0.0, **row}
    if problems:
        raise ConfigError.of_all(problems)
    return CostMatrix(costs=tuple(tuple(rows[true][predicted] for true in classes) for predicted in classes))


def thresholds_for(objective: Objective, choose: Sequence[Curve], classes: Sequence[str]) -> ChosenClassThresholds:
    """The threshold of each class against all others; the largest class is what is left when none is reached.

    A threshold of its own for the largest class would take rows from the rare ones that they have reached.

    Args:
        choose: one curve a class, on rows to choose on.
    """
    chosen = sweep_classes(choose, objective)
    default = chosen.rule.default_class
    kept = [FLAG_NOBODY if k == default else value for k, value in enumerate(chosen.rule.thresholds)]
    return replace(chosen, rule=replace(chosen.rule, thresholds=tuple(kept)))


def rule_to_dict(rule: Rule) -> dict[str, Any]:
    """As JSON values; `rule_from_dict` reads them back."""
    if isinstance(rule, CostMatrix):
        return {"costs": [list(row) for row in rule.costs]}
    return {"thresholds": list(rule.thresholds), "default_class": rule.default_class}


def rule_from_dict(record: Mapping[str, Any]) -> Rule:
    """What `rule_to_dict` wrote."""
    if "costs" in record:
        return CostMatrix(costs=tuple(tuple(row) for row in record["costs"]))
    return ClassThresholds(thresholds=tuple(record["thresholds"]), default_class=record["default_class"])


def _swept(entry: str | Mapping[str, Any]) -> Objective:
    name = entry if isinstance(entry, str) else entry.get("name")
    if name not in OBJECTIVES:
        known = sorted([*OBJECTIVES, COST_MATRIX, LIKELIEST])
        raise ConfigError(f"objective {name!r} is unknown.{nearest([name], known)} Known: {known}.")
    objective = objective_from_config(entry)
    if isinstance(objective, BayesCost) or (isinstance(objective, MinCost) and isinstance(objective.fn, str)):
        raise ConfigError(f"{objective.name} is for two classes. Give the costs of all classes as cost_matrix.")
    if isinstance(objective, AlertBudget):
        raise ConfigError(f"{objective.name} counts alerts of one class. Choose by recall, precision or cost.")
    return objective


def _likeliest(classes: int) -> CostMatrix:
    return CostMatrix(costs=tuple(tuple(float(i != j) for j in range(classes)) for i in range(classes)))


def _by_true(matrix: CostMatrix) -> FloatArray:
    return np.array(matrix.costs, dtype=np.float64).T


def _text(name: object) -> str:
    return str(name).lower() if isinstance(name, bool) else str(name)
