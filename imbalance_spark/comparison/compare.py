"""The comparison: fit each strategy, score all in one scan, choose thresholds, judge on rows none has seen."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from pyspark.sql import DataFrame, SparkSession

from imbalance_spark.comparison.advice import Advice, advise, joint_level
from imbalance_spark.comparison.evaluate import HELD_OUT, StrategyResult, constant_costs, gains, judge
from imbalance_spark.comparison.prepare import STEPS as PREPARE_STEPS
from imbalance_spark.comparison.prepare import PreparedOrders, prepare
from imbalance_spark.config.run import RunConfig
from imbalance_spark.core.columns import SPLIT, TEST, VALIDATION, col
from imbalance_spark.core.errors import ConfigError, nearest
from imbalance_spark.core.progress import Progress
from imbalance_spark.metrics.confusion import ConfusionMatrix
from imbalance_spark.metrics.curve import Curve
from imbalance_spark.metrics.evaluate import majority_baseline, matrix_metrics
from imbalance_spark.metrics.grid import LogitGrid
from imbalance_spark.metrics.intervals import Interval
from imbalance_spark.scoring.boosters import Candidate
from imbalance_spark.scoring.held_out import in_choosing_half, scan_held_out
from imbalance_spark.scoring.held_out_counts import HeldOutCounts
from imbalance_spark.scoring.scorer import ModelBundle
from imbalance_spark.threshold.objective import Objective
from imbalance_spark.threshold.objectives import AlertBudget, count_days, first_constant_costs, objective_from_config
from imbalance_spark.train_only.learners.executors import check_executors, require_training_slots
from imbalance_spark.train_only.strategies import Strategy, strategies_of
from imbalance_spark.train_only.strategies.fit import FitTask, FittedStrategy, fit_strategy, write_train_table


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What a run found out; `results` are best first by the gate's metric on validation.

    `gains` are, for each strategy but plain boosting, what it has more of that metric, with the paired interval.
    """

    config: RunConfig
    prepared: PreparedOrders
    results: tuple[StrategyResult, ...]
    plain: StrategyResult
    gains: Mapping[str, Interval]
    baseline: Mapping[str, float]

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


def compare(spark: SparkSession, config: RunConfig, progress: Progress) -> Comparison:
    """Run the whole comparison that a config asks for, up to the numbers; nothing is logged or registered.

    Raises:
        ImbalanceSparkError: config, data or cluster do not allow it; see the rooms that are called.
    """
    return compare_prepared(prepare_to_compare(spark, config, progress), config, progress)


def prepare_to_compare(spark: SparkSession, config: RunConfig, progress: Progress) -> PreparedOrders:
    """What must hold before anything is fitted, cheapest first: objectives, slots, executors, then the orders."""
    with progress.step("cluster") as step:
        check_to_compare(spark, config)
        step.says(f"{config.training.num_workers} workers fit")
    return prepare(spark, config, progress)


def check_to_compare(spark: SparkSession, config: RunConfig) -> None:
    """Refuse objectives or a cluster that no comparison can work with; the orders are not read."""
    objectives_of(config)
    require_training_slots(spark, config.training.num_workers, slot_wait_s=config.training.slot_wait_s)
    check_executors(spark)


def compare_prepared(prepared: PreparedOrders, config: RunConfig, progress: Progress) -> Comparison:
    """Fit, score and judge every strategy on prepared orders.

    Fits see training rows only; thresholds and the order of the strategies come from validation;
    test is reported and decides nothing.

    Passes: see `write_train_table` and `fit_strategy`; then one scan of validation and
    test scores every strategy.
    """
    objectives = objectives_of(config)
    with progress.step("training rows") as step:
        train = write_train_table(prepared.run, prepared.inputs, fit_task(config))
        step.says(f"{prepared.run.pin('train').rows:,} rows in {config.training.num_workers} sorted parts")
    fitted = [_fit(prepared, train, strategy, config, progress) for strategy in strategies_of(config.strategies)]
    with progress.step("score") as step:
        counts = _score(prepared, fitted, config)
        step.says(f"{len(fitted)} strategies in one scan of validation and test")
    with progress.step("judge") as step:
        objectives = _with_days(objectives, prepared, config)
        results = [judge(s, counts[s.name], objectives, config.serve_objective) for s in fitted]
        step.says(f"{len(objectives)} thresholds a strategy, from counts alone")
    metric = f"{VALIDATION}/{config.gate.metric}"
    results.sort(key=lambda result: result.metrics.get(metric, -math.inf), reverse=True)
    plain = next(result for result in results if result.fitted.strategy.is_plain)
    return Comparison(
        config=config,
        prepared=prepared,
        results=tuple(results),
        plain=plain,
        gains=gains(results, plain, config.gate.metric),
        baseline=_baseline(results[0].curves[TEST], objectives),
    )


def steps(config: RunConfig) -> int:
    """How many stages `compare` announces."""
    return 1 + PREPARE_STEPS + 3 + len(strategies_of(config.strategies))


def fit_task(config: RunConfig) -> FitTask:
    """What the config's strategies are fitted to."""
    stops_by_cost = config.training.early_stopping_metric == "expected_cost"
    costs = (
        first_constant_costs([objective_from_config(entry) for entry in config.objectives]) if stops_by_cost else None
    )
    return FitTask(orders=config.orders, training=config.training, split=config.split, costs=costs)


