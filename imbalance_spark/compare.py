"""The comparison: fit each strategy, score all in one scan, choose thresholds, judge on rows none has seen."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from pyspark.sql import DataFrame, SparkSession

from imbalance_spark.calibration import LedgerCheck, ledger_check
from imbalance_spark.config import RunConfig, StrategyConfig
from imbalance_spark.errors import ConfigError, nearest
from imbalance_spark.fit import FittedStrategy, fit_strategy, write_train_table
from imbalance_spark.frames import SPLIT, TEST, VALIDATION, col
from imbalance_spark.learners.slots import check_executors, require_training_slots
from imbalance_spark.metrics.confusion import ConfusionMatrix
from imbalance_spark.metrics.counts import ScoreCounts
from imbalance_spark.metrics.curve import Curve
from imbalance_spark.metrics.evaluate import evaluate, majority_baseline, matrix_metrics
from imbalance_spark.metrics.grid import LogitGrid
from imbalance_spark.model import ModelBundle
from imbalance_spark.prepare import STEPS as PREPARE_STEPS
from imbalance_spark.prepare import PreparedOrders, prepare
from imbalance_spark.progress import Progress
from imbalance_spark.scan import Contender, scan_counts
from imbalance_spark.threshold import ChosenThreshold, MinCost, Objective, objective_from_config, sweep

HELD_OUT = (VALIDATION, TEST)


@dataclass(frozen=True, kw_only=True)
class StrategyResult:
    """One strategy: its model, its curves on validation and test, the thresholds and what they give.

    `metrics` are flat and grouped by slash: `validation/average_precision`, `test/recall` at the
    serving threshold, `test/max_f1/precision` at the threshold of another objective.
    """

    fitted: FittedStrategy
    counts: Mapping[str, ScoreCounts]
    curves: Mapping[str, Curve]
    thresholds: Mapping[str, ChosenThreshold]
    ledger: LedgerCheck
    metrics: Mapping[str, float]

    @property
    def name(self) -> str:
        """The strategy's name in the config."""
        return self.fitted.config.name


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What a run found out; `results` are best first by the gate's metric on validation."""

    config: RunConfig
    prepared: PreparedOrders
    results: tuple[StrategyResult, ...]
    baseline: Mapping[str, float]

    @property
    def best(self) -> StrategyResult:
        """The strategy that validation prefers; test had no say."""
        return self.results[0]


def compare(spark: SparkSession, config: RunConfig, progress: Progress) -> Comparison:
    """Run the whole comparison that a config asks for, up to the numbers; nothing is logged or registered.

    Fits see training rows only; thresholds and the order of the strategies come from validation;
    test is reported and decides nothing.

    Passes: see `prepare`, `write_train_table` and `fit_strategy`; then one scan of validation and
    test scores every strategy.

    Raises:
        ImbalanceSparkError: config, data or cluster do not allow it; see the rooms that are called.
    """
    objectives = objectives_of(config)
    require_training_slots(spark, config.training.num_workers)
    check_executors(spark)
    prepared = prepare(spark, config, progress)
    with progress.step("training rows") as step:
        train = write_train_table(prepared, config)
        step.says(f"{prepared.run.pin('train').rows:,} rows in {config.training.num_workers} sorted parts")
    fitted = [_fit(prepared, train, strategy, config, progress) for strategy in strategies_of(config)]
    with progress.step("score") as step:
        counts = _score(prepared, fitted, config)
        step.says(f"{len(fitted)} strategies in one scan of validation and test")
    results = [judge(strategy, counts[strategy.config.name], objectives, config) for strategy in fitted]
    metric = f"{VALIDATION}/{config.gate.metric}"
    results.sort(key=lambda result: result.metrics.get(metric, -math.inf), reverse=True)
    baseline = _baseline(results[0].curves[TEST], objectives)
    return Comparison(config=config, prepared=prepared, results=tuple(results), baseline=baseline)


def steps(config: RunConfig) -> int:
    """How many stages `compare` announces."""
    return PREPARE_STEPS + 2 + len(strategies_of(config))


def strategies_of(config: RunConfig) -> tuple[StrategyConfig, ...]:
    """The config's strategies; `none` always runs, so that the report can say "no resampling needed"."""
    if any(strategy.kind == "none" for strategy in config.strategies):
        return config.strategies
    return (StrategyConfig(kind="none", name="none"), *config.strategies)


