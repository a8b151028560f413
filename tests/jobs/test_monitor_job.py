"""The monitor job on three weeks of orders, the last with four times the fraud: counts, labels, page, alarms."""

import contextlib
import io
import json
import shlex
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from mlflow.tracking import MlflowClient
from pyspark.sql import SparkSession
from support.made_up_comparison import ODD_NAME, target_counts
from support.mlflow_store import new_store
from support.orders_to_score import CATEGORICAL, NUMERIC, bundle
from support.scoring_store import printed

from benchmarks.shifted_days import BASE_RATE, THRESHOLD, Model, label_shifted, raw_scores, unshifted
from imbalance_spark.core.columns import TEST, VALIDATION
from imbalance_spark.metrics.buckets import BUCKETS
from imbalance_spark.scoring.held_out_counts import HeldOutCounts
from imbalance_spark.threshold.class_rules import ClassThresholds
from imbalance_spark.tracking import runs
from imbalance_spark.tracking.config import TrackingConfig
from imbalance_spark.tracking.models import log_bundle, register_version
from jobs import monitor, retune

FIRST, DAYS, ORDERS_A_DAY, DELAY = date(2024, 5, 6), 21, 800, 3
OBJECTIVE = "min_cost_fn_20_fp_1"
QUIET, LOUD = FIRST + timedelta(days=13), FIRST + timedelta(days=DAYS - 1)


