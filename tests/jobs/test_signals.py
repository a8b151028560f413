"""How a job ends that is told to end: by SIGTERM, by Ctrl-C, by sys.exit, and with spark-submit gone."""

import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest
from forks import Forks
from pyspark.sql import SparkSession
from resumable import client, config_file, runs_of

from imbalance_spark.failures import run_job
from imbalance_spark.session import spark_session


@pytest.mark.parametrize(
    ("number", "code", "said"), [(signal.SIGTERM, 143, "stopped by SIGTERM"), (signal.SIGINT, 130, "interrupted")]
)
def test_a_signal_in_the_middle_of_spark_ends_the_job_and_its_run_as_killed(
    resumable_home: Path, forked_jobs: Forks, number: signal.Signals, code: int, said: str
) -> None:
    home, name = resumable_home, number.name.lower()
    pid = forked_jobs.start("train", "--config", config_file(home, name), "--json")
    while not (home / name / name / "ledger" / "train.json").exists():
        os.kill(pid, 0)  # raises when it has ended
        time.sleep(0.05)
    os.kill(pid, number)
    found, printed = forked_jobs.wait()
    assert found == code, printed[-2000:]
    status = json.loads((home / name / "status.json").read_text("utf-8"))
    assert (status["state"], said in status["error"]) == ("killed", True)
    assert runs_of(client(home, name)) == {name: "KILLED"}


@pytest.mark.parametrize(
    ("end", "code"), [(KeyboardInterrupt(), 130), (SystemExit(0), 1), (SystemExit(5), 5), (SystemExit("x"), 1)]
)
def test_a_job_that_is_left_early_says_so(end: BaseException, code: int) -> None:
    status: dict[str, object] = {}

    def body() -> int:
        raise end

    assert run_job("train", body, status.update) == code
    assert status["state"] == "killed"


def test_sigterm_in_plain_python_ends_a_job_with_143_and_leaves_the_callers_handler(spark: SparkSession) -> None:
    before = signal.getsignal(signal.SIGTERM)
    status: dict[str, object] = {}

    def body() -> int:
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGTERM)).start()
        time.sleep(30)
        return 0

    assert run_job("train", body, status.update) == 143
    assert status["state"] == "killed"
    assert signal.getsignal(signal.SIGTERM) is before
    with spark_session("after the signal"):
        pass
    assert spark.range(3).count() == 3
