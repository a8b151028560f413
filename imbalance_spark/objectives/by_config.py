"""Objectives from their names and settings in a config file."""

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any

from imbalance_spark.errors import ConfigError, nearest
from imbalance_spark.objectives.alerts import AlertBudget
from imbalance_spark.objectives.base import Objective
from imbalance_spark.objectives.costs import BayesCost, MinCost
from imbalance_spark.objectives.rates import MaxFBeta, MaxKappa, MaxMCC, MaxPrecision, MaxRecall, Youden

_KINDS = (MaxFBeta, MaxRecall, MaxPrecision, MinCost, BayesCost, AlertBudget, MaxMCC, MaxKappa, Youden)

OBJECTIVES: dict[str, type[Objective]] = {kind.key: kind for kind in _KINDS}
"""Every objective by its name in a config file."""


def objective_from_config(config: str | Mapping[str, Any]) -> Objective:
    """The objective of a config entry: `max_mcc`, or `{name: min_cost, fn: 10, fp: 1}`.

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
