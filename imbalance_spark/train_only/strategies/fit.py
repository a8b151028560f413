"""Training tables and boosters of a run's strategies, each made once and kept in the run."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from hashlib import sha256
from statistics import geometric_mean
from typing import Any

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from imbalance_spark.core.class_counts import Label
from imbalance_spark.core.columns import IS_EARLY_STOPPING, SPLIT, TRAIN, col
from imbalance_spark.core.errors import PinDamagedError
from imbalance_spark.core.run import Run
from imbalance_spark.orders.model_inputs import LABEL, ROW_WEIGHT, feature_column
from imbalance_spark.scoring.boosters import as_float, sum_of_models
from imbalance_spark.split import early_stopping_slice
from imbalance_spark.split.rules import KnownCounts
from imbalance_spark.train_only.guard import only_train
from imbalance_spark.train_only.learners.layout import laid_out_for
from imbalance_spark.train_only.learners.xgboost import FittedBooster
from imbalance_spark.train_only.pool import bootstrapped
from imbalance_spark.train_only.sampling.neighbour_report import NeighbourReport
from imbalance_spark.train_only.strategies.base import Strategy, training_table
from imbalance_spark.train_only.strategies.recipe import FitTask, Recipe, kept_fractions
from imbalance_spark.train_only.strategies.side_by_side import fits_at_once, side_by_side

_MODEL_SHA256 = "model_sha256"
"""In the log of a fit: of the bytes that the learner gave."""
_CHECKPOINTS = "checkpoints"
"""Folder of fits that have not ended."""


@dataclass(frozen=True, kw_only=True)
class FittedStrategy:
    """A strategy's recipe as it was resolved on the training rows, and the booster it gave.

    `fit_rows` are those of each class; of an ensemble, of all members together.
    """

    strategy: Strategy
    recipe: Recipe
    booster: FittedBooster
    fit_rows: Mapping[int, int]
    neighbours: Mapping[str, Mapping[str, Any]]
    """For each class of which rows were made, by its label as text, its `NeighbourReport` and the sentence of it."""
    folds: tuple["FittedStrategy", ...] = ()
    """Of a cross-fit, the strategy as it was fitted without each fold."""
    repeats: tuple["FittedStrategy", ...] = ()
    """The strategy as it was fitted again on bootstraps of the training rows; see `training.repeats`."""

    @property
    def name(self) -> str:
        """The strategy's name in the config."""
        return self.strategy.name


def write_train_table(
    run: Run,
    inputs: DataFrame,
    task: FitTask,
    *,
    counts: Mapping[int, int] | None = None,
    is_bootstrap: bool = False,
) -> DataFrame:
    """The training rows with their early-stopping set, written once as one sorted file a worker.

    Passes: two to learn the early-stopping set, or one with the rows of each class known; and one to write.

    Args:
        inputs: rows of all folds, see `model_inputs`.
        counts: training rows of each class by number, of which a pool has fewer; where somebody has counted them.
        is_bootstrap: whether the rows to fit on are a bootstrap sample; see `bootstrapped`.
    """

    def build() -> DataFrame:
        train = only_train(inputs.where(col(SPLIT) == TRAIN), "train table")
        known = None if counts is None else KnownCounts(classes=dict(counts.items()))
        if task.pool is not None and not task.pool.is_all:
            train, known = task.pool.of(train, LABEL), None
        sliced = early_stopping_slice(
            train,
            key=task.orders.key,
            label=LABEL,
            fraction=task.split.early_stopping_fraction,
            seed=task.split.seed,
            known=known,
        )
        if is_bootstrap:
            sliced = bootstrapped(sliced, task.orders.key, task.orders.grouping, task.split.seed)
        return _laid_out(_to_learn_from(sliced, task), task)

    return run.table("train", build, observe=partial(_class_sums, classes=len(task.classes)))