def judge(
    fitted: FittedStrategy, counts: Mapping[str, ScoreCounts], objectives: tuple[Objective, ...], config: RunConfig
) -> StrategyResult:
    """Thresholds from validation, then every metric on validation and on test."""
    curves = {fold: counts[fold].curve() for fold in HELD_OUT}
    thresholds = {objective.name: sweep(curves[VALIDATION], objective) for objective in objectives}
    serving = thresholds[config.serve_objective]
    costs = constant_costs(objectives)
    metrics: dict[str, float] = {}
    for fold in HELD_OUT:
        found = evaluate(curves[fold], serving.threshold, **costs)
        metrics |= {f"{fold}/{name}": value for name, value in found.items()}
        for name, chosen in thresholds.items():
            at_threshold = matrix_metrics(curves[fold].at(chosen.threshold), **costs)
            metrics |= {f"{fold}/{name}/{metric}": at_threshold[metric] for metric in _REPORTED}
    metrics |= {f"threshold/{name}": chosen.threshold for name, chosen in thresholds.items()}
    ledger = ledger_check(curves[VALIDATION])
    metrics |= {"ledger/mean_over_base_rate": ledger.ratio, "ledger/passed": float(ledger.passed)}
    return StrategyResult(
        fitted=fitted,
        counts=counts,
        curves=curves,
        thresholds=thresholds,
        ledger=ledger,
        metrics={name: value for name, value in metrics.items() if math.isfinite(value)},
    )


def bundle_of(comparison: Comparison, result: StrategyResult) -> ModelBundle:
    """The strategy's model with all that scoring needs."""
    orders, prepared = comparison.config.orders, comparison.prepared
    return ModelBundle(
        strategy=result.name,
        booster_ubj=result.fitted.booster.ubj,
        numeric=orders.numeric,
        categorical=orders.categorical,
        categories=prepared.categories,
        label=prepared.report.label,
        correction=result.fitted.recipe.ledger.correction(),
        thresholds={name: chosen.threshold for name, chosen in result.thresholds.items()},
        serve_objective=comparison.config.serve_objective,
    )


_REPORTED = ("precision", "recall", "f1", "f2", "f0_5", "mcc", "cost")


def _fit(
    prepared: PreparedOrders, train: DataFrame, strategy: StrategyConfig, config: RunConfig, progress: Progress
) -> FittedStrategy:
    with progress.step(f"fit {strategy.name}") as step:
        fitted = fit_strategy(prepared.run, train, strategy, config)
        rows = " + ".join(f"{rows:,} of class {label}" for label, rows in sorted(fitted.fit_rows.items()))
        step.says(f"{rows}; best of {fitted.booster.rounds_run} rounds: {fitted.booster.best_iteration + 1}")
    return fitted


def _score(
    prepared: PreparedOrders, fitted: list[FittedStrategy], config: RunConfig
) -> dict[str, dict[str, ScoreCounts]]:
    """Counts by strategy and fold: from the ledger if the run has them all, else from one scan."""
    run = prepared.run
    if not all(run.is_done(f"counts_{strategy.config.name}") for strategy in fitted):
        held_out = prepared.inputs.where(col(SPLIT).isin(*HELD_OUT))
        contenders = [
            Contender(name=s.config.name, booster=s.booster, correction=s.recipe.ledger.correction()) for s in fitted
        ]
        found = scan_counts(
            held_out,
            contenders,
            grid=LogitGrid(bins=config.scoring.bins),
            has_weight=config.orders.weight is not None,
            has_amount=config.orders.amount is not None,
        )
        for strategy in fitted:
            name = strategy.config.name
            records = {fold: found[name, fold].to_records() for fold in HELD_OUT}
            run.record(f"counts_{name}", records)
    return {
        s.config.name: {
            fold: ScoreCounts.from_records(records)
            for fold, records in run.read_document(f"counts_{s.config.name}").items()
        }
        for s in fitted
    }


def constant_costs(objectives: tuple[Objective, ...]) -> dict[str, float]:
    """What a miss and a false alarm cost in the reported `cost`: the first constant costs that are asked for."""
    for objective in objectives:
        if isinstance(objective, MinCost) and not isinstance(objective.fn, str):
            return {"fn": float(objective.fn), "fp": float(objective.fp)}
    return {"fn": 1.0, "fp": 1.0}


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
    if problems:
        raise ConfigError.of_all(problems)
    return tuple(found)
