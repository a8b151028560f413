"""The comparison: fit each strategy, score all in one Spark scan, choose thresholds, evaluate on held-out data."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from pyspark.sql import DataFrame, SparkSession

from imbalance_spark.comparison.advice import Advice, advise, joint_level
from imbalance_spark.comparison.backtest import Backtest, run_backtest
from imbalance_spark.comparison.entities import entity_metrics
from imbalance_spark.comparison.evaluate import StrategyResult, baseline, error_costs, evaluate_strategy, gains
from imbalance_spark.comparison.prepare import STAGES as PREPARE_STAGES
from imbalance_spark.comparison.prepare import PreparedOrders, prepare
from imbalance_spark.comparison.score_strategies import score_strategies, with_days
from imbalance_spark.config.run import RunConfig
from imbalance_spark.core.columns import FOLDS, TEST, VALIDATION
from imbalance_spark.core.errors import DataContractError
from imbalance_spark.core.progress import Progress
from imbalance_spark.core.run import Run
from imbalance_spark.metrics.evaluate import TargetNames
from imbalance_spark.metrics.intervals import Interval
from imbalance_spark.scoring.bundle import ModelBundle
from imbalance_spark.split.folds import as_split
from imbalance_spark.threshold.decisions import Decisions, decisions_of
from imbalance_spark.train_only.learners.executors import check_executors, require_training_slots
from imbalance_spark.train_only.learners.stopping import Costs
from imbalance_spark.train_only.strategies import Strategy, strategies_of
from imbalance_spark.train_only.strategies.fit import FittedStrategy, fit_strategy, write_train_table
from imbalance_spark.train_only.strategies.task import FitTask


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What a run found out.

    Args:
        results: best first by the gate's metric on validation, of K classes by its macro average.
        plain: plain boosting.
        gains: for each other strategy, what it has more of that metric, with the paired interval.
        baseline: what naming the largest class for every row of test gives.
        backtest: how every strategy fares over time, where `split.backtest` asks for it.
    """

    config: RunConfig
    prepared: PreparedOrders
    decisions: Decisions
    results: tuple[StrategyResult, ...]
    plain: StrategyResult
    gains: Mapping[str, Interval]
    baseline: Mapping[str, float]
    backtest: Backtest | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of their numbers."""
        return self.prepared.classes

    @property
    def names(self) -> TargetNames:
        """What metrics of the targets are called."""
        return target_names(self.classes)

    @property
    def is_single(self) -> bool:
        """Whether there is one target: two classes, that is class 1 against class 0."""
        return len(self.names.targets) == 1

    @property
    def serving(self) -> str:
        """Name of the rule that decides."""
        return self.decisions.serve_objective

    @property
    def metric(self) -> str:
        """By what the strategies are ranked, in words."""
        return self.config.gate.metric if self.is_single else f"macro {self.config.gate.metric}"

    @property
    def best(self) -> StrategyResult:
        """The strategy that validation prefers; test had no say."""
        return self.results[0]

    @cached_property
    def advice(self) -> Advice:
        """Which strategy to use, and whether any beats plain boosting beyond chance."""
        ranked, level = [result.name for result in self.results], joint_level(len(self.gains))
        joint = gains(self.results, self.plain, self.config.gate.metric, level=level)
        return advise(ranked, self.plain.name, self.gains, joint)


def target_names(classes: Sequence[str]) -> TargetNames:
    """Of two classes class 1 is the target; of K each class is one."""
    return TargetNames(tuple(classes[1:] if len(classes) == 2 else classes))


def stages(config: RunConfig) -> list[str]:
    """The stages that `compare` announces."""
    fits = [f"fit {strategy.name}" for strategy in strategies_of(config.strategies)]
    backtest = [] if config.split.backtest is None else ["backtest"]
    return ["cluster", *PREPARE_STAGES, "training rows", *fits, "score", "evaluate", *backtest]


def compare(spark: SparkSession, config: RunConfig, progress: Progress, orders: DataFrame | None = None) -> Comparison:
    """Run the whole comparison that a config asks for, up to the numbers; nothing is logged or registered.

    Args:
        orders: instead of `config.orders.source`; written once to the run's folder and read from there.
    Raises:
        ImbalanceSparkError: config, data or cluster do not allow it; see the rooms that are called.
    """
    return compare_prepared(prepare_to_compare(spark, config, progress, orders), config, progress)


def asked_decisions(config: RunConfig) -> Decisions:
    """How the config wants to decide, checked before Spark starts.

    Raises:
        ConfigError: an objective is wrong, or `serve_objective` names none of them; all problems at once.
    """
    return decisions_of(
        config.objectives,
        config.serve_objective,
        config.orders.class_names,
        has_time=config.orders.time is not None,
        stops_by_cost=config.training.early_stopping_metric == "expected_cost",
    )


def check_to_compare(spark: SparkSession, config: RunConfig) -> None:
    """Refuse objectives or a cluster that no comparison can work with; the orders are not read."""
    asked_decisions(config)
    require_training_slots(spark, config.training.num_workers, slot_wait_s=config.training.slot_wait_s)
    check_executors(spark)


def prepare_to_compare(
    spark: SparkSession, config: RunConfig, progress: Progress, orders: DataFrame | None = None
) -> PreparedOrders:
    """What must hold before anything is fitted, cheapest first: objectives, slots, executors, then the orders.

    Raises:
        DataContractError: a fold has too few rows of a class; see also `prepare`.
    """
    with progress.step("cluster") as step:
        check_to_compare(spark, config)
        step.says(f"{config.training.num_workers} workers fit")
    prepared = prepare(spark, config, progress, orders)
    halves_validation = bool(asked_decisions(config).swept) and not prepared.evaluation.is_cross_fit
    require_classes_in_folds(prepared.diagnosis.by_split, prepared.classes, halves_validation=halves_validation)
    return prepared


def require_classes_in_folds(
    by_split: Mapping[str, Mapping[int, int]], classes: Sequence[str], *, halves_validation: bool
) -> None:
    """Refuse a split in which a fold has too few rows of a class, all of them at once.

    Args:
        by_split: rows by fold and class number.
        halves_validation: whether thresholds are chosen on validation, whose halves judge each other's: then it needs
            two rows of each class. A hash assigns the halves, so that two may still fall into one.
    Raises:
        DataContractError: names the folds and the classes.
    """
    empty = {fold: [name for number, name in enumerate(classes) if by_split[fold].get(number, 0) < 1] for fold in FOLDS}
    problems = [f"{fold} has no row of {names}" for fold, names in empty.items() if names]
    problems += [
        f"{VALIDATION} has 1 row of {name!r}, which cannot lie in both halves, of which each is judged by the other"
        for number, name in enumerate(classes)
        if halves_validation and by_split[VALIDATION].get(number, 0) == 1
    ]
    if problems:
        leave_out = ", or leave these classes out of orders.classes" if len(classes) > 2 else ""
        raise DataContractError(
            f"split: {'; '.join(problems)}. Each fold needs rows of each class: take more orders, or larger shares for "
            f"these folds in split.fractions{leave_out}."
        )


def compare_prepared(prepared: PreparedOrders, config: RunConfig, progress: Progress) -> Comparison:
    """Fit, score and evaluate every strategy on prepared orders.

    Fits see training rows only; thresholds and the order of the strategies come from validation, or from the rows that
    a cross-fit held out, see `cross_fit`; test is reported and decides nothing.

    Passes: see `write_train_table`, `fit_strategy` and `score_strategies`.
    """
    decisions, task, names = asked_decisions(config), fit_task(config), target_names(prepared.classes)
    with progress.step("training rows") as step:
        tables = _training_tables(prepared, task)
        step.says(f"{prepared.run.pin('train').rows:,} rows in {config.training.num_workers} sorted parts")
        if len(tables) > 1:
            step.says(f"and without each of {prepared.evaluation.folds} folds")
    fitted = [_fit(prepared, tables, strategy, task, progress) for strategy in strategies_of(config.strategies)]
    with progress.step("score") as step:
        decisions = with_days(decisions, prepared, config)
        scored = score_strategies(prepared, fitted, decisions, config)
        entities = entity_metrics(prepared, fitted, config)
        step.says(f"{len(fitted)} strategies in one scan")
    with progress.step("evaluate") as step:
        evaluated = [evaluate_strategy(s, scored[s.name], decisions, names) for s in fitted]
        results = [replace(one, metrics={**one.metrics, **entities.get(one.name, {})}) for one in evaluated]
        step.says(f"{len(decisions.names)} {_rules(names)} per strategy, from counts alone")
    metric = f"{VALIDATION}/{names.macro(config.gate.metric)}"
    results.sort(key=lambda result: result.metrics.get(metric, -math.inf), reverse=True)
    plain = next(result for result in results if result.fitted.strategy.is_plain)
    return Comparison(
        config=config,
        prepared=prepared,
        decisions=decisions,
        results=tuple(results),
        plain=plain,
        gains=gains(results, plain, config.gate.metric),
        baseline=baseline(scored[results[0].name], TEST, decisions),
        backtest=_backtest(prepared, config, task, decisions, progress),
    )


def _backtest(
    prepared: PreparedOrders, config: RunConfig, task: FitTask, decisions: Decisions, progress: Progress
) -> Backtest | None:
    if config.split.backtest is None:
        return None
    with progress.step("backtest") as step:
        names, strategies = target_names(prepared.classes), strategies_of(config.strategies)
        found = run_backtest(prepared, config.split.backtest, strategies, task, decisions, names, config)
        step.says(f"{len(found.windows)} windows, {found.windows[0]} and later")
    return found


def fit_task(config: RunConfig) -> FitTask:
    """What a fit needs of the config."""
    costs: Costs | None = None
    if config.training.early_stopping_metric == "expected_cost":
        asked = asked_decisions(config)
        errors = error_costs(asked)
        costs = asked.costs if config.orders.classes else (errors["fn"], errors["fp"])
    return FitTask(orders=config.orders, training=config.training, split=config.split, costs=costs)


def bundle_of(comparison: Comparison, result: StrategyResult) -> ModelBundle:
    """The strategy's model with all that scoring needs."""
    orders, prepared = comparison.config.orders, comparison.prepared
    return ModelBundle(
        strategy=result.name,
        model_bytes=result.fitted.booster.model_bytes,
        numeric=orders.numeric,
        categorical=orders.categorical,
        categories=prepared.categories,
        label=prepared.report.label,
        label_column=orders.label,
        correction=result.fitted.recipe.prior_shift.correction(),
        calibrator=result.calibration.calibrator,
        rules=result.rules,
        serve_objective=comparison.serving,
    )