def fit_strategy(
    run: Run, train: DataFrame, strategy: Strategy, task: FitTask, *, models: Run | None = None
) -> FittedStrategy:
    """Sample, weigh and fit one strategy; each part is read back if the run has it already.

    Passes: those of the sampler and one to write its table, of which the rows are counted on their way; those of the
    fit. An ensemble does so for each of its members, side by side where slots are free and no member waits for another.

    Args:
        models: the part of the run that keeps the booster, where others of the strategy are fitted on the same table;
            it keeps tables that were sampled by such boosters, too.
    """
    members = strategy.by_number(task.classes).fits()
    kept = models or run
    if strategy.is_sequential:
        fitted: list[FittedStrategy] = []
        for number, one in enumerate(members):
            earlier = [before.booster.model_bytes for before in fitted]
            fitted.append(_fit_one(run, train, one, task, kept, member=number, earlier=earlier))
    else:
        fits = [partial(_fit_in_session, run, train, one, task, kept, k) for k, one in enumerate(members)]
        fitted = side_by_side(run.spark, fits, _members_at_once(run, members, task))
    return replace(fitted[0] if len(fitted) == 1 else _combined(strategy, fitted), strategy=strategy)


def _combined_booster(members: Sequence[FittedBooster], factor: float) -> FittedBooster:
    """The booster whose margins are `factor` times the sum of the members'.

    Rounds are those of all, curves keep the member's number. The members have the same features and classes.
    """
    curves = {
        f"member_{number}/{part}": losses
        for number, member in enumerate(members)
        for part, losses in member.learning_curve.items()
    }
    return replace(
        members[0],
        model_bytes=sum_of_models([member.model_bytes for member in members], factor),
        best_iteration=sum(member.best_iteration + 1 for member in members) - 1,
        rounds_run=sum(member.rounds_run for member in members),
        learning_curve=curves,
    )


def _members_at_once(run: Run, members: Sequence[Strategy], task: FitTask) -> int:
    """As many as find slots, and have together no more rows than `train`: by these the executors' memory was judged."""
    if len(members) == 1:
        return 1
    observed = run.pin("train").observed
    counts: dict[Label, int] = {k: int(observed[f"rows_{k}"]) for k in range(len(task.classes))}
    held = sum(counts.values()) // max(1, sum(members[0].planned_rows(counts).values()))
    return fits_at_once(run.spark, task.training.num_workers, most=min(len(members), held))


def _fit_in_session(
    run: Run, train: DataFrame, strategy: Strategy, task: FitTask, models: Run, member: int, spark: SparkSession
) -> FittedStrategy:
    run, models = replace(run, spark=spark), replace(models, spark=spark)
    return _fit_one(run, train, strategy, task, models, member=member)


def _fit_one(
    run: Run,
    train: DataFrame,
    strategy: Strategy,
    task: FitTask,
    models: Run,
    *,
    member: int,
    earlier: Sequence[bytes] = (),
) -> FittedStrategy:
    # A sample by other models than these is another one.
    sampled = models if earlier else run
    table = _strategy_table(sampled, train, strategy, task, member, earlier)
    before = run.pin("train").observed
    after = before if strategy.table == "train" else sampled.pin(strategy.table).observed
    numbers = range(len(task.classes))
    rows, fit_rows = ({k: int(found[f"rows_{k}"]) for k in numbers} for found in (before, after))
    kept = kept_fractions(strategy.name, task.classes, rows, fit_rows)
    weights = {k: before[f"weight_{k}"] for k in numbers} if ROW_WEIGHT in train.columns else None
    if strategy.is_additive and earlier:
        weights = {k: after[f"weight_{k}"] / kept[k] for k in numbers}
    recipe = strategy.resolve(
        rows, task.training, kept, weights, classes=task.classes, pool_shares=task.pool_shares
    )  # fmt: skip
    resumable = replace(task, checkpoints=models.folder.below(_CHECKPOINTS))
    booster = _kept_booster(models, recipe.name, lambda: strategy.fit(table, recipe, resumable, fit_rows))
    step = _neighbours_step(strategy)
    neighbours = run.read_document(step) if run.is_done(step) else {}
    return FittedStrategy(strategy=strategy, recipe=recipe, booster=booster, fit_rows=fit_rows, neighbours=neighbours)


