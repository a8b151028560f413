"""Learner x strategy: average precision, cost at FN:FP 10 and 100, log loss, fit seconds and peak memory."""

import argparse
from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.metrics import average_precision_score, log_loss

from benchmarks.learner_fits import Fit, fit_apart, fit_on_spark
from benchmarks.regret_data import REAL, Rows, rows_of
from imbalance_spark.config.run import RunConfig
from imbalance_spark.config.yaml_file import load_config
from imbalance_spark.orders.datasets.population import CATEGORICAL_FEATURES

LEARNERS = ("xgboost", "lightgbm", "catboost", "torch", "logistic")
STRATEGIES: Mapping[str, Mapping[str, Any]] = {
    "none": {"kind": "none"},
    "class_weight": {"kind": "class_weight"},
    "balanced cuts": {"kind": "balanced_sketch"},
    "undersample": {"kind": "undersample", "sampling_strategy": 0.1},
    "focal": {"kind": "focal", "gamma": 1.0},
}
WITHOUT_MEANING = {("torch", "balanced cuts"), ("logistic", "balanced cuts"), ("logistic", "focal")}
"""A network and a linear model have no cuts, and Spark's regression has no loss but its own."""
COSTS = (10, 100)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", default="orders", choices=("orders", *REAL), help="default: generated orders")
    parser.add_argument("--rows", type=_whole, default=200_000, help="rows to fit on; of a real log 40 %%")
    parser.add_argument("--test-rows", type=_whole, default=200_000, help="rows that judge; of a real log 60 %%")
    parser.add_argument("--prevalence", type=float, default=0.005, help="share of positives (default 0.005)")
    parser.add_argument("--rounds", type=int, default=200, help="boosting rounds at most (default 200)")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--learners", nargs="+", default=LEARNERS[:3], choices=LEARNERS)
    parser.add_argument("--strategies", nargs="+", default=list(STRATEGIES), choices=list(STRATEGIES))
    parser.add_argument("--master", default="local[*]", help="Spark master, which makes the rows")


def _whole(text: str) -> int:
    return int(float(text))


def run(args: argparse.Namespace) -> dict[str, object]:
    args.positives = [1]
    fit, fresh, test = rows_of(args.data, args)
    judged = _together(fresh, test)
    categorical = len(
        load_config(f"conf/{args.data}.yaml", RunConfig).orders.categorical
        if args.data in REAL
        else CATEGORICAL_FEATURES
    )
    _code_by_frequency(fit.inputs, judged.inputs, categorical)
    names = ("AP", *[f"cost {fn}:1" for fn in COSTS], "log loss", "seconds", "MiB", "rounds")
    print(f"{'learner':<10}{'strategy':<15}" + "".join(f"{name:>12}" for name in names))
    found: dict[str, dict[str, float]] = {}
    for learner in args.learners:
        for strategy in args.strategies:
            if (learner, strategy) in WITHOUT_MEANING:
                continue
            entry = {**STRATEGIES[strategy], "learner": learner}
            rows = (entry, fit.inputs, fit.label, judged.inputs)
            if learner == "logistic":
                one = fit_on_spark(args.master, *rows, categorical=categorical)
            else:
                one = fit_apart(*rows, categorical=categorical, rounds=args.rounds)
            found[f"{learner}/{strategy}"] = row = dict(zip(names, _judged(one, judged), strict=True))
            print(f"{learner:<10}{strategy:<15}" + "".join(f"{value:>12.5g}" for value in row.values()), flush=True)
    return {
        "data": args.data, "rows": len(fit.label), "positives": int(fit.label.sum()), "judged": len(judged.label),
        "judged_positives": int(judged.label.sum()), "prevalence": args.prevalence, "seed": args.seed, "found": found,
    }  # fmt: skip


def _code_by_frequency(fitted: np.ndarray, judged: np.ndarray, categorical: int) -> None:
    """Codes of the last columns as a job gives them: the most frequent first, and one more for unknown values."""
    for column in range(fitted.shape[1] - categorical, fitted.shape[1]):
        values, counts = np.unique(fitted[:, column], return_counts=True)
        known = values[~np.isnan(values)]
        code = {value: rank for rank, value in enumerate(known[np.argsort(-counts[: len(known)], kind="stable")])}
        for rows in (fitted, judged):
            found, where = np.unique(rows[:, column], return_inverse=True)
            rows[:, column] = np.array([np.nan if np.isnan(v) else code.get(v, len(code)) for v in found])[where]


def _together(*parts: Rows) -> Rows:
    return Rows(*(np.concatenate([getattr(one, name) for one in parts]) for name in ("inputs", "label", "truth")))


def _judged(fit: Fit, rows: Rows) -> tuple[float, ...]:
    """Costs are those of 1,000 rows, at the threshold that these costs and the probabilities themselves ask for."""
    score, label = fit.score, rows.label
    costs = []
    for fn in COSTS:
        is_flagged = score >= 1.0 / (1.0 + fn)
        costs.append(1000.0 * float(np.mean(np.where(label == 1, fn * ~is_flagged, is_flagged))))
    known = np.clip(score, 1e-12, 1.0 - 1e-12)
    return (
        float(average_precision_score(label, score)), *costs, float(log_loss(label, known)), fit.seconds,
        fit.mebibytes, fit.rounds,
    )  # fmt: skip
