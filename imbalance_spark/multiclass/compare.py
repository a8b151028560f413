"""The comparison of strategies on several classes: fit each, score all once, choose decisions, judge on unseen rows."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from pyspark.sql import DataFrame, SparkSession

from imbalance_spark.comparison.advice import Advice, advise, joint_level
from imbalance_spark.comparison.compare import fit_task
from imbalance_spark.comparison.prepare import STEPS as PREPARE_STEPS
from imbalance_spark.comparison.prepare import PreparedOrders, prepare
from imbalance_spark.config.run import RunConfig
from imbalance_spark.core.columns import FOLDS, TEST, VALIDATION
from imbalance_spark.core.errors import DataContractError
from imbalance_spark.core.progress import Progress
from imbalance_spark.metrics.confusion import MulticlassConfusion
from imbalance_spark.metrics.intervals import Interval
from imbalance_spark.multiclass.counting import contender_margins, judged_strategies
from imbalance_spark.multiclass.decisions import Decisions, decisions_of
from imbalance_spark.multiclass.judge import ClassResult, class_gains, decision_metrics
from imbalance_spark.multiclass.margins import ClassContender
from imbalance_spark.train_only.learners.executors import check_executors, require_training_slots
from imbalance_spark.train_only.strategies import Strategy, strategies_of
from imbalance_spark.train_only.strategies.fit import FittedStrategy, fit_strategy, write_train_table


@dataclass(frozen=True, kw_only=True)
class ClassComparison:
    """What a run found out; `results` are best first by the macro average of the gate's metric on validation."""

    config: RunConfig
    prepared: PreparedOrders
    decisions: Decisions
    results: tuple[ClassResult, ...]
    plain: ClassResult
    gains: Mapping[str, Interval]
    """For each strategy but plain boosting, what it has more of that metric, with the paired interval."""
    baseline: Mapping[str, float]
    """What naming the largest class for every row of test gives."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names in the order of their numbers."""
        return self.config.orders.class_names

    @property
    def best(self) -> ClassResult:
        """The strategy that validation prefers; test had no say."""
        return self.results[0]

    @cached_property
    def advice(self) -> Advice:
        """Which strategy to use, and whether any beats plain boosting beyond chance."""
        ranked, level = [result.name for result in self.results], joint_level(len(self.gains))
        joint = class_gains(self.results, self.plain, self.config.gate.metric, level=level)
        return advise(ranked, self.plain.name, self.gains, joint)


def check_classes(spark: SparkSession, config: RunConfig) -> None:
    """Refuse objectives or a cluster that no comparison can work with; the orders are not read."""
    decisions_of(config)
    require_training_slots(spark, config.training.num_workers, slot_wait_s=config.training.slot_wait_s)
    check_executors(spark)


def prepare_classes(spark: SparkSession, config: RunConfig, progress: Progress) -> PreparedOrders:
    """What must hold before anything is fitted, cheapest first.

    Raises:
        DataContractError: a fold lacks a class; see also `prepare`.
    """
    with progress.step("cluster") as step:
        check_classes(spark, config)
        step.says(f"{config.training.num_workers} workers fit")
    prepared = prepare(spark, config, progress)
    require_classes_in_folds(prepared.diagnosis.by_split, config.orders.class_names)
    return prepared


def require_classes_in_folds(by_split: Mapping[str, Mapping[int, int]], classes: Sequence[str]) -> None:
    """Refuse a split in which a fold lacks a class, all of them at once.

    Raises:
        DataContractError: names the folds and the classes.
    """
    empty = {fold: [name for number, name in enumerate(classes) if by_split[fold].get(number, 0) < 1] for fold in FOLDS}
    if problems := [f"{fold} has no row of {names}" for fold, names in empty.items() if names]:
        raise DataContractError(
            f"split: {'; '.join(problems)}. Each fold needs rows of each class: take more orders, larger folds, or "
            "leave these classes out of orders.classes."
        )


def compare_classes(prepared: PreparedOrders, config: RunConfig, progress: Progress) -> ClassComparison:
    """Fit, score and judge every strategy on prepared orders.

    Fits see training rows only; decisions and the order of the strategies come from validation;
    test is reported and decides nothing.

    Passes: see `write_train_table` and `fit_strategy`; one over validation and test to score all strategies; then, over
    that narrow table of margins, one over validation to calibrate, one to count classes, one to count the decisions
    that were chosen on these counts.
    """
    with progress.step("training rows") as step:
        train = write_train_table(prepared.run, prepared.inputs, fit_task(config))
        step.says(f"{prepared.run.pin('train').rows:,} rows in {config.training.num_workers} sorted parts")
    fitted = [_fit(prepared, train, strategy, config, progress) for strategy in strategies_of(config.strategies)]
    with progress.step("score") as step:
        margins = prepared.run.table("margins", lambda: contender_margins(prepared.inputs, _contenders(fitted), config))
        step.says(f"{len(fitted)} strategies in one scan of validation and test")
    with progress.step("judge") as step:
        decisions = decisions_of(config)
        results = judged_strategies(prepared, fitted, margins, decisions, config)
        step.says(f"{len(decisions.fixed) + len(decisions.swept)} decisions a strategy, from counts alone")
    metric = f"{VALIDATION}/macro_{config.gate.metric}"
    results.sort(key=lambda result: result.metrics.get(metric, -math.inf), reverse=True)
    plain = next(result for result in results if result.fitted.strategy.is_plain)
    return ClassComparison(
        config=config,
        prepared=prepared,
        decisions=decisions,
        results=tuple(results),
        plain=plain,
        gains=class_gains(results, plain, config.gate.metric),
        baseline=_baseline(results[0].held_out.counts(TEST, config.serve_objective).confusion, decisions),
    )


def class_steps(config: RunConfig) -> int:
    """How many stages `compare_classes` announces, with those of `prepare_classes`."""
    return 1 + PREPARE_STEPS + 3 + len(strategies_of(config.strategies))


def _fit(
    prepared: PreparedOrders, train: DataFrame, strategy: Strategy, config: RunConfig, progress: Progress
) -> FittedStrategy:
    with progress.step(f"fit {strategy.name}") as step:
        fitted = fit_strategy(prepared.run, train, strategy, fit_task(config))
        names = config.orders.class_names
        rows = " + ".join(f"{rows:,} {names[label]}" for label, rows in sorted(fitted.fit_rows.items()))
        step.says(f"{rows}; best of {fitted.booster.rounds_run} rounds: {fitted.booster.best_iteration + 1}")
    return fitted


def _contenders(fitted: Sequence[FittedStrategy]) -> list[ClassContender]:
    return [ClassContender(name=s.name, ubj=s.booster.model_bytes, features=s.booster.features) for s in fitted]


def _baseline(confusion: MulticlassConfusion, decisions: Decisions) -> dict[str, float]:
    support = confusion.support
    all_largest = np.zeros_like(confusion.weight)
    all_largest[:, int(np.argmax(support))] = support
    return decision_metrics(MulticlassConfusion(weight=all_largest), decisions.costs)
