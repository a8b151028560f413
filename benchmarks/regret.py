"""What a threshold costs above the best one: our rule, searches, raw probabilities, scikit-learn's grid of 100 points.

Boosters of several strategies, validation samples of few to many positives, several costs of a missed positive.
"""

import argparse
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.metrics import confusion_matrix, make_scorer
from sklearn.model_selection import TunedThresholdClassifierCV

from benchmarks.native import fit_strategy_native
from imbalance_spark.calibration import fit_calibrator, fit_of
from imbalance_spark.core.arrays import sigmoid
from imbalance_spark.core.columns import TRUE_PROBABILITY
from imbalance_spark.core.spark_session import spark_session
from imbalance_spark.metrics import Curve, ScoreCounts
from imbalance_spark.metrics.bucket_draws import BucketedCurve, HalvedCurve
from imbalance_spark.metrics.buckets import BUCKETS, BucketCounts
from imbalance_spark.orders.datasets.population import CATEGORICAL_FEATURES, NUMERIC_FEATURES
from imbalance_spark.orders.datasets.synthetic import generate_orders
from imbalance_spark.threshold import BayesCost, MinCost, choose_threshold, sweep
from imbalance_spark.threshold.choice import cut_at
from imbalance_spark.train_only.strategies import Strategy, strategy_from_config

MISS_COSTS = (10, 100, 500, 2000)
"""Cost of a missed positive; a false positive costs 1."""
STRATEGIES = (
    "none", "class_weight", "scale_pos_weight", "balanced_sketch", {"kind": "undersample", "sampling_strategy": 0.1},
)  # fmt: skip

_SETTINGS = {"spark.driver.memory": "3g", "spark.ui.enabled": "false", "spark.log.level": "ERROR"}
_OURS, _PEER = "rule", "100-point grid"


@dataclass(frozen=True)
class Rows:
    """Rows in memory: inputs (float32, NaN is missing), labels, and the probability that each label was drawn with."""

    inputs: np.ndarray
    label: np.ndarray
    truth: np.ndarray

    def part(self, start: float, end: float) -> "Rows":
        return Rows(
            self.inputs[int(start) : int(end)], self.label[int(start) : int(end)], self.truth[int(start) : int(end)]
        )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", type=_whole, default=400_000, help="rows to fit on")
    parser.add_argument("--test-rows", type=_whole, default=500_000, help="fresh rows to judge")
    parser.add_argument("--positives", type=int, nargs="+", default=[5, 10, 30, 100, 300, 1000, 3000])
    parser.add_argument("--draws", type=int, default=5, help="validation samples of each size")
    parser.add_argument("--prevalence", type=float, default=0.005, help="share of positives (default 0.005)")
    parser.add_argument("--rounds", type=int, default=100, help="boosting rounds (default 100)")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--master", default="local[*]", help="Spark master")


def _whole(text: str) -> int:
    return int(float(text))


def run(args: argparse.Namespace) -> dict[str, object]:
    pool = int(1.2 * max(args.positives) / args.prevalence)
    rows = _orders(args.rows + pool + args.test_rows, args)
    fit, fresh = rows.part(0, args.rows), rows.part(args.rows, args.rows + pool)
    test = rows.part(args.rows + pool, len(rows.label))
    found: dict[tuple[int, str], list[float]] = {}
    by_cost: dict[tuple[int, str], list[float]] = {}
    for asked in STRATEGIES:
        score = _fitted(fit, strategy_from_config(asked), args.rounds)
        of_fresh, of_test = score(fresh.inputs), score(test.inputs)
        for positives in args.positives:
            for sample in _samples(fresh.label, positives, args.draws):
                for fn in MISS_COSTS:
                    chosen = _thresholds(fresh.label[sample], of_fresh[sample], fn)
                    for way, ratio in _cost_ratios(chosen, test.truth, of_test, fn).items():
                        found.setdefault((positives, way), []).append(ratio - 1.0)
                        by_cost.setdefault((fn, way), []).append(ratio - 1.0)
    ways = list(dict.fromkeys(way for _, way in found))
    everywhere = {way: [v for (_, name), values in found.items() if name == way for v in values] for way in ways}
    print(f"Mean regret in % over {len(STRATEGIES)} strategies, {args.draws} samples and FN:FP {MISS_COSTS}")
    print(f"{'rule':<24}" + "".join(f"{f'{n:,} pos.':>12}" for n in args.positives) + f"{'90th perc.':>12}")
    for way in ways:
        cells = [100.0 * float(np.mean(found[n, way])) for n in args.positives]
        print(f"{way:<24}" + "".join(f"{v:>12.3g}" for v in [*cells, 100.0 * float(np.quantile(everywhere[way], 0.9))]))
    print(f"{'by FN:FP':<24}" + "".join(f"{fn:>12}" for fn in MISS_COSTS))
    for way in ways:
        print(f"{way:<24}" + "".join(f"{100.0 * float(np.mean(by_cost[fn, way])):>12.3g}" for fn in MISS_COSTS))
    return {
        "rows": args.rows, "test_rows": args.test_rows, "prevalence": args.prevalence, "seed": args.seed,
        "draws": args.draws,
        "mean_regret": {way: {n: round(float(np.mean(found[n, way])), 6) for n in args.positives} for way in ways},
        "by_miss_cost": {way: {fn: round(float(np.mean(by_cost[fn, way])), 6) for fn in MISS_COSTS} for way in ways},
        "percentile_90": {way: round(float(np.quantile(values, 0.9)), 6) for way, values in everywhere.items()},
        "ours_regret": round(float(np.mean(everywhere[_OURS])), 6),
        "peer_regret": round(float(np.mean(everywhere[_PEER])), 6),
    }  # fmt: skip