@pytest.fixture(scope="module")
def home(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with version 1 as champion, `scored` with the first batch of two, `labels`, and `monitor.yaml`."""
    folder, random = tmp_path_factory.mktemp("monitor"), np.random.default_rng(3)
    model = Model.fitted(random, 60_000)
    _register(folder, model, random)
    orders = _scored(model, random)
    orders.to_parquet(folder / "orders.parquet")
    _append_batch(spark, folder, QUIET)
    labels = orders[["order_id", "is_fraud", "known_at"]]
    spark.createDataFrame(labels).write.format("delta").save(f"{folder}/labels")
    (folder / "monitor.yaml").write_text(yaml.safe_dump(_config(folder)), "utf-8")
    return folder


def _register(folder: Path, model: Model, random: np.random.Generator) -> None:
    own = bundle()
    rules = {OBJECTIVE: ClassThresholds.of_threshold(THRESHOLD)}
    own = replace(own, strategy="none", calibrator=model.calibration, rules=rules, serve_objective=OBJECTIVE)
    folds = {}
    for fold in (VALIDATION, TEST):
        sample = unshifted(random, 60_000)
        folds[fold] = (sample.label, raw_scores(sample), random.integers(0, BUCKETS, 60_000))
    counts = HeldOutCounts(targets=(target_counts(folds),)).to_records()
    with contextlib.chdir(folder):
        experiment_id = runs.connect(TrackingConfig(uri=new_store(folder), experiment="monitor"))
        with runs.tracked_run(experiment_id, "none", runs.strategy_identity("run", "none")) as run_id:
            runs.log_evidence(run_id, runs.Evidence(documents={"counts.json": counts}))
            register_version("orders", log_bundle(run_id, own), {})
        MlflowClient().set_registered_model_alias("orders", "champion", "1")


def _scored(model: Model, random: np.random.Generator) -> pd.DataFrame:
    parts = []
    for number in range(DAYS):
        sample = label_shifted(random, ORDERS_A_DAY, BASE_RATE if number < 14 else 4.0 * BASE_RATE)
        p, day = model.score(sample), FIRST + timedelta(days=number)
        delay = np.where(random.random(ORDERS_A_DAY) < 0.5, 0, 2)
        parts.append(
            pd.DataFrame(
                {
                    "order_id": number * ORDERS_A_DAY + np.arange(ORDERS_A_DAY),
                    "ordered_at": _noon(day),
                    "amount": np.round(random.gamma(2.0, 50.0, ORDERS_A_DAY) * (1.0 if number < 14 else 2.0), 2),
                    "items": random.integers(1, 9, ORDERS_A_DAY).astype(float),
                    "is_new": random.random(ORDERS_A_DAY) < 0.5,
                    "country": random.choice(["DE", "FR", ODD_NAME], ORDERS_A_DAY),
                    "store": random.choice(["1", "2", "99"], ORDERS_A_DAY),
                    "probability": p,
                    "decision": (p >= THRESHOLD).astype(int),
                    "threshold": THRESHOLD,
                    "model_version": "1",
                    "is_fraud": sample.label.astype(int),
                    "known_at": [_noon(day + timedelta(days=int(days))) for days in delay],
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def _noon(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, 12, tzinfo=UTC)


def _config(folder: Path) -> dict[str, Any]:
    return {
        "name": "shop", "output": f"{folder}/runs", "strategies": ["none"],
        "orders": {"label": "is_fraud", "time": "ordered_at", "numeric": [*NUMERIC], "categorical": [*CATEGORICAL]},
        "objectives": [{"name": "min_cost", "fn": 20.0, "fp": 1.0}], "serve_objective": OBJECTIVE,
        "tracking": {"uri": new_store(folder), "experiment": "monitor", "registered_model": "orders"},
        "monitoring": {
            "scored": f"{folder}/scored", "output": f"{folder}/counts", "labels": f"{folder}/labels",
            "known_at": "known_at", "label_delay_days": DELAY, "reference_days": 7, "budget": 40.0,
        },
    }  # fmt: skip


def _append_batch(spark: SparkSession, home: Path, last: date) -> None:
    """Score the orders of the days to `last` that are not in the table yet."""
    days = 14 if last == QUIET else DAYS - 14
    orders = _orders(home, last, days).drop(columns=["is_fraud", "known_at"])
    batch = spark.createDataFrame(orders.assign(scored_at=_noon(last + timedelta(days=1))))
    batch.write.format("delta").mode("append").save(f"{home}/scored")


@dataclass(frozen=True)
class Said:
    """How a run of the job ended."""

    code: int
    out: str
    err: str
    counted: int
    """Rows of the daily counts after it."""

    @property
    def printed(self) -> dict[str, Any]:
        return json.loads(self.out.strip().splitlines()[-1])


def _run(spark: SparkSession, home: Path, *more: str) -> Said:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = monitor.main(["--config", f"{home}/monitor.yaml", "--json", *more])
    path = f"{home}/counts/daily_counts"
    counted = spark.read.format("delta").load(path).count() if Path(path).exists() else 0
    return Said(code, out.getvalue(), err.getvalue(), counted)


@pytest.fixture(scope="module")
def said(spark: SparkSession, home: Path) -> dict[str, Said]:
    """The runs of three weeks: the second batch is scored after the quiet day; `test_days` monitors days twice."""
    found = {"first plan": _run(spark, home, "--dry-run"), "quiet": _run(spark, home, "--day", QUIET.isoformat())}
    _append_batch(spark, home, LOUD)
    return {**found, "second plan": _run(spark, home, "--dry-run"), "loud": _run(spark, home)}


def _orders(home: Path, last: date, days: int) -> pd.DataFrame:
    orders = pd.read_parquet(home / "orders.parquet")
    age = (pd.Timestamp(_noon(last)) - orders["ordered_at"]).dt.days
    return orders[(age >= 0) & (age < days)]


def test_a_dry_run_lists_the_batches_to_count_and_writes_nothing(said: dict[str, Said]) -> None:
    for name, rows, counted in (("first plan", 14, 0), ("second plan", 7, said["quiet"].counted)):
        assert said[name].code == 0
        assert [one["rows"] for one in said[name].printed["batches"]] == [rows * ORDERS_A_DAY]
        assert said[name].counted == counted


def test_the_estimates_of_a_quiet_day_are_sums_over_its_orders(home: Path, said: dict[str, Said]) -> None:
    assert said["quiet"].code == 0
    quiet = said["quiet"].printed
    [version] = quiet["versions"]
    week = _orders(home, QUIET, 7)
    flagged = week[week["decision"] == 1]
    assert (version["orders"], version["alerts"]) == (len(week), len(flagged))
    assert version["expected"]["precision"]["value"] == pytest.approx(flagged["probability"].mean())
    assert version["expected"]["positives"]["value"] == pytest.approx(week["probability"].sum())
    assert (quiet["alarms"], version["verdict"], version["command"]) == ([], "none", None)

    labelled, known = version["labelled"], _orders(home, QUIET - timedelta(days=DELAY), 7)
    assert labelled["orders"] == len(known)
    assert labelled["found"]["positives"] == known["is_fraud"].sum()
    assert labelled["p_unmoved"] > 0.01
    assert quiet["known_after_days"][-1] == 1.0
    assert quiet["known_after_days"][0] == quiet["known_after_days"][1] < 1.0


def test_a_batch_is_counted_once(spark: SparkSession, home: Path, said: dict[str, Said]) -> None:
    assert said["quiet"].counted < said["loud"].counted
    counts = spark.read.format("delta").load(f"{home}/counts/daily_counts").where("kind = 'score'")
    assert counts.groupBy().sum("n").first()[0] == DAYS * ORDERS_A_DAY


def test_alarms_end_the_job_with_code_4_and_say_what_moved(home: Path, said: dict[str, Said]) -> None:
    assert said["loud"].code == 4
    loud = said["loud"].printed
    assert loud["day"] == LOUD.isoformat()
    assert {alarm["name"] for alarm in loud["alarms"]} == {"base_rate", "max_psi"}
    assert said["loud"].err.strip().splitlines()[-1].startswith("ERROR 4: ")
    drifted = [drift["name"] for drift in loud["drift"] if drift["q_value"] is not None and drift["q_value"] < 1e-6]
    assert set(drifted) == {"amount", "top 1 %"}


def test_the_base_rate_and_the_command_for_it_are_those_of_the_loud_week(
    home: Path, said: dict[str, Said], capsys: pytest.CaptureFixture[str]
) -> None:
    [version] = said["loud"].printed["versions"]
    truth = _orders(home, LOUD, 7)["is_fraud"]
    for way in ("em", "bbse"):
        assert version["base_rate"][way]["low"] <= truth.mean() <= version["base_rate"][way]["high"]
    positives = version["expected_at_new_base_rate"]["positives"]
    assert positives["low"] <= truth.sum() <= positives["high"]

    command = shlex.split(version["command"])
    assert command[:2] == ["python", "jobs/retune.py"]
    assert retune.main([*command[2:], "--dry-run", "--json"]) == 0
    assert printed(capsys)["threshold"]["after"] != pytest.approx(THRESHOLD, rel=0.01)
    assert version["new_threshold"] == pytest.approx(THRESHOLD)  # of costs, on probabilities at the new base rate


def test_a_day_is_one_mlflow_run_with_an_escaped_page(home: Path, said: dict[str, Said]) -> None:
    assert said["loud"].code == 4
    client = MlflowClient(new_store(home))
    experiment = client.get_experiment_by_name("monitor")
    assert experiment is not None
    found = client.search_runs([experiment.experiment_id], f"attributes.run_name = 'shop, {LOUD}'")
    assert len(found) == 1
    assert found[0].info.status == "FINISHED"
    assert found[0].data.metrics["alarms"] == 2.0
    page = Path(client.download_artifacts(found[0].info.run_id, "monitor.html")).read_text("utf-8")
    assert "1 (champion)" in page
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "")


def test_a_day_without_scored_orders_is_refused_in_words(spark: SparkSession, home: Path) -> None:
    refused = _run(spark, home, "--day", "2023-01-01")
    assert refused.code == 2
    assert "--day 2023-01-01: no order of that day was scored" in refused.err


def test_a_config_without_the_section_is_refused_in_words(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert monitor.main(["--config", f"{home}/monitor.yaml", "--set", "monitoring=null"]) == 2
    assert "monitoring: the config has no such section" in capsys.readouterr().err
