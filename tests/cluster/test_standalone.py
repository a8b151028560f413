"""The main job on a real standalone cluster: master and two workers, all packages shipped as an archive.

What a cluster has of its own is tested on it: a driver of spark-submit, executors whose Python has no package but those
of the archive; the score job ships this package alone, as a zip. The same jobs run here in the tests' own Spark to
compare with.
"""

import contextlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from support.forks import ROOT
from support.mlflow_store import new_store
from support.standalone_cluster import FIT, SPARK_HOME, Cluster, environment

from imbalance_spark.core.spark_session import delta_package
from imbalance_spark.orders.datasets.synthetic import generate_orders
from jobs import score, train
from tools.archive import runtime_packages, write_archive

LIMIT_S = 900
ROWS = 20_000
STRATEGIES = ("none", "undersample", "balanced_sketch")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, spark: SparkSession) -> Path:
    """A folder with `orders`, a Delta table that the job of a cluster reads as one of another Spark left it."""
    home = tmp_path_factory.mktemp("standalone")
    orders = generate_orders(spark, rows=ROWS, prevalence=0.02, seed=7, partitions=3)
    orders.write.format("delta").save(f"{home}/orders")
    return home


def submit(
    home: Path, job: str, *arguments: str, spark: tuple[str, ...], code: int = 0, python: str = sys.executable
) -> list[str]:
    """Lines that the job printed, or those of its stderr where it is to fail; `python` is that of the executors."""
    settings = {
        "spark.ui.enabled": "false",
        "spark.log.level": "ERROR",
        "spark.sql.shuffle.partitions": "5",
        **FIT,
    }
    options = [option for name, value in settings.items() for option in ("--conf", f"{name}={value}")]
    done = subprocess.run(
        [str(SPARK_HOME / "bin/spark-submit"), *spark, *options, str(ROOT / "jobs" / job), *arguments], cwd=home,
        env={**environment(home), "PYSPARK_PYTHON": python, "PYSPARK_DRIVER_PYTHON": sys.executable},
        capture_output=True, text=True, timeout=LIMIT_S, check=False,
    )  # fmt: skip
    assert done.returncode == code, (done.stdout[-3000:], done.stderr[-1000:])
    return (done.stdout if code == 0 else done.stderr).strip().splitlines()


def on(cluster: Cluster, *shipped: str) -> tuple[str, ...]:
    return ("--master", cluster.url, "--packages", delta_package(), *shipped)


def training(home: Path, run_id: str, registered: str) -> list[str]:
    settings = [f"run_id={run_id}", f"output={home}/output", f"orders.source.path={home}/orders"]
    settings += [f"tracking.uri={new_store(home)}", f"tracking.registered_model={registered}", "training.rounds=10"]
    settings += ["evaluation=holdout"]
    options = [option for setting in settings for option in ("--set", setting)]
    return ["--config", str(ROOT / "conf/cluster.yaml"), *options, "--json"]


def scoring(home: Path) -> list[str]:
    places = ["--input", f"{home}/orders", "--output", f"{home}/scored", "--tracking-uri", new_store(home)]
    return ["--model", "models:/orders@champion", "--json", *places]


@pytest.fixture(scope="module")
def on_cluster(home: Path, cluster: Cluster) -> dict[str, Any]:
    """What a run on the cluster printed; its best model is version 1 of `orders`.

    Executors run the archive's link to a Python without packages; nothing of this checkout is on their path.
    """
    archive = write_archive(home / "environment.tar.gz", runtime_packages(), compress_level=0)
    shipped = on(cluster, "--archives", f"{archive}#environment")
    arguments = training(home, "on-cluster", "orders")
    return json.loads(submit(home, "train.py", *arguments, spark=shipped, python="./environment/bin/python")[-1])


def ledger(home: Path, run_id: str, step: str) -> object:
    return json.loads((home / "output" / run_id / "ledger" / f"{step}.json").read_text("utf-8"))["output"]


