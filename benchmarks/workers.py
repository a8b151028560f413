"""The fit on very many workers, all on this machine: what they say to the driver and to each other.

A worker is a thread with a communicator of its own, and few rows: its work is next to nothing, its messages are real.
What goes over the loopback interface is counted by the kernel, so nothing else should use it meanwhile.
"""

import argparse
import hashlib
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from xgboost import collective

from benchmarks.regret_data import SETTINGS
from imbalance_spark.core.spark_session import spark_session
from imbalance_spark.train_only.learners.boosting import BoostingPlan, Progress, Site, XGBoostRounds
from imbalance_spark.train_only.learners.cuts import FeatureCuts, quantile_cuts
from imbalance_spark.train_only.learners.native import tracker
from imbalance_spark.train_only.learners.round_reports import RoundReporter, listening
from imbalance_spark.train_only.learners.spill import SpilledRows

_THREADS = 50
"""Workers of one process: each has a connection to every other one, and a process may have some 20,000."""
_PEER_TIMEOUT_S = 300


@dataclass(frozen=True, kw_only=True)
class _Fit:
    """What each worker is told."""

    workers: int
    rows: int
    features: int
    rounds: int
    tracker: Mapping[str, Any]
    reporter: RoundReporter


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--workers", type=int, nargs="+", default=[2, 20, 200], help="of a fit")
    parser.add_argument("--rows", type=int, default=500, help="of each worker")
    parser.add_argument("--features", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--master", default="local[2]", help="of Spark, whose address the driver listens at")


def run(args: argparse.Namespace) -> dict[str, object]:
    print(f"{'workers':>8}{'connections':>13}{'meet s':>8}{'join s':>8}{'s a round':>11}"
          f"{'KiB a worker and round':>24}{'packets':>9}{'to the driver':>15}{'models':>8}")  # fmt: skip
    found = [_measured(workers, args) for workers in args.workers]
    asked = {name: value for name, value in vars(args).items() if name != "name"}
    return {**asked, "results": found}


def _measured(workers: int, args: argparse.Namespace) -> dict[str, float]:
    with spark_session("bench-workers", args.master, SETTINGS) as spark, listening(spark, lambda _: None) as listener:
        with tracker(spark, workers) as address:
            fit = _Fit(
                workers=workers, rows=args.rows, features=args.features, rounds=args.rounds, tracker=address,
                reporter=listener.reporter,
            )  # fmt: skip
            opened = _opened()
            done = _fitted(fit)
            opened = _opened() - opened
        told = listener.last_round
    assert told == args.rounds - 1, told
    first = next(record for record in done if record["worker"] == 0)
    of_rounds = {name: first[name] / args.rounds / workers for name in ("bytes", "packets")}
    row = {
        "workers": workers, "connections": opened, "meet_s": round(max(r["meet_s"] for r in done), 2),
        "join_s": round(first["join_s"], 2), "round_s": round(first["rounds_s"] / args.rounds, 4),
        "kib_a_worker_and_round": round(of_rounds["bytes"] / 1024, 1),
        "packets_a_worker_and_round": round(of_rounds["packets"], 1),
        # All but those from each worker to each other one: greetings of the tracker, meetings, reports of rounds.
        "to_driver": opened - workers * (workers - 1) // 2,
        "models": len({record["model"] for record in done}),
    }  # fmt: skip
    print(f"{workers:>8}{opened:>13}{row['meet_s']:>8.2f}{row['join_s']:>8.2f}{row['round_s']:>11.4f}"
          f"{row['kib_a_worker_and_round']:>24.1f}{row['packets_a_worker_and_round']:>9.1f}"
          f"{row['to_driver']:>15}{row['models']:>8}", flush=True)  # fmt: skip
    return row


def _fitted(fit: _Fit) -> list[dict[str, Any]]:
    parts = [range(first, min(first + _THREADS, fit.workers)) for first in range(0, fit.workers, _THREADS)]
    with multiprocessing.get_context("spawn").Pool(len(parts)) as pool:
        return [record for part in pool.map(partial(_work, fit), parts) for record in part]


def _work(fit: _Fit, numbers: range) -> list[dict[str, Any]]:
    """The workers of one process."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    with ThreadPoolExecutor(len(numbers)) as threads, tempfile.TemporaryDirectory() as folder:
        return list(threads.map(partial(_worker, fit, Path(folder)), numbers))


def _worker(fit: _Fit, folder: Path, number: int) -> dict[str, Any]:
    """What `Worker` does after it has spilled its rows."""
    # A reporter counts the meetings that its worker has been to.
    reporter = copy(fit.reporter)
    site = Site(
        threads=1, host="127.0.0.1", scratch=folder, tell=reporter.tell if number == 0 else _say_nothing,
        keep=_say_nothing, meet=partial(reporter.meet, number, fit.workers),
    )  # fmt: skip
    cuts = _cuts(fit)
    boosting = XGBoostRounds(plan=_plan(fit, cuts), cuts=cuts, is_on_disk=False)
    parts = [_spilled(folder / f"{number}-{part}", fit, seed=2 * number + part) for part in (0, 1)]
    loaded = boosting.load(*parts, site)
    begun = time.monotonic()
    site.meet("")
    met = time.monotonic()
    with collective.CommunicatorContext(**fit.tracker, dmlc_task_id=f"{number:06}", dmlc_timeout=_PEER_TIMEOUT_S):
        collective.allreduce(np.zeros(1), collective.Op.SUM)
        joined, before = time.monotonic(), _sent()
        done = boosting.boost(loaded, Progress(rows=0), site)
        collective.allreduce(np.zeros(1), collective.Op.SUM)
        ended, after = time.monotonic(), _sent()
    for part in parts:
        part.file.close()
    return {
        "worker": number, "meet_s": met - begun, "join_s": joined - met, "rounds_s": ended - joined,
        "bytes": after[0] - before[0], "packets": after[1] - before[1], "model": hashlib.sha256(done.model).hexdigest(),
    }  # fmt: skip


def _plan(fit: _Fit, cuts: FeatureCuts) -> BoostingPlan:
    params = {"objective": "binary:logistic", "tree_method": "hist", "max_depth": 6, "max_bin": cuts.max_bin, "seed": 7,
              "eval_metric": "logloss"}  # fmt: skip
    return BoostingPlan(
        params=params, rounds=fit.rounds, early_stopping_rounds=fit.rounds, checkpoint_rounds=1000, loss=None,
        metric=None, stopping_margin=None, cuts=cuts.digest,
    )  # fmt: skip


def _cuts(fit: _Fit) -> FeatureCuts:
    quantiles = quantile_cuts([np.linspace(0.0, 1.0, 10_000, dtype=np.float32)], [1.0], 250)
    return FeatureCuts(tuple(quantiles for _ in range(fit.features)), (1.0,) * fit.features)


def _spilled(path: Path, fit: _Fit, *, seed: int) -> SpilledRows:
    draws = np.random.default_rng(seed)
    inputs = draws.random((fit.rows, fit.features), dtype=np.float32)
    label = (draws.random(fit.rows) < 0.1 * inputs[:, 0]).astype(np.float32)
    part = SpilledRows(file=path.open("wb+"), features=fit.features, is_weighed=False)
    part.append(np.column_stack([inputs, label]))
    return part


def _say_nothing(_: object) -> None:
    pass


def _sent() -> tuple[int, int]:
    """Bytes and packets of the loopback interface so far; Linux only."""
    lines = Path("/proc/net/dev").read_text("utf-8").splitlines()
    [fields] = [line.split() for line in lines if line.lstrip().startswith("lo:")]
    return int(fields[9]), int(fields[10])


def _opened() -> int:
    """TCP connections that this machine has opened so far; Linux only."""
    lines = [line.split() for line in Path("/proc/net/snmp").read_text("utf-8").splitlines() if line.startswith("Tcp:")]
    return int(dict(zip(*lines, strict=True))["ActiveOpens"])
