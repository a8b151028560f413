"""What a threshold costs above the best one: our rule, searches, raw probabilities, scikit-learn's grid of 100 points.

Logs of few to many positives, boosters of several strategies, several costs of a missed positive. As in a run that is
split 60/20/20, a booster is fitted on three times the positives that validation has, with early stopping: what few
positives leave uncertain is not the threshold alone, but the probabilities, too. `--train 0` fits all on one large log.
"""

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.metrics import make_scorer
from sklearn.model_selection import TunedThresholdClassifierCV

from benchmarks.native import fit_strategy_native
from benchmarks.regret_data import NAMES, Rows, rows_of
from imbalance_spark.calibration import fit_calibrator, fit_of
from imbalance_spark.core.arrays import sigmoid
from imbalance_spark.metrics import ScoreCounts
from imbalance_spark.metrics.bucket_draws import BucketedCurve, HalvedCurve
from imbalance_spark.metrics.buckets import BUCKETS, BucketCounts
from imbalance_spark.threshold import BayesCost, MinCost, choose_threshold, sweep
from imbalance_spark.train_only.strategies import Strategy, strategy_from_config

MISS_COSTS = (10, 100, 500, 2000)
"""Cost of a missed positive; a false positive costs 1."""
STRATEGIES = (
    "none", "class_weight", "scale_pos_weight", "balanced_sketch", {"kind": "undersample", "sampling_strategy": 0.1},
)  # fmt: skip

_OURS, _PEER, _RAW = "rule", "100-point grid", "closed form on raw p"
_CALIBRATED = {"closed form, Platt": "platt", "closed form, beta": "beta", "closed form, isotonic": "isotonic"}
"""The same closed form on all of validation, by other calibrations."""


@dataclass(frozen=True)
class Regret:
    """One validation sample, strategy, cost and way to choose a threshold."""

    way: str
    positives: int
    miss_cost: int
    strategy: str
    value: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", default="orders", choices=NAMES, help="what is scored (default: generated orders)")
    parser.add_argument("--rows", type=_whole, default=400_000, help="most rows to fit on; of a real log 40 %%")
    parser.add_argument(
        "--train", type=float, default=3.0, help="positives to fit on for each of validation's; 0: all rows (default 3)"
    )
    parser.add_argument("--test-rows", type=_whole, default=200_000, help="fresh rows to judge; of a real log 30 %%")
    parser.add_argument("--positives", type=int, nargs="+", default=[5, 10, 30, 100, 300, 1000, 3000])
    parser.add_argument("--draws", type=int, default=5, help="validation samples of each size")
    parser.add_argument("--prevalence", type=float, default=0.005, help="share of positives (default 0.005)")
    parser.add_argument("--rounds", type=int, default=100, help="boosting rounds (default 100)")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--master", default="local[*]", help="Spark master, where Spark makes the rows")


def _whole(text: str) -> int:
    return int(float(text))


def run(args: argparse.Namespace) -> dict[str, object]:
    fit, fresh, test = rows_of(args.data, args)
    sizes = [n for n in args.positives if n <= fresh.label.sum()]
    found = [
        regret
        for asked in STRATEGIES
        for regret in _regrets(strategy_from_config(asked), (fit, fresh, test), sizes, args)
    ]
    ways = list(dict.fromkeys(one.way for one in found))

    def mean(way: str, **wanted: object) -> float:
        return float(np.mean(_values(found, way=way, **wanted)))

    def table(head: str, columns: Mapping[str, Mapping[str, object]], more: Mapping[str, Sequence[float]]) -> None:
        print(f"{head:<24}" + "".join(f"{name:>14}" for name in [*columns, *(["90th perc."] if more else [])]))
        for way in ways:
            cells = [100.0 * mean(way, **wanted) for wanted in columns.values()]
            print(f"{way:<24}" + "".join(f"{v:>14.3g}" for v in [*cells, *more.get(way, [])]))

    percentile = {way: float(np.quantile(_values(found, way=way), 0.9)) for way in ways}
    print(
        f"Mean regret in % over {len(STRATEGIES)} strategies, {args.draws} samples and FN:FP {MISS_COSTS}, {args.data}"
    )
    table("rule", {f"{n:,} pos.": {"positives": n} for n in sizes}, {way: [100.0 * v] for way, v in percentile.items()})
    table("by FN:FP", {str(fn): {"miss_cost": fn} for fn in MISS_COSTS}, {})
    names = list(dict.fromkeys(one.strategy for one in found))
    table("by strategy", {name[:13]: {"strategy": name} for name in names}, {})
    return {
        "data": args.data, "rows": len(fit.label), "test_rows": len(test.label), "prevalence": args.prevalence,
        "seed": args.seed, "draws": args.draws, "train": args.train,
        "mean_regret": {way: {n: round(mean(way, positives=n), 6) for n in sizes} for way in ways},
        "by_miss_cost": {way: {fn: round(mean(way, miss_cost=fn), 6) for fn in MISS_COSTS} for way in ways},
        "by_strategy": {way: {name: round(mean(way, strategy=name), 6) for name in names} for way in ways},
        "percentile_90": {way: round(value, 6) for way, value in percentile.items()},
        "ours_regret": round(mean(_OURS), 6),
        "peer_regret": round(mean(_PEER), 6),
    }  # fmt: skip


def _values(found: Sequence[Regret], **wanted: object) -> list[float]:
    return [one.value for one in found if all(getattr(one, name) == value for name, value in wanted.items())]


