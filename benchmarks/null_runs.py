"""How often advice and gate are wrong where all models are equal: simulated scores, on which the package decides."""

import argparse
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from types import SimpleNamespace

import numpy as np

from imbalance_spark.comparison.advice import Advice
from imbalance_spark.comparison.gains import COST, gains_over, joint_level, of_strategy, paired_gain, verdict_of
from imbalance_spark.comparison.score_strategies import calibrate_and_choose
from imbalance_spark.comparison.scored_strategy import ScoredStrategy
from imbalance_spark.core.columns import VALIDATION
from imbalance_spark.metrics.buckets import BUCKETS, BucketCounts
from imbalance_spark.metrics.counts import ScoreCounts
from imbalance_spark.metrics.grid import LogitGrid
from imbalance_spark.scoring.held_out_counts import HeldOutCounts, TargetCounts
from imbalance_spark.threshold import MinCost
from imbalance_spark.threshold.decisions import Decisions, decisions_of

_CASES = ("equal", "plain-worse", "training")
"""All models equal; plain boosting worse, so that only the champion's fall is an error; recipes equal, fits not."""
METRICS = ("average_precision", COST)
_ROWS, _INTERCEPT, _SPREAD = 3_000, -5.5, 2.5
_GRID = LogitGrid(bins=1_024)
_MARGIN = 0.01


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--runs", type=int, default=300, help="simulated runs of each row of the table")
    parser.add_argument("--strategies", type=int, nargs="+", default=[7, 15], help="strategies beside plain boosting")
    parser.add_argument("--repeats", type=int, default=5, help="fits of each strategy, where training varies")
    parser.add_argument(
        "--cases", nargs="+", default=list(_CASES), choices=_CASES, help="which models are compared (default: all)"
    )
    parser.add_argument("--miss", type=float, default=10.0, help="cost of a missed positive, in false alarms")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--training-sd", type=float, default=0.1, help="of the log of a fit's noise, where it varies")


def run(args: argparse.Namespace) -> dict[str, object]:
    of_case = {
        "equal": [(number, 0.0, 1, False) for number in args.strategies],
        "plain-worse": [(number, 0.0, 1, True) for number in args.strategies],
        "training": [(args.strategies[0], args.training_sd, fits, False) for fits in (1, args.repeats)],
    }
    served = MinCost(fn=args.miss, fp=1)
    decisions = decisions_of([{"name": served.key, "fn": served.fn, "fp": served.fp}], served.name)
    cases = [case for name in args.cases for case in of_case[name]]
    print(f"{args.runs} runs each; share of runs in which something is claimed of models that are equal")
    heads = ("strategies", "training sd", "fits", "plain", "metric", "positives", "advised", "below none", "gate")
    print("".join(f"{name:>18}" for name in heads))
    results = []
    for strategies, spread, repeats, plain_is_worse in cases:
        claims = partial(
            _claims, strategies=strategies, spread=spread, repeats=repeats, plain_is_worse=plain_is_worse,
            decisions=decisions,
        )  # fmt: skip
        with ProcessPoolExecutor(args.workers) as workers:
            found = list(workers.map(claims, range(args.runs), chunksize=10))
        for metric in METRICS:
            shares = {name: float(np.mean([one[metric][name] for one in found])) for name in found[0][metric]}
            row = {
                "strategies": strategies, "training_sd": spread, "fits": repeats,
                "plain": "worse" if plain_is_worse else "equal", "metric": metric, **shares,
            }  # fmt: skip
            results.append(row)
            cells = (f"{value:>18.4g}" if isinstance(value, float) else f"{value:>18}" for value in row.values())
            print("".join(cells), flush=True)
    return {"runs": args.runs, "miss": args.miss, "results": results}


def _claims(
    seed: int, *, strategies: int, spread: float, repeats: int, plain_is_worse: bool, decisions: Decisions
) -> dict[str, dict[str, float]]:
    """By metric what one run claims; a champion of the same quality stands beside the strategies.

    Args:
        spread: standard deviation over fits of the log of a model's noise; all recipes have the same.
        plain_is_worse: whether plain boosting has more noise, so that another strategy is rightly advised, and only
            the champion's fall is an error.
    """
    draw = np.random.default_rng(seed)
    logit = draw.normal(_INTERCEPT, _SPREAD, _ROWS)
    label, bucket = draw.random(_ROWS) < 1 / (1 + np.exp(-logit)), draw.integers(0, BUCKETS, _ROWS)

    def fit(noise: float) -> ScoredStrategy:
        own = noise * np.exp(spread * draw.normal())
        score = 1 / (1 + np.exp(-logit - own * draw.normal(size=_ROWS)))
        return calibrate_and_choose(_held_out(label, score, bucket), decisions)

    def strategy(name: str, noise: float) -> SimpleNamespace:
        first, *others = [fit(noise) for _ in range(repeats)]
        return SimpleNamespace(name=name, scored=first, repeats=tuple(others))

    plain = strategy("none", 3.0 if plain_is_worse else 1.0)
    results = [plain, *[strategy(f"s{number}", 1.0) for number in range(strategies)]]
    champion = fit(1.0)
    return {metric: _claimed(results, plain, champion, metric, decisions, int(label.sum())) for metric in METRICS}


def _claimed(
    results: Sequence[SimpleNamespace],
    plain: SimpleNamespace,
    champion: ScoredStrategy,
    metric: str,
    decisions: Decisions,
    positives: int,
) -> dict[str, float]:
    gains = gains_over(results, plain, metric, decisions)  # type: ignore[arg-type]  # it reads these fields alone
    margin = _MARGIN * of_strategy(plain.scored, metric, decisions).value
    advice = Advice(plain="none", words=metric, gains=gains, margin=margin, share=_MARGIN)
    advised = next(one for one in results if one.name == advice.use)
    own, other = (of_strategy(one, metric, decisions) for one in (advised.scored, champion))
    gain = paired_gain(own, other, is_loss=metric == COST, level=joint_level(len(results)))
    return {
        "positives": float(positives),
        "another": float(bool(advice.better)),
        "below": float("worse" in advice.verdicts.values()),
        "gate": float(verdict_of(gain, 0.0) == "better"),
    }


def _held_out(label: np.ndarray, score: np.ndarray, bucket: np.ndarray) -> HeldOutCounts:
    parts = [bucket % 2 == number for number in (0, 1)]
    calibrate, choose = (ScoreCounts.from_arrays(label[mine], score[mine], exact_limit=0, grid=_GRID) for mine in parts)
    buckets = {VALIDATION: BucketCounts.from_arrays(bucket, label, score)}
    target = TargetCounts(calibrate=calibrate, choose=choose, test=choose, buckets=buckets, segments={})
    return HeldOutCounts(targets=(target,))
