"""A driver that fits the same table again and again while workers are killed or stopped; prints what came of it.

python watched_fits.py MASTER WORKER_PIDS FAULT...    (pids by comma; the last line is JSON)
"""

import contextlib
import hashlib
import json
import logging
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from pyspark.sql import DataFrame, SparkSession

from imbalance_spark.calibration import PriorCorrection
from imbalance_spark.core.spark_errors import describe
from imbalance_spark.core.spark_session import spark_session
from imbalance_spark.train_only.config import TrainingConfig
from imbalance_spark.train_only.learners import round_reports as rounds
from imbalance_spark.train_only.learners.xgboost import fit_booster
from support.standalone_cluster import FIT

ROUND = 5
# Long enough that the worker that trains can be told from those that wait.
TRAINING = TrainingConfig(num_workers=2, rounds=600, early_stopping_rounds=600, max_fit_attempts=2, slot_wait_s=20.0)


def children(pid: int) -> list[int]:
    """None of a process that is gone."""
    found: list[int] = []
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # or a thread of it has ended
        for place in Path(f"/proc/{pid}/task").glob("*/children"):
            found += [int(child) for child in place.read_text().split()]
    return found


def descendants(pid: int) -> list[int]:
    return [each for child in children(pid) for each in (child, *descendants(child))]


def command(pid: int) -> str:
    """Empty of a process that is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def executors(worker: int) -> list[int]:
    return [pid for pid in descendants(worker) if "CoarseGrainedExecutorBackend" in command(pid)]


def executor(worker: int) -> int:
    [found] = executors(worker)
    return found


def busiest_python(worker: int) -> int:
    """Of the processes that the executor's Python daemons forked, the one that trains: others are idle or wait."""
    daemons = [pid for pid in children(executor(worker)) if "pyspark.daemon" in command(pid)]
    before = {pid: ticks(pid) for daemon in daemons for pid in children(daemon)}
    deadline = time.monotonic() + 30.0
    while time.monotonic() < deadline:
        time.sleep(0.02)
        spent = {pid: ticks(pid) - before[pid] for pid in before}
        if max(spent.values()) >= 3:
            return max(spent, key=lambda pid: spent[pid])
    raise AssertionError(f"no Python of worker {worker} trains")


def ticks(pid: int) -> int:
    """Hundredths of a second of processor time; none of a process that is gone."""
    try:
        return sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]))
    except FileNotFoundError:
        return 0


def kill_executor(worker: int) -> None:
    os.kill(executor(worker), signal.SIGKILL)


def kill_python(worker: int) -> None:
    os.kill(busiest_python(worker), signal.SIGKILL)


def stop_python(worker: int) -> None:
    os.kill(busiest_python(worker), signal.SIGSTOP)


def kill_worker(worker: int) -> None:
    victim = executor(worker)
    os.kill(worker, signal.SIGKILL)
    os.kill(victim, signal.SIGKILL)


FAULTS: dict[str, tuple[Callable[[int], None] | None, TrainingConfig]] = {
    "none": (None, TRAINING),
    "kill_executor": (kill_executor, TRAINING),
    "kill_python": (kill_python, TRAINING),
    # On a busy machine a new Python may take as long to start: that counts as a stall, and is survived, too.
    "stop_python": (stop_python, TRAINING.model_copy(update={"stall_limit_s": 15.0, "max_fit_attempts": 5})),
    "kill_worker": (kill_worker, TRAINING.model_copy(update={"slot_wait_s": 3.0})),
}


def once_in(fault: Callable[[int], None] | None, worker: int) -> None:
    """Have the fault befall the next fit after its fifth round."""
    ahead = [] if fault is None else [fault]

    def befall(it: Callable[[int], None]) -> None:
        it(worker)
        befallen.append(worker)

    def hear(listener: rounds.RoundListener, message: bytes) -> int:
        follows = heard(listener, message)
        if ahead and (listener.last_round or 0) >= ROUND:
            # Beside the fit: as long as it is not heard, a worker waits, and none could be seen to train.
            threading.Thread(target=befall, args=(ahead.pop(),)).start()
        return follows

    rounds.RoundListener.hear = hear


heard = rounds.RoundListener.hear
befallen: list[int] = []


class Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def table(spark: SparkSession) -> DataFrame:
    draw = np.random.default_rng(7)
    frame = pd.DataFrame({f"x_{i}": draw.normal(size=4000) for i in range(4)})
    frame["y"] = (draw.random(4000) < 1 / (1 + np.exp(2 - frame.x_0 - frame.x_1 * frame.x_2))).astype(np.int32)
    frame["is_early_stopping"] = draw.random(4000) < 0.2
    return spark.createDataFrame(frame)


def outcome(spark: SparkSession, name: str, worker: int) -> dict[str, object]:
    fault, training = FAULTS[name]
    befallen.clear()
    once_in(fault, worker)
    said = Lines()
    log = logging.getLogger("imbalance_spark.train_only.learners.retry")
    log.addHandler(said)
    started = time.monotonic()
    try:
        fitted = fit_booster(
            table(spark), features=["a", "b", "c", "d"], training=training, params=training.params,
            start=(math.log(0.8), math.log(0.2)), correction=PriorCorrection.identity(), strategy=name,
        )  # fmt: skip
    except Exception as error:
        kind, line = type(error).__name__, describe(error)[1]
        return {"said": said.lines, "error": kind, "line": line}
    finally:
        log.removeHandler(said)
        assert len(befallen) == (fault is not None), f"{name} did not happen"
        sys.stderr.write(f"{name}: {time.monotonic() - started:.1f} s\n")
    return {"said": said.lines, "booster": hashlib.sha256(fitted.model_bytes).hexdigest(), "rounds": fitted.rounds_run}


def main(master: str, workers: str, *names: str) -> None:
    settings = {
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.log.level": "OFF",
        "spark.executorEnv.PYTHONPATH": os.environ["PYTHONPATH"],
        **FIT,
    }
    first = int(workers.split(",")[0])
    with spark_session("watched fits", master, settings) as spark:
        sys.stdout.write(json.dumps({name: outcome(spark, name, first) for name in names}) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
