"""What each check of the doctor finds in broken settings."""

import contextlib
import hashlib
import socket
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pyspark.sql import SparkSession
from support.mlflow_store import new_store

from imbalance_spark.cli import doctor, doctor_checks, jars
from imbalance_spark.cli.doctor import run_checks
from imbalance_spark.cli.doctor_checks import Finding, is_healthy
from imbalance_spark.core import spark_session as session
from imbalance_spark.core.errors import UnsupportedSparkError
from imbalance_spark.tracking.config import TrackingConfig
from imbalance_spark.train_only.learners import executors


def _session(**settings: str) -> Any:
    conf = SimpleNamespace(get=lambda name, default=None: settings.get(name.rpartition(".")[2], default))
    return SimpleNamespace(sparkContext=SimpleNamespace(getConf=lambda: conf))


def _started(**settings: str) -> Any:
    session = _session(**settings)
    session.version, session.sparkContext.master = "4.2.0", "local[2]"
    session._jvm = SimpleNamespace(System=SimpleNamespace(getProperty=lambda name: "17.0.9"))
    return session


def test_a_finding_is_one_line_with_its_fix() -> None:
    finding = Finding(status="FAIL", what="Java", found="there is none", fix="install it")
    assert finding.line == "FAIL  Java                 there is none  -> install it"


def test_an_error_of_the_package_gives_what_was_found_and_the_fix_apart() -> None:
    finding = Finding.of_error("Spark session", UnsupportedSparkError("no Delta classes. Add --packages io.delta:x."))
    assert (finding.found, finding.fix) == ("no Delta classes", "Add --packages io.delta:x.")


def test_an_error_of_spark_with_a_known_cause_has_its_fix_apart_too() -> None:
    finding = Finding.of_error("output folder", OSError("java.io.IOException: No space left on device"))
    assert finding.found == "no space left on the disk that Spark writes to"
    assert finding.fix == "free space or set spark.local.dir."


def test_a_warning_alone_is_healthy() -> None:
    warning, failure = (Finding(status=status, what="x", found="y") for status in ("WARN", "FAIL"))
    assert is_healthy([warning])
    assert not is_healthy([warning, failure])


@pytest.mark.parametrize(("found", "status"), [((3, 10), "FAIL"), ((3, 11), "ok"), ((3, 14), "ok")])
def test_python_before_3_11_fails(found: tuple[int, int], status: str) -> None:
    assert doctor_checks.check_python(found).status == status


@pytest.mark.parametrize(
    ("found", "status"),
    [(None, "FAIL"), ("1.8.0_392", "FAIL"), ("11.0.2", "FAIL"), ("17.0.9", "ok"), ("21", "ok"), ("24-ea", "ok")],
)
def test_java_before_17_fails(found: str | None, status: str) -> None:
    assert doctor_checks.check_java(found).status == status


