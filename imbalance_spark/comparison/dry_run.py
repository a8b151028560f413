"""What a run would do, from counts: rows of each fold and class, rows each strategy fits on, tables, passes."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pyspark.sql import SparkSession

from imbalance_spark.comparison.compare import asked_decisions, check_to_compare, require_classes_in_folds
from imbalance_spark.comparison.cross_fit import Evaluation, evaluation_of, searched_fits
from imbalance_spark.comparison.planned_work import passes_over_inputs, passes_over_orders, shuffled_bytes
from imbalance_spark.comparison.prepare import (
    CLASS_NUMBER,
    INPUTS,
    INSPECT_STAGES,
    InspectedOrders,
    inspect_orders,
    judges_train,
    pool_of,
    trained_counts,
)
from imbalance_spark.comparison.search import check_packages, planned_rows
from imbalance_spark.comparison.source import identity_of, require_source, run_id_of
from imbalance_spark.config.run import RunConfig
from imbalance_spark.core.class_counts import Label, count_classes
from imbalance_spark.core.columns import IS_EARLY_STOPPING, SPLIT, TEST, TRAIN, VALIDATION, col
from imbalance_spark.core.progress import Progress
from imbalance_spark.split import early_stopping_slice
from imbalance_spark.train_only.pool import TrainingPool
from imbalance_spark.train_only.strategies import Strategy
from imbalance_spark.train_only.strategies.base import Precision, planned_fits
from imbalance_spark.train_only.strategies.recipe import TWO_CLASSES

STAGES = ("cluster", *INSPECT_STAGES, "training rows")
"""Those that `plan_run` announces."""


@dataclass(frozen=True, kw_only=True)
class PlannedStrategy:
    """What a strategy, or each member of an ensemble, would fit on.

    Args:
        table: the training table that it reads.
        rows: rows per class to fit on, after its sampling, without the early-stopping slice.
        passes: over that table; a sampler's own over `train` come on top.
    """

    name: str
    kind: str
    table: str
    rows: Mapping[Label, int]
    precision: Precision
    passes: int


@dataclass(frozen=True, kw_only=True)
class RunPlan:
    """A run that was not started.

    Args:
        evaluation: how strategies are judged, and what that costs; rows and tables of the fits without a fold are not
            listed.
        pool: the training rows that memory holds.
        fit_rows: rows per class that are fitted on, before any sampling: of train, of a cross-fit of validation, too.
        stopping_rows: rows among them that early stopping looks at.
        searched_fits: fits of the trials of a search, whose tables are of a part of the rows.
        repeats: fits of each strategy on all rows; those after the first have tables of their own, bootstraps of these.
        tables: rows of each table that would be written, by name.
        passes: over the orders, by stage; see `passes_over_orders`.
        input_passes: over the stored inputs, likewise; see `passes_over_inputs`.
        shuffled_bytes: that tasks write for others, by stage; see `shuffled_bytes`.
    """

    run_id: str
    location: str
    inspected: InspectedOrders
    evaluation: Evaluation
    cost: str
    pool: TrainingPool
    fit_rows: Mapping[Label, int]
    stopping_rows: int
    searched_fits: int
    repeats: int
    strategies: tuple[PlannedStrategy, ...]
    tables: Mapping[str, int]
    passes: Mapping[str, int]
    input_passes: Mapping[str, int]
    shuffled_bytes: Mapping[str, int]

    @property
    def fits(self) -> int:
        """Fits in all, those of an ensemble's members, of folds, of repeats and of trials included."""
        return (self.evaluation.fits + self.repeats - 1) * len(self.strategies) + self.searched_fits

    def lines(self) -> Iterator[str]:
        """The plan for a terminal."""
        report, source = self.inspected.report, self.inspected.source
        yield f"Orders: {source.description}; {report.rows:,} rows, {report.quarantined:,} break a rule."
        yield from (f"  {rule}: {rows:,} rows" for rule, rows in report.by_rule.items() if rows)
        yield report.label.sentence
        yield ""
        yield from self.inspected.diagnosis.lines()
        yield ""
        names = report.label.classes
        titles = "".join(f"{f'class {k}' if len(names) == 2 else name[:14]:>16}" for k, name in enumerate(names))
        yield f"{'strategy':<20}{'fits on table':<28}{titles}  passes over it"
        for planned in self.strategies:
            rows = "".join(f"{planned.rows[k]:>16,}" for k in range(len(names)))
            yield f"{planned.name:<20}{planned.table:<28}{rows}  {planned.passes} ({planned.precision})"
        yield f"Fits read {self.pool.sentence(names)}."
        yield f"Each table has {self.stopping_rows:,} more rows, for early stopping."
        yield f"Evaluation by {self.cost}."
        if self.evaluation.is_cross_fit:
            yield f"Each table is written once more without each of the {self.evaluation.folds} folds."
        yield f"Fits: {self.fits:,}" + (f", each strategy {self.repeats} times." if self.repeats > 1 else ".")
        yield f"Tables below {self.location}:"
        yield from (f"  {name}: {rows:,} rows" for name, rows in self.tables.items())
        for over, passes in (("the orders", self.passes), ("the stored inputs", self.input_passes)):
            stages = ", ".join(f"{stage} {n}" for stage, n in passes.items() if n)
            yield f"Passes over {over}: {sum(passes.values())} ({stages})."
        travelling = ", ".join(f"{stage} {_megabytes(n)}" for stage, n in self.shuffled_bytes.items() if n)
        yield f"Bytes shuffled: about {_megabytes(sum(self.shuffled_bytes.values()))} MB ({travelling})."
        yield "Dry run: nothing was fitted or written."

    def to_dict(self) -> dict[str, Any]:
        """The plan as JSON values."""
        source = self.inspected.source
        return {
            "run_id": self.run_id,
            "orders": {"location": source.location, "format": source.format, "version": source.version},
            "validation": self.inspected.report.to_dict(),
            "diagnosis": self.inspected.diagnosis.to_dict(),
            "evaluation": asdict(self.evaluation) | {"fits_per_strategy": self.evaluation.fits, "cost": self.cost},
            "pool": self.pool.to_dict(),
            "fit_rows": dict(self.fit_rows),
            "stopping_rows": self.stopping_rows,
            "fits": self.fits,
            "searched_fits": self.searched_fits,
            "strategies": [asdict(planned) for planned in self.strategies],
            "tables": {"location": self.location, "rows": dict(self.tables)},
            "passes": dict(self.passes),
            "input_passes": dict(self.input_passes),
            "shuffled_bytes": dict(self.shuffled_bytes),
        }


