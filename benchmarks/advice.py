"""Is the advice right? Generated orders, whose true probabilities say how good each fitted model really is."""

import argparse
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace

import numpy as np
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from sklearn.metrics import average_precision_score

from benchmarks.native import fit_native
from imbalance_spark.comparison.advice import Advice, advise, joint_level
from imbalance_spark.comparison.evaluate import gains
from imbalance_spark.core.columns import TRUE_PROBABILITY, VALIDATION
from imbalance_spark.core.spark_session import spark_session
from imbalance_spark.metrics.buckets import BUCKETS, BucketCounts
from imbalance_spark.metrics.counts import ScoreCounts
from imbalance_spark.metrics.intervals import Interval
from imbalance_spark.orders.datasets.synthetic import generate_orders
from imbalance_spark.scoring.held_out_counts import HeldOutCounts, TargetCounts
from imbalance_spark.train_only.config import BoosterParams, TrainingConfig
from imbalance_spark.train_only.strategies import Strategy, strategy_from_config

SETTINGS = {"spark.driver.memory": "3g", "spark.ui.showConsoleProgress": "false", "spark.log.level": "ERROR"}
_METRIC = "average_precision"
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


@dataclass(frozen=True, kw_only=True)
class _Advised:
    """An advice, and what each strategy truly gains over plain boosting."""

    advice: Advice
    true_gains: dict[str, float]

    @property
    def gain(self) -> float:
        """What following the advice truly gains."""
        return self.true_gains[self.advice.use]

    @property
    def held(self) -> int:
        """Intervals that hold the true gain."""
        return sum(gain.low <= self.true_gains[name] <= gain.high for name, gain in self.advice.gains.items())


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", type=_whole, default=100_000, help="rows to fit on, and of validation")
    parser.add_argument("--truth", type=_whole, default=300_000, help="rows whose probabilities judge the models")
    parser.add_argument("--ratios", type=int, nargs="+", default=[20, 200, 1000], help="orders a fraud, roughly")
    parser.add_argument("--seeds", type=int, default=6, help="draws of each severity")
    parser.add_argument("--rounds", type=int, default=60, help="boosting rounds")
    parser.add_argument("--workers", type=int, default=2, help="fits at a time, one thread each")


def _whole(text: str) -> int:
    return int(float(text))


def run(args: argparse.Namespace) -> dict[str, object]:
    results = []
    print(
        f"{'1 in':>6}{'seed':>5}  {'advice':<18}{'its true gain':>14}  {'truly highest':<18}{'gain':>8}  intervals held"
    )
    with spark_session("bench-advice", f"local[{args.workers}]", SETTINGS) as spark:
        for ratio in args.ratios:
            found = list(_advised_all(spark, ratio, args))
            for seed, one in enumerate(found):
                highest = max(one.true_gains, key=lambda name: one.true_gains[name])
                print(
                    f"{ratio:>6}{seed:>5}  {one.advice.use:<18}{one.gain:>14.4f}  {highest:<18}"
                    f"{one.true_gains[highest]:>8.4f}  {one.held} of {len(one.advice.gains)}",
                    flush=True,
                )
            results.append({"ratio": ratio, **_summary(found)})
    asked = {name: value for name, value in vars(args).items() if name != "name"}
    return {**asked, "results": results}


def _summary(found: Sequence[_Advised]) -> dict[str, float]:
    intervals = sum(len(one.advice.gains) for one in found)
    return {
        "advised_another": sum(one.advice.use != one.advice.plain for one in found),
        "of_these_truly_better": sum(one.gain > 0.0 for one in found),
        "mean_true_gain": round(float(np.mean([one.gain for one in found])), 5),
        "mean_true_gain_of_highest_on_validation": round(
            float(np.mean([one.true_gains[one.advice.highest] for one in found])), 5
        ),
        "mean_true_gain_possible": round(float(np.mean([max(one.true_gains.values()) for one in found])), 5),
        "intervals": intervals,
        "intervals_that_held": sum(one.held for one in found),
    }


