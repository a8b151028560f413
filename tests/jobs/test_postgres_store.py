"""Train, register and promote with a real PostgreSQL server as MLflow's store."""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient
from pyspark.sql import SparkSession
from support import postgres_server
from support.small_run import WEAK, config_file, write_orders

from jobs import score, train


@pytest.fixture
def store() -> Iterator[str]:
    found = postgres_server.binaries()
    if found is None and not os.environ.get(postgres_server.REQUIRED):
        pytest.skip("PostgreSQL is not installed, on Debian: apt-get install postgresql")
    assert found is not None, f"{postgres_server.REQUIRED} is set, and PostgreSQL is not installed"
    with postgres_server.running(found) as uri:
        yield uri


def test_a_job_trains_registers_and_promotes_on_postgres(
    spark: SparkSession, store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_orders(spark, tmp_path)
    with contextlib.chdir(tmp_path):  # MLflow puts artifacts below it
        assert train.main(["--config", config_file(tmp_path, "weak", uri=store, training=WEAK), "--json"]) == 0
        last = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
        assert last["gate"]["outcome"] == "promote"
        client = MlflowClient(store)
        assert str(client.get_model_version_by_alias("orders", "champion").version) == "1"
        runs = client.search_runs([client.get_experiment_by_name("small").experiment_id])
        assert [run.info.status for run in runs] == ["FINISHED"] * 2
        places = ["--input", f"{tmp_path}/orders", "--output", f"{tmp_path}/scored", "--tracking-uri", store]
        assert score.main(["--model", "models:/orders@champion", *places, "--json"]) == 0
    assert spark.read.format("delta").load(f"{tmp_path}/scored").where("model_version = '1'").count() == 12_000