def plan_run(spark: SparkSession, config: RunConfig, progress: Progress) -> RunPlan:
    """Look at the orders as the run would, and count what it would make of them; nothing is written.

    Split and early-stopping slice are learnt, not estimated: their counts are those of the run.

    Passes: those of `inspect_orders`, two to learn the slice, one to count it.

    Raises:
        ConfigError: the cluster has too few slots, or a strategy's sampling does not fit the classes, all of
            them at once.
        DataContractError: as the run.
    """
    with progress.step("cluster"):
        require_source(config)
        check_packages(config)
        free_bytes = check_to_compare(spark, config)
    inspected = inspect_orders(spark, config, progress=progress)
    by_split = inspected.diagnosis.by_split
    evaluation = evaluation_of(config, by_split)
    halves_validation = bool(asked_decisions(config).swept) and not evaluation.is_cross_fit
    require_classes_in_folds(by_split, inspected.report.label.classes, halves_validation=halves_validation)
    pool = pool_of(by_split, evaluation, config, free_bytes)
    with progress.step("training rows") as step:
        fit_rows = _fit_rows(inspected, evaluation, pool, config)
        step.says(" + ".join(f"{rows:,} of class {label}" for label, rows in fit_rows.items()))
    trained = trained_counts(by_split, evaluation)
    train_rows = sum(pool.rows(trained).values())
    stopping_rows = train_rows - sum(fit_rows.values())
    strategies = _planned_strategies(config, fit_rows)
    run_id = run_id_of(config, identity_of(spark, inspected.source, config))
    own = {planned.table: sum(planned.rows.values()) + stopping_rows for planned in strategies}
    copied = {"orders": inspected.report.rows} if inspected.source.version is None else {}
    judging = sum(trained.values()) if evaluation.is_cross_fit else sum(by_split[VALIDATION].values())
    scored = {"margins": judging + sum(by_split[TEST].values())} if config.orders.classes else {}
    tables = {
        **copied,
        "quarantined": inspected.report.quarantined,
        INPUTS: _stored_rows(inspected, evaluation, pool, config),
        **_searched_tables(config, trained, pool),
        **own,
        "train": train_rows,
        **scored,
    }
    return RunPlan(
        run_id=run_id,
        location=f"{config.output}/{run_id}/tables",
        inspected=inspected,
        evaluation=evaluation,
        cost=evaluation.cost(config),
        pool=pool,
        fit_rows=fit_rows,
        stopping_rows=stopping_rows,
        searched_fits=searched_fits(config),
        repeats=config.training.repeats,
        strategies=strategies,
        tables=tables,
        passes=passes_over_orders(inspected, config),
        input_passes=passes_over_inputs(inspected, evaluation, pool, config),
        shuffled_bytes=shuffled_bytes(inspected, evaluation, tables, config),
    )


