"""What is said of a store that cannot be used: the truth, and what to do."""

from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient
from support.mlflow_store import new_store

from imbalance_spark.core.errors import ConfigError
from imbalance_spark.core.spark_errors import describe
from imbalance_spark.tracking.config import TrackingConfig
from imbalance_spark.tracking.runs import connect
from imbalance_spark.tracking.store import refuse_absent_file, store_alone


def test_a_deleted_experiment_is_not_a_store_that_does_not_answer(tmp_path: Path) -> None:
    config = TrackingConfig(uri=new_store(tmp_path), experiment="deleted")
    MlflowClient(config.uri).delete_experiment(connect(config))
    with pytest.raises(ConfigError, match=r"tracking\.experiment: MLflow refuses 'deleted': it was deleted"):
        connect(config)


@pytest.mark.parametrize("uri", ["sqlite:///{}/mlflow.db?timeout=30", "sqlite+pysqlite:///{}/mlflow.db"])
def test_settings_of_a_connection_are_no_part_of_its_file(tmp_path: Path, uri: str) -> None:
    address = uri.format(tmp_path)
    with pytest.raises(ConfigError, match=r"there is no file '[^?]*mlflow\.db'"):
        refuse_absent_file(address)
    new_store(tmp_path)
    refuse_absent_file(address)
    with store_alone(address):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mlflow.db", "mlflow.db.lock"]
    refuse_absent_file("https://mlflow.internal")


def test_a_full_disk_is_that_of_the_file_that_could_not_be_written() -> None:
    code, line = describe(OSError(28, "No space left on device", "/artifacts/model.ubj"))
    assert (code, line) == (1, 'OSError: No space left on device ("/artifacts/model.ubj").')
    assert "that Spark writes to" in describe(RuntimeError("java.io.IOException: No space left on device"))[1]
