"""The main job on a real standalone cluster: master and two workers, the package shipped as a zip."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from support.mlflow_store import new_store
from support.standalone_cluster import SPARK_HOME, environment, standalone_cluster

from imbalance_spark.core.spark_session import delta_package

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 420
STRATEGIES = ("none", "undersample", "balanced_sketch")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cluster")


@pytest.fixture(scope="module")
def master(home: Path) -> Iterator[str]:
    with standalone_cluster(home) as cluster:
        yield cluster.url


@pytest.fixture(scope="module")
def package(home: Path) -> Path:
    made = home / "imbalance_spark.zip"
    subprocess.run([sys.executable, "-m", "zipfile", "-c", str(made), "imbalance_spark", "jobs"], cwd=ROOT, check=True)
    return made


def submit(
    home: Path, package: Path, job: str, *arguments: str, spark: tuple[str, ...], code: int = 0
) -> subprocess.CompletedProcess[str]:
    command = [str(SPARK_HOME / "bin/spark-submit"), "--packages", delta_package(), "--py-files", str(package)]
    command += ["--conf", "spark.ui.enabled=false", "--conf", "spark.log.level=ERROR", *spark, str(ROOT / "jobs" / job)]
    done = subprocess.run(
        [*command, *arguments],
        cwd=home,
        env=environment(home),
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == code, (done.stdout[-3000:], done.stderr[-1000:])
    return done


def train(home: Path, package: Path, run_id: str, registered: str, *spark: str) -> dict[str, object]:
    settings = [f"run_id={run_id}", f"output={home}/output", f"orders.source.path={home}/orders"]
    settings += [f"tracking.uri={store(home)}", f"tracking.registered_model={registered}", "training.rounds=10"]
    options = [option for setting in settings for option in ("--set", setting)]
    return printed(
        submit(home, package, "train.py", "--config", str(ROOT / "conf/cluster.yaml"), *options, "--json", spark=spark)
    )


def store(home: Path) -> str:
    return new_store(home)


def printed(ended: subprocess.CompletedProcess[str]) -> dict[str, object]:
    return json.loads(ended.stdout.strip().splitlines()[-1])


@pytest.fixture(scope="module")
def orders(home: Path, package: Path, master: str) -> Path:
    generate = ("--rows", "30000", "--prevalence", "0.02", "--seed", "7", "--output", str(home / "orders"))
    submit(home, package, "generate_orders.py", *generate, spark=on(master))
    return home / "orders"


@pytest.fixture(scope="module")
def on_cluster(home: Path, package: Path, master: str, orders: Path) -> dict[str, object]:
    """What a run on the cluster printed; its best model is version 1 of `orders`."""
    return train(home, package, "on-cluster", "orders", *on(master))


def on(master: str) -> tuple[str, ...]:
    return ("--master", master, "--executor-memory", "1g")


def ledger(home: Path, run_id: str, step: str) -> object:
    return json.loads((home / "output" / run_id / "ledger" / f"{step}.json").read_text("utf-8"))["output"]


def test_cluster_and_local_runs_agree_on_splits_samples_and_counts(
    home: Path, package: Path, on_cluster: dict[str, object]
) -> None:
    at_home = train(home, package, "at-home", "null", "--master", "local[2]")
    assert {row["strategy"] for row in on_cluster["strategies"]} == {*STRATEGIES, "majority class"}
    assert on_cluster["best"] == at_home["best"]
    for step in ("split", "categories", "train_sums", "train_undersample_sums", *[f"counts_{s}" for s in STRATEGIES]):
        assert ledger(home, "on-cluster", step) == ledger(home, "at-home", step), step
    for table in ("train", "train_undersample", "quarantined"):
        here, there = ledger(home, "at-home", table), ledger(home, "on-cluster", table)
        assert (here["rows"], here["fingerprint"]) == (there["rows"], there["fingerprint"]), table


def test_end_to_end_orders_are_generated_a_champion_trained_promoted_retuned_and_scores_before_and_after(
    spark: SparkSession, home: Path, package: Path, master: str, orders: Path, on_cluster: dict[str, object]
) -> None:
    def score() -> dict[str, object]:
        places = ("--input", str(orders), "--output", f"{home}/scored", "--tracking-uri", store(home))
        model = ("--model", "models:/orders@champion", "--json")
        return printed(submit(home, package, "score.py", *model, *places, spark=on(master)))

    assert on_cluster["gate"]["outcome"] == "promote"
    assert (on_cluster["registered"]["version"], on_cluster["registered"]["alias"]) == ("1", "champion")
    first = score()
    retuned = retune(home, package, str(on_cluster["mlflow_run_id"]), "--fn", "100", "--fp", "1")
    assert retuned["registered"] == {"name": "orders", "version": "2", "alias": "champion"}
    second = score()
    assert score() == {**second, "is_new": False}

    before, after = first["threshold"], second["threshold"]
    assert (before, after) == (retuned["threshold"]["before"], retuned["threshold"]["after"])
    rows = spark.read.format("delta").load(str(orders)).count()
    scored = spark.read.format("delta").load(f"{home}/scored")
    found = {row["model_version"]: row.asDict() for row in by_version(scored).collect()}
    assert {version: row["rows"] for version, row in found.items()} == {"1": rows, "2": rows}
    for version, result in (("1", first), ("2", second)):
        row = found[version]
        assert (result["model_version"], result["rows"], result["is_new"]) == (version, rows, True)
        assert row["orders"] == rows
        assert row["thresholds"] == [result["threshold"]]
        assert row["flagged"] == row["at_or_above"] > 0
    # A missed fraud is dearer now: more is flagged, by the same probabilities.
    assert after < before
    assert found["1"]["flagged"] < found["2"]["flagged"] < rows
    assert scored.select("order_id", "probability").distinct().count() == rows


def retune(home: Path, package: Path, run_id: str, *costs: str) -> dict[str, object]:
    command = [sys.executable, str(ROOT / "jobs/retune.py"), "--run", run_id, "--objective", "min_cost", *costs]
    command += ["--alias", "champion", "--tracking-uri", store(home), "--json"]
    place = {**environment(home), "PYTHONPATH": str(package)}
    ended = subprocess.run(command, cwd=home, env=place, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert ended.returncode == 0, ended.stderr[-2000:]
    return printed(ended)


def by_version(scored: DataFrame) -> DataFrame:
    return scored.groupBy("model_version").agg(
        F.count("*").alias("rows"),
        F.countDistinct("order_id").alias("orders"),
        F.collect_set("threshold").alias("thresholds"),
        F.sum("decision").alias("flagged"),
        F.count_if(F.col("probability") >= F.col("threshold")).alias("at_or_above"),
    )


def test_a_failed_job_says_why_last_on_stderr_and_exits_with_its_code(home: Path, package: Path) -> None:
    arguments = ("--config", str(ROOT / "conf/cluster.yaml"), "--set", "split.sed=7", "--set", f"output={home}/bad")
    done = submit(home, package, "train.py", *arguments, spark=("--master", "local[1]"), code=2)
    assert done.stderr.strip().splitlines()[-1].startswith("ERROR 2: ")
    assert "Did you mean 'seed' for 'sed'?" in done.stderr
    assert json.loads((home / "bad/status.json").read_text("utf-8"))["exit_code"] == 2