def test_cluster_and_local_runs_agree_on_splits_samples_and_counts(
    home: Path, on_cluster: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    with contextlib.chdir(home):  # MLflow puts artifacts below it
        assert train.main(training(home, "at-home", "null")) == 0
    at_home = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert {row["strategy"] for row in on_cluster["strategies"]} == {*STRATEGIES, "majority class"}
    assert on_cluster["best"] == at_home["best"]
    for step in ("split", "categories", *[f"counts_{s}" for s in STRATEGIES]):
        assert ledger(home, "on-cluster", step) == ledger(home, "at-home", step), step
    for table in ("train", "train_undersample", "quarantined"):
        here, there = ledger(home, "at-home", table), ledger(home, "on-cluster", table)
        for found in ("rows", "fingerprint", "observed"):
            assert here[found] == there[found], (table, found)


def test_a_champion_is_trained_retuned_and_scores_before_and_after_end_to_end(
    spark: SparkSession, home: Path, cluster: Cluster, package: Path, on_cluster: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def score_here() -> dict[str, Any]:
        assert score.main(scoring(home)) == 0
        return json.loads(capsys.readouterr().out.strip().splitlines()[-1])

    assert on_cluster["gate"]["outcome"] == "promote"
    assert (on_cluster["registered"]["version"], on_cluster["registered"]["alias"]) == ("1", "champion")
    first = json.loads(submit(home, "score.py", *scoring(home), spark=on(cluster, "--py-files", str(package)))[-1])
    retuned = retune(home, package, str(on_cluster["mlflow_run_id"]), "--fn", "100", "--fp", "1")
    second = score_here()
    version = {"name": "orders", "version": "2", "alias": "champion"}
    rule = {"objective": "min_cost_fn_100_fp_1", "threshold": second["threshold"]}
    assert retuned["registered"] == {**version, **rule}
    assert score_here() == {**second, "is_new": False}

    before, after = first["threshold"], second["threshold"]
    assert (before, after) == (retuned["threshold"]["before"], retuned["threshold"]["after"])
    scored = spark.read.format("delta").load(f"{home}/scored")
    found = {row["model_version"]: row.asDict() for row in by_version(scored).collect()}
    assert {version: row["rows"] for version, row in found.items()} == {"1": ROWS, "2": ROWS}
    for version, result in (("1", first), ("2", second)):
        row = found[version]
        assert (result["model_version"], result["rows"], result["is_new"]) == (version, ROWS, True)
        assert row["orders"] == ROWS
        assert row["thresholds"] == [result["threshold"]]
        assert row["flagged"] == row["at_or_above"] > 0
    # A missed fraud is more expensive now: more is flagged, by the same probabilities, here and on the cluster.
    assert after < before
    assert found["1"]["flagged"] < found["2"]["flagged"] < ROWS
    assert scored.select("order_id", "probability").distinct().count() == ROWS


def retune(home: Path, package: Path, run_id: str, *costs: str) -> dict[str, Any]:
    command = [sys.executable, str(ROOT / "jobs/retune.py"), "--run", run_id, "--objective", "min_cost", *costs]
    command += ["--alias", "champion", "--tracking-uri", new_store(home), "--json"]
    place = {**environment(home), "PYTHONPATH": str(package)}
    ended = subprocess.run(command, cwd=home, env=place, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert ended.returncode == 0, ended.stderr[-2000:]
    return json.loads(ended.stdout.strip().splitlines()[-1])


def by_version(scored: DataFrame) -> DataFrame:
    return scored.groupBy("model_version").agg(
        F.count("*").alias("rows"),
        F.countDistinct("order_id").alias("orders"),
        F.collect_set("threshold").alias("thresholds"),
        F.sum("decision").alias("flagged"),
        F.count_if(F.col("probability") >= F.col("threshold")).alias("at_or_above"),
    )


def test_a_failed_job_says_why_last_on_stderr_and_exits_with_its_code(home: Path) -> None:
    arguments = ("--config", str(ROOT / "conf/cluster.yaml"), "--set", "split.sed=7", "--set", f"output={home}/bad")
    said = submit(home, "train.py", *arguments, spark=("--master", "local[1]"), code=2)
    assert said[-1].startswith("ERROR 2: ")
    assert "Did you mean 'seed' for 'sed'?" in "\n".join(said)
    assert json.loads((home / "bad/status.json").read_text("utf-8"))["exit_code"] == 2
