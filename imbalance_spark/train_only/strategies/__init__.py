"""Strategies against the imbalance: one class a kind, and how each is fitted."""

from imbalance_spark.train_only.strategies.base import Strategy
from imbalance_spark.train_only.strategies.kinds import AnyStrategy, strategies_of, strategy_from_config
from imbalance_spark.train_only.strategies.recipe import PriorShift, Recipe, Roles

__all__ = [
    "AnyStrategy",
    "PriorShift",
    "Recipe",
    "Roles",
    "Strategy",
    "strategies_of",
    "strategy_from_config",
]
