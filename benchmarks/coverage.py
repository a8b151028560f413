"""How often 95 % intervals hold the true value: simulated rows, alone, in groups, with weights, and cross-fitted.

Cross-fitted, models are fitted on the rows themselves, and the true value is that of the models of the folds.
"""

import argparse
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
from sklearn.linear_model import LogisticRegression

from imbalance_spark.calibration import fit_of
from imbalance_spark.metrics.bucket_draws import BucketedCurve
from imbalance_spark.metrics.buckets import BUCKETS, BucketCounts
from imbalance_spark.metrics.counts import ScoreCounts
from imbalance_spark.metrics.curve import Curve
from imbalance_spark.metrics.grid import LogitGrid
from imbalance_spark.metrics.intervals import bucket_intervals, paired_differences, with_unseen_errors
from imbalance_spark.threshold import MinCost
from imbalance_spark.threshold.choice import cut_at, threshold_interval
from imbalance_spark.threshold.rule import choose_again

DESIGNS = ("rows", "groups", "weights", "cross-fit")
_GRID = LogitGrid(bins=1_024)
_PER_GROUP = 5
_FIT = fit_of("platt_prior")
_FOLDS, _FEATURES, _SLOPE, _INTERCEPT = 5, 10, 0.65, -5.5
"""Of the cross-fit: log-odds of the same spread as those of the other designs, as a sum of independent features."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--draws", type=int, default=200, help="samples of each design")
    parser.add_argument("--rows", type=int, default=6_000, help="rows of a sample, about 3 %% positive")
    parser.add_argument("--truth", type=int, default=1_000_000, help="rows that the true values are taken from")
    parser.add_argument("--miss", type=float, default=10.0, help="cost of a missed positive, in false alarms")
    parser.add_argument("--designs", nargs="+", default=list(DESIGNS), choices=DESIGNS)
    parser.add_argument("--workers", type=int, default=2, help="processes")


def run(args: argparse.Namespace) -> dict[str, object]:
    found = {}
    print(f"share of {args.draws} samples of {args.rows:,} rows whose 95 % interval holds the true value")
    for design in args.designs:
        with ProcessPoolExecutor(args.workers) as workers:
            if design == "cross-fit":
                held = partial(_held_of_cross_fit, rows=args.rows, truth=args.truth // 5, miss=args.miss)
            else:
                true = _numbers(_sample(args.truth, design, 0), args.rows / args.truth, args.miss)
                held = partial(_held, rows=args.rows, design=design, true=true, miss=args.miss)
            each = list(workers.map(held, range(1, args.draws + 1), chunksize=5))
        found[design] = {name: float(np.mean([one[name] for one in each])) for name in each[0]}
        print(f"{design:<10}" + "".join(f"  {name} {share:.3f}" for name, share in found[design].items()), flush=True)
    return {"draws": args.draws, "rows": args.rows, "miss": args.miss, "coverage": found}


@dataclass(frozen=True)
class _Sample:
    """Rows that two models scored."""

    one: BucketedCurve
    other: BucketedCurve


def _sample(rows: int, design: str, seed: int) -> _Sample:
    """Rows of one design; the second model has more noise."""
    draw = np.random.default_rng(seed)
    logit = draw.normal(-5.5, 2.0, rows)
    bucket = draw.integers(0, BUCKETS, rows)
    if design == "groups":  # what the rows of a customer share
        group = np.arange(rows) // _PER_GROUP
        shared, of_group = draw.normal(0.0, 1.5, rows), draw.integers(0, BUCKETS, rows)
        logit, bucket = logit + shared[group], of_group[group]
    weights = draw.choice([1.0, 4.0], rows, p=[0.8, 0.2]) if design == "weights" else None
    label = draw.random(rows) < 1.0 / (1.0 + np.exp(-logit))

    def scored(noise: float) -> BucketedCurve:
        score = 1.0 / (1.0 + np.exp(-logit - noise * draw.normal(size=rows)))
        return _bucketed(bucket, label, score, weights)

    return _Sample(scored(0.5), scored(1.0))


def _bucketed(bucket: np.ndarray, label: np.ndarray, score: np.ndarray, weights: np.ndarray | None) -> BucketedCurve:
    counts = ScoreCounts.from_arrays(label, score, weights, exact_limit=0, grid=_GRID)
    return BucketedCurve(counts.curve(), BucketCounts.from_arrays(bucket, label, score, weights))


def _metrics(curve: Curve, miss: float) -> dict[str, float]:
    found = curve.average_precision()
    return {
        "average_precision": float("nan") if found is None else found,
        "cost": float(MinCost(fn=miss, fp=1).values(curve)[cut_at(curve, 1.0 / (1.0 + miss))]),
    }


def _choose(curve: Curve, miss: float) -> float:
    return choose_again(curve, MinCost(fn=miss, fp=1), _FIT)


def _numbers(sample: _Sample, scale: float, miss: float) -> dict[str, float]:
    """True values; costs are scaled to the rows of a sample."""
    one, other = _metrics(sample.one.curve, miss), _metrics(sample.other.curve, miss)
    return {
        "average_precision": one["average_precision"],
        "cost": one["cost"] * scale,
        "paired average_precision": one["average_precision"] - other["average_precision"],
        "paired cost": (one["cost"] - other["cost"]) * scale,
        "threshold": _choose(sample.one.curve, miss),
    }


def _held(seed: int, *, rows: int, design: str, true: dict[str, float], miss: float) -> dict[str, bool]:
    return _are_held(_sample(rows, design, seed), true, miss)


def _are_held(sample: _Sample, true: dict[str, float], miss: float) -> dict[str, bool]:
    """Which true values are within their intervals."""
    metrics = partial(_metrics, miss=miss)
    intervals = bucket_intervals(sample.one, metrics)
    paired = paired_differences(sample.one, sample.other, metrics)
    of_one_error = MinCost(fn=miss, fp=1).costs.of_one_error(sample.one)
    intervals["cost"] = with_unseen_errors(intervals["cost"], of_one_error, below=False)
    paired["cost"] = with_unseen_errors(paired["cost"], of_one_error, below=True)
    intervals |= {f"paired {name}": interval for name, interval in paired.items()}
    intervals["threshold"] = threshold_interval(sample.one, partial(_choose, miss=miss)).threshold
    return {name: bool(intervals[name].low <= value <= intervals[name].high) for name, value in true.items()}


def _held_of_cross_fit(seed: int, *, rows: int, truth: int, miss: float) -> dict[str, bool]:
    """Out-of-fold scores of two recipes, pooled over the folds, and what the models of the folds are truly worth."""
    draw = np.random.default_rng(seed)
    inputs, p = _drawn(draw, rows)
    label, bucket, fold = draw.random(rows) < p, draw.integers(0, BUCKETS, rows), draw.integers(0, _FOLDS, rows)
    others, chance = _drawn(draw, truth)
    of_other = np.arange(truth) % _FOLDS
    samples, truths = [], []
    for used in (_FEATURES, _FEATURES // 2):
        score, true_score = np.empty(rows), np.empty(truth)
        for number in range(_FOLDS):
            is_fitted = fold != number
            model = LogisticRegression().fit(inputs[is_fitted, :used], label[is_fitted])
            score[~is_fitted] = model.predict_proba(inputs[~is_fitted, :used])[:, 1]
            true_score[of_other == number] = model.predict_proba(others[of_other == number, :used])[:, 1]
        samples.append(_bucketed(bucket, label, score, None))
        # Both labels of a row, each with its probability, have less noise than one drawn label.
        both, weight = np.repeat([True, False], truth), np.concatenate([chance, 1.0 - chance])
        truths.append(_bucketed(np.zeros(2 * truth, np.int64), both, np.tile(true_score, 2), weight))
    return _are_held(_Sample(*samples), _numbers(_Sample(*truths), rows / truth, miss), miss)


def _drawn(draw: np.random.Generator, rows: int) -> tuple[np.ndarray, np.ndarray]:
    inputs = draw.normal(size=(rows, _FEATURES))
    return inputs, 1.0 / (1.0 + np.exp(-_INTERCEPT - _SLOPE * inputs.sum(axis=1)))
