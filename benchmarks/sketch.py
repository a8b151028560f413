"""Weights, the step bound and the balanced sketch on three kinds of data: AP, and mean raw score over the prior."""

import argparse
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
from sklearn.metrics import average_precision_score

from benchmarks.native import fit_native
from imbalance_spark.train_only.config import TrainingConfig
from imbalance_spark.train_only.strategies import Strategy, strategy_from_config

_KINDS = ("none", "scale_pos_weight", "class_weight", "balanced_sketch")
_STEPS = (0, 1)
"""`max_delta_step`: none, and 1."""
_FEATURES = 10

Draw = Callable[[np.random.Generator, int, float], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True, kw_only=True)
class _Data:
    """Rows to fit on and rows to judge by, drawn alike."""

    inputs: np.ndarray
    label: np.ndarray
    test_inputs: np.ndarray
    test_label: np.ndarray


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--rows", type=lambda text: int(float(text)), default=300_000, help="rows to fit on, and to test"
    )
    parser.add_argument("--ratios", type=int, nargs="+", default=[200, 500, 5000], help="negatives a positive, roughly")
    parser.add_argument("--seeds", type=int, default=4, help="draws of each kind of data")
    parser.add_argument("--rounds", type=int, default=80, help="boosting rounds")
    parser.add_argument("--workers", type=int, default=2, help="fits at a time, one thread each")
    parser.add_argument("--data", nargs="+", default=list(_DATA), choices=list(_DATA), help="kinds of data")


def run(args: argparse.Namespace) -> dict[str, object]:
    found = []
    print(f"{'data':<12}{'1 in':>7}  {'strategy':<36}{'AP':>8}{'worst':>8}{'best':>8}{'mean p / prior':>16}")
    for data in args.data:
        for ratio in args.ratios:
            for name, runs in _judged_all(_DATA[data], ratio, args).items():
                row = _summary(runs)
                found.append({"data": data, "ratio": ratio, "strategy": name, **row})
                print(
                    f"{data:<12}{ratio:>7}  {name:<36}{row['ap']:>8.4f}{row['ap_worst']:>8.4f}{row['ap_best']:>8.4f}"
                    f"{row['mean_p_over_prior']:>16.3g}",
                    flush=True,
                )
    asked = {name: value for name, value in vars(args).items() if name != "name"}
    return {**asked, "fits": len(found) * args.seeds, "results": found}


def _judged_all(draw: Draw, ratio: int, args: argparse.Namespace) -> dict[str, list[tuple[float, float]]]:
    """By strategy, its figures on each draw; all strategies see the same draws. One thread a fit, fits side by side."""
    recipes = dict(_recipes())
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in recipes}
    with ThreadPoolExecutor(args.workers) as threads:
        for seed in range(args.seeds):
            judge = partial(_judged, _drawn(draw, args.rows, ratio, seed), rounds=args.rounds)
            for name, figures in zip(recipes, threads.map(judge, recipes.values()), strict=True):
                found[name].append(figures)
    return found


def _recipes() -> Iterator[tuple[str, Strategy]]:
    for kind in _KINDS:
        for step in _STEPS:
            if kind != "balanced_sketch" or step == 0:
                name = kind if step == 0 else f"{kind} max_delta_step {step}"
                params = {"max_delta_step": float(step)} if step else {}
                yield name, strategy_from_config({"kind": kind, "params": params})


def _drawn(draw: Draw, rows: int, ratio: int, seed: int) -> _Data:
    draws = np.random.default_rng([seed, ratio])
    (inputs, label), (test_inputs, test_label) = (draw(draws, rows, 1.0 / ratio) for _ in range(2))
    return _Data(inputs=inputs, label=label, test_inputs=test_inputs, test_label=test_label)


def _judged(data: _Data, strategy: Strategy, *, rounds: int) -> tuple[float, float]:
    """Average precision, and mean raw score over the prior, on the rows to judge by."""
    positives = int(data.label.sum())
    counts = {0: len(data.label) - positives, 1: positives}
    recipe = strategy.resolve(counts, TrainingConfig())
    booster = fit_native(recipe, data.inputs, data.label, rounds=rounds)
    scores = booster.inplace_predict(data.test_inputs)
    precision = float(average_precision_score(data.test_label, scores))
    return precision, float(scores.mean() / data.test_label.mean())


def _summary(runs: list[tuple[float, float]]) -> dict[str, float]:
    precision, share = np.array(runs).T
    return {
        "ap": round(float(precision.mean()), 4), "ap_worst": round(float(precision.min()), 4),
        "ap_best": round(float(precision.max()), 4), "mean_p_over_prior": round(float(share.mean()), 4),
    }  # fmt: skip


def _thin_region(draws: np.random.Generator, rows: int, prior: float) -> tuple[np.ndarray, np.ndarray]:
    """Most positives lie in an interval of one feature that holds twice as many rows as there are positives."""
    inputs = draws.random((rows, _FEATURES)).astype(np.float32)
    is_inside = np.abs(inputs[:, 0] - 0.37) < prior
    probability = np.where(is_inside, np.where(inputs[:, 1] > 0.5, 0.75, 0.15), 0.1 * prior)
    return inputs, (draws.random(rows) < probability).astype(np.int8)


def _heavy_tailed(draws: np.random.Generator, rows: int, prior: float) -> tuple[np.ndarray, np.ndarray]:
    """Log-normal features; log-odds grow with three of them and the product of two."""
    logs = draws.normal(size=(rows, _FEATURES))
    signal = 1.2 * logs[:, 0] + 0.8 * np.maximum(logs[:, 1], 0.0) + 0.7 * logs[:, 2] * (logs[:, 3] > 0.5)
    return np.exp(1.5 * logs).astype(np.float32), _labels(draws, 1.3 * signal, prior)


def _overlapping(draws: np.random.Generator, rows: int, prior: float) -> tuple[np.ndarray, np.ndarray]:
    """Normal features of equal spread whose means differ by half a standard deviation in three of them."""
    inputs = draws.normal(size=(rows, _FEATURES))
    return inputs.astype(np.float32), _labels(draws, 0.5 * inputs[:, :3].sum(axis=1), prior)


def _labels(draws: np.random.Generator, log_odds: np.ndarray, prior: float) -> np.ndarray:
    """Labels whose mean probability is the prior; the intercept by bisection."""
    low, high = -40.0, 20.0
    for _ in range(60):
        middle = (low + high) / 2
        is_high = (1 / (1 + np.exp(-(log_odds + middle)))).mean() > prior
        low, high = (low, middle) if is_high else (middle, high)
    return np.asarray(draws.random(len(log_odds)) < 1 / (1 + np.exp(-(log_odds + low))), np.int8)


_DATA: dict[str, Draw] = {"thin region": _thin_region, "heavy tails": _heavy_tailed, "overlap": _overlapping}
