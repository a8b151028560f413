"""Estimates without labels: how often their intervals hold, what is warned of, and the time beside a peer."""

import argparse
import json
import os
import subprocess
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.shifted_days import COSTS, KINDS, THRESHOLD, Model, unshifted
from benchmarks.shifted_logs import SHIFTS, Logs
from benchmarks.timing import add_arguments as add_timing_arguments
from benchmarks.timing import alternately, compared, show
from imbalance_spark.monitoring.cells import LabelledCells, ScoreCells
from imbalance_spark.monitoring.expected import METRICS, contradiction, expected, realised
from imbalance_spark.monitoring.label_shift import estimate_shift

_DAYS_PER_MODEL = 5
_LEVEL = 0.01
_INSTALL = "python -m venv /tmp/nannyml && /tmp/nannyml/bin/pip install nannyml statsmodels"

Peer = Callable[[], tuple[float, float]]
"""Estimates precision and recall of the day."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_timing_arguments(parser, rows=1_000_000)
    parser.add_argument(
        "--data", default="drawn", choices=("drawn", "orders"),
        help="days of one feature drawn in memory, or of generated orders scored by a booster",
    )  # fmt: skip
    parser.add_argument("--days", type=int, default=100, help="days of each kind of shift")
    parser.add_argument("--orders-per-day", type=int, default=20_000)
    parser.add_argument("--validation-rows", type=int, default=100_000)
    parser.add_argument(
        "--peer",
        metavar="PYTHON",
        help=f"python of an environment with NannyML, which pins packages of its own: {_INSTALL} (sums in pandas)",
    )


def run(args: argparse.Namespace) -> dict[str, object]:
    random = np.random.default_rng(7)
    if args.data == "orders":
        logs = Logs(args, _DAYS_PER_MODEL)
        found = {kind: _judged(kind, logs.days(kind)) for kind in SHIFTS}
    else:
        found = {kind: _judged(kind, _drawn_days(args, kind, random)) for kind in KINDS}
    print(
        f"{'shift':<10} {'held, if covariate':>19} {'if label':>9} {'EM':>6} {'BBSE':>6} {'contradicted':>13}  verdicts"
    )
    for kind, numbers in found.items():
        print(
            f"{kind:<10} {numbers['held_unmoved']:>19} {numbers['held_moved']:>9} {numbers['held_em']:>6} "
            f"{numbers['held_bbse']:>6} {numbers['contradicted']:>13}  {numbers['verdicts']}"
        )
    return {**found, **_timed(args, random)}


def _drawn_days(
    args: argparse.Namespace, kind: str, random: np.random.Generator
) -> Iterator[tuple[Model, LabelledCells]]:
    for number in range(args.days):
        if number % _DAYS_PER_MODEL == 0:
            model = Model.fitted(random, args.validation_rows)
        yield model, model.count(KINDS[kind](random, args.orders_per_day))


def _judged(kind: str, days: Iterable[tuple[Model, LabelledCells]]) -> dict[str, object]:
    """Shares of days; of intervals over all metrics, and by metric of those that are for this kind of shift."""
    held: dict[str, list[bool]] = defaultdict(list)
    by_metric: dict[str, list[bool]] = defaultdict(list)
    verdicts: Counter[str] = Counter()
    for number, (model, day) in enumerate(days):
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
    estimates = {}

    def ours() -> None:
        found = expected(ScoreCells.of_rows(day["p"], day["decision"]), model.reference, COSTS)
        estimates["ours"] = {name: vars(found[name]) for name in ("precision", "recall")}

    with _peer(args.peer, past, day) as (name, peer):

        def theirs() -> None:
            estimates["peer"] = peer()

        seconds = alternately({name: theirs, "ours, with intervals": ours}, args.repeats)
    show(seconds)
    print(f"precision and recall: {name} {estimates['peer']}, ours {estimates['ours']}")
    return {**compared(args, seconds), "peer": name, "estimates": estimates}


@contextmanager
def _peer(python: str | None, past: pd.DataFrame, day: pd.DataFrame) -> Iterator[tuple[str, Peer]]:
    """NannyML in a process of its own, which has the rows in memory; else sums in pandas."""
    if python is None:
        yield "pandas", lambda: _summed(day)
        return
    with tempfile.TemporaryDirectory() as folder:
        files = [f"{folder}/past.parquet", f"{folder}/day.parquet"]
        for rows, file in zip((past, day), files, strict=True):
            rows.to_parquet(file)
        script, quiet = Path(__file__).with_name("nannyml_peer.py"), {**os.environ, "NML_DISABLE_USAGE_LOGGING": "1"}
        pipe = subprocess.PIPE
        with subprocess.Popen([python, str(script), *files], stdin=pipe, stdout=pipe, text=True, env=quiet) as process:
            assert process.stdin is not None
            yield f"NannyML {_said(process)['version']}", lambda: _asked(process)
            process.stdin.close()


def _asked(process: "subprocess.Popen[str]") -> tuple[float, float]:
    assert process.stdin is not None
    process.stdin.write("estimate\n")
    process.stdin.flush()
    found = _said(process)
    return float(found["precision"]), float(found["recall"])


def _said(process: "subprocess.Popen[str]") -> dict[str, object]:
    """The next line of a process as JSON."""
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise SystemExit(f"{process.args[0]} ended without an estimate. It needs NannyML: {_INSTALL}")
    return json.loads(line)


def _summed(day: pd.DataFrame) -> tuple[float, float]:
    flagged = day.loc[day["decision"] == 1, "p"]
    return float(flagged.mean()), float(flagged.sum() / day["p"].sum())
