"""A run that is killed anywhere and started again ends as one that was left alone."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import mlflow
import pytest
import yaml
from mlflow.entities import RunStatus
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from pyspark.sql import SparkSession

from imbalance_spark import process, tracking
from imbalance_spark.failures import run_job
from imbalance_spark.generate import generate_orders
from imbalance_spark.run_lock import LOCK
from imbalance_spark.session import spark_session
from jobs import train

ROOT = Path(__file__).resolve().parents[2]

KILL_POINTS = (
    "before quarantined", "before train", "after fit_none", "after counts_none", "after log_bundle",
    "before register_version", "after register_version", "after promote",
)  # fmt: skip

_DRIVER = """
import os, signal, sys
from imbalance_spark import tracking, tracking_models, tracking_registry
from imbalance_spark.steps import Run

def dying(original, name_of):
    def patched(*args, **kwargs):
        name = name_of(args)
        if os.environ["KILL_AT"] == f"before {name}":
            os.kill(os.getpid(), signal.SIGKILL)
        result = original(*args, **kwargs)
        if os.environ["KILL_AT"] == f"after {name}":
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    return patched

Run.record = dying(Run.record, lambda args: args[1])
for module, name in ((tracking, "log_bundle"), (tracking_models, "register_version"), (tracking_registry, "promote")):
    setattr(module, name, dying(getattr(module, name), lambda args, name=name: name))
from jobs import train
sys.exit(train.main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, spark: SparkSession) -> Path:
    home = tmp_path_factory.mktemp("resume")
    generate_orders(spark, rows=6_000, prevalence=0.05, seed=7, partitions=2).write.format("delta").save(
        str(home / "orders")
    )
    return home


def config_file(home: Path, name: str) -> str:
    roles = {"key": ["order_id"], "label": "is_fraud", "group": "customer_id", "amount": "amount"}
    orders = {"source": {"path": str(home / "orders")}, **roles, "numeric": ["amount", "distance_km"]}
    config = {
        "name": "resume", "run_id": name, "output": str(home / name), "orders": orders, "strategies": ["none"],
        "training": {"num_workers": 1, "rounds": 5, "early_stopping_rounds": 5, "params": {"max_depth": 3}},
        "tracking": {"uri": f"sqlite:///{home}/{name}.db", "experiment": "resume", "registered_model": "resume"},
    }  # fmt: skip
    file = home / f"{name}.yaml"
    file.write_text(yaml.safe_dump(config), "utf-8")
    return str(file)