def _fit_rows(
    inspected: InspectedOrders, evaluation: Evaluation, pool: TrainingPool, config: RunConfig
) -> dict[Label, int]:
    split = inspected.plan.assign(inspected.valid)
    folds = (TRAIN, VALIDATION) if evaluation.is_cross_fit else (TRAIN,)
    train = pool.of(split.where(col(SPLIT).isin(*folds)), CLASS_NUMBER)
    sliced = early_stopping_slice(
        train,
        key=config.orders.key,
        label=CLASS_NUMBER,
        fraction=config.split.early_stopping_fraction,
        seed=config.split.seed,
    )
    return count_classes(sliced.where(~col(IS_EARLY_STOPPING)), CLASS_NUMBER, "dry run")


def _stored_rows(inspected: InspectedOrders, evaluation: Evaluation, pool: TrainingPool, config: RunConfig) -> int:
    valid = inspected.report.rows - inspected.report.quarantined
    if judges_train(evaluation, config):
        return valid
    trained = trained_counts(inspected.diagnosis.by_split, evaluation)
    return valid - sum(trained.values()) + sum(pool.rows(trained).values())


def _planned_strategies(config: RunConfig, fit_rows: Mapping[Label, int]) -> tuple[PlannedStrategy, ...]:
    planned = planned_fits(config.compared, config.orders.class_names or TWO_CLASSES, fit_rows)
    return tuple(_planned(strategy, rows, config) for strategy, rows in planned)


def _planned(strategy: Strategy, rows: Mapping[Label, int], config: RunConfig) -> PlannedStrategy:
    return PlannedStrategy(
        name=strategy.name,
        kind=strategy.kind,
        table=strategy.table,
        rows=rows,
        precision=strategy.precision,
        passes=strategy.passes(len(config.orders.features), config.training.engine),
    )


def _searched_tables(config: RunConfig, trained: Mapping[int, int], pool: TrainingPool) -> dict[str, int]:
    """About the rows of each table that trials are fitted on, but those of strategies that sample."""
    rows = planned_rows(config, trained, pool)
    return {f"search/rows_{rung}/train": sum(found.values()) for rung, found in rows.items()}


def _megabytes(count: int) -> str:
    return f"{count / 1e6:.1f}"
