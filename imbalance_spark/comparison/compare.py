"""The comparison: fit each strategy, score all in one Spark scan, choose thresholds, evaluate on held-out data."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from pyspark.sql import DataFrame, SparkSession

from imbalance_spark.comparison.advice import Advice
from imbalance_spark.comparison.backtest import Backtest, run_backtest
from imbalance_spark.comparison.entities import entity_metrics
from imbalance_spark.comparison.evaluate import StrategyResult, baseline, error_costs, evaluate_strategy
from imbalance_spark.comparison.gains import (
    COST,
    deciding_metric,
    gains_over,
    knows_costs,
    of_strategy,
    training_spread,
)
from imbalance_spark.comparison.prepare import STAGES as PREPARE_STAGES
from imbalance_spark.comparison.prepare import PreparedOrders, prepare, trained_counts
from imbalance_spark.comparison.score_strategies import candidate_of, score_strategies, with_days
from imbalance_spark.comparison.search import search_strategies, searched_stages
from imbalance_spark.comparison.searched_strategy import SearchedStrategy, TrialMetric
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
from imbalance_spark.train_only.pool import TrainingPool
from imbalance_spark.train_only.strategies import Strategy
from imbalance_spark.train_only.strategies.fit import FittedStrategy, fit_strategy, write_train_table
from imbalance_spark.train_only.strategies.recipe import FitTask


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What a run found out.

    Args:
        results: best first by the gate's metric on validation, of K classes by its macro average.
        plain: plain boosting.
        baseline: what naming the largest class for every row of test gives.
        backtest: how every strategy fares over time, where `split.backtest` asks for it.
        searches: by strategy how its parameters were found, where `search` asks for it.
    """

    config: RunConfig
    prepared: PreparedOrders
    decisions: Decisions
    results: tuple[StrategyResult, ...]
    plain: StrategyResult
    baseline: Mapping[str, float]
    backtest: Backtest | None = None
    searches: Mapping[str, SearchedStrategy] = field(default_factory=dict)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of their numbers."""
        return self.prepared.classes

    @property
    def names(self) -> TargetNames:
        """What metrics of the targets are called."""
        return TargetNames.of_classes(self.classes)

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
        """The strategy that is registered: the advised one, or as `gate.register` asks the highest on validation."""
        if self.config.gate.register == "highest":
            return self.results[0]
        return next(result for result in self.results if result.name == self.advice.use)

    @property
    def deciding(self) -> str:
        """What decides between two models: `cost`, or a ranking metric."""
        return deciding_metric(self.config.gate.decide_by, self.config.gate.metric, self.decisions)

    @property
    def deciding_words(self) -> str:
        """What a model gains that is better by what decides."""
        if self.deciding == COST:
            return "cost saved"
        return self.deciding if self.is_single else f"macro {self.deciding}"

    @cached_property
    def gains(self) -> Mapping[str, Interval]:
        """What each other strategy has more of `gate.metric` than plain boosting, with joint 95 % intervals."""
        return gains_over(self.results, self.plain, self.config.gate.metric, self.decisions)

    @cached_property
    def savings(self) -> Mapping[str, Interval]:
        """What each other strategy saves of plain boosting's cost, likewise; empty where errors have no cost."""
        known = knows_costs(self.decisions)
        return gains_over(self.results, self.plain, COST, self.decisions) if known else {}

    def training_spreads(self, result: StrategyResult) -> dict[str, float]:
        """Standard deviations over a strategy's repeated fits, by metric of validation; empty of a single fit."""
        metrics = [self.config.gate.metric, *([COST] if knows_costs(self.decisions) else [])]
        spreads = {self.names.macro(m) if m != COST else m: training_spread(result, m, self.decisions) for m in metrics}
        return {name: spread for name, spread in spreads.items() if spread is not None}

    def margin_of(self, value: float) -> float:
        """The gain that is too small to matter, of a model that has `value` of what decides."""
        return self.config.gate.equivalence_margin * abs(value)

    @cached_property
    def advice(self) -> Advice:
        """Which strategy to use, and whether any beats plain boosting beyond chance."""
        metric, by_name = self.deciding, {COST: self.savings, self.config.gate.metric: self.gains}
        plain = of_strategy(self.plain.scored, metric, self.decisions)
        found = by_name.get(metric)
        return Advice(
            plain=self.plain.name,
            words=self.deciding_words,
            gains=gains_over(self.results, self.plain, metric, self.decisions) if found is None else found,
            margin=self.margin_of(plain.value),
            share=self.config.gate.equivalence_margin,
        )