def _combined(strategy: Strategy, members: Sequence[FittedStrategy]) -> FittedStrategy:
    """The mean, or the sum, of the members' margins, as one booster and one correction."""
    first, shifts = members[0], [one.recipe.prior_shift for one in members]
    if strategy.is_additive:
        # The last one learnt what all others lack of the log-odds of its own sample.
        kept, factor = shifts[-1].kept_fractions, 1.0
    else:
        # The mean of the logarithms of factors is that of their geometric mean.
        kept = tuple(geometric_mean(fractions) for fractions in zip(*[s.kept_fractions for s in shifts], strict=True))
        factor = 1.0 / len(members)
    recipe = replace(first.recipe, name=strategy.name, prior_shift=replace(shifts[0], kept_fractions=kept))
    rows = {k: sum(one.fit_rows[k] for one in members) for k in first.fit_rows}
    booster = _combined_booster([one.booster for one in members], factor)
    return replace(first, recipe=recipe, booster=booster, fit_rows=rows)


def _strategy_table(
    run: Run, train: DataFrame, strategy: Strategy, task: FitTask, member: int, earlier: Sequence[bytes]
) -> DataFrame:
    """The rows that a strategy trains on: `train`, or a table of its own, written once."""
    if strategy.table == "train":
        return train

    def build() -> DataFrame:
        sampled = training_table(
            train, strategy, task.roles, task.split.seed, member=member, earlier=earlier,
            tell=lambda reports: _keep_neighbours(run, strategy, reports),
        )  # fmt: skip
        return _laid_out(sampled, task)

    return run.table(strategy.table, build, observe=partial(_class_sums, classes=len(task.classes)))


def _keep_neighbours(run: Run, strategy: Strategy, reports: Mapping[Label, NeighbourReport]) -> None:
    found = {str(label): {**asdict(report), "sentence": report.sentence} for label, report in reports.items()}
    run.record(_neighbours_step(strategy), found)


def _neighbours_step(strategy: Strategy) -> str:
    return f"neighbours_{strategy.name}"


def _class_sums(table: DataFrame, classes: int) -> dict[str, Column]:
    """`rows_0`, `weight_0` ...: of each class the rows to fit on, and the sum of their business weights."""
    weight = col(ROW_WEIGHT) if ROW_WEIGHT in table.columns else F.lit(1.0)
    sums: dict[str, Column] = {}
    for number in range(classes):
        is_counted = ~col(IS_EARLY_STOPPING) & (col(LABEL) == number)
        sums[f"rows_{number}"] = F.count_if(is_counted)
        sums[f"weight_{number}"] = F.sum(F.when(is_counted, weight).otherwise(0.0))
    return sums


def _kept_booster(run: Run, name: str, fit: Callable[[], FittedBooster]) -> FittedBooster:
    """The booster of a recipe's name, fitted once and kept in the run."""
    file = f"models/{name}.ubj"

    def fit_and_write() -> Any:
        booster = fit()
        run.folder.write_bytes(file, booster.model_bytes)
        fields = {field: value for field, value in asdict(booster).items() if field != "model_bytes"}
        return {**fields, _MODEL_SHA256: sha256(booster.model_bytes).hexdigest()}

    record = run.document(f"fit_{name}", fit_and_write)
    model_bytes = run.folder.read_bytes(file)
    # Runs of earlier versions noted no hash.
    if record.pop(_MODEL_SHA256, (found := sha256(model_bytes).hexdigest())) != found:
        raise PinDamagedError(
            f"run {run.run_id!r}: {file} is not the model that was fitted (sha256 {found}). Start a new run_id."
        )
    run.folder.below(_CHECKPOINTS).delete(name)
    return FittedBooster.from_record(record, model_bytes)


def _to_learn_from(rows: DataFrame, task: FitTask) -> DataFrame:
    # Half the bytes to write once and to read in each fit.
    inputs = [feature_column(i) for i in range(len(task.orders.features))]
    weight = [ROW_WEIGHT] if ROW_WEIGHT in rows.columns else []
    others = [col(name) for name in (*task.orders.key, SPLIT, LABEL, *weight, IS_EARLY_STOPPING)]
    return rows.select(*others, *as_float(inputs))


def _laid_out(rows: DataFrame, task: FitTask) -> DataFrame:
    return laid_out_for(rows, key=task.orders.key, num_workers=task.training.num_workers, seed=task.training.seed)