def _advised_all(spark: SparkSession, ratio: int, args: argparse.Namespace) -> Iterator[_Advised]:
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


def _advised(train: _Orders, validation: _Orders, truth: _Orders, args: argparse.Namespace) -> _Advised:
    strategies = [strategy_from_config(asked) for asked in _STRATEGIES]
    with ThreadPoolExecutor(args.workers) as threads:
        judge = partial(_evaluated, train, validation, truth, rounds=args.rounds)
        judged = list(threads.map(judge, strategies))
    results = [SimpleNamespace(name=s.name, held_out=counts) for s, (counts, _) in zip(strategies, judged, strict=True)]
    true = {s.name: value for s, (_, value) in zip(strategies, judged, strict=True)}
    true_gains = {name: value - true["none"] for name, value in true.items()}
    return _Advised(advice=_advice(results), true_gains=true_gains)


def _advice(results: list[SimpleNamespace]) -> Advice:
    results.sort(key=lambda result: -result.held_out.target.validation.curve().average_precision())
    [plain] = [result for result in results if result.name == "none"]
    usual, joint = (_gains(results, plain, level) for level in (0.95, joint_level(len(results) - 1)))
    return advise([result.name for result in results], plain.name, usual, joint)


def _gains(results: list[SimpleNamespace], plain: SimpleNamespace, level: float) -> dict[str, Interval]:
    return gains(results, plain, _METRIC, level=level)  # type: ignore[arg-type]  # it reads names and counts alone


def _evaluated(
    train: _Orders, validation: _Orders, truth: _Orders, strategy: Strategy, *, rounds: int
) -> tuple[HeldOutCounts, float]:
    """Counts on validation, and average precision as it is expected over all labels that could have been drawn."""
    positives = int(train.label.sum())
    counts = {0: len(train.label) - positives, 1: positives}
    kept, rows = _sampled(train.label, counts, strategy)
    training = TrainingConfig(params=BoosterParams(max_depth=5))
    recipe = strategy.resolve(counts, training, kept)
    booster = fit_native(recipe, train.inputs[rows], train.label[rows], rounds=rounds)

    def scores(orders: _Orders) -> np.ndarray:
        margin = booster.inplace_predict(orders.inputs, predict_type="margin")
        return np.exp(-np.logaddexp(0.0, -recipe.prior_shift.correction().logit(margin)))

    expected = np.concatenate([truth.probability, 1.0 - truth.probability])
    label = np.repeat([1, 0], len(truth.label))
    found = average_precision_score(label, np.tile(scores(truth), 2), sample_weight=expected)
    return _held_out(validation.label, scores(validation)), float(found)


def _sampled(label: np.ndarray, counts: dict[int, int], strategy: Strategy) -> tuple[dict[int, float], np.ndarray]:
    """Kept share of each class and the rows: whole, but for a strategy that samples."""
    wanted = strategy.planned_rows(dict(counts.items()))[0]
    negatives = np.random.default_rng(7).permutation(np.flatnonzero(label == 0))[:wanted]
    return {0: wanted / counts[0], 1: 1.0}, np.sort(np.concatenate([negatives, np.flatnonzero(label == 1)]))


def _held_out(label: np.ndarray, score: np.ndarray) -> HeldOutCounts:
    bucket = np.random.default_rng(8).integers(0, BUCKETS, len(label))
    parts = [bucket % 2 == number for number in (0, 1)]
    calibrate, choose = (ScoreCounts.from_arrays(label[mine], score[mine], exact_limit=0) for mine in parts)
    buckets = {VALIDATION: BucketCounts.from_arrays(bucket, label, score)}
    target = TargetCounts(calibrate=calibrate, choose=choose, test=choose, buckets=buckets, segments={})
    return HeldOutCounts(targets=(target,))