def _samples(label: np.ndarray, positives: int, draws: int) -> Iterator[np.ndarray]:
    """Row numbers of samples with exactly so many positives at the pool's rate, as a stratified split gives them."""
    by_class = [np.flatnonzero(label == k) for k in (0, 1)]
    sizes = (round(positives * len(by_class[0]) / len(by_class[1])), positives)
    for seed in range(draws):
        draw = np.random.default_rng(seed)
        yield np.sort(np.concatenate([draw.choice(r, n, replace=False) for r, n in zip(by_class, sizes, strict=True)]))


def _orders(total: int, args: argparse.Namespace) -> Rows:
    """Generated orders; a row does not depend on how many follow."""
    names = [*NUMERIC_FEATURES, *CATEGORICAL_FEATURES, "is_fraud", TRUE_PROBABILITY]
    with tempfile.TemporaryDirectory() as folder, spark_session("bench-regret", args.master, _SETTINGS) as spark:
        path = str(Path(folder) / "orders")
        orders = generate_orders(spark, rows=total, prevalence=args.prevalence, seed=args.seed)
        orders.select("order_id", *names).write.parquet(path)
        table = pq.read_table(path).sort_by("order_id")
    columns = [_as_float(table[name]) for name in (*NUMERIC_FEATURES, *CATEGORICAL_FEATURES)]
    return Rows(np.column_stack(columns), table["is_fraud"].to_numpy(), table[TRUE_PROBABILITY].to_numpy())


def _as_float(column: pa.ChunkedArray) -> np.ndarray:
    values = column.combine_chunks()
    if pa.types.is_string(values.type):
        values = values.dictionary_encode().indices
    return values.to_numpy(zero_copy_only=False).astype(np.float32)


def _fitted(rows: Rows, strategy: Strategy, rounds: int) -> Callable[[np.ndarray], np.ndarray]:
    """Corrected probabilities of a strategy's booster, from its inputs."""
    booster, correction = fit_strategy_native(strategy, rows.inputs, rows.label, rounds=rounds)

    def score(inputs: np.ndarray) -> np.ndarray:
        return sigmoid(correction.logit(booster.inplace_predict(inputs, predict_type="margin")))

    return score


def _thresholds(label: np.ndarray, score: np.ndarray, fn: float) -> dict[str, float]:
    """What each way chooses; a job counts in bins."""
    objective = MinCost(fn=fn, fp=1)
    halves = [np.arange(len(label)) % 2 == half for half in (0, 1)]
    whole, *parts = (_bucketed(label, score, kept) for kept in (np.ones(len(label), dtype=bool), *halves))
    calibrator = fit_calibrator(whole).calibrator
    chosen = choose_threshold(HalvedCurve(whole, (parts[0], parts[1])), objective, fit_of(calibrator.method))
    own = Curve.of(whole.curve.counts, calibrator.apply)
    cut = cut_at(own, chosen.threshold)
    exact = ScoreCounts.from_arrays(label, score).curve()
    return {
        _OURS: float(whole.curve.threshold[cut]),
        "earlier rule": sweep(parts[1].curve, objective).threshold,
        "sweep on all": sweep(exact, objective).threshold,
        "closed form on raw p": sweep(exact, BayesCost(fn=fn, fp=1)).threshold,
        _PEER: _peer_threshold(label, score, fn),
    }


def _bucketed(label: np.ndarray, score: np.ndarray, kept: np.ndarray) -> BucketedCurve:
    """Rows are their own groups; even ones are in even buckets."""
    bucket = np.arange(len(label)) % BUCKETS
    counts = ScoreCounts.from_arrays(label[kept], score[kept])
    return BucketedCurve(counts.curve(), BucketCounts.from_arrays(bucket[kept], label[kept], score[kept]))


def _cost_ratios(thresholds: Mapping[str, float], truth: np.ndarray, score: np.ndarray, fn: float) -> dict[str, float]:
    """In plain numpy, apart from what is judged: a flagged row costs 1 - truth, any other fn times truth."""
    order = np.argsort(-score, kind="stable")
    change = np.concatenate([[0.0], np.cumsum((1.0 - truth - fn * truth)[order])])
    is_cut = np.concatenate([[True], np.diff(score[order]) < 0.0, [True]])  # rows of one score go together
    everything = fn * truth.sum()
    best = everything + change[is_cut].min()
    flagged = {name: int(np.count_nonzero(score >= threshold)) for name, threshold in thresholds.items()}
    return {name: round(float((everything + change[rows]) / best), 6) for name, rows in flagged.items()}


class _Scores(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A fitted classifier whose only input is its own score."""

    def fit(self, scores: np.ndarray, label: np.ndarray) -> "_Scores":
        self.classes_ = np.array([0, 1])
        return self

    def predict_proba(self, scores: np.ndarray) -> np.ndarray:
        return np.column_stack([1.0 - scores[:, 0], scores[:, 0]])


def _peer_threshold(label: np.ndarray, score: np.ndarray, fn: float) -> float:
    def gain(truth: np.ndarray, predicted: np.ndarray) -> float:
        matrix: Any = confusion_matrix(truth, predicted)
        return -float(fn * matrix[1, 0] + matrix[0, 1])

    inputs = score[:, np.newaxis]
    model = TunedThresholdClassifierCV(
        _Scores().fit(inputs, label), scoring=make_scorer(gain), thresholds=100, cv="prefit", refit=False
    )
    return float(model.fit(inputs, label).best_threshold_)
