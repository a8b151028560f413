"""Training tables and boosters of a run's strategies, each made once and kept."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import geometric_mean
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from imbalance_spark.comparison.prepare import PreparedOrders
from imbalance_spark.config.run import RunConfig
from imbalance_spark.core.class_counts import Label
from imbalance_spark.core.columns import IS_EARLY_STOPPING, SPLIT, TRAIN, col
from imbalance_spark.core.run import Run
from imbalance_spark.orders.model_inputs import LABEL, ROW_WEIGHT, feature_column
from imbalance_spark.scoring.boosters import average_boosters
from imbalance_spark.split import early_stopping_slice
from imbalance_spark.threshold.objectives import first_constant_costs, objective_from_config
from imbalance_spark.train_only.guard import only_train
from imbalance_spark.train_only.learners.isolation_forest import fit_isolation_forest
from imbalance_spark.train_only.learners.layout import laid_out_for
from imbalance_spark.train_only.learners.logistic import fit_logistic
from imbalance_spark.train_only.learners.xgboost import FittedBooster, fit_booster
from imbalance_spark.train_only.sampling.neighbour_report import NeighbourReport
from imbalance_spark.train_only.strategies.base import (
    Recipe,
    kept_shares,
    members_of,
    resolve,
    table_name,
    training_table,
    with_recipe_weight,
)
from imbalance_spark.train_only.strategies.config import SYNTHETIC_KINDS, StrategyConfig


def average_fitted(members: Sequence[FittedBooster]) -> FittedBooster:
    """The booster whose margin is the mean of the members'; rounds are those of all, curves keep the member's number.

    The members have the same features.
    """
    curves = {
        f"member_{number}/{part}": losses
        for number, member in enumerate(members)
        for part, losses in member.learning_curve.items()
    }
    return replace(
        members[0],
        model_bytes=average_boosters([member.model_bytes for member in members]),
        best_iteration=sum(member.best_iteration + 1 for member in members) - 1,
        rounds_run=sum(member.rounds_run for member in members),
        learning_curve=curves,
    )


@dataclass(frozen=True, kw_only=True)
class FittedStrategy:
    """A strategy's recipe as it was resolved on the training rows, and the booster it gave.

    `fit_rows` are those of each class; of an ensemble, of all members together.
    """

    config: StrategyConfig
    recipe: Recipe
    booster: FittedBooster
    fit_rows: Mapping[int, int]
    neighbours: Mapping[str, Mapping[str, Any]]
    """For each class of which rows were made, by its label as text, its `NeighbourReport` and the sentence of it."""


def write_train_table(prepared: PreparedOrders, config: RunConfig) -> DataFrame:
    """The training rows with their early-stopping slice, written once as one sorted file a worker."""

    def build() -> DataFrame:
        train = only_train(prepared.inputs.where(col(SPLIT) == TRAIN), "train table")
        sliced = early_stopping_slice(
            train,
            key=config.orders.key,
            label=LABEL,
            fraction=config.split.early_stopping_fraction,
            seed=config.split.seed,
        )
        return _laid_out(_to_learn_from(sliced, config), config)

    return prepared.run.table("train", build)


def fit_strategy(run: Run, train: DataFrame, strategy: StrategyConfig, config: RunConfig) -> FittedStrategy:
    """Sample, weigh and fit one strategy; each part is read back if the run has it already.

    Passes: those of the sampler and one to write its table; one count of that table; those of the fit. An
    ensemble does so for each of its members.
    """
    if strategy.kind != "undersample_ensemble":
        return _fit_one(run, train, strategy, config)
    members = enumerate(members_of(strategy))
    return _averaged(strategy, [_fit_one(run, train, one, config, member) for member, one in members])


def _fit_one(
    run: Run, train: DataFrame, strategy: StrategyConfig, config: RunConfig, member: int = 0
) -> FittedStrategy:
    table = strategy_table(run, train, strategy, config, member)
    before, after = class_sums(run, "train", train), class_sums(run, table_name(strategy), table)
    kept = kept_shares(strategy, *[{label: sums["rows"] for label, sums in found.items()} for found in (before, after)])
    rows = {label: int(sums["rows"]) for label, sums in before.items()}
    weights = {label: sums["weight"] for label, sums in before.items()} if config.orders.weight else None
    recipe = resolve(strategy, rows, config.training, kept, weights)
    fit_rows = {label: int(sums["rows"]) for label, sums in after.items()}
    booster = kept_booster(run, recipe.name, lambda: _fit(table, strategy, recipe, fit_rows, config))
    neighbours = run.read_document(_neighbours_step(strategy)) if strategy.kind in SYNTHETIC_KINDS else {}
    return FittedStrategy(config=strategy, recipe=recipe, booster=booster, fit_rows=fit_rows, neighbours=neighbours)


def _averaged(strategy: StrategyConfig, members: Sequence[FittedStrategy]) -> FittedStrategy:
    """The mean of the members' corrected margins, as one booster and one correction."""
    recipes, boosters = [one.recipe for one in members], [one.booster for one in members]
    # The mean of the logit shifts is the shift of the geometric means.
    kept = {label: geometric_mean([recipe.ledger.kept[label] for recipe in recipes]) for label in (0, 1)}
    recipe = replace(recipes[0], name=strategy.name, ledger=replace(recipes[0].ledger, kept=kept))
    rows = {label: sum(one.fit_rows[label] for one in members) for label in (0, 1)}
    return FittedStrategy(
        config=strategy, recipe=recipe, booster=average_fitted(boosters), fit_rows=rows, neighbours={}
    )


