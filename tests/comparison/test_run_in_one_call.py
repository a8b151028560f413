"""A comparison of a DataFrame that somebody already has: one call, and what it gives back."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from support.mlflow_store import new_store
from support.small_run import STRONG, config_file

from imbalance_spark.comparison.compare import bundle_of
from imbalance_spark.comparison.run import RunResult, run
from imbalance_spark.config.run import RunConfig
from imbalance_spark.config.yaml_file import load_config
from imbalance_spark.orders.datasets.synthetic import generate_orders
from imbalance_spark.scoring.score_orders import score_orders
from jobs import diagnose, train

BY_AMOUNT = "min_cost_fn_0.8_amount_plus_15_fp_20"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("handed-over")


@pytest.fixture(scope="module")
def conf(home: Path) -> str:
    few = {**STRONG, "rounds": 5, "early_stopping_rounds": 5, "repeats": 2}
    file = Path(config_file(home, "frame", uri=new_store(home), training=few))
    config = yaml.safe_load(file.read_text("utf-8"))
    del config["orders"]["source"]
    config["orders"]["amount"] = "amount"
    config["objectives"] = [{"name": "min_cost", "fn": "amount * 0.8 + 15", "fp": 20.0}]
    config["serve_objective"] = BY_AMOUNT
    config["scoring"] = {"segments": ["country"]}
    file.write_text(yaml.safe_dump(config), "utf-8")
    return str(file)


@pytest.fixture(scope="module")
def orders(spark: SparkSession) -> DataFrame:
    return generate_orders(spark, rows=6_000, prevalence=0.05, seed=7, partitions=2)


@pytest.fixture(scope="module")
def result(spark: SparkSession, conf: str, orders: DataFrame) -> RunResult:
    return run(spark, load_config(conf, RunConfig, ()), orders, quiet=True)


def test_a_dataframe_is_written_once_and_then_treated_as_any_source(
    spark: SparkSession, result: RunResult, conf: str, orders: DataFrame
) -> None:
    prepared = result.comparison.prepared
    assert prepared.location.endswith("/tables/orders")
    assert prepared.run.pin("orders").rows == 6_000
    again = run(spark, load_config(conf, RunConfig, ()), orders.repartition(5), quiet=True)
    assert again.comparison.prepared.run.run_id == prepared.run.run_id
    assert again.to_dict()["strategies"] == result.to_dict()["strategies"]
    assert again.decision.outcome == "standing"


def test_what_costs_by_amount_give_on_test_is_what_the_served_decisions_cost(
    spark: SparkSession, result: RunResult
) -> None:
    prepared, bundle = result.comparison.prepared, bundle_of(result.comparison, result.best)
    test = prepared.orders.where("split = 'test'")
    decided = score_orders(test, bundle, model_version="1", scored_at=datetime(2024, 5, 1, tzinfo=UTC))
    missed = F.when(F.col("is_fraud") == 1, F.col("amount") * 0.8 + 15).otherwise(0.0)
    cost = F.when(F.col("decision") == 0, missed).otherwise(20.0 * (F.col("is_fraud") == 0).cast("int"))
    [row] = decided.agg(F.sum(cost), F.sum("decision"), F.sum("expected_cost"), F.sum(F.lit(1))).collect()
    metrics = result.best.metrics
    assert metrics[f"test/{BY_AMOUNT}/cost"] == pytest.approx(row[0])
    assert metrics["test/tp"] + metrics["test/fp"] == row[1]
    assert 0 < row[1] < row[3]
    assert row[2] == pytest.approx(row[0], rel=0.5)
    assert "Each order is decided by its own amount. One threshold for all" in result._repr_html_()
    assert metrics[f"test/{BY_AMOUNT}/cost_at_single_threshold"] != metrics[f"test/{BY_AMOUNT}/cost"]


def test_other_rows_are_another_run(spark: SparkSession, result: RunResult, conf: str, orders: DataFrame) -> None:
    fewer = run(spark, load_config(conf, RunConfig, ()), orders.where("order_id <> 17"), quiet=True)
    assert fewer.comparison.prepared.run.run_id != result.comparison.prepared.run.run_id


def test_the_result_shows_itself_and_holds_the_report(result: RunResult) -> None:
    assert "Advised: none." in result._repr_html_()
    assert {"comparison", "thresholds", "cost"} <= set(result.figures)
    assert "<h2>The answer</h2>" in result.report_html
    assert (result.best.name, result.advice.reason, result.problems) == ("none", "alone", [])


def test_a_repeated_fit_shows_the_spread_of_training_and_the_first_one_serves(result: RunResult) -> None:
    fitted = result.best.fitted
    [again] = fitted.repeats
    assert again.booster.model_bytes != fitted.booster.model_bytes
    assert 0.5 < sum(again.fit_rows.values()) / sum(fitted.fit_rows.values()) < 0.75  # 1 - 1/e are drawn
    found, [second] = result.best.metrics["validation/average_precision"], result.best.repeats
    other = second.curves("validation")[0].average_precision()
    assert other is not None
    spread = result.table["sd of training"].iloc[0]
    assert spread == pytest.approx(abs(found - other) / 2**0.5)
    assert "Each strategy was fitted 2 times" in result.text()
    assert bundle_of(result.comparison, result.best).model_bytes == fitted.booster.model_bytes


@pytest.mark.parametrize("options", [[], ["--dry-run"]])
def test_a_job_without_a_source_says_what_to_name(
    conf: str, capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    assert train.main(["--config", conf, *options]) == 2
    assert "orders.source: the config names none. Give a path or a table" in capsys.readouterr().err


def test_a_diagnosis_without_a_source_says_so_before_spark_starts(
    conf: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert diagnose.main(["--config", conf]) == 2
    assert "orders.source" in capsys.readouterr().err
