"""What a config asks to decide by: rules that need no data, and objectives that thresholds are chosen for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from imbalance_spark.core.errors import ConfigError, nearest
from imbalance_spark.threshold.budget_objectives import AlertBudget, TopEntities
from imbalance_spark.threshold.class_rules import CostMatrix
from imbalance_spark.threshold.cost_objectives import BayesCost, MinCost, first_constant_costs
from imbalance_spark.threshold.objective import Objective
from imbalance_spark.threshold.objectives import OBJECTIVES, objective_from_config
from imbalance_spark.threshold.order_costs import OrderCosts

COST_MATRIX, ARGMAX = "cost_matrix", "argmax"
"""Names of the rules that need no data: the cheapest class, and the most probable one."""


_ARGMAX_BEFORE = "likeliest"  # what configs called it until now


@dataclass(frozen=True, kw_only=True)
class Decisions:
    """What the config's objectives ask for, by name.

    Args:
        fixed: rules that no data decides. Of K classes the cost matrix, and always `argmax`; of two classes none.
        swept: objectives that thresholds are chosen for.
        serve_objective: name of the rule that decides.
        costs: by true class, then decided class, what a row costs: of K classes the cost matrix, of two the constant
            costs of the serving objective, else of the first one that has any. None where none are given.
    """

    fixed: Mapping[str, CostMatrix]
    swept: Mapping[str, Objective]
    serve_objective: str
    costs: tuple[tuple[float, ...], ...] | None

    @property
    def names(self) -> tuple[str, ...]:
        """Of all rules."""
        return (*self.fixed, *self.swept)

    @property
    def cost_objective(self) -> MinCost | BayesCost:
        """What errors cost, of two classes: the serving objective where it is a cost, else the first one that is.

        Without any, each error costs 1.
        """
        serving = self.swept.get(self.serve_objective)
        losses = [one for one in (serving, *self.swept.values()) if isinstance(one, MinCost | BayesCost)]
        return next(iter(losses), MinCost(fn=1.0, fp=1.0))

    @property
    def alerts_per_day(self) -> float | None:
        """How many alerts a day can be reviewed, by the serving objective or the first one that says it; else None."""
        serving = [self.swept[self.serve_objective]] if self.serve_objective in self.swept else []
        asked = (*serving, *self.swept.values())
        budgets = [one for one in asked if isinstance(one, AlertBudget) and not isinstance(one, TopEntities)]
        return budgets[0].per_day if budgets else None

    @property
    def needs_days(self) -> bool:
        """Whether an objective counts alerts a day and was not given the days."""
        return any(isinstance(objective, AlertBudget) and objective.days is None for objective in self.swept.values())

    @property
    def entities_per_day(self) -> dict[str, TopEntities]:
        """The objectives that count entities and do not know yet how many orders those have, by name."""
        budgets = {name: asked for name, asked in self.swept.items() if isinstance(asked, TopEntities)}
        return {name: asked for name, asked in budgets.items() if asked.orders_per_entity is None}

    def with_orders_per_entity(self, found: Mapping[str, float]) -> Self:
        """The same for a strategy whose flagged entities have so many flagged orders, by name of the objective."""
        swept = {
            name: replace(asked, orders_per_entity=found[name])
            if isinstance(asked, TopEntities) and name in found
            else asked
            for name, asked in self.swept.items()
        }
        return replace(self, swept=swept)

    @property
    def by_order(self) -> dict[str, OrderCosts]:
        """Costs that decide two classes order by order, by name of the rule."""
        return {name: asked.by_order for name, asked in self.swept.items() if asked.by_order is not None}

    def with_days(self, days: float) -> Self:
        """The same for counts that cover `days` days."""
        return replace(self, swept={name: objective.with_days(days) for name, objective in self.swept.items()})


def decisions_of(
    objectives: Sequence[str | Mapping[str, Any]],
    serve_objective: str,
    classes: Sequence[str] = (),
    *,
    has_time: bool = True,
    has_amount: bool = True,
    has_entity: bool = True,
    stops_by_cost: bool = False,
) -> Decisions:
    """The decisions that a config asks for, checked before Spark starts.

    Args:
        objectives: entries of the config: a name, or a mapping with `name` and settings.
        serve_objective: name of the rule that decides.
        classes: names of three classes or more; empty for two classes.
        has_time: whether the orders have a time column, which alerts a day need.
        has_amount: whether the orders have an amount, which costs may depend on.
        has_entity: whether the config names what is followed up as a whole, which `top_entities` needs.
        stops_by_cost: whether boosting stops by the expected cost, which needs constant costs.

    Raises:
        ConfigError: an objective is wrong, two have one name, or `serve_objective` names none of them; all problems at
            once.
    """
    rules, problems = _rules(objectives, classes)
    fixed = {name: rule for name, rule in rules.items() if isinstance(rule, CostMatrix)}
    swept = {name: rule for name, rule in rules.items() if isinstance(rule, Objective)}
    if len(classes) > 2:
        fixed[ARGMAX] = CostMatrix.argmax(len(classes))
    served, names = _name_of(serve_objective), [*fixed, *swept]
    if served not in names and not problems:
        problems.append(
            f"serve_objective: {serve_objective!r} is none of the objectives {names}.{nearest([served], names)}"
        )
    costs = _costs(fixed, sorted(swept.values(), key=lambda objective: objective.name != served))
    decisions = Decisions(fixed=fixed, swept=swept, serve_objective=served, costs=costs)
    if decisions.needs_days and not has_time:
        problems.append("objectives: alert_budget counts alerts a day. Name orders.time, or give its days.")
    if not has_amount and (reading := [name for name, asked in swept.items() if asked.reads_amount]):
        problems.append(f"objectives: {reading} read the order's amount. Name its column as orders.amount.")
    if decisions.entities_per_day and not has_entity:
        problems.append("objectives: top_entities counts entities, such as cards. Name their column: scoring.entity.")
    if stops_by_cost and costs is None:
        wanted = COST_MATRIX if classes else "min_cost or bayes_cost with numbers for fn and fp"
        problems.append(
            f"training.early_stopping_metric: expected_cost needs an objective {wanted}. Add one, or stop by log_loss."
        )
    if problems:
        raise ConfigError.of_all(problems)
    return decisions


def cost_matrix_from_config(entry: str | Mapping[str, Any], classes: Sequence[str]) -> CostMatrix:
    """The matrix of `{name: cost_matrix, costs: {TRUE: {PREDICTED: cost}}}`; a right answer costs 0 unless it is given.

    Raises:
        ConfigError: a class without its costs, an unknown class or setting, a cost that is not numeric; all at once.
    """
    settings = {} if isinstance(entry, str) else dict(entry)
    costs = settings.get("costs")
    if set(settings) != {"name", "costs"} or not isinstance(costs, Mapping):
        raise ConfigError(
            f"cost_matrix takes name and costs, got {sorted(settings)}. Give costs as TRUE: {{PREDICTED: cost}}, such "
            f"as {classes[-1]}: {{{classes[0]}: 100}}."
        )
    by_true = {_text(true): row for true, row in costs.items()}
    problems = [f"cost_matrix: {name!r} is not in {list(classes)}." for name in by_true if name not in classes]
    rows: dict[str, dict[str, Any]] = {}
    for true in classes:
        found = by_true.get(true, {})
        row = {_text(name): cost for name, cost in found.items()} if isinstance(found, Mapping) else {}
        problems += [f"cost_matrix.{true}: {name!r} is not in {list(classes)}." for name in set(row) - set(classes)]
        if missing := [name for name in classes if name != true and name not in row]:
            problems.append(f"cost_matrix.{true}: give what it costs to take a row of {true!r} for {missing}.")
        rows[true] = {true: 0.0, **row}
    if problems:
        raise ConfigError.of_all(problems)
    return CostMatrix(costs=tuple(tuple(rows[true][predicted] for true in classes) for predicted in classes))


def _rules(
    objectives: Sequence[str | Mapping[str, Any]], classes: Sequence[str]
) -> tuple[dict[str, CostMatrix | Objective], list[str]]:
    """What each entry of the config asks for, by name, and what is wrong with the others."""
    rules: dict[str, CostMatrix | Objective] = {}
    numbers: dict[str, int] = {}
    problems: list[str] = []
    for number, entry in enumerate(objectives):
        try:
            name, rule = _named_rule(entry, classes)
        except ConfigError as error:
            problems.append(f"objectives.{number}: {error}")
            continue
        first = numbers.setdefault(name, number)
        if first != number:
            problems.append(
                f"objectives.{number}: {entry!r} is called {name}, as is objectives.{first}: {objectives[first]!r}. "
                "Metrics are logged by that name, so one would replace the other. Leave one of them out."
            )
        rules[name] = rule
    return rules, problems


def _named_rule(entry: str | Mapping[str, Any], classes: Sequence[str]) -> tuple[str, CostMatrix | Objective]:
    if len(classes) > 2:
        name = entry if isinstance(entry, str) else entry.get("name")
        if name == COST_MATRIX:
            return COST_MATRIX, cost_matrix_from_config(entry, classes)
        if _name_of(name) == ARGMAX:
            return ARGMAX, CostMatrix.argmax(len(classes))
        objective = _class_objective(entry, name)
    else:
        objective = objective_from_config(entry)
    return objective.name, objective


def _class_objective(entry: str | Mapping[str, Any], name: object) -> Objective:
    if name not in OBJECTIVES:
        known = sorted([*OBJECTIVES, COST_MATRIX, ARGMAX])
        raise ConfigError(f"objective {name!r} is unknown.{nearest([name], known)} Known: {known}.")
    objective = objective_from_config(entry)
    if isinstance(objective, BayesCost):
        raise ConfigError(f"{objective.name} is for two classes. Give the costs of all classes as cost_matrix.")
    if isinstance(objective, AlertBudget):
        raise ConfigError(f"{objective.name} counts alerts of one class. Choose by recall, precision or cost.")
    return objective


def _costs(fixed: Mapping[str, CostMatrix], swept: Sequence[Objective]) -> tuple[tuple[float, ...], ...] | None:
    if fixed:
        return fixed[COST_MATRIX].by_true if COST_MATRIX in fixed else None
    constant = first_constant_costs(swept)
    return None if constant is None else ((0.0, constant[1]), (constant[0], 0.0))


def _name_of(objective: Any) -> Any:
    return ARGMAX if objective == _ARGMAX_BEFORE else objective


def _text(name: object) -> str:
    return str(name).lower() if isinstance(name, bool) else str(name)
