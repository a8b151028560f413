"""What a search gains: average precision on test of one default fit, of random search and of successive halving.

Both searches take about the same time: random search fits as many trials in full as fit into that of the halving. The
gain over the default fit is on validation, of which no search has seen a row, with its paired interval.
"""

import argparse
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from benchmarks.fit import SETTINGS
from imbalance_spark.comparison.compare import asked_decisions, fit_task, prepare_to_compare, stages
from imbalance_spark.comparison.gains import paired_gain, ranking_of
from imbalance_spark.comparison.prepare import PreparedOrders
from imbalance_spark.comparison.score_strategies import score_strategies
from imbalance_spark.comparison.search import search_strategies
from imbalance_spark.comparison.searched_strategy import TrialMetric
from imbalance_spark.config.run import RunConfig
from imbalance_spark.config.yaml_file import load_config
from imbalance_spark.core.columns import TEST
from imbalance_spark.core.progress import Progress
from imbalance_spark.core.run_lock import locks_released
from imbalance_spark.core.spark_session import spark_session
from imbalance_spark.metrics.evaluate import TargetNames
from imbalance_spark.orders.datasets.population import NUMERIC_FEATURES
from imbalance_spark.orders.datasets.synthetic import generate_orders
from imbalance_spark.train_only.search.config import SearchConfig
from imbalance_spark.train_only.strategies import Strategy, strategy_from_config
from imbalance_spark.train_only.strategies.fit import fit_strategy, write_train_table

DATA = ("generated", "flights", "retail")
_SERVING = "max_recall_at_precision_0.9"
"""A promise, so that trials are compared by average precision."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", nargs="+", choices=DATA, default=DATA, help="logs that are searched on")
    parser.add_argument("--rows", type=lambda text: int(float(text)), default=300_000, help="generated orders")
    parser.add_argument("--prevalence", type=float, default=0.005, help="share of positives in them")
    parser.add_argument("--strategy", default="none", help="kind of strategy whose parameters are searched")
    parser.add_argument("--trials", type=int, default=20, help="of successive halving")
    parser.add_argument("--max-rows", type=int, help="training rows that fits read; what memory holds, if not given")
    parser.add_argument("--rounds", type=int, default=200, help="most boosting rounds")
    parser.add_argument("--workers", type=int, default=2, help="cores")
    parser.add_argument("--seed", type=int, default=7, help="of what trials draw")


def run(args: argparse.Namespace) -> dict[str, object]:
    results = {}
    print(f"{'data':<12}{'':<22}{'trials':>8}{'search':>10}{'AP test':>10}   gain on validation, 95 % interval")
    with spark_session("bench-search", f"local[{args.workers}]", SETTINGS) as spark:
        for name in args.data:
            with tempfile.TemporaryDirectory() as folder, locks_released():
                results[name] = _measured(spark, _config(spark, name, args, folder), args)
            for method, found in results[name].items():
                gain, low, high = found["gain"]
                print(
                    f"{name:<12}{method:<22}{found['trials']:>8}{found['search_s']:>8.0f} s{found['ap']:>10.4f}"
                    f"   {gain:+.4f}, {low:+.4f} to {high:+.4f}",
                    flush=True,
                )
    asked = {name: value for name, value in vars(args).items() if name != "name"}
    return {**asked, "results": results}


def _config(spark: SparkSession, name: str, args: argparse.Namespace, folder: str) -> RunConfig:
    training = {"num_workers": args.workers, "rounds": args.rounds, "early_stopping_rounds": 20, "seed": args.seed}
    training |= {"max_rows": args.max_rows}
    decided = {"objectives": ({"name": "max_recall", "precision": 0.9},), "serve_objective": _SERVING}
    of_run = {"output": f"{folder}/runs", "strategies": (args.strategy,), "evaluation": "holdout", **decided}
    if name != "generated":
        asked = load_config(f"conf/{name}.yaml", RunConfig).model_dump(exclude={"training"})
        return RunConfig.model_validate({**asked, **of_run, "training": training})
    orders = generate_orders(spark, rows=args.rows, prevalence=args.prevalence, seed=11, partitions=4)
    orders.write.format("delta").save(str(Path(folder) / "orders"))
    roles = {"key": ("order_id",), "label": "is_fraud", "numeric": tuple(NUMERIC_FEATURES)}
    source = {"source": {"path": f"{folder}/orders"}}
    return RunConfig.model_validate({"name": name, "orders": {**source, **roles}, "training": training, **of_run})


def _measured(spark: SparkSession, config: RunConfig, args: argparse.Namespace) -> Mapping[str, Mapping[str, Any]]:
    prepared = prepare_to_compare(spark, config, Progress(stages(config), quiet=True))
    task, strategy = fit_task(config, prepared.pool), strategy_from_config(args.strategy)
    train = write_train_table(prepared.run, prepared.trained, task)
    found = {"default": (strategy, 0, 0.0)}
    # Not measured: the first fit starts the Python workers.
    fit_strategy(prepared.run, train, _named(strategy, "warm-up"), task)
    started = time.perf_counter()
    fit_strategy(prepared.run, train, _named(strategy, "default"), task)
    of_a_fit = time.perf_counter() - started
    found["successive_halving"] = _searched(prepared, config, strategy, "successive_halving", args.trials)
    at_equal_time = max(2, round(found["successive_halving"][2] / of_a_fit))
    found["random"] = _searched(prepared, config, strategy, "random", at_equal_time)
    fitted = [fit_strategy(prepared.run, train, _named(one, name), task) for name, (one, _, _) in found.items()]
    scored = score_strategies(prepared, fitted, asked_decisions(config), config)
    ranked = {name: ranking_of(one.held_out, "average_precision") for name, one in scored.items()}
    gains = {name: paired_gain(one, ranked["default"], is_loss=False, level=0.95) for name, one in ranked.items()}
    return {
        name: {
            "trials": trials,
            "search_s": round(seconds, 1),
            "ap": round(scored[name].held_out.curves(TEST)[0].average_precision() or 0.0, 4),
            "gain": [round(end, 4) for end in (gains[name].value, gains[name].low, gains[name].high)],
            "params": dict(one.booster_params()),
        }
        for name, (one, trials, seconds) in found.items()
    }


def _searched(
    prepared: PreparedOrders, config: RunConfig, strategy: Strategy, method: str, trials: int
) -> tuple[Strategy, int, float]:
    """The strategy with the parameters that were found, and what that took."""
    search = SearchConfig.model_validate({"method": method, "trials": trials})
    asked = config.model_copy(update={"search": search})
    part = replace(prepared, run=prepared.run.part(method))
    task, progress = fit_task(asked, prepared.pool), Progress(stages(asked), quiet=True)
    metric = TrialMetric.of(asked_decisions(asked), TargetNames.of_classes(prepared.classes), asked.gate.metric)
    started = time.perf_counter()
    found = search_strategies(part, [strategy], task, metric, asked, progress)
    return strategy.with_params(found[strategy.name].chosen.params), trials, time.perf_counter() - started


def _named(strategy: Strategy, name: str) -> Strategy:
    return strategy.model_copy(update={"name": name})
