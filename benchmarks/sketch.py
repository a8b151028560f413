"""Weights, the step bound and the balanced sketch on three kinds of data: AP, and mean raw score over the prior.

In memory, or with `--trainer spark` by the distributed fit, on two real logs as well: cuts that are given to XGBoost
against those that its sketch finds when weights make it look.
"""

import argparse
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial

import numpy as np
from sklearn.metrics import average_precision_score

from benchmarks.made_data import MADE, Draw, labels_of
from benchmarks.native import fit_native
from benchmarks.regret_data import REAL, SETTINGS, rows_of
from benchmarks.spark_fit import fit_by_spark
from imbalance_spark.core.arrays import sigmoid
from imbalance_spark.core.spark_session import spark_session
from imbalance_spark.scoring.boosters import margins_of_matrix
from imbalance_spark.train_only.config import EngineName, TrainingConfig
from imbalance_spark.train_only.strategies import Strategy, strategy_from_config

_KINDS = ("none", "scale_pos_weight", "class_weight", "balanced_sketch")
_STEPS = (0, 1)
"""`max_delta_step`: none, and 1."""
_ON_SPARK: dict[str, tuple[EngineName, dict[str, str]]] = {
    "none": ("native", {"kind": "none"}),
    "balanced_sketch, cuts given": ("native", {"kind": "balanced_sketch"}),
    "balanced_sketch, by weights": ("xgboost_spark", {"kind": "balanced_sketch"}),
    "class_weight, balanced cuts given": ("native", {"kind": "class_weight"}),
    "class_weight, plain cuts given": ("native", {"kind": "class_weight", "cuts": "plain"}),
    "class_weight, by weights": ("xgboost_spark", {"kind": "class_weight"}),
}
"""Engine and strategy: `xgboost_spark` leaves the cuts to XGBoost, whose sketch heeds the weight column."""

Judge = Callable[["_Data"], tuple[float, float]]


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
    parser.add_argument("--data", nargs="+", default=list(MADE), choices=[*MADE, *REAL], help="kinds of data")
    parser.add_argument(
        "--trainer", default="memory", choices=["memory", "spark"], help="XGBoost in memory, or the distributed fit"
    )
    parser.add_argument("--master", default="local[2]", help="of Spark")


def run(args: argparse.Namespace) -> dict[str, object]:
    # One session for all that need one.
    needs_spark = args.trainer == "spark" or set(args.data) & set(REAL)
    with spark_session("bench-sketch", args.master, SETTINGS) if needs_spark else nullcontext():
        return _run(args)


def _run(args: argparse.Namespace) -> dict[str, object]:
    found = []
    print(f"{'data':<12}{'1 in':>7}  {'strategy':<36}{'AP':>8}{'worst':>8}{'best':>8}{'mean p / prior':>16}")
    for data in args.data:
        # A real log is what it is.
        for ratio in args.ratios if data in MADE else [0]:
            for name, runs in _judged_all(data, ratio, args).items():
                row = _summary(runs)
                found.append({"data": data, "ratio": ratio, "strategy": name, **row})
                print(
                    f"{data:<12}{ratio:>7}  {name:<36}{row['ap']:>8.4f}{row['ap_worst']:>8.4f}{row['ap_best']:>8.4f}"
                    f"{row['mean_p_over_prior']:>16.3g}",
                    flush=True,
                )
    asked = {name: value for name, value in vars(args).items() if name != "name"}
    return {**asked, "fits": sum(row["draws"] for row in found), "results": found}


def _judged_all(data: str, ratio: int, args: argparse.Namespace) -> dict[str, list[tuple[float, float]]]:
    """By strategy, its figures on each draw; all strategies see the same draws."""
    judges = dict(_on_spark(args) if args.trainer == "spark" else _in_memory(args))
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in judges}
    # In memory one thread a fit, fits side by side.
    with ThreadPoolExecutor(1 if args.trainer == "spark" else args.workers) as threads:
        for rows in _drawn(data, ratio, args):
            judged = threads.map(lambda judge, rows=rows: judge(rows), judges.values())
            for name, figures in zip(judges, judged, strict=True):
                found[name].append(figures)
    return found


def _in_memory(args: argparse.Namespace) -> Iterator[tuple[str, Judge]]:
    for name, strategy in _recipes():
        yield name, partial(_judged, strategy=strategy, rounds=args.rounds)


def _on_spark(args: argparse.Namespace) -> Iterator[tuple[str, Judge]]:
    for name, (engine, entry) in _ON_SPARK.items():
        training = TrainingConfig(
            engine=engine, rounds=args.rounds, early_stopping_rounds=args.rounds, num_workers=args.workers
        )
        yield name, partial(_judged_on_spark, strategy=strategy_from_config(entry), training=training, args=args)


def _recipes() -> Iterator[tuple[str, Strategy]]:
    for kind in _KINDS:
        for step in _STEPS:
            if kind != "balanced_sketch" or step == 0:
                name = kind if step == 0 else f"{kind} max_delta_step {step}"
                params = {"max_delta_step": float(step)} if step else {}
                yield name, strategy_from_config({"kind": kind, "params": params})


def _drawn(data: str, ratio: int, args: argparse.Namespace) -> Iterator[_Data]:
    if data in REAL:
        fit, _, judged = rows_of(
            data, argparse.Namespace(**vars(args), seed=7, positives=[1], prevalence=1.0, test_rows=0)
        )
        yield _Data(inputs=fit.inputs, label=fit.label, test_inputs=judged.inputs, test_label=judged.label)
        return
    for seed in range(args.seeds):
        draws = np.random.default_rng([seed, ratio])
        (inputs, label), (test_inputs, test_label) = (
            _labelled(draws, MADE[data], args.rows, 1.0 / ratio) for _ in range(2)
        )
        yield _Data(inputs=inputs, label=label, test_inputs=test_inputs, test_label=test_label)


def _labelled(draws: np.random.Generator, draw: Draw, rows: int, prior: float) -> tuple[np.ndarray, np.ndarray]:
    inputs, probability = draw(draws, rows, prior)
    return inputs, labels_of(draws, probability)


def _judged(data: _Data, strategy: Strategy, *, rounds: int) -> tuple[float, float]:
    """Average precision, and mean raw score over the prior, on the rows to judge by."""
    positives = int(data.label.sum())
    counts = {0: len(data.label) - positives, 1: positives}
    recipe = strategy.resolve(counts, TrainingConfig(engine="xgboost_spark"))
    return _figures(data, fit_native(recipe, data.inputs, data.label, rounds=rounds).inplace_predict(data.test_inputs))


def _judged_on_spark(
    data: _Data, strategy: Strategy, training: TrainingConfig, args: argparse.Namespace
) -> tuple[float, float]:
    booster = fit_by_spark(args.master, strategy, training, data.inputs, data.label)
    return _figures(data, sigmoid(margins_of_matrix(booster, data.test_inputs, 2).astype(np.float64)))


def _figures(data: _Data, scores: np.ndarray) -> tuple[float, float]:
    precision = float(average_precision_score(data.test_label, scores))
    return precision, float(scores.mean() / data.test_label.mean())


def _summary(runs: list[tuple[float, float]]) -> dict[str, float]:
    precision, share = np.array(runs).T
    return {
        "draws": len(runs),
        "ap": round(float(precision.mean()), 4), "ap_worst": round(float(precision.min()), 4),
        "ap_best": round(float(precision.max()), 4), "mean_p_over_prior": round(float(share.mean()), 4),
    }  # fmt: skip
