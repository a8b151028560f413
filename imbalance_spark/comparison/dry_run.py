"""What a run would do, from counts: rows a fold and class, rows each strategy fits on, tables, passes."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from math import ceil
from typing import Any, Literal

from pyspark.sql import SparkSession

from imbalance_spark.comparison.compare import check_to_compare, objectives_of, strategies_of
from imbalance_spark.comparison.prepare import (
    CLASS_NUMBER,
    EXAMINE_STEPS,
    ExaminedOrders,
    examine,
    identity_of,
    run_id_of,
)
from imbalance_spark.config.run import RunConfig
from imbalance_spark.core.class_counts import Label, count_classes
from imbalance_spark.core.columns import FEATURES_PER_SCAN, IS_EARLY_STOPPING, SPLIT, TEST, TRAIN, VALIDATION, col
from imbalance_spark.core.errors import ConfigError
from imbalance_spark.core.progress import Progress
from imbalance_spark.multiclass.compare import check_classes
from imbalance_spark.multiclass.strategy import by_number
from imbalance_spark.orders.validation.rules import DUPLICATE_KEY
from imbalance_spark.split import early_stopping_slice
from imbalance_spark.threshold.objectives import AlertBudget
from imbalance_spark.train_only.sampling import check_sampling_strategy
from imbalance_spark.train_only.sampling.random_samplers import disjoint_target
from imbalance_spark.train_only.strategies.base import members_of, table_name
from imbalance_spark.train_only.strategies.config import SAMPLING_KINDS, StrategyConfig

STEPS = 2 + EXAMINE_STEPS
"""Stages that `plan_run` announces."""


Precision = Literal["exact", "on average", "about", "at most"]
"""How near the planned rows are: samples by share, synthetic rows by neighbourhood, rows that cleaning may remove."""


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
        fit_rows: rows per class of train that are fitted on, before any sampling.
        stopping_rows: rows of train that early stopping looks at.
        tables: rows of each table that would be written, by name.
        passes: over the orders, by stage; see `_passes_over_orders`.
    """

    run_id: str
    location: str
    examined: ExaminedOrders
    fit_rows: Mapping[Label, int]
    stopping_rows: int
    strategies: tuple[PlannedStrategy, ...]
    tables: Mapping[str, int]
    passes: Mapping[str, int]

    def lines(self) -> Iterator[str]:
        """The plan for a terminal."""
        report, source = self.examined.report, self.examined.source
        yield f"Orders: {source.description}; {report.rows:,} rows, {report.quarantined:,} break a rule."
        yield from (f"  {rule}: {rows:,} rows" for rule, rows in report.by_rule.items() if rows)
        yield report.label.sentence
        yield ""
        yield from self.examined.diagnosis.lines()
        yield ""
        names = report.label.classes
        titles = "".join(f"{f'class {k}' if len(names) == 2 else name[:14]:>16}" for k, name in enumerate(names))
        yield f"{'strategy':<20}{'fits on table':<28}{titles}  passes over it"
        for planned in self.strategies:
            rows = "".join(f"{planned.rows[k]:>16,}" for k in range(len(names)))
            yield f"{planned.name:<20}{planned.table:<28}{rows}  {planned.passes} ({planned.precision})"
        yield f"Each table has {self.stopping_rows:,} more rows, for early stopping."
        yield f"Tables below {self.location}:"
        yield from (f"  {name}: {rows:,} rows" for name, rows in self.tables.items())
        stages = ", ".join(f"{stage} {n}" for stage, n in self.passes.items() if n)
        yield f"Passes over the orders: {sum(self.passes.values())} ({stages}), and those of the samplers over train."
        yield "Dry run: nothing was fitted or written."

    def to_dict(self) -> dict[str, Any]:
        """The plan as JSON values."""
        source = self.examined.source
        return {
            "run_id": self.run_id,
            "orders": {"location": source.location, "format": source.format, "version": source.version},
            "validation": self.examined.report.to_dict(),
            "diagnosis": self.examined.diagnosis.to_dict(),
            "fit_rows": dict(self.fit_rows),
            "stopping_rows": self.stopping_rows,
            "strategies": [asdict(planned) for planned in self.strategies],
            "tables": {"location": self.location, "rows": dict(self.tables)},
            "passes": dict(self.passes),
        }


def plan_run(spark: SparkSession, config: RunConfig, progress: Progress) -> RunPlan:
    """Look at the orders as the run would, and count what it would make of them; nothing is written.

    Split and early-stopping slice are learnt, not estimated: their counts are those of the run.

    Passes: those of `examine`, two to learn the slice, one to count it.

    Raises:
        ConfigError: the cluster has too few slots, or a strategy's sampling does not fit the classes, all of
            them at once.
        DataContractError: as the run.
    """
    with progress.step("cluster"):
        (check_classes if config.orders.classes else check_to_compare)(spark, config)
    examined = examine(spark, config, progress)
    with progress.step("training rows") as step:
        fit_rows = _fit_rows(examined, config)
        step.says(" + ".join(f"{rows:,} of class {label}" for label, rows in fit_rows.items()))
    train_rows = sum(examined.diagnosis.by_split[TRAIN].values())
    stopping_rows = train_rows - sum(fit_rows.values())
    strategies = _planned_strategies(config, fit_rows)
    run_id = run_id_of(config, identity_of(spark, examined.source, config))
    own = {planned.table: sum(planned.rows.values()) + stopping_rows for planned in strategies}
    copied = {"orders": examined.report.rows} if examined.source.version is None else {}
    held_out = sum(sum(examined.diagnosis.by_split[fold].values()) for fold in (VALIDATION, TEST))
    scored = {"margins": held_out} if config.orders.classes else {}
    return RunPlan(
        run_id=run_id,
        location=f"{config.output}/{run_id}/tables",
        examined=examined,
        fit_rows=fit_rows,
        stopping_rows=stopping_rows,
        strategies=strategies,
        tables={**copied, "quarantined": examined.report.quarantined, **own, "train": train_rows, **scored},
        passes=_passes_over_orders(examined, config),
    )


