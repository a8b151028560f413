"""Cost at the chosen threshold over that of the best one: our rule, searches, and scikit-learn's grid of 100 points."""

import argparse
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xgboost
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.metrics import confusion_matrix, make_scorer
from sklearn.model_selection import TunedThresholdClassifierCV

from imbalance_spark.calibration import fit_calibrator, fit_of
from imbalance_spark.core.columns import TRUE_PROBABILITY
from imbalance_spark.core.spark_session import spark_session
from imbalance_spark.metrics import Curve, ScoreCounts
from imbalance_spark.metrics.bucket_draws import BucketedCurve, HalvedCurve
from imbalance_spark.metrics.buckets import BUCKETS, BucketCounts
from imbalance_spark.orders.datasets.population import CATEGORICAL_FEATURES, NUMERIC_FEATURES
from imbalance_spark.orders.datasets.synthetic import generate_orders
from imbalance_spark.threshold import BayesCost, MinCost, choose_threshold, sweep
from imbalance_spark.threshold.choice import cut_at

MISS_COSTS = (10, 100, 500, 2000)
"""Cost of a missed positive; a false positive costs 1."""
FIT, EARLY_STOPPING, VALIDATION = 0.6, 0.7, 0.85
"""Where parts of the first `rows` rows end: fit, early stopping, validation; the rest is left out as a test fold is."""

_SETTINGS = {"spark.driver.memory": "3g", "spark.ui.enabled": "false", "spark.log.level": "ERROR"}
_PARAMS = {"objective": "binary:logistic", "eval_metric": "logloss", "tree_method": "hist", "max_depth": 6, "eta": 0.1}
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
    parser.add_argument("--rows", type=lambda text: int(float(text)), default=1_000_000, help="rows, validation 15 %%")
    parser.add_argument(
        "--test-rows", type=lambda text: int(float(text)), default=1_000_000, help="fresh rows to judge"
    )
    parser.add_argument(
        "--draws", type=int, default=5, help="validation folds to choose on: the split's, then fresh ones"
    )
    parser.add_argument("--prevalence", type=float, default=0.005, help="share of positives (default 0.005)")
    parser.add_argument("--rounds", type=int, default=500, help="most boosting rounds (default 500)")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--master", default="local[*]", help="Spark master")


def run(args: argparse.Namespace) -> dict[str, object]:
    rows, size = _orders(args), int(args.rows * VALIDATION) - int(args.rows * EARLY_STOPPING)
    score = _fit(rows.part(0, args.rows * FIT), rows.part(args.rows * FIT, args.rows * EARLY_STOPPING), args)
    test, first_fresh = rows.part(len(rows.label) - args.test_rows, len(rows.label)), args.rows
    starts = [int(args.rows * EARLY_STOPPING), *range(first_fresh, first_fresh + (args.draws - 1) * size, size)]
    folds = [rows.part(start, start + size) for start in starts]
    found = _all_regrets([(fold.label, score(fold.inputs)) for fold in folds], test.truth, score(test.inputs))
    positives = int(folds[0].label.sum())
    print(f"{args.rows:,} rows; {args.draws} validation folds of {size:,} rows, {positives:,} positives in the first;")
    print(f"expected cost on {args.test_rows:,} fresh rows over that of the best threshold for the same scores:")
    print("median over the folds (worst)")
    print(f"{'miss : alarm':>14}" + "".join(f"{name:>20}" for name in found[MISS_COSTS[0]]))
    for fn, ways in found.items():
        cells = [f"{np.median(values):.4f} ({max(values):.4f})" for values in ways.values()]
        print(f"{f'{fn} : 1':>14}" + "".join(f"{cell:>20}" for cell in cells))
    medians = {fn: {name: float(np.median(values)) for name, values in ways.items()} for fn, ways in found.items()}
    worst = {fn: {name: max(values) for name, values in ways.items()} for fn, ways in found.items()}
    return {
        "rows": args.rows, "test_rows": args.test_rows, "prevalence": args.prevalence, "seed": args.seed,
        "draws": args.draws, "validation_positives": positives,
        "first_fold": {fn: {name: values[0] for name, values in ways.items()} for fn, ways in found.items()},
        "median": medians, "worst": worst,
        "ours_regret": max(ways[_OURS] for ways in medians.values()),
        "peer_regret": max(ways[_PEER] for ways in medians.values()),
    }  # fmt: skip


def _orders(args: argparse.Namespace) -> Rows:
    """Generated orders; a row does not depend on how many follow, so the fresh rows are simply the next ones."""
    names = [*NUMERIC_FEATURES, *CATEGORICAL_FEATURES, "is_fraud", TRUE_PROBABILITY]
    with tempfile.TemporaryDirectory() as folder, spark_session("bench-regret", args.master, _SETTINGS) as spark:
        path = str(Path(folder) / "orders")
        fresh_folds = (args.draws - 1) * int(args.rows * (VALIDATION - EARLY_STOPPING) + 1)
        total = args.rows + fresh_folds + args.test_rows
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


def _fit(fit: Rows, stopping: Rows, args: argparse.Namespace) -> Callable[[np.ndarray], np.ndarray]:
    """Plain boosting, stopped by log loss on its own slice of the training rows."""
    params = {**_PARAMS, "base_score": float(fit.label.mean()), "seed": args.seed}
    booster = xgboost.train(
        params,
        xgboost.QuantileDMatrix(fit.inputs, fit.label),
        args.rounds,
        evals=[(xgboost.DMatrix(stopping.inputs, stopping.label), "slice")],
        early_stopping_rounds=30,
        verbose_eval=False,
    )
    kept = (0, booster.best_iteration + 1)
    return lambda inputs: booster.predict(xgboost.DMatrix(inputs), iteration_range=kept).astype(np.float64)


def _all_regrets(
    folds: list[tuple[np.ndarray, np.ndarray]], truth: np.ndarray, fresh: np.ndarray
) -> dict[int, dict[str, list[float]]]:
    """By the cost of a miss and the way to choose: the regret after choosing on each fold's labels and scores."""
    found: dict[int, dict[str, list[float]]] = {}
    for fn in MISS_COSTS:
        each = [_cost_ratios(_thresholds(label, score, fn), truth, fresh, fn) for label, score in folds]
        found[fn] = {name: [ratios[name] for ratios in each] for name in each[0]}
    return found


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
        "sweep on a half": sweep(parts[1].curve, objective).threshold,
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
