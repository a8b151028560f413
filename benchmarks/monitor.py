"""Estimates without labels: how often their intervals hold, what is warned of, and the time beside a peer."""

import argparse
import importlib.util
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable

import numpy as np
import pandas as pd

from benchmarks.shifted_days import COSTS, KINDS, THRESHOLD, Model, unshifted
from benchmarks.timing import add_arguments as add_timing_arguments
from benchmarks.timing import alternately, compared, show
from imbalance_spark.monitoring.cells import ScoreCells
from imbalance_spark.monitoring.expected import METRICS, contradiction, expected, realised
from imbalance_spark.monitoring.label_shift import estimate_shift

_DAYS_PER_MODEL = 5
_LEVEL = 0.01


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_timing_arguments(parser, rows=1_000_000)
    parser.add_argument("--days", type=int, default=100, help="days of each kind of shift")
    parser.add_argument("--orders-per-day", type=int, default=20_000)
    parser.add_argument("--validation-rows", type=int, default=100_000)


def run(args: argparse.Namespace) -> dict[str, object]:
    random = np.random.default_rng(7)
    found = {kind: _days(args, kind, random) for kind in KINDS}
    print(
        f"{'shift':<10} {'held, if covariate':>19} {'if label':>9} {'EM':>6} {'BBSE':>6} {'contradicted':>13}  verdicts"
    )
    for kind, numbers in found.items():
        print(
            f"{kind:<10} {numbers['held_unmoved']:>19} {numbers['held_moved']:>9} {numbers['held_em']:>6} "
            f"{numbers['held_bbse']:>6} {numbers['contradicted']:>13}  {numbers['verdicts']}"
        )
    return {**found, **_timed(args, random)}


def _days(args: argparse.Namespace, kind: str, random: np.random.Generator) -> dict[str, object]:
    """Shares of days; of intervals over all metrics."""
    held: dict[str, list[bool]] = defaultdict(list)
    by_metric: dict[str, list[bool]] = defaultdict(list)
    verdicts: Counter[str] = Counter()
    for number in range(args.days):
        if number % _DAYS_PER_MODEL == 0:
            model = Model.fitted(random, args.validation_rows)
        day = model.count(KINDS[kind](random, args.orders_per_day))
        labels = realised(day.cells, day.positives, COSTS)
        shift = estimate_shift(day.cells, model.reference, seed=number)
        verdicts[shift.verdict(_LEVEL)] += 1
        for name, move in (("held_unmoved", None), ("held_moved", shift.move)):
            estimates = expected(day.cells, model.reference, COSTS, move=move, seed=number)
            held[name] += [estimates[metric].holds(labels[metric]) for metric in METRICS]
            if (name == "held_moved") == (kind == "label"):
                for metric in METRICS:
                    by_metric[metric].append(estimates[metric].holds(labels[metric]))
        p_values = [contradiction(day, model.reference, move=move, seed=number) for move in (None, shift.move)]
        held["contradicted"].append(all(p is not None and p < _LEVEL for p in p_values))
        held["held_em"].append(shift.em.holds(day.base_rate))
        held["held_bbse"].append(shift.bbse.holds(day.base_rate))
    shares = {name: round(float(np.mean(values)), 3) for name, values in (held | by_metric).items()}
    return {**shares, "verdicts": dict(verdicts)}


def _timed(args: argparse.Namespace, random: np.random.Generator) -> dict[str, object]:
    model = Model.fitted(random, args.validation_rows)
    frames = []
    for rows in (args.validation_rows, args.rows):
        sample = unshifted(random, rows)
        p = model.score(sample)
        frames.append(
            pd.DataFrame({"p": p, "decision": (p >= THRESHOLD).astype(int), "label": sample.label.astype(int)})
        )
    past, day = frames
    name, peer = _peer(past)
    estimates = {}

    def theirs() -> None:
        estimates["peer"] = peer(day)

    def ours() -> None:
        cells = ScoreCells.of_rows(day["p"], day["decision"])
        found = expected(cells, model.reference, COSTS)
        estimates["ours"] = (found["precision"].value, found["recall"].value)

    seconds = alternately({name: theirs, "ours, with intervals": ours}, args.repeats)
    show(seconds)
    print(f"precision and recall: {name} {estimates['peer']}, ours {estimates['ours']}")
    return {**compared(args, seconds), "peer": name, "estimates": estimates}


def _peer(past: pd.DataFrame) -> tuple[str, Callable[[pd.DataFrame], tuple[float, float]]]:
    """Precision and recall without labels, of one chunk: NannyML's where it is installed, else sums in pandas."""
    if importlib.util.find_spec("nannyml") is None:
        return "pandas", _summed
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import nannyml

        estimator = nannyml.CBPE(
            y_pred_proba="p", y_pred="decision", y_true="label", metrics=["precision", "recall"],
            problem_type="classification_binary", chunk_number=1,
        ).fit(past)  # fmt: skip

    def estimate(day: pd.DataFrame) -> tuple[float, float]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            table = estimator.estimate(day.drop(columns="label")).filter(period="analysis").to_df()
        return float(table[("precision", "value")].iloc[0]), float(table[("recall", "value")].iloc[0])

    return f"NannyML {nannyml.__version__}", estimate


def _summed(day: pd.DataFrame) -> tuple[float, float]:
    flagged = day.loc[day["decision"] == 1, "p"]
    return float(flagged.mean()), float(flagged.sum() / day["p"].sum())