def _regrets(
    strategy: Strategy, rows: tuple[Rows, Rows, Rows], sizes: Sequence[int], args: argparse.Namespace
) -> Iterator[Regret]:
    fit, fresh, test = rows
    whole = None
    for positives in sizes:
        wanted = round(args.train * positives) if args.train else int(fit.label.sum())
        is_whole = wanted >= fit.label.sum()
        for seed in range(args.draws):
            if is_whole and whole is None:
                whole = _fitted(fit, strategy, args.rounds)
            score = whole if is_whole and whole else _fitted(_sample(fit, wanted, seed), strategy, args.rounds, seed)
            sample = _sample(fresh, positives, seed)
            costs, chosen = _Costs(test.truth, score(test.inputs)), _Chosen(sample.label, score(sample.inputs))
            for fn in MISS_COSTS:
                for way, value in costs.regrets(chosen.flagged(costs.score, fn), fn).items():
                    yield Regret(way, positives, fn, strategy.name, value)


def _sample(rows: Rows, positives: int, seed: int) -> Rows:
    """Rows with exactly so many positives at the rate of all, as a stratified split gives them."""
    by_class = [np.flatnonzero(rows.label == k) for k in (0, 1)]
    sizes = (round(positives * len(by_class[0]) / len(by_class[1])), positives)
    draw = np.random.default_rng(seed)
    own = np.sort(np.concatenate([draw.choice(r, n, replace=False) for r, n in zip(by_class, sizes, strict=True)]))
    return Rows(rows.inputs[own], rows.label[own], rows.truth[own])


def _fitted(rows: Rows, strategy: Strategy, rounds: int, seed: int = 7) -> Callable[[np.ndarray], np.ndarray]:
    """Corrected probabilities of a strategy's booster, from its inputs."""
    booster, correction = fit_strategy_native(
        strategy, rows.inputs, rows.label, rounds=rounds, stops_early=True, seed=seed
    )

    def score(inputs: np.ndarray) -> np.ndarray:
        return sigmoid(correction.logit(booster.inplace_predict(inputs, predict_type="margin")))

    return score


class _Chosen:
    """What each way chooses on one sample; counted in bins, as a job counts."""

    def __init__(self, label: np.ndarray, score: np.ndarray) -> None:
        self._label, self._score = label, score
        halves = [np.arange(len(label)) % 2 == half for half in (0, 1)]
        whole, *parts = (_bucketed(label, score, kept) for kept in (np.ones(len(label), dtype=bool), *halves))
        self._sample = HalvedCurve(whole, (parts[0], parts[1]))
        self._rule = fit_calibrator(whole).calibrator
        self._others = {way: fit_of(method)(whole.curve.counts) for way, method in _CALIBRATED.items()}

    def flagged(self, score: np.ndarray, fn: float) -> dict[str, int]:
        """How many of these scores are flagged."""
        objective, closed = MinCost(fn=fn, fp=1), BayesCost(fn=fn, fp=1).closed_form
        chosen = choose_threshold(self._sample, objective, fit_of(self._rule.method))
        thresholds = {
            "earlier rule": sweep(self._sample.halves[1].curve, objective).threshold,
            "sweep on all": sweep(self._sample.whole.curve, objective).threshold,
            _RAW: closed,
            _PEER: _peer_threshold(self._label, self._score, fn),
        }
        return {
            _OURS: int(np.count_nonzero(self._rule.apply(score) >= chosen.threshold)),
            **{way: int(np.count_nonzero(score >= threshold)) for way, threshold in thresholds.items()},
            **{way: int(np.count_nonzero(one.apply(score) >= closed)) for way, one in self._others.items()},
        }


def _bucketed(label: np.ndarray, score: np.ndarray, kept: np.ndarray) -> BucketedCurve:
    """Rows are their own groups; even ones are in even buckets."""
    bucket = np.arange(len(label)) % BUCKETS
    counts = ScoreCounts.from_arrays(label[kept], score[kept], exact_limit=0)
    return BucketedCurve(counts.curve(), BucketCounts.from_arrays(bucket[kept], label[kept], score[kept]))


class _Costs:
    """In plain numpy, apart from what is judged: a flagged row costs 1 - truth, any other fn times truth."""

    def __init__(self, truth: np.ndarray, score: np.ndarray) -> None:
        order = np.argsort(-score, kind="stable")
        self.score, self._truth = score[order], truth[order]
        self._is_cut = np.concatenate([[True], np.diff(self.score) < 0.0, [True]])  # rows of one score go together

    def regrets(self, flagged: Mapping[str, int], fn: float) -> dict[str, float]:
        """Cost of flagging so many of the highest scores over the least possible, minus 1."""
        change = np.concatenate([[0.0], np.cumsum(1.0 - self._truth - fn * self._truth)])
        everything = fn * self._truth.sum()
        best = everything + change[self._is_cut].min()
        return {name: float((everything + change[rows]) / best) - 1.0 for name, rows in flagged.items()}


class _Scores(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A fitted classifier whose only input is its own score."""

    def fit(self, scores: np.ndarray, label: np.ndarray) -> "_Scores":
        self.classes_ = np.array([0, 1])
        return self

    def predict_proba(self, scores: np.ndarray) -> np.ndarray:
        return np.column_stack([1.0 - scores[:, 0], scores[:, 0]])


def _peer_threshold(label: np.ndarray, score: np.ndarray, fn: float) -> float:
    def gain(truth: np.ndarray, predicted: np.ndarray) -> float:
        hits = np.count_nonzero(truth & predicted)
        return -float(fn * (np.count_nonzero(truth) - hits) + np.count_nonzero(predicted) - hits)

    inputs = score[:, np.newaxis]
    model = TunedThresholdClassifierCV(
        _Scores().fit(inputs, label), scoring=make_scorer(gain), thresholds=100, cv="prefit", refit=False
    )
    return float(model.fit(inputs, label).best_threshold_)
