"""Is the advice right? Its regret on generated orders, whose true probabilities say how good each model really is.

How often it is wrong where all models are equal is `null-runs`.
"""

import argparse
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from types import SimpleNamespace

import numpy as np
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from sklearn.metrics import average_precision_score

from benchmarks.native import fit_strategy_native
from imbalance_spark.comparison.advice import Advice
from imbalance_spark.comparison.gains import COST, gains_over, of_strategy
from imbalance_spark.comparison.score_strategies import calibrate_and_choose
from imbalance_spark.comparison.scored_strategy import ScoredStrategy
from imbalance_spark.core.arrays import sigmoid
from imbalance_spark.core.columns import TRUE_PROBABILITY, VALIDATION
from imbalance_spark.core.spark_session import spark_session
from imbalance_spark.metrics.buckets import BUCKETS, BucketCounts
from imbalance_spark.metrics.counts import ScoreCounts
from imbalance_spark.orders.datasets.synthetic import generate_orders
from imbalance_spark.scoring.held_out_counts import HeldOutCounts, TargetCounts
from imbalance_spark.threshold import MinCost
from imbalance_spark.threshold.decisions import Decisions, decisions_of
from imbalance_spark.train_only.strategies import Strategy, strategy_from_config

SETTINGS = {"spark.driver.memory": "3g", "spark.ui.showConsoleProgress": "false", "spark.log.level": "ERROR"}
_MARGIN = 0.01
_NUMERIC = (
    "amount", "amount_over_customer_mean", "items", "orders_last_24h", "customer_activity", "customer_age_days",
    "device_age_days", "distance_km", "session_seconds", "hour_of_day", "day_of_week",
)  # fmt: skip
_CATEGORICAL = ("country", "payment_method", "channel", "merchant_category")
_STRATEGIES = (
    "none", "class_weight", "scale_pos_weight", "balanced_sketch", "max_delta_step",
    {"kind": "undersample", "sampling_strategy": 0.1}, "focal",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class _Orders:
    """Rows in memory: features, the label that was drawn, and the probability that it was drawn with."""

    inputs: np.ndarray
    label: np.ndarray
    probability: np.ndarray

    def part(self, start: int, stop: int) -> "_Orders":
        rows = slice(start, stop)
        return _Orders(inputs=self.inputs[rows], label=self.label[rows], probability=self.probability[rows])

    def bootstrapped(self, seed: int) -> "_Orders":
        """Each row a Poisson number of times."""
        times = np.random.default_rng(seed).poisson(1.0, len(self.label))
        return _Orders(
            inputs=self.inputs.repeat(times, axis=0),
            label=self.label.repeat(times),
            probability=self.probability.repeat(times),
        )


@dataclass(frozen=True)
class _Case:
    """What is decided by: average precision, or the cost of what is served."""

    metric: str
    served: MinCost
    decisions: Decisions

    @property
    def words(self) -> str:
        return f"cost, FN:FP {self.served.fn:g}" if self.metric == COST else "AP"


@dataclass(frozen=True, kw_only=True)
class _Fit:
    """One fit: what is known of it from validation, and what it is truly worth in each case."""

    scored: ScoredStrategy
    true: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class _Advised:
    """An advice, and the true value of what it decides on, of the fit that serves, for each strategy."""

    advice: Advice
    highest: str
    true: dict[str, float]

    def regret(self, name: str) -> float:
        """What using a strategy truly loses against the best one: of the cost a share, of average precision points."""
        if self.advice.words == COST:
            return self.true[name] / min(self.true.values()) - 1.0
        return max(self.true.values()) - self.true[name]

    def is_better(self) -> bool:
        """Whether the advised strategy is truly better than plain boosting."""
        sign = -1.0 if self.advice.words == COST else 1.0
        return sign * (self.true[self.advice.use] - self.true[self.advice.plain]) > 0.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", type=_whole, default=100_000, help="rows to fit on, and of validation")
    parser.add_argument("--truth", type=_whole, default=300_000, help="rows whose probabilities judge the models")
    parser.add_argument("--ratios", type=int, nargs="+", default=[20, 200, 1000], help="orders a fraud, roughly")
    parser.add_argument("--seeds", type=int, default=6, help="draws of each severity")
    parser.add_argument(
        "--costs", type=float, nargs="+", default=[10, 100, 500, 2000], help="of a miss, in false alarms"
    )
    parser.add_argument("--rounds", type=int, default=60, help="boosting rounds")
    parser.add_argument(
        "--repeats", type=int, default=5, help="fits of each strategy; the advice is given with and without"
    )
    parser.add_argument("--workers", type=int, default=2, help="fits at a time, one thread each")


def _whole(text: str) -> int:
    return int(float(text))


def run(args: argparse.Namespace) -> dict[str, object]:
    results = []
    heads = ("1 in", "metric", "fits", "another", "truly better", "regret", "of highest", "of none")
    print("".join(f"{name:>18}" for name in heads))
    with spark_session("bench-advice", f"local[{args.workers}]", SETTINGS) as spark:
        for ratio in args.ratios:
            drawn = list(_advised_all(spark, ratio, args))
            for words, fits in drawn[0]:
                found = _summary([one[words, fits] for one in drawn])
                row = {"ratio": ratio, "metric": words, "fits": fits, **found}
                results.append(row)
                cells = (f"{value:>18.4f}" if isinstance(value, float) else f"{value:>18}" for value in row.values())
                print("".join(cells), flush=True)
    asked = {name: value for name, value in vars(args).items() if name != "name"}
    return {**asked, "results": results}


def _summary(found: Sequence[_Advised]) -> dict[str, float]:
    others = [one for one in found if one.advice.use != one.advice.plain]
    return {
        "advised_another": len(others),
        "of_these_truly_better": sum(one.is_better() for one in others),
        "regret": float(np.mean([one.regret(one.advice.use) for one in found])),
        "regret_of_highest": float(np.mean([one.regret(one.highest) for one in found])),
        "regret_of_none": float(np.mean([one.regret(one.advice.plain) for one in found])),
    }


def _advised_all(
    spark: SparkSession, ratio: int, args: argparse.Namespace
) -> Iterator[dict[tuple[str, int], _Advised]]:
    """One log for all draws: each has a stretch to fit on and one to validate on, and the last one holds the truth."""
    orders = _orders(spark, 2 * args.rows * args.seeds + args.truth, 1.0 / ratio)
    truth = orders.part(2 * args.rows * args.seeds, len(orders.label))
    for seed in range(args.seeds):
        start = 2 * args.rows * seed
        train, validation = (orders.part(at, at + args.rows) for at in (start, start + args.rows))
        yield _advised(train, validation, truth, args)


def _orders(spark: SparkSession, rows: int, prevalence: float) -> _Orders:
    log = generate_orders(spark, rows=rows, prevalence=prevalence, seed=11)
    coded = [F.pmod(F.xxhash64(name), F.lit(1 << 20)).cast("float").alias(name) for name in _CATEGORICAL]
    columns = [*[F.col(name).cast("float") for name in _NUMERIC], *coded, "is_fraud", TRUE_PROBABILITY]
    found = log.select("order_id", *columns).toPandas().sort_values("order_id")
    return _Orders(
        inputs=found[[*_NUMERIC, *_CATEGORICAL]].to_numpy(np.float32, na_value=np.nan),
        label=found["is_fraud"].to_numpy(),
        probability=found[TRUE_PROBABILITY].to_numpy(),
    )


def _advised(
    train: _Orders, validation: _Orders, truth: _Orders, args: argparse.Namespace
) -> dict[tuple[str, int], _Advised]:
    """The advice by what is decided by and number of fits."""
    cases = _cases(args.costs)
    strategies = [strategy_from_config(asked) for asked in _STRATEGIES]
    trains = [train, *[train.bootstrapped(seed) for seed in range(1, args.repeats)]]
    with ThreadPoolExecutor(args.workers) as threads:
        fits: dict[str, list[_Fit]] = {strategy.name: [] for strategy in strategies}
        for rows in trains:
            fit = partial(_fit, rows, validation, truth, cases, rounds=args.rounds)
            for strategy, found in zip(strategies, threads.map(fit, strategies), strict=True):
                fits[strategy.name].append(found)
    numbers = sorted({1, args.repeats})
    return {(case.words, number): _advise(fits, case, number) for case in cases for number in numbers}


def _cases(costs: Sequence[float]) -> tuple[_Case, ...]:
    rules = [MinCost(fn=cost, fp=1.0) for cost in costs]
    asked = [{"name": rule.key, "fn": rule.fn, "fp": rule.fp} for rule in rules]
    by_cost = tuple(_Case(COST, rule, decisions_of(asked, rule.name)) for rule in rules)
    return (replace(by_cost[0], metric="average_precision"), *by_cost)


def _advise(fits: dict[str, list[_Fit]], case: _Case, number: int) -> _Advised:
    results = [
        SimpleNamespace(name=name, scored=found[0].scored, repeats=tuple(one.scored for one in found[1:number]))
        for name, found in fits.items()
    ]
    plain = next(result for result in results if result.name == "none")
    gains = gains_over(results, plain, case.metric, case.decisions)  # type: ignore[arg-type]  # it reads these fields
    value = of_strategy(plain.scored, case.metric, case.decisions).value
    advice = Advice(plain="none", words=case.metric, gains=gains, margin=_MARGIN * value, share=_MARGIN)
    highest = max({"none": 0.0, **{name: gain.value for name, gain in gains.items()}}.items(), key=lambda one: one[1])
    true = {name: found[0].true[case.words] for name, found in fits.items()}
    return _Advised(advice=advice, highest=highest[0], true=true)


def _fit(
    train: _Orders, validation: _Orders, truth: _Orders, cases: Sequence[_Case], strategy: Strategy, *, rounds: int
) -> _Fit:
    """Counts on validation; average precision and cost as they are expected over all labels that could be drawn."""
    booster, correction = fit_strategy_native(strategy, train.inputs, train.label, rounds=rounds)

    def scores(orders: _Orders) -> np.ndarray:
        return sigmoid(correction.logit(booster.inplace_predict(orders.inputs, predict_type="margin")))

    held_out, true_scores = _held_out(validation.label, scores(validation)), scores(truth)
    scored = calibrate_and_choose(held_out, cases[0].decisions)
    calibrated = scored.calibration.calibrator.apply(true_scores)
    p = truth.probability
    expected, label = np.concatenate([p, 1.0 - p]), np.repeat([1, 0], len(p))

    def worth(case: _Case) -> float:
        if case.metric == COST:
            is_flagged = calibrated >= scored.chosen[case.served.name].by_target[0].threshold
            return float(np.where(is_flagged, 1.0 - p, case.served.fn * p).sum())
        return float(average_precision_score(label, np.tile(true_scores, 2), sample_weight=expected))

    return _Fit(scored=scored, true={case.words: worth(case) for case in cases})


def _held_out(label: np.ndarray, score: np.ndarray) -> HeldOutCounts:
    bucket = np.random.default_rng(8).integers(0, BUCKETS, len(label))
    parts = [bucket % 2 == number for number in (0, 1)]
    calibrate, choose = (ScoreCounts.from_arrays(label[mine], score[mine], exact_limit=0) for mine in parts)
    buckets = {VALIDATION: BucketCounts.from_arrays(bucket, label, score)}
    target = TargetCounts(calibrate=calibrate, choose=choose, test=choose, buckets=buckets, segments={})
    return HeldOutCounts(targets=(target,))
