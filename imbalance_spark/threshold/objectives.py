"""The objectives of a threshold: rates, costs and alert budgets, one class each."""

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import TYPE_CHECKING, Any

from imbalance_spark.core.errors import ConfigError, nearest
from imbalance_spark.threshold.budget_objectives import AlertBudget, TopEntities
from imbalance_spark.threshold.cost_objectives import BayesCost, MinCost
from imbalance_spark.threshold.objective import Objective
from imbalance_spark.threshold.rate_objectives import MaxFBeta, MaxKappa, MaxMCC, MaxPrecision, MaxRecall, Youden

if TYPE_CHECKING:
    pass


_KINDS = (MaxFBeta, MaxRecall, MaxPrecision, MinCost, BayesCost, AlertBudget, TopEntities, MaxMCC, MaxKappa, Youden)


OBJECTIVES: dict[str, type[Objective]] = {kind.key: kind for kind in _KINDS}
"""Every objective by its name in a config file."""


NOT_RETUNED = frozenset({"days", "single_threshold"})
"""Settings that retuning does not ask for: days follow from orders a day, and logged counts know thresholds alone."""


def objective_from_config(config: str | Mapping[str, Any]) -> Objective:
    """The objective of a config entry: `max_mcc`, or `{name: min_cost, fn: 10, fp: 1}`.

    Args:
        config: a name, or a mapping with `name` and the objective's settings.
    Returns:
        The objective, with the settings that were left out at their defaults.
    Raises:
        ConfigError: an unknown name or setting (with the nearest known one), a missing one, or a bad value.
    """
    settings = {"name": config} if isinstance(config, str) else dict(config)
    name = settings.pop("name", None)
    kind = OBJECTIVES.get(str(name))
    if kind is None:
        raise ConfigError(f"objective {name!r} is unknown.{nearest([name], OBJECTIVES)} Known: {sorted(OBJECTIVES)}.")
    known = {field.name: field.default is MISSING for field in fields(kind)}
    problems = []
    if unknown := sorted(map(str, set(settings) - set(known))):
        problems.append(f"{name} has no setting {unknown}.{nearest(unknown, known)} It has {sorted(known)}.")
    if missing := sorted(key for key, is_needed in known.items() if is_needed and key not in settings):
        problems.append(f"{name} needs {missing}. Add what is missing to the objective.")
    if problems:
        raise ConfigError.of_all(problems)
    return kind(**settings)
