"""On a Databricks cluster: what its runtime brings is not asked for, and a failed job is a failed task."""

from importlib.metadata import PackageNotFoundError, version

import pyspark
import pytest
from mlflow.entities.model_registry import ModelVersion

from imbalance_spark.cli import doctor_checks
from imbalance_spark.cli.exit_codes import JobFailedError, run_job
from imbalance_spark.core.errors import QualityGateError
from imbalance_spark.tracking import models
from imbalance_spark.tracking import registry as tracking_registry


@pytest.fixture
def on_databricks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABRICKS_RUNTIME_VERSION", "19.0")


def gate_not_met() -> int:
    raise QualityGateError("average_precision is below gate.minimum.")


def test_a_job_that_fails_raises_since_a_wheel_task_does_not_read_its_exit_code(on_databricks: None) -> None:
    status: dict[str, object] = {}
    with pytest.raises(JobFailedError, match=r"^train ended with exit code 4\. average_precision is below"):
        run_job("train", gate_not_met, status.update)
    assert status["exit_code"] == 4
    with pytest.raises(JobFailedError, match=r"^doctor ended with exit code 2\.$"):
        run_job("doctor", lambda: 2)
    assert run_job("train", lambda: 0) == 0


def test_elsewhere_the_exit_code_says_so() -> None:
    assert run_job("train", gate_not_met) == 4


def test_the_doctor_asks_for_no_pyspark_and_no_delta_jar(on_databricks: None) -> None:
    assert not {"pyspark", "delta-spark"} & set(doctor_checks.installed_versions())
    assert "xgboost" in doctor_checks.installed_versions()
    assert doctor_checks.check_delta().line.endswith("part of Databricks runtime 19.0")


def test_a_model_names_a_pyspark_that_has_no_metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    def of_a_runtime(name: str) -> str:
        if name == "pyspark":
            raise PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(models, "version", of_a_runtime)
    assert f"pyspark=={pyspark.__version__}" in models._pinned_requirements()


@pytest.mark.parametrize(("model_id", "source"), [("m-1", "s3://elsewhere/m"), (None, "models:/m-1")])
def test_a_versions_model_is_found_by_its_id_or_its_source(model_id: str | None, source: str) -> None:
    found = ModelVersion(name="main.default.orders", version="3", creation_timestamp=0, source=source, run_id="r",
                         model_id=model_id)  # fmt: skip
    assert tracking_registry._version(found).model_id == "m-1"


def test_an_address_has_room_for_catalog_and_schema() -> None:
    found = tracking_registry._ADDRESS.fullmatch("models:/main.default.orders_fraud@champion")
    assert found is not None
    assert found["name"] == "main.default.orders_fraud"
