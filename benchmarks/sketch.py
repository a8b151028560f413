"""Weights, the step bound and the balanced sketch on three kinds of data: AP, and mean raw score over the prior."""

import argparse
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
from sklearn.metrics import average_precision_score

from benchmarks.made_data import MADE, Draw, labels_of
from benchmarks.native import fit_native
from imbalance_spark.train_only.config import TrainingConfig
from imbalance_spark.train_only.strategies import Strategy, strategy_from_config

_KINDS = ("none", "scale_pos_weight", "class_weight", "balanced_sketch")
_STEPS = (0, 1)
"""`max_delta_step`: none, and 1."""


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
    parser.add_argument("--data", nargs="+", default=list(MADE), choices=list(MADE), help="kinds of data")


def run(args: argparse.Namespace) -> dict[str, object]:
    found = []
    print(f"{'data':<12}{'1 in':>7}  {'strategy':<36}{'AP':>8}{'worst':>8}{'best':>8}{'mean p / prior':>16}")
    for data in args.data:
        for ratio in args.ratios:
            for name, runs in _judged_all(MADE[data], ratio, args).items():
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
    (inputs, label), (test_inputs, test_label) = (_labelled(draws, draw, rows, 1.0 / ratio) for _ in range(2))
    return _Data(inputs=inputs, label=label, test_inputs=test_inputs, test_label=test_label)


def _labelled(draws: np.random.Generator, draw: Draw, rows: int, prior: float) -> tuple[np.ndarray, np.ndarray]:
    inputs, probability = draw(draws, rows, prior)
    return inputs, labels_of(draws, probability)


def _judged(data: _Data, strategy: Strategy, *, rounds: int) -> tuple[float, float]:
    """Average precision, and mean raw score over the prior, on the rows to judge by."""
    positives = int(data.label.sum())
    counts = {0: len(data.label) - positives, 1: positives}
    recipe = strategy.resolve(counts, TrainingConfig(engine="xgboost_spark"))
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
