"""Boosters of several classes, each fitted once and kept in the run."""

from collections.abc import Mapping
from dataclasses import dataclass

from pyspark.sql import DataFrame

from imbalance_spark.config.run import RunConfig
from imbalance_spark.core.run import Run
from imbalance_spark.multiclass.strategy import ClassRecipe, by_number, resolve_classes
from imbalance_spark.train_only.learners.xgboost import FittedBooster, fit_booster
from imbalance_spark.train_only.strategies.base import table_name, with_recipe_weight
from imbalance_spark.train_only.strategies.config import StrategyConfig
from imbalance_spark.train_only.strategies.fit import class_sums, kept_booster, strategy_table


@dataclass(frozen=True, kw_only=True)
class FittedClasses:
    """A strategy's recipe as it was resolved on the training rows, its booster, and the rows of each class it saw."""

    config: StrategyConfig
    recipe: ClassRecipe
    booster: FittedBooster
    fit_rows: Mapping[int, int]


def fit_classes(run: Run, train: DataFrame, strategy: StrategyConfig, config: RunConfig) -> FittedClasses:
    """Sample, weigh and fit one strategy; each part is read back if the run has it already.

    Passes: those of the sampler and one to write its table; one count of that table; those of the fit.
    """
    named, classes = by_number(strategy, config.orders.class_names), config.orders.class_names
    table = strategy_table(run, train, named, config)
    before, after = class_sums(run, "train", train), class_sums(run, table_name(named), table)
    rows = {label: int(sums["rows"]) for label, sums in before.items()}
    kept = {label: after[label]["rows"] / n if label in after else 0.0 for label, n in rows.items()}
    weights = {label: sums["weight"] for label, sums in before.items()} if config.orders.weight else None
    recipe = resolve_classes(named, rows, config.training, classes, kept, weights)
    booster = kept_booster(run, recipe.name, lambda: _fit(table, recipe, config))
    fit_rows = {label: int(sums["rows"]) for label, sums in after.items()}
    return FittedClasses(config=strategy, recipe=recipe, booster=booster, fit_rows=fit_rows)


def _fit(table: DataFrame, recipe: ClassRecipe, config: RunConfig) -> FittedBooster:
    return fit_booster(
        with_recipe_weight(table, recipe),
        features=config.orders.features,
        training=config.training,
        params=recipe.params,
        start=recipe.start,
        correction=recipe.ledger.correction(),
        strategy=recipe.name,
        weight_col=recipe.weight_column,
        loss=recipe.loss,
    )