def strategy_table(
    run: Run, train: DataFrame, strategy: StrategyConfig, config: RunConfig, member: int = 0
) -> DataFrame:
    """The rows that a strategy trains on: `train`, or a table of its own, written once."""
    name = table_name(strategy)
    if name == "train":
        return train

    def build() -> DataFrame:
        names = [feature_column(i) for i in range(len(config.orders.features))]
        numbers = len(config.orders.numeric)
        sampled = training_table(
            train, strategy, key=config.orders.key, seed=config.split.seed, numeric=names[:numbers],
            categorical=names[numbers:], member=member, tell=lambda reports: _keep_neighbours(run, strategy, reports),
        )  # fmt: skip
        return _laid_out(sampled, config)

    return run.table(name, build)


def _keep_neighbours(run: Run, strategy: StrategyConfig, reports: Mapping[Label, NeighbourReport]) -> None:
    found = {str(label): {**asdict(report), "sentence": report.sentence} for label, report in reports.items()}
    run.record(_neighbours_step(strategy), found)


def _neighbours_step(strategy: StrategyConfig) -> str:
    return f"neighbours_{strategy.name}"


def class_sums(run: Run, name: str, table: DataFrame) -> Mapping[int, Mapping[str, float]]:
    """`rows` and business `weight` per class of the rows to fit on; one pass, kept in the ledger."""

    def summed() -> Any:
        weight = col(ROW_WEIGHT) if ROW_WEIGHT in table.columns else F.lit(1.0)
        to_fit = table.where(~col(IS_EARLY_STOPPING)).groupBy(LABEL)
        found = to_fit.agg(F.count(F.lit(1)).alias("rows"), F.sum(weight).alias("weight")).collect()
        return {str(row[LABEL]): {"rows": row["rows"], "weight": row["weight"]} for row in found}

    return {int(label): sums for label, sums in run.document(f"{name}_sums", summed).items()}


def kept_booster(run: Run, name: str, fit: Callable[[], FittedBooster]) -> FittedBooster:
    """The booster of a recipe's name, fitted once and kept in the run."""
    file = f"models/{name}.ubj"

    def fit_and_write() -> Any:
        booster = fit()
        run.folder.write_bytes(file, booster.model_bytes)
        return {field: value for field, value in asdict(booster).items() if field != "model_bytes"}

    record = run.document(f"fit_{name}", fit_and_write)
    return FittedBooster.from_record(record, run.folder.read_bytes(file))


def _fit(
    table: DataFrame, strategy: StrategyConfig, recipe: Recipe, fit_rows: Mapping[int, int], config: RunConfig
) -> FittedBooster:
    if strategy.kind == "isolation_forest":
        return fit_isolation_forest(
            table,
            features=config.orders.features,
            key=config.orders.key,
            trees=strategy.trees,
            honest_rows=fit_rows[0],
            prior=math.exp(recipe.start[1]),
            seed=config.training.seed,
        )
    if strategy.kind == "logistic_class_weight":
        return fit_logistic(
            with_recipe_weight(table, recipe),
            features=config.orders.features,
            numeric=len(config.orders.numeric),
            classes=2,
            weight_col=recipe.weight_column,
            reg_param=strategy.reg_param,
            max_iter=strategy.max_iter,
            strategy=recipe.name,
        )
    return fit_booster(
        with_recipe_weight(table, recipe),
        features=config.orders.features,
        training=config.training,
        params=recipe.params,
        weight_col=recipe.weight_column,
        scale_pos_weight=recipe.scale_pos_weight,
        start=recipe.start,
        correction=recipe.ledger.correction(),
        loss=recipe.loss,
        costs=_stopping_costs(config),
        strategy=recipe.name,
    )


def _stopping_costs(config: RunConfig) -> tuple[float, float] | None:
    if config.training.early_stopping_metric != "expected_cost":
        return None
    return first_constant_costs([objective_from_config(entry) for entry in config.objectives])


def _to_learn_from(rows: DataFrame, config: RunConfig) -> DataFrame:
    # XGBoost reads float32: half the bytes to write once and to read in each fit.
    inputs = [feature_column(i) for i in range(len(config.orders.features))]
    weight = [ROW_WEIGHT] if config.orders.weight is not None else []
    others = [col(name) for name in (*config.orders.key, SPLIT, LABEL, *weight, IS_EARLY_STOPPING)]
    return rows.select(*others, *[col(name).cast("float").alias(name) for name in inputs])


def _laid_out(rows: DataFrame, config: RunConfig) -> DataFrame:
    training = config.training
    return laid_out_for(rows, key=config.orders.key, num_workers=training.num_workers, seed=training.seed)