def test_a_java_home_without_java_is_no_java(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    assert doctor_checks.installed_java() is None


def test_the_java_version_is_read_from_what_java_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.write_text("#!/bin/sh\necho 'openjdk version \"17.0.9\" 2023-10-17' >&2\n", "utf-8")
    java.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    assert doctor_checks.installed_java() == "17.0.9"


def test_a_missing_package_fails_and_another_version_warns() -> None:
    installed = {"xgboost": None, "pandas": "3.0.0", "numpy": "2.4.6", "pyarrow": "25.0.1"}
    found = list(doctor_checks.check_packages(installed, {"xgboost": "3.2.0", "pandas": "2.3.3", "numpy": "2.4.6"}))
    assert [finding.status for finding in found] == ["FAIL", "WARN", "ok", "ok"]
    assert [finding.fix for finding in found[:2]] == ["pip install xgboost==3.2.0", "pip install pandas==2.3.3"]


def test_proven_versions_need_no_metadata_so_that_a_zip_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> list[str]:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(doctor_checks, "requires", missing)
    assert doctor_checks.proven_versions()["delta-spark"] == "4.4.0"
    monkeypatch.setenv("DATABRICKS_RUNTIME_VERSION", "19.0")
    assert doctor_checks.proven_versions() == {}


def test_on_databricks_only_what_the_wheel_asks_for_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    needed = ["xgboost<3.3,>=3.2", "PyYAML<7,>=6.0.1", 'pandas; extra == "test"']
    monkeypatch.setattr(doctor_checks, "requires", lambda name: needed)
    monkeypatch.setenv("DATABRICKS_RUNTIME_VERSION", "19.0")
    assert doctor_checks.proven_versions().keys() == {"xgboost", "PyYAML"}


def test_a_store_that_can_be_written_is_ok(tmp_path: Path) -> None:
    finding = doctor_checks.check_tracking(TrackingConfig(uri=new_store(tmp_path), experiment="x"))
    assert finding.status == "ok", finding.line


def test_a_tracking_server_that_is_away_fails_with_a_fix() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    finding = doctor_checks.check_tracking(TrackingConfig(uri=f"http://127.0.0.1:{port}", experiment="x"))
    assert finding.status == "FAIL"
    assert "does not answer" in finding.found
    assert finding.fix.startswith("Start it")


def test_a_store_that_takes_no_write_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    def refuse(*_: object) -> None:
        raise MlflowException("attempt to write a readonly database")

    monkeypatch.setattr(MlflowClient, "set_experiment_tag", refuse)
    finding = doctor_checks.check_tracking(TrackingConfig(uri=new_store(tmp_path), experiment="x"))
    assert finding.status == "FAIL"
    assert "takes no write (MlflowException)" in finding.found


def test_a_stores_password_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    from imbalance_spark.tracking import runs

    monkeypatch.setattr(runs, "touch_store", lambda config: None)
    finding = doctor_checks.check_tracking(TrackingConfig(uri="postgresql://me:secret@db:5432/mlflow"))
    assert finding.found == "writable: postgresql://***@db:5432/mlflow"


@pytest.mark.parametrize(("enabled", "status"), [("true", "FAIL"), ("TRUE", "FAIL"), ("false", "ok")])
def test_dynamic_allocation_fails(enabled: str, status: str) -> None:
    assert doctor_checks.check_dynamic_allocation(_session(enabled=enabled)).status == status


def test_more_workers_than_slots_fail_with_the_number_that_fits(spark: SparkSession) -> None:
    assert doctor_checks.check_slots(spark, 2, slot_wait_s=0.0).status == "ok"
    finding = doctor_checks.check_slots(spark, 3, slot_wait_s=0.0)
    assert finding.status == "FAIL"
    assert finding.fix.startswith("Set num_workers to 2 or less")


def test_without_a_config_the_slots_are_counted(spark: SparkSession) -> None:
    assert doctor_checks.check_slots(spark, None, slot_wait_s=0.0).found.startswith("2 now")


def test_executors_like_the_driver_are_told_with_their_versions(spark: SparkSession) -> None:
    (finding,) = doctor_checks.check_executor_versions(spark)
    assert finding.status == "ok"
    python = ".".join(map(str, sys.version_info[:2]))
    for part in (f"Python {python}", f"xgboost {version('xgboost')}", "imbalance_spark importable", "all 2 slots"):
        assert part in finding.found


def test_each_difference_of_an_executor_is_a_failure(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executors, "version", lambda name: "9.9" if name in ("pandas", "numpy") else version(name))
    found = list(doctor_checks.check_executor_versions(spark))
    assert [finding.status for finding in found] == ["FAIL", "FAIL"]
    assert found[0].found == f"pandas is {version('pandas')} in 2 of 2 slots, the driver has 9.9"
    assert found[0].fix == "Install the driver's version on every node."


def test_an_output_folder_is_left_as_it_was(spark: SparkSession, tmp_path: Path) -> None:
    finding = doctor_checks.check_output(spark, str(tmp_path))
    assert finding.status == "ok", finding.line
    assert list(tmp_path.iterdir()) == []


def test_an_output_below_a_file_fails(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("", "utf-8")
    finding = doctor_checks.check_output(spark, f"{tmp_path}/taken/output")
    assert finding.status == "FAIL"
    assert "write access" in finding.fix


def test_spark_connect_is_a_failure_with_its_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    connect = type("SparkSession", (), {"__module__": "pyspark.sql.connect.session"})()
    monkeypatch.setattr(session, "is_remote", lambda: True)
    monkeypatch.setattr(SparkSession.Builder, "getOrCreate", lambda _: connect)
    last = list(run_checks(None))[-1]
    assert (last.status, last.what) == ("FAIL", "Spark session")
    assert last.found.startswith("Spark Connect session")
    assert last.fix.startswith("Use spark-submit, or a dedicated")


def test_a_spark_that_does_not_start_is_a_failure_beside_its_java(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(2, "No such file or directory", "java")

    monkeypatch.setattr(doctor, "spark_session", refuse)
    monkeypatch.setattr(doctor, "installed_java", lambda: None)
    java, session = list(run_checks(None))[-2:]
    assert (
        java.line
        == Finding(
            status="FAIL", what="Java", found="there is none", fix="install Java 17 or newer, and set JAVA_HOME"
        ).line
    )
    assert session.status == "FAIL"


def test_dynamic_allocation_leaves_out_the_barrier_job_that_it_would_break(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "spark_session", lambda *_: contextlib.nullcontext(_started(enabled="true")))
    found = {finding.what: finding.status for finding in run_checks(None)}
    assert found["dynamic allocation"] == "FAIL"
    assert not {"barrier slots", "executors"} & set(found)


def test_a_jar_of_delta_with_another_hash_fails_with_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sound, altered, other = (tmp_path / f"{name} 1.jar" for name in ("sound", "altered", "other"))
    for jar in (sound, altered, other):
        jar.write_bytes(jar.name.encode())
    recorded = {jar.name: hashlib.sha256(b"sound 1.jar").hexdigest() for jar in (sound, altered)}
    monkeypatch.setattr(jars, "recorded_hashes", lambda: recorded)
    monkeypatch.setattr(doctor_checks, "recorded_hashes", lambda: recorded)
    finding = doctor_checks.check_jars(f"{sound.as_uri()},{other.as_uri()},spark://host/altered%201.jar")
    assert (finding.status, finding.found) == ("ok", "1 with the recorded sha256")
    finding = doctor_checks.check_jars(f"{sound.as_uri()},{altered.as_uri()}")
    assert finding.status == "FAIL"
    assert f"altered 1.jar: expected sha256 {recorded[sound.name]}, found " in finding.found
    assert doctor_checks.check_jars("").status == "WARN"


def test_a_folder_of_jars_holds_those_that_are_recorded_and_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.jar").write_bytes(b"a")
    hashes = {"a.jar": hashlib.sha256(b"a").hexdigest()}
    monkeypatch.setattr(jars, "recorded_hashes", lambda: hashes)
    assert jars.main([str(tmp_path)]) == 0
    (tmp_path / "b.jar").write_bytes(b"b")
    hashes["c.jar"] = hashes["a.jar"]
    assert jars.main([str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert "b.jar: not among the recorded JARs" in said
    assert "c.jar: missing" in said