def bundle_of(comparison: Comparison, result: StrategyResult) -> ModelBundle:
    """The strategy's model with all that scoring needs."""
    orders, prepared = comparison.config.orders, comparison.prepared
    return ModelBundle(
        strategy=result.name,
        booster_ubj=result.fitted.booster.model_bytes,
        numeric=orders.numeric,
        categorical=orders.categorical,
        categories=prepared.categories,
        label=prepared.report.label,
        correction=result.fitted.recipe.prior_shift.correction(),
        calibrator=result.calibration.calibrator,
        thresholds={name: chosen.threshold for name, chosen in result.thresholds.items()},
        serve_objective=comparison.config.serve_objective,
    )


def _fit(
    prepared: PreparedOrders, train: DataFrame, strategy: Strategy, config: RunConfig, progress: Progress
) -> FittedStrategy:
    with progress.step(f"fit {strategy.name}") as step:
        fitted = fit_strategy(prepared.run, train, strategy, fit_task(config))
        rows = " + ".join(f"{rows:,} of class {label}" for label, rows in sorted(fitted.fit_rows.items()))
        step.says(f"{rows}; best of {fitted.booster.rounds_run} rounds: {fitted.booster.best_iteration + 1}")
    return fitted


def _score(prepared: PreparedOrders, fitted: Sequence[FittedStrategy], config: RunConfig) -> dict[str, HeldOutCounts]:
    """Counts by strategy: from the ledger if the run has them all, else from one scan."""
    run, names = prepared.run, [strategy.name for strategy in fitted]
    if not all(run.is_done(f"counts_{name}") for name in names):
        for name, found in _scanned(prepared, fitted, config).items():
            run.record(f"counts_{name}", found.to_records())
    return {name: HeldOutCounts.from_records(run.read_document(f"counts_{name}")) for name in names}


def _scanned(prepared: PreparedOrders, fitted: Sequence[FittedStrategy], config: RunConfig) -> dict[str, HeldOutCounts]:
    contenders = [
        Candidate(
            name=s.name,
            model_bytes=s.booster.model_bytes,
            features=s.booster.features,
            correction=s.recipe.prior_shift.correction(),
        )
        for s in fitted
    ]
    return scan_contenders(prepared.inputs, contenders, config)


def scan_contenders(inputs: DataFrame, contenders: Sequence[Candidate], config: RunConfig) -> dict[str, HeldOutCounts]:
    """Counts of models of one list of features, from one pass over validation and test; see `scan_held_out`."""
    return scan_held_out(
        inputs.where(col(SPLIT).isin(*HELD_OUT)),
        contenders,
        key=config.orders.key,
        group=config.orders.grouping,
        segments=config.scoring.segments,
        grid=LogitGrid(bins=config.scoring.bins),
        has_weight=config.orders.weight is not None,
        has_amount=config.orders.amount is not None,
    )


def _with_days(objectives: tuple[Objective, ...], prepared: PreparedOrders, config: RunConfig) -> tuple[Objective, ...]:
    """The objectives with the days that the choosing half of validation amounts to, where one of them asks."""
    if not any(isinstance(objective, AlertBudget) and objective.days is None for objective in objectives):
        return objectives
    time = config.orders.time
    assert time is not None, "objectives_of has seen to it"  # noqa: S101  # for the type checker
    is_counted = (col(SPLIT) == VALIDATION) & in_choosing_half(config.orders.key, config.orders.grouping)
    days = prepared.run.document("days", lambda: count_days(prepared.inputs, time=time, is_counted=is_counted))
    return tuple(objective.with_days(days) for objective in objectives)


def _baseline(curve: Curve, objectives: tuple[Objective, ...]) -> dict[str, float]:
    matrix: ConfusionMatrix = majority_baseline(curve)
    return matrix_metrics(matrix, **constant_costs(objectives))


def objectives_of(config: RunConfig) -> tuple[Objective, ...]:
    """The config's objectives, checked before Spark starts.

    Raises:
        ConfigError: an objective is wrong, or `serve_objective` names none of them; all problems at once.
    """
    found, problems = [], []
    for number, entry in enumerate(config.objectives):
        try:
            found.append(objective_from_config(entry))
        except ConfigError as error:
            problems.append(f"objectives.{number}: {error}")
    names = [objective.name for objective in found]
    if config.serve_objective not in names and not problems:
        hint = nearest([config.serve_objective], names)
        problems.append(f"serve_objective: {config.serve_objective!r} is none of the objectives {names}.{hint}")
    if config.orders.time is None and any(isinstance(o, AlertBudget) and o.days is None for o in found):
        problems.append("objectives: alert_budget counts alerts a day. Name orders.time, or give its days.")
    if config.training.early_stopping_metric == "expected_cost" and first_constant_costs(found) is None:
        problems.append(
            "training.early_stopping_metric: expected_cost needs an objective min_cost or bayes_cost with numbers for "
            "fn and fp. Add one, or stop by log_loss."
        )
    if problems:
        raise ConfigError.of_all(problems)
    return tuple(found)
