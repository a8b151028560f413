"""Columns with any name, from CSV, Parquet and Delta to a model, its report and scored orders."""

import json
from pathlib import Path

import mlflow
import pytest
import yaml
from pyspark.sql import DataFrame, SparkSession
from support.mlflow_store import new_store

from imbalance_spark.core.columns import col
from imbalance_spark.orders.config import SourceConfig
from imbalance_spark.orders.datasets.synthetic import generate_orders
from imbalance_spark.orders.read import read_orders
from jobs import score, train

NAMES = {
    "order_id": "order id, [№]",
    "is_fraud": "was it fraud?; {x}=1",
    "customer_id": "клиент.id",
    "amount": 'amount "€" (gross)\' OR 1=1 --',
    "distance_km": "n" * 300,
    "country": "国 `c`",
    "channel": "=cmd()<script>",
}


@pytest.fixture(scope="module")
def home(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same 4,000 orders as CSV, Parquet, and Delta with column mapping."""
    home = tmp_path_factory.mktemp("names")
    orders = generate_orders(spark, rows=4000, prevalence=0.1, seed=7, partitions=1)
    named = orders.select(*[col(name).alias(shown) for name, shown in NAMES.items()]).localCheckpoint()
    named.write.csv(f"{home}/csv", header=True)
    named.write.parquet(f"{home}/parquet")
    named.write.format("delta").option("delta.columnMapping.mode", "name").save(f"{home}/delta")
    return home


@pytest.fixture(scope="module")
def trained(home: Path) -> Path:
    roles = {"key": [NAMES["order_id"]], "label": NAMES["is_fraud"], "group": NAMES["customer_id"]}
    features = {"numeric": [NAMES["amount"], NAMES["distance_km"]], "categorical": [NAMES["country"], NAMES["channel"]]}
    config = {
        "name": "names", "output": f"{home}/output",
        "orders": {"source": {"path": f"{home}/csv", "format": "csv"}, **roles, **features},
        "strategies": ["none"], "training": {"num_workers": 1, "rounds": 3, "early_stopping_rounds": 3},
        "scoring": {"segments": [NAMES["country"]]},
        "tracking": {"uri": new_store(home), "experiment": "names", "registered_model": "names"},
    }  # fmt: skip
    (home / "names.yaml").write_text(yaml.safe_dump(config, allow_unicode=True), "utf-8")
    assert train.main(["--config", str(home / "names.yaml"), "--json"]) == 0
    return home


@pytest.mark.parametrize("format", ["csv", "parquet", "delta"])
def test_each_format_gives_back_the_names(spark: SparkSession, home: Path, format: str) -> None:
    assert tuple(_read(spark, home, format).columns) == tuple(NAMES.values())


def test_a_run_goes_by_the_names_in_its_tables_and_its_record(spark: SparkSession, trained: Path) -> None:
    [orders] = trained.glob("output/*/tables/orders")
    assert tuple(spark.read.parquet(str(orders)).columns) == tuple(NAMES.values())
    mlflow.set_tracking_uri(new_store(trained))
    found = mlflow.search_runs(experiment_names=["names"])
    [nested] = found.dropna(subset=["tags.mlflow.parentRunId"])["run_id"]
    segments = mlflow.artifacts.load_dict(f"runs:/{nested}/segments.json")
    assert NAMES["country"] in json.dumps(segments, ensure_ascii=False)
    [parent] = found[found["tags.mlflow.parentRunId"].isna()]["run_id"]
    page = mlflow.artifacts.load_text(f"runs:/{parent}/report.html")
    assert "<script>alert" not in page
    assert "=cmd()<script>" not in page


def test_the_model_reads_and_the_score_job_writes_the_names(spark: SparkSession, trained: Path) -> None:
    arguments = ["--model", "models:/names@champion", "--output", f"{trained}/scored", "--json"]
    arguments += ["--tracking-uri", new_store(trained)]
    for format in ("delta", "parquet"):
        assert score.main([*arguments, "--input", f"{trained}/{format}", "--format", format]) == 0
    scored = spark.read.format("delta").load(f"{trained}/scored")
    assert tuple(scored.columns[: len(NAMES)]) == tuple(NAMES.values())
    assert (scored.count(), scored.where("probability is null").count()) == (8000, 0)
    orders = _read(spark, trained, "parquet").limit(50).toPandas()
    in_memory = mlflow.pyfunc.load_model("models:/names@champion").predict(orders)["probability"]
    key = NAMES["order_id"]
    by_key = {row[0]: row[1] for row in scored.select(col(key), "probability").collect()}
    assert [by_key[number] for number in orders[key]] == pytest.approx(in_memory.tolist(), abs=1e-12)


def _read(spark: SparkSession, home: Path, format: str) -> DataFrame:
    return read_orders(spark, SourceConfig(path=f"{home}/{format}", format=format)).frame