def child(config: str, kill_at: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "KILL_AT": kill_at, "PYTHONPATH": str(ROOT), "SPARK_LOCAL_IP": "127.0.0.1"}
    return subprocess.Popen(
        [sys.executable, "-c", _DRIVER, "--config", config, "--json"],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip


def ledger(home: Path, name: str) -> dict[str, Any]:
    """What each step found, without the places and the MLflow ids, in which two runs differ."""
    found = {}
    for file in (home / name / name / "ledger").glob("*.json"):
        output = json.loads(file.read_text("utf-8"))["output"]
        if isinstance(output, dict):
            output.pop("path", None)
        found[file.stem] = output
    return found


@pytest.fixture(scope="module")
def undisturbed(home: Path, spark: SparkSession) -> Path:
    assert train.main(["--config", config_file(home, "undisturbed"), "--json"]) == 0
    return home


def client(home: Path, name: str) -> MlflowClient:
    return MlflowClient(f"sqlite:///{home}/{name}.db")


def test_a_run_killed_at_every_point_ends_as_one_left_alone(undisturbed: Path) -> None:
    home, config = undisturbed, config_file(undisturbed, "killed")
    for point in KILL_POINTS:
        dying = child(config, point)
        _, said = dying.communicate(timeout=240)
        assert dying.returncode == -signal.SIGKILL, (point, said[-2000:])
    last = child(config, "never")
    printed, said = last.communicate(timeout=240)
    assert last.returncode == 0, said[-2000:]
    assert json.loads(printed.strip().splitlines()[-1])["best"] == "none"
    assert ledger(home, "killed") == ledger(home, "undisturbed")
    store = client(home, "killed")
    runs = store.search_runs([store.get_experiment_by_name("resume").experiment_id])
    assert sorted(run.info.run_name for run in runs) == ["killed", "none"]
    assert {run.info.status for run in runs} == {RunStatus.to_string(RunStatus.FINISHED)}
    assert [str(version.version) for version in store.search_model_versions("name = 'resume'")] == ["1"]
    assert str(store.get_model_version_by_alias("resume", "champion").version) == "1"
    assert not (home / "killed" / "killed" / LOCK).exists()


def test_a_second_process_on_a_run_is_refused_while_the_first_one_lives(undisturbed: Path) -> None:
    lock = undisturbed / "undisturbed" / "undisturbed" / LOCK
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    start = process._start_of(other.pid)
    try:
        lock.write_text(process.own_mark().split(":")[0] + f":{other.pid}:{start}", "utf-8")
        assert train.main(["--config", config_file(undisturbed, "undisturbed"), "--json"]) == 2
        status = json.loads((undisturbed / "undisturbed" / "status.json").read_text("utf-8"))
        assert "another process works on it" in status["error"]
    finally:
        other.kill()
        other.wait()
    assert train.main(["--config", config_file(undisturbed, "undisturbed"), "--json"]) == 0
    assert not lock.exists()


def test_sigterm_ends_the_job_with_143_and_the_run_as_killed(home: Path, spark: SparkSession) -> None:
    config = config_file(home, "terminated")
    stopped = child(config, "never")
    deadline = time.monotonic() + 200
    while not (home / "terminated" / "terminated" / "ledger" / "audit.json").exists():
        assert time.monotonic() < deadline
        assert stopped.poll() is None, stopped.communicate()[1][-2000:]
        time.sleep(0.1)
    time.sleep(1.0)
    stopped.terminate()
    _, said = stopped.communicate(timeout=60)
    assert stopped.returncode == 143, said[-2000:]
    assert "stopped by SIGTERM" in said.splitlines()[-1]
    assert json.loads((home / "terminated" / "status.json").read_text("utf-8"))["state"] == "killed"
    store = client(home, "terminated")
    [run] = store.search_runs([store.get_experiment_by_name("resume").experiment_id])
    assert run.info.status == RunStatus.to_string(RunStatus.KILLED)


def test_a_store_that_fails_while_logging_fails_the_run_and_a_rerun_completes_it(
    undisturbed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_file(undisturbed, "away")
    store_away = monkeypatch.context()
    with store_away as patched:
        patched.setattr(tracking, "log_bundle", lambda *_: (_ for _ in ()).throw(MlflowException("store is away")))
        assert train.main(["--config", config, "--json"]) == 1
    store = client(undisturbed, "away")
    experiment = store.get_experiment_by_name("resume").experiment_id
    assert {run.info.status for run in store.search_runs([experiment])} == {RunStatus.to_string(RunStatus.FAILED)}
    assert train.main(["--config", config, "--json"]) == 0
    runs = store.search_runs([experiment])
    assert sorted(run.info.run_name for run in runs) == ["away", "none"]
    assert {run.info.status for run in runs} == {RunStatus.to_string(RunStatus.FINISHED)}


def test_runs_that_a_dead_process_left_running_are_closed_by_the_next_job(tmp_path: Path) -> None:
    from imbalance_spark.config import TrackingConfig

    config = TrackingConfig(uri=f"sqlite:///{tmp_path}/m.db", experiment="lost")
    experiment = tracking.connect(config)
    store = MlflowClient()
    host = process.own_mark().split(":")[0]
    marks = {"dead": f"{host}:999999999:1", "alive": process.own_mark(), "elsewhere": "other-host:1:1"}
    runs = {
        name: store.create_run(experiment, tags={"imbalance_spark.process": mark}).info.run_id
        for name, mark in marks.items()
    }
    tracking.connect(config)
    found = {name: mlflow.get_run(run_id).info.status for name, run_id in runs.items()}
    assert found == {"dead": "KILLED", "alive": "RUNNING", "elsewhere": "RUNNING"}


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