def _fit_rows(examined: ExaminedOrders, config: RunConfig) -> dict[Label, int]:
    train = examined.plan.assign(examined.valid).where(col(SPLIT) == TRAIN)
    sliced = early_stopping_slice(
        train,
        key=config.orders.key,
        label=CLASS_NUMBER,
        fraction=config.split.early_stopping_fraction,
        seed=config.split.seed,
    )
    return count_classes(sliced.where(~col(IS_EARLY_STOPPING)), CLASS_NUMBER, "dry run")


def _planned_strategies(config: RunConfig, fit_rows: Mapping[Label, int]) -> tuple[PlannedStrategy, ...]:
    planned, problems = [], []
    for strategy in strategies_of(config):
        try:
            rows = _sampled_rows(by_number(strategy, config.orders.class_names), fit_rows)
        except ConfigError as error:
            problems.append(f"strategy {strategy.name!r}: {error}")
            continue
        planned += [
            PlannedStrategy(
                name=member.name, kind=member.kind, table=table_name(member), rows=rows, precision=_precision(member),
                passes=_passes_of_fit(member, config),
            )
            for member in members_of(strategy)
        ]  # fmt: skip
    if problems:
        raise ConfigError.of_all(problems)
    return tuple(planned)


def _passes_of_fit(strategy: StrategyConfig, config: RunConfig) -> int:
    """Passes over the strategy's table; one of its own is also counted twice, by row and by class."""
    scaling = _parts(len(config.orders.features))
    of_learner = {"isolation_forest": 1, "logistic_class_weight": scaling + 2}.get(strategy.kind, 1)
    return of_learner + 2 * (table_name(strategy) != "train")


def _sampled_rows(strategy: StrategyConfig, fit_rows: Mapping[Label, int]) -> dict[Label, int]:
    """Rows per class after the strategy's sampling."""
    if strategy.kind not in SAMPLING_KINDS:
        return dict(fit_rows)
    if strategy.kind == "undersample":
        return {**fit_rows, **check_sampling_strategy(strategy.sampling_strategy, fit_rows, "under-sampling")}
    if strategy.kind == "undersample_ensemble":
        return {**fit_rows, **disjoint_target(fit_rows, strategy.sampling_strategy, strategy.members)}
    made = check_sampling_strategy(strategy.sampling_strategy, fit_rows, "over-sampling")
    rows = {label: n + made.get(label, 0) for label, n in fit_rows.items()}
    if strategy.undersample_to is None:
        return rows
    return {**rows, **check_sampling_strategy(strategy.undersample_to, rows, "under-sampling")}


def _precision(strategy: StrategyConfig) -> Precision:
    if strategy.kind in ("smote_tomek", "smote_enn"):
        return "at most"
    if strategy.kind == "adasyn":
        return "about"
    is_drawn = strategy.method != "exact" or strategy.kind == "undersample_ensemble"
    return "on average" if is_drawn else "exact"


def _passes_over_orders(examined: ExaminedOrders, config: RunConfig) -> dict[str, int]:
    """Passes of each stage over the orders, as the stages' own docstrings count them.

    A search for cut-offs that misses adds one. The gate's is for a champion of another run, which may not be there.
    """
    orders, report, source = config.orders, examined.report, examined.source
    objectives = () if config.orders.classes else objectives_of(config)
    counts_days = any(isinstance(o, AlertBudget) and o.days is None for o in objectives)
    compares_champion = config.tracking.registered_model is not None and config.gate.mode != "disabled"
    return {
        "read": (source.format == "csv") + 2 * (source.version is None),
        "validate": _parts(len(orders.features)) + 1 + (report.by_rule.get(DUPLICATE_KEY, 0) > 0),
        "quarantine": 1,
        "split": 3 if config.split.by != "key" else _cut_off_passes(examined.diagnosis.counts, config),
        "categories": int(bool(orders.categorical)),
        "audit": 1 + _parts(len(report.large_integers)) + _parts(len(orders.numeric)) * (config.split.by == "time"),
        "training rows": _cut_off_passes(examined.diagnosis.by_split[TRAIN], config) + 1,
        "score": 1 + counts_days,
        "gate": int(compares_champion),
    }


def _cut_off_passes(counts: Mapping[int, int], config: RunConfig) -> int:
    return 1 + (min(counts.values()) < config.split.exact_below)


def _parts(features: int) -> int:
    return ceil(features / FEATURES_PER_SCAN)
