"""A store with a small registered model, and what tests of the score job ask of it and of its output."""

import contextlib
import json
from pathlib import Path

import mlflow
import pandas as pd
import pytest
from mlflow.tracking import MlflowClient
from pyspark.sql import DataFrame, SparkSession

from imbalance_spark.scoring.bundle import ModelBundle
from imbalance_spark.tracking import runs
from imbalance_spark.tracking.config import TrackingConfig
from imbalance_spark.tracking.models import log_bundle, register_version
from support.mlflow_store import new_store as store
from support.orders_to_score import CATEGORICAL, NUMERIC, as_table, bundle, orders

NAME = "orders"
CHAMPION = f"models:/{NAME}@champion"


def fill(spark: SparkSession, home: Path) -> None:
    """Version 1 as champion and version 2 in a store, and `orders`, a Delta table."""
    as_table(spark, orders()).write.format("delta").save(f"{home}/orders")
    with contextlib.chdir(home):  # MLflow puts a new experiment's artifacts below it
        experiment_id = runs.connect(TrackingConfig(uri=store(home), experiment="score"))
        for number, model in enumerate((bundle(3), bundle(4)), start=1):
            _log(experiment_id, f"run-{number}", model)
        MlflowClient().set_registered_model_alias(NAME, "champion", "1")


def _log(experiment_id: str, name: str, model: ModelBundle) -> None:
    with runs.tracked_run(experiment_id, name, runs.strategy_identity(name, model.strategy)) as run_id:
        register_version(NAME, log_bundle(run_id, model), {})


def arguments(home: Path, output: Path, *more: str, source: str = "orders", model: str = CHAMPION) -> list[str]:
    places = ["--input", f"{home}/{source}", "--output", str(output), "--tracking-uri", store(home)]
    return ["--model", model, *places, "--json", *more]


def table(spark: SparkSession, output: Path) -> DataFrame:
    return spark.read.format("delta").load(str(output))


def commits(spark: SparkSession, output: Path) -> int:
    return spark.sql(f"DESCRIBE HISTORY delta.`{output}`").count()


def printed(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    return json.loads(capsys.readouterr().out.strip().splitlines()[-1])


def ending(capsys: pytest.CaptureFixture[str], code: int) -> str:
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith(f"ERROR {code}: ")
    return last


def in_memory(home: Path, frame: pd.DataFrame) -> pd.DataFrame:
    mlflow.set_tracking_uri(store(home))
    return mlflow.pyfunc.load_model(CHAMPION).predict(frame[[*NUMERIC, *CATEGORICAL]])


def rows_of(scored: DataFrame) -> list[float]:
    return [row["probability"] for row in scored.orderBy("order_id").collect()]