def _rules(names: TargetNames) -> str:
    return "thresholds" if len(names.targets) == 1 else "rules of decision"


def _training_tables(prepared: PreparedOrders, task: FitTask) -> list[tuple[Run, DataFrame]]:
    """The table that the model which serves is fitted on, then of a cross-fit the one without each fold."""
    tables = [(prepared.run, write_train_table(prepared.run, prepared.trained, task))]
    if prepared.folds is not None:
        for fold in range(prepared.folds.count):
            part = prepared.run.part(f"fold_{fold}")
            tables.append((part, write_train_table(part, as_split(prepared.inputs, prepared.folds, fold), task)))
    return tables


def _fit(
    prepared: PreparedOrders,
    tables: Sequence[tuple[Run, DataFrame]],
    strategy: Strategy,
    task: FitTask,
    progress: Progress,
) -> FittedStrategy:
    with progress.step(f"fit {strategy.name}") as step:
        fitted, *folds = [fit_strategy(run, train, strategy, task) for run, train in tables]
        fitted = replace(fitted, folds=tuple(folds))
        called = {k: f"of class {k}" if len(prepared.classes) == 2 else n for k, n in enumerate(prepared.classes)}
        rows = " + ".join(f"{rows:,} {called[label]}" for label, rows in sorted(fitted.fit_rows.items()))
        step.says(f"{rows}; best of {fitted.booster.rounds_run} rounds: {fitted.booster.best_iteration + 1}")
    return fitted
