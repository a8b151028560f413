"""Two sides of a benchmark, run alternately in one process: seconds, table and the figures every claim needs."""

import argparse
import statistics
import time
from collections.abc import Callable, Mapping, Sequence

from imbalance_spark.train_only.config import TrainingConfig

Seconds = Mapping[str, Sequence[float]]


def add_arguments(parser: argparse.ArgumentParser, *, rows: int) -> None:
    """Rows of the table and runs of each side."""
    parser.add_argument("--rows", type=lambda text: int(float(text)), default=rows, help="rows of the table")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each side, alternately; medians are compared")


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """The table and the booster of the benchmarks that fit or score; rounds as a run has them by default."""
    add_arguments(parser, rows=4_000_000)
    parser.add_argument("--features", type=int, default=16, help="numeric features")
    parser.add_argument("--rounds", type=int, default=TrainingConfig().rounds, help="boosting rounds, all of them run")
    parser.add_argument("--workers", type=int, default=2, help="cores of both sides")
    parser.add_argument("--prevalence", type=float, default=0.01, help="share of positives, roughly")


def alternately(sides: Mapping[str, Callable[[], object]], repeats: int) -> Seconds:
    """Seconds of each run of each side; a first, unmeasured round warms JVM and Python workers up for all."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for repeat in range(repeats + 1):
        for name, run in sides.items():
            start = time.perf_counter()
            run()
            if repeat > 0:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def show(seconds: Seconds) -> None:
    """A line a side: its median and its runs."""
    for name, runs in seconds.items():
        print(f"{name:<28} {statistics.median(runs):8.2f} s   {', '.join(f'{run:.2f}' for run in runs)}")


def compared(args: argparse.Namespace, seconds: Seconds) -> dict[str, object]:
    """The arguments, and the medians of the peer, which is the first side, and of ours, the second."""
    peer, ours = [statistics.median(runs) for runs in seconds.values()][:2]
    asked = {name: value for name, value in vars(args).items() if name != "name"}
    return {
        **asked, "ours_s": round(ours, 3), "peer_s": round(peer, 3), "ratio": round(ours / peer, 3),
        "speedup": round(peer / ours, 3),
    }  # fmt: skip
