"""Who is champion after the main job: the better model on the same validation rows, and only where the gate is on."""

import json
import re
from pathlib import Path

import mlflow
import pytest
from mlflow.tracking import MlflowClient
from pyspark.sql import SparkSession
from support.mlflow_store import new_store
from support.small_run import STRONG, WEAK, config_file, write_orders

from benchmarks.spark_work import SparkWork
from imbalance_spark.tracking import registry as tracking_registry
from jobs import train


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, spark: SparkSession) -> Path:
    home = tmp_path_factory.mktemp("gate")
    write_orders(spark, home)
    return home


def trained(
    home: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    training: dict[str, object],
    **sections: object,
) -> dict[str, object]:
    file = config_file(home, name, uri=new_store(home), training=training, **sections)
    assert train.main(["--config", file, "--json"]) == 0
    return json.loads(capsys.readouterr().out.strip().splitlines()[-1])


def champion() -> str:
    return str(MlflowClient().get_model_version_by_alias("orders", "champion").version)


def test_a_champion_falls_to_a_better_model_alone(
    spark: SparkSession, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = trained(home, capsys, "first", WEAK)
    assert first["gate"]["outcome"] == "promote"
    assert "orders has no champion yet: this is the first." in first["registered"]["reason"]
    assert champion() == first["registered"]["version"]

    by_rank = {"gate": {"mode": "enabled", "decide_by": "average_precision"}}
    work = SparkWork(spark)
    better = trained(home, capsys, "better", STRONG, **by_rank)
    # Validated, their keys compared, split, categories learned, and stored: the champion is scored on what is stored.
    assert len(work.scans_of(f"{home}/orders")) == 5
    gain = better["gate"]["gain"]
    assert 0.0 < gain["low"] <= gain["value"]
    assert champion() == better["registered"]["version"]
    # The champion reads other features than the run: it was scored on its own, on the same validation rows.
    metrics = {run: mlflow.get_run(run).data for run in (first["mlflow_run_id"], better["mlflow_run_id"])}
    own, old = (metrics[r["mlflow_run_id"]].metrics["best/validation/average_precision"] for r in (better, first))
    assert gain["value"] == pytest.approx(own - old, abs=1e-9)
    data = metrics[better["mlflow_run_id"]]
    assert (data.tags["gate.outcome"], data.tags["gate.alias"]) == ("promote", "champion")
    assert data.metrics["gate/gain/low"] == gain["low"]
    text = mlflow.artifacts.load_text(f"runs:/{better['mlflow_run_id']}/gate.txt")
    assert "promoted to champion" in text
    assert "95 % interval" in text
    version = MlflowClient().get_model_version_by_alias("orders", "champion")
    assert version.tags["replaced_version"] == first["registered"]["version"]

    # Another seed of the split: most of this run's validation was trained on by the champion, and is left out.
    work = SparkWork(spark)
    worse = trained(home, capsys, "worse", WEAK, split={"by": "group", "seed": 8})
    # Without categories one less, and one more, since the champion has features that were not stored.
    assert len(work.scans_of(f"{home}/orders")) == 5
    assert worse["gate"]["outcome"] == "keep"
    assert worse["gate"]["verdict"] in ("worse", "undecided")
    assert "in cost saved on validation" in worse["registered"]["reason"]
    left, total = (
        int(n.replace(",", ""))
        for n in re.findall(r"on the ([\d,]+) of ([\d,]+) rows", worse["registered"]["reason"])[0]
    )
    assert 0.15 * total < left < 0.5 * total  # of the champion's split 30 % are not train
    assert worse["registered"]["alias"] == "challenger"
    assert champion() == better["registered"]["version"]

    again = trained(home, capsys, "better", STRONG, **by_rank)
    assert (again["gate"]["outcome"], again["registered"]["alias"]) == ("standing", "champion")


def test_a_champion_that_moved_meanwhile_is_not_replaced(home: Path) -> None:
    present = champion()
    other = "1" if present != "1" else "2"
    found = tracking_registry.promote("orders", other, against="77", reason="better")
    assert (found.alias, champion()) == ("challenger", present)
    assert f"The champion became version {present} meanwhile" in found.reason
