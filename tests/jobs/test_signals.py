"""How a job ends that is told to end: by SIGTERM, by Ctrl-C, by sys.exit, and with spark-submit gone."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pyspark
import pytest
from pyspark.sql import SparkSession
from support.forks import ROOT, Forks
from support.resumable import client, config_file, runs_of

from imbalance_spark.cli.exit_codes import run_job
from imbalance_spark.core.spark_session import delta_package, spark_session


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


@pytest.mark.parametrize("told", ["spark-submit", "group"])
def test_a_job_whose_spark_submit_is_told_to_end_ends_too_and_leaves_no_process(
    resumable_home: Path, told: str
) -> None:
    home, name = resumable_home, f"submitted-{told}"
    command = [str(Path(pyspark.__file__).parent / "bin/spark-submit"), "--packages", delta_package()]
    command += [str(ROOT / "jobs/train.py"), "--config", config_file(home, name), "--json"]
    place = {**os.environ, "SPARK_LOCAL_IP": "127.0.0.1", "PYSPARK_PYTHON": sys.executable}
    said = home / f"{name}.out"
    with said.open("wb") as out:
        submit = subprocess.Popen(command, env=place, cwd=home, stdout=out, stderr=out, start_new_session=True)
        while not (home / name / name / "ledger" / "train.json").exists():
            assert submit.poll() is None, said.read_text("utf-8")[-2000:]
            time.sleep(0.05)
        # The JVM alone, as `kill` does or a scheduler that knows this process; or all, as a shell or a container does.
        (os.kill if told == "spark-submit" else os.killpg)(submit.pid, signal.SIGTERM)
        submit.wait(timeout=60)
    for _ in range(600):
        if (home / name / "status.json").exists() and not living(submit.pid):
            break
        time.sleep(0.1)
    assert not living(submit.pid)
    status = json.loads((home / name / "status.json").read_text("utf-8"))
    assert (status["state"], status["exit_code"]) == ("killed", 143), said.read_text("utf-8")[-2000:]
    store = client(home, name)
    assert runs_of(store) == {name: "KILLED"}
    assert store.search_model_versions("name = 'resume'") == []


def living(session: int) -> list[int]:
    """Processes of a session that still run; Spark's Python workers are in groups of their own, but not in sessions."""
    found = []
    for file in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, _, of_session = file.read_text("utf-8").rpartition(")")[2].split()[:4]
            if int(of_session) == session and state != "Z":
                found.append(int(file.parent.name))
    return found


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
