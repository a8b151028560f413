"""A run that is killed anywhere and started again ends as one that was left alone."""

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import mlflow
import pytest
from mlflow.tracking import MlflowClient
from pyspark.sql import SparkSession
from support.forks import Forks, die_in_a_write
from support.mlflow_store import new_store
from support.resumable import client, config_file, ledger, runs_of

from imbalance_spark.core import run_lock
from imbalance_spark.core.run_lock import LOCK, Owner
from imbalance_spark.tracking.runs import close_lost_runs, connect
from jobs import train

# In the order in which a run passes them. A step's name is where its result is written down: before it, a model stands
# already that no step log knows of. One step of each kind: a model, a document, what MLflow and its registry have.
# Tables are cut by a JVM's end. A version that is registered is promoted at once: nothing lies between `after
# register_version` and `before promote`. A kill between two steps leaves less than one before the second is written
# down.
KILL_POINTS = (
    "before fit_undersample", "before evaluate_strategy", "before log_bundle", "before register_version",
    "after register_version", "after promote",
)  # fmt: skip


@pytest.fixture(scope="module")
def undisturbed(resumable_home: Path, spark: SparkSession) -> Path:
    """The home of a run `undisturbed`, which nobody killed."""
    assert train.main(["--config", config_file(resumable_home, "undisturbed"), "--json"]) == 0
    return resumable_home


def test_a_run_killed_at_every_point_ends_as_one_left_alone(undisturbed: Path, forked_jobs: Forks) -> None:
    home, config = undisturbed, config_file(undisturbed, "killed")
    die_in_a_write("train", "--config", config, "--json", home=home, files="killed/killed/tables/*/*.parquet")
    for point in KILL_POINTS:
        code, said = forked_jobs.run("train", "--config", config, "--json", kill_at=point)
        assert code == -signal.SIGKILL, (point, said[-2000:])
    code, said = forked_jobs.run("train", "--config", config, "--json")
    assert code == 0, said[-2000:]
    assert said.count('"best": ') == 1
    assert ledger(home, "killed") == ledger(home, "undisturbed")
    # Nothing that was finished was done again.
    done = forked_jobs.recorded("killed")
    assert sorted(done) == sorted(set(done))
    store = client(home, "killed")
    assert runs_of(store) == {"killed": "FINISHED", "none": "FINISHED", "undersample": "FINISHED"}
    assert [str(version.version) for version in store.search_model_versions("name = 'resume'")] == ["1"]
    assert str(store.get_model_version_by_alias("resume", "champion").version) == "1"
    # It was killed right after the alias moved; still the reasons for that are logged.
    experiment = store.get_experiment_by_name("resume").experiment_id
    parent = next(run for run in store.search_runs([experiment]) if run.info.run_name == "killed")
    assert (parent.data.tags["gate.outcome"], parent.data.tags["gate.alias"]) == ("promote", "champion")
    run = home / "killed" / "killed"
    assert json.loads((run / "status.json").read_text("utf-8")) == {"run_id": "killed", "state": "done", "error": None}
    assert not (run / LOCK).exists()


def test_no_secret_of_the_config_is_in_the_runs_files_or_in_mlflow(undisturbed: Path) -> None:
    store = client(undisturbed, "undisturbed")
    runs = store.search_runs([store.get_experiment_by_name("resume").experiment_id])
    artifacts = [Path(run.info.artifact_uri.removeprefix("file://")) for run in runs]
    searched = [file for folder in (undisturbed / "undisturbed", *artifacts) for file in folder.rglob("*")]
    files = [undisturbed / "undisturbed.db", *(file for file in searched if file.is_file())]
    assert {"config.json", "run.json", "status.json"} <= {file.name for file in files}
    assert [file for file in files if b"canary" in file.read_bytes().replace(b"spark.canary.proxy", b"")] == []


def test_the_files_that_a_job_writes_in_python_are_for_its_user_alone(undisturbed: Path) -> None:
    run = undisturbed / "undisturbed" / "undisturbed"
    written = [run / "run.json", run / "status.json", *(run / "ledger").glob("*.json")]
    assert len(written) > 10
    assert {oct(file.stat().st_mode & 0o777) for file in written} == {"0o600"}


def test_a_second_process_on_a_run_is_refused_while_the_first_one_lives(undisturbed: Path) -> None:
    lock = undisturbed / "undisturbed" / "undisturbed" / LOCK
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    holder = replace(Owner.current(), pid=other.pid, start=run_lock._start_of(other.pid), token="other")
    try:
        lock.write_text(holder.mark, "utf-8")
        assert train.main(["--config", config_file(undisturbed, "undisturbed"), "--json"]) == 2
        status = json.loads((undisturbed / "undisturbed" / "status.json").read_text("utf-8"))
        assert "another process works on it" in status["error"]
    finally:
        other.kill()
        other.wait()
    assert train.main(["--config", config_file(undisturbed, "undisturbed"), "--json"]) == 0
    assert not lock.exists()


def test_runs_that_a_dead_process_left_running_are_closed_by_the_next_job(spark: SparkSession, tmp_path: Path) -> None:
    from imbalance_spark.tracking.config import TrackingConfig

    config = TrackingConfig(uri=new_store(tmp_path), experiment="lost")
    experiment = connect(config)
    store = MlflowClient()
    own = Owner.current()
    dead, elsewhere = replace(own, pid=999_999_999), replace(own, host="other-host", scope="other")
    marks = {"dead": dead.mark, "alive": own.mark, "elsewhere": elsewhere.mark}
    runs = {
        name: store.create_run(experiment, tags={"imbalance_spark.process": mark}).info.run_id
        for name, mark in marks.items()
    }
    close_lost_runs(spark, experiment)
    found = {name: mlflow.get_run(run_id).info.status for name, run_id in runs.items()}
    assert found == {"dead": "KILLED", "alive": "RUNNING", "elsewhere": "RUNNING"}
