"""The main job's plan against what the job then does, and that a plan leaves nothing behind."""

import json
from pathlib import Path

import pytest
import yaml
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from support.small_run import STRONG, config_file, write_orders

from benchmarks.spark_work import SparkWork
from imbalance_spark.comparison.compare import fit_task, prepare_to_compare, stages
from imbalance_spark.config.run import RunConfig
from imbalance_spark.config.yaml_file import load_config
from imbalance_spark.core.progress import Progress
from imbalance_spark.core.run_lock import locks_released
from imbalance_spark.train_only.strategies.fit import fit_strategy, write_train_table
from jobs import train

STRATEGIES = [
    "none",
    {"kind": "undersample", "name": "by_hash", "sampling_strategy": 0.5, "method": "key_hash"},
    {"kind": "smote_nc", "sampling_strategy": 0.2, "undersample_to": 0.5},
    {"kind": "undersample_ensemble", "members": 2, "sampling_strategy": 0.4},
    {"kind": "self_paced_ensemble", "members": 2},
]


@pytest.fixture(scope="module")
def home(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("dry-run")
    write_orders(spark, home)
    return home


@pytest.fixture(scope="module")
def conf(home: Path) -> str:
    few = {**STRONG, "rounds": 1, "early_stopping_rounds": 1}
    file = Path(config_file(home, "planned", uri=f"sqlite:///{home}/mlflow.db", training=few))
    file.write_text(yaml.safe_dump({**yaml.safe_load(file.read_text("utf-8")), "strategies": STRATEGIES}), "utf-8")
    return str(file)


def planned(conf: str, capsys: pytest.CaptureFixture[str], *more: str) -> dict[str, object]:
    assert train.main(["--config", conf, "--dry-run", "--json", *more]) == 0
    return json.loads(capsys.readouterr().out)


def below(home: Path) -> set[tuple[Path, int]]:
    return {(file, file.stat().st_mtime_ns) for file in home.rglob("*")}


def test_a_plan_is_what_the_run_does_and_leaves_nothing_behind(
    spark: SparkSession, home: Path, conf: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home)  # where MLflow would put a store and artifacts
    before = below(home)
    plan = planned(conf, capsys)
    assert below(home) == before, "a dry run wrote files"

    config, work = load_config(conf, RunConfig, ()), SparkWork(spark)
    with locks_released():
        prepared, task = prepare_to_compare(spark, config, Progress(stages(config), quiet=True)), fit_task(config)
        prepared_by = work.shuffled_bytes
        table = write_train_table(prepared.run, prepared.inputs, task, counts=prepared.diagnosis.by_split["train"])
        over_inputs = len(work.scans_of(prepared.run.pin("inputs").path))
        written_by = work.shuffled_bytes - prepared_by
        fitted = {s.name: fit_strategy(prepared.run, table, s, task) for s in config.compared}
    assert len(work.scans_of(f"{home}/orders")) == sum(plan["passes"].values()) == 5
    assert over_inputs == plan["input_passes"]["audit"] + plan["input_passes"]["training rows"]
    sent = plan["shuffled_bytes"]
    assert prepared_by == pytest.approx(sent["validate"] + sent["split"] + sent["audit"], rel=0.3)
    # Of `train` alone, by the rows of all tables.
    of_train = plan["tables"]["rows"]["train"] / sum(
        n for name, n in plan["tables"]["rows"].items() if name.startswith("train")
    )
    assert written_by == pytest.approx(of_train * sent["training rows"], rel=0.3)
    run, rows = prepared.run, plan["tables"]["rows"]
    assert (plan["run_id"], plan["tables"]["location"]) == (run.run_id, f"{home}/output/{run.run_id}/tables")
    assert plan["orders"] == {"location": f"{home}/orders", "format": "delta", "version": prepared.version}
    assert plan["diagnosis"] == json.loads(json.dumps(prepared.diagnosis.to_dict()))
    assert set(rows) == {file.name for file in (home / "output" / run.run_id / "tables").iterdir()}
    assert {name: s["precision"] == "exact" for name, s in by_name(plan).items()} == {
        name: "by_hash" not in name and "ensemble" not in name for name in by_name(plan)
    }
    for name, strategy in fitted.items():
        members = [planned for fit, planned in by_name(plan).items() if fit.split("~")[0] == name]
        # Of a sample by shares the standard deviation is below 40 rows.
        slack = 0 if members[0]["precision"] == "exact" else 200
        expected = {label: len(members) * n for label, n in members[0]["rows"].items()}
        assert {str(label): n for label, n in strategy.fit_rows.items()} == pytest.approx(expected, abs=slack), name
    for name in rows:
        is_drawn = name.startswith(("train_by_hash", "train_undersample_ensemble", "train_self_paced"))
        assert run.pin(name).rows == pytest.approx(rows[name], abs=200 if is_drawn else 0), name


@pytest.mark.parametrize(
    "changed",
    [
        {"split": {"by": "time", "gap_days": 1}},
        {"split": {"by": "group"}, "evaluation": "cross_fit"},
        {"split": {"by": "key"}, "orders.numeric": ["amount", "broken"], "orders.max_quarantined": 0.5},
    ],
    ids=["time", "cross-fit", "key and quarantine"],
)
def test_orders_are_scanned_as_often_as_the_plan_says(
    spark: SparkSession,
    home: Path,
    conf: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    changed: dict[str, object],
) -> None:
    broken = F.when(F.col("order_id") % 100 == 0, float("inf")).otherwise(1.0)
    orders = spark.read.format("delta").load(f"{home}/orders")
    orders.withColumn("broken", broken).write.format("delta").save(f"{tmp_path}/log")
    sets = {"orders.source.path": f"{tmp_path}/log", "orders.time": "ordered_at", "output": f"{tmp_path}/runs"}
    options = [f"{name}={json.dumps(value)}" for name, value in {**sets, **changed}.items()]
    plan = planned(conf, capsys, *[option for one in options for option in ("--set", one)])
    work = SparkWork(spark)
    config = load_config(conf, RunConfig, options)
    with locks_released():
        prepared = prepare_to_compare(spark, config, Progress(stages(config), quiet=True))
    scans, over_inputs = work.scans_of(f"{tmp_path}/log"), work.scans_of(prepared.run.pin("inputs").path)
    assert len(scans) == sum(plan["passes"].values())
    assert len(scans) <= 5 + bool(prepared.report.quarantined)
    assert len(over_inputs) == plan["input_passes"]["evaluation"] + plan["input_passes"]["audit"]
    # Hashes of keys, groups and of the audit's rows; no order travels.
    sent = plan["shuffled_bytes"]
    stages_so_far = ("validate", "split", "evaluation", "audit")
    assert work.shuffled_bytes == pytest.approx(sum(sent[stage] for stage in stages_so_far), rel=0.3)


def by_name(plan: dict[str, object]) -> dict[str, dict[str, object]]:
    return {strategy["name"]: strategy for strategy in plan["strategies"]}


def test_the_plan_is_printed_for_people(home: Path, conf: str, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--set", "strategies=[{kind: undersample, sampling_strategy: 0.2}]", "--set", f"output={home}/nowhere"]
    options += ["--set", "evaluation=cross_fit", "--set", "split.cross_fit_folds=3"]
    assert train.main(["--config", conf, "--dry-run", *options]) == 0
    printed = capsys.readouterr().out
    parts = (
        "version 0; 12,000 rows",
        "Severity: mild",
        "train_undersample",
        "Passes over the orders",
        "Passes over the stored inputs",
        "Bytes shuffled: about ",
        "nothing was",
    )
    parts += ("3 folds and all rows, 4 fits per strategy, 8 in all", "once more without each of the 3 folds")
    for part in parts:
        assert part in printed, printed
    assert not (home / "nowhere").exists()


def test_orders_without_versions_would_be_copied_first(
    spark: SparkSession, home: Path, conf: str, capsys: pytest.CaptureFixture[str]
) -> None:
    spark.read.format("delta").load(f"{home}/orders").write.parquet(f"{home}/parquet")
    source = ["--set", f"orders.source.path={home}/parquet", "--set", "orders.source.format=parquet"]
    plan = planned(conf, capsys, *source, "--set", "strategies=[none]")
    assert plan["orders"]["version"] is None
    assert (plan["tables"]["rows"]["orders"], plan["passes"]["read"]) == (12_000, 2)


def test_every_sampling_that_does_not_fit_the_classes_is_told_at_once(
    home: Path, conf: str, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = ["{kind: undersample, sampling_strategy: 0.001}", "{kind: oversample, sampling_strategy: 0.01}"]
    wrong.append("{kind: undersample_ensemble, members: 50}")
    options = ["--set", f"strategies=[{', '.join(wrong)}]", "--set", f"output={home}/nowhere"]
    assert train.main(["--config", conf, "--dry-run", "--json", *options]) == 2
    said = capsys.readouterr().err
    assert "strategy 'undersample'" in said
    assert "strategy 'oversample'" in said
    assert "50 samples without a common row need 50 times" in said
    assert not (home / "nowhere").exists()