def stages(config: RunConfig) -> list[str]:
    """The stages that `compare` announces."""
    strategies = config.compared
    searches, fits = searched_stages(config, strategies), [f"fit {strategy.name}" for strategy in strategies]
    backtest = [] if config.split.backtest is None else ["backtest"]
    return ["cluster", *PREPARE_STAGES, *searches, "training rows", *fits, "score", "evaluate", *backtest]


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
        ConfigError: an objective is wrong, `serve_objective` names none of them, all problems at once; or the gate
            decides by a cost that no objective has.
    """
    decisions = decisions_of(
        config.objectives,
        config.serve_objective,
        config.orders.class_names,
        has_time=config.orders.time is not None,
        has_amount=config.orders.amount is not None,
        has_entity=config.scoring.entity is not None,
        stops_by_cost=config.training.early_stopping_metric == "expected_cost",
    )
    deciding_metric(config.gate.decide_by, config.gate.metric, decisions)
    return decisions


def check_to_compare(spark: SparkSession, config: RunConfig) -> int:
    """Refuse objectives or a cluster that no comparison can work with; the orders are not read.

    Returns:
        Bytes of memory that are free on the executors, see `check_executors`.
    """
    asked_decisions(config)
    require_training_slots(spark, config.training.num_workers, slot_wait_s=config.training.slot_wait_s)
    return check_executors(spark)


def prepare_to_compare(
    spark: SparkSession, config: RunConfig, progress: Progress, orders: DataFrame | None = None
) -> PreparedOrders:
    """What must hold before anything is fitted, cheapest first: objectives, slots, executors, then the orders.

    Raises:
        DataContractError: a fold has too few rows of a class; see also `prepare`.
    """
    with progress.step("cluster") as step:
        free_bytes = check_to_compare(spark, config)
        step.says(f"{config.training.num_workers} workers fit, {free_bytes / 2**30:,.1f} GiB of memory are free")
    prepared = prepare(spark, config, progress, orders, free_bytes=free_bytes)
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
    """Search parameters where the config says so; then fit, score and evaluate every strategy on prepared orders.

    Fits see training rows only; thresholds and the order of the strategies come from validation, or from the rows that
    a cross-fit held out, see `cross_fit`; test is reported and decides nothing.

    Passes: see `search_strategies`; `write_train_table`, `fit_strategy` and `score_strategies`, each once for every
    repeat.
    """
    decisions, names = asked_decisions(config), TargetNames.of_classes(prepared.classes)
    task = fit_task(config, prepared.pool)
    asked = config.compared
    metric = TrialMetric.of(decisions, names, config.gate.metric)
    searches = search_strategies(prepared, asked, task, metric, config, progress)
    strategies = [one.with_params(searches[one.name].chosen.params) if one.name in searches else one for one in asked]
    with progress.step("training rows") as step:
        tables = _training_tables(prepared, task)
        step.says(f"{prepared.run.pin('train').rows:,} rows in {config.training.num_workers} sorted parts")
        if prepared.folds is not None:
            step.says(f"and without each of {prepared.evaluation.folds} folds")
    repeats = _repeat_tables(prepared, task)
    fitted = [_fit(prepared, tables, repeats, strategy, task, progress) for strategy in strategies]
    with progress.step("score") as step:
        decisions = with_days(decisions, prepared, config)
        scored = score_strategies(prepared, fitted, decisions, config)
        again = [
            score_strategies(replace(prepared, run=run), [one.repeats[number] for one in fitted], decisions, config)
            for number, (run, _, _) in enumerate(repeats)
        ]
        entities = entity_metrics(prepared, [candidate_of(one) for one in fitted], config)
        scans = "two scans" if any(found.counted_decisions for found in scored.values()) else "one scan"
        step.says(f"{len(fitted)} strategies in {scans}" + (f" for each of {len(repeats) + 1} fits" if repeats else ""))
    with progress.step("evaluate") as step:
        per_day, full = prepared.report.orders_per_day, config.metrics == "full"
        evaluated = [
            evaluate_strategy(s, scored[s.name], decisions, names, orders_per_day=per_day, every_metric=full)
            for s in fitted
        ]
        results = [
            replace(
                one,
                metrics={**one.metrics, **entities.get(one.name, {})},
                repeats=tuple(scores[one.name] for scores in again),
            )
            for one in evaluated
        ]
        step.says(f"{len(decisions.names)} {_rules(names)} per strategy, from counts alone")
    ranked_by = f"{VALIDATION}/{names.macro(config.gate.metric)}"
    plain = yardstick(results)
    results.sort(key=lambda result: result.metrics.get(ranked_by, -math.inf), reverse=True)
    return Comparison(
        config=config,
        prepared=prepared,
        decisions=decisions,
        results=tuple(results),
        plain=plain,
        baseline=baseline(scored[results[0].name], TEST, decisions),
        backtest=_backtest(prepared, config, strategies, task, decisions, progress),
        searches=searches,
    )


def yardstick(results: Sequence[StrategyResult]) -> StrategyResult:
    """Plain boosting, which all others are compared with: of several learners' the first in the config.

    The best of them on validation would have been chosen by the rows that compare.

    Args:
        results: in the order of the config.
    """
    return next(result for result in results if result.fitted.strategy.is_plain)


def _backtest(
    prepared: PreparedOrders,
    config: RunConfig,
    strategies: Sequence[Strategy],
    task: FitTask,
    decisions: Decisions,
    progress: Progress,
) -> Backtest | None:
    if config.split.backtest is None:
        return None
    with progress.step("backtest") as step:
        names = TargetNames.of_classes(prepared.classes)
        found = run_backtest(prepared, config.split.backtest, strategies, task, decisions, names, config)
        step.says(f"{len(found.windows)} windows, {found.windows[0]} and later")
    return found


def fit_task(config: RunConfig, pool: TrainingPool | None = None) -> FitTask:
    """What a fit needs of the config, on the rows of a pool or on all."""
    costs: Costs | None = None
    if config.training.early_stopping_metric == "expected_cost":
        asked = asked_decisions(config)
        errors = error_costs(asked)
        costs = asked.costs if config.orders.classes else (errors["fn"], errors["fp"])
    return FitTask(orders=config.orders, training=config.training, split=config.split, costs=costs, pool=pool)


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
    counts = trained_counts(prepared.diagnosis.by_split, prepared.evaluation)
    tables = [(prepared.run, write_train_table(prepared.run, prepared.trained, task, counts=counts))]
    if prepared.folds is not None:
        for fold in range(prepared.folds.count):
            part = prepared.run.part(f"fold_{fold}")
            tables.append((part, write_train_table(part, as_split(prepared.inputs, prepared.folds, fold), task)))
    return tables


def _repeat_tables(prepared: PreparedOrders, task: FitTask) -> list[tuple[Run, DataFrame, FitTask]]:
    """For each repeat a bootstrap of the training rows, with where its fits are kept and their seeds."""
    tables, counts = [], trained_counts(prepared.diagnosis.by_split, prepared.evaluation)
    for number in range(1, task.training.repeats):
        part, again = prepared.run.part(f"repeat_{number + 1}"), task.repeated(number)
        tables.append((part, write_train_table(part, prepared.inputs, again, counts=counts, is_bootstrap=True), again))
    return tables


def _fit(
    prepared: PreparedOrders,
    tables: Sequence[tuple[Run, DataFrame]],
    repeats: Sequence[tuple[Run, DataFrame, FitTask]],
    strategy: Strategy,
    task: FitTask,
    progress: Progress,
) -> FittedStrategy:
    with progress.step(f"fit {strategy.name}") as step:
        fitted, *folds = [fit_strategy(run, train, strategy, task) for run, train in tables]
        again = tuple(fit_strategy(run, train, strategy, other) for run, train, other in repeats)
        fitted = replace(fitted, folds=tuple(folds), repeats=again)
        called = {k: f"of class {k}" if len(prepared.classes) == 2 else n for k, n in enumerate(prepared.classes)}
        rows = " + ".join(f"{rows:,} {called[label]}" for label, rows in sorted(fitted.fit_rows.items()))
        times = f"; fitted {1 + len(repeats)} times" if repeats else ""
        step.says(f"{rows}; best of {fitted.booster.rounds_run} rounds: {fitted.booster.best_iteration + 1}{times}")
    return fitted
