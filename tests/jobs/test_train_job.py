"""The main job end to end on a small log, and every way it may end."""

import json
from collections.abc import Callable
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import yaml
from mlflow.tracking import MlflowClient
from pyspark.sql import SparkSession
from support.mlflow_store import new_store

from imbalance_spark.core.columns import TRUE_PROBABILITY
from imbalance_spark.core.run import Run
from imbalance_spark.orders.datasets.synthetic import generate_orders
from jobs import report, train

NUMERIC = ["amount", "amount_over_customer_mean", "orders_last_24h", "device_age_days", "distance_km"]
STRATEGIES = [
    "none", {"kind": "undersample", "sampling_strategy": 0.1}, "class_weight", "balanced_sketch", "focal",
    {"kind": "undersample_ensemble", "members": 2, "sampling_strategy": 0.2}, {"kind": "isolation_forest", "trees": 20},
    {"kind": "logistic_class_weight", "max_iter": 10},
]  # fmt: skip
SMALLEST = ["strategies=[none]", "training.rounds=1", "training.params.max_depth=1"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, spark: SparkSession) -> Path:
    home = tmp_path_factory.mktemp("train")
    orders = generate_orders(spark, rows=20_000, prevalence=0.02, seed=7, partitions=2)
    orders.write.format("delta").save(str(home / "orders"))
    return home


def config_of(home: Path, **changes: object) -> dict[str, object]:
    roles = {"key": ["order_id"], "label": "is_fraud", "group": "customer_id", "time": "ordered_at", "amount": "amount"}
    features = {"numeric": NUMERIC, "categorical": ["country", "channel"]}
    orders = {"source": {"path": str(home / "orders")}, **roles, **features}
    return {
        "name": "small",
        "output": str(home / "output"),
        "orders": orders,
        "training": {"num_workers": 2, "rounds": 15, "early_stopping_rounds": 5, "params": {"max_depth": 4}},
        "strategies": STRATEGIES,
        "evaluation": "holdout",
        "tracking": {"uri": new_store(home), "experiment": "small", "registered_model": "small"},
        **changes,
    }


@pytest.fixture(scope="module")
def write(home: Path) -> Callable[..., str]:
    def written(**changes: object) -> str:
        file = home / "config.yaml"
        file.write_text(yaml.safe_dump(config_of(home, **changes)), "utf-8")
        return str(file)

    return written


@pytest.fixture(scope="module")
def finished(spark: SparkSession, home: Path, write: Callable[..., str]) -> Path:
    assert train.main(["--config", write(), "--json"]) == 0
    return home


def runs(home: Path) -> pd.DataFrame:
    mlflow.set_tracking_uri(new_store(home))
    return mlflow.search_runs(experiment_names=["small"])


def test_there_is_one_parent_run_and_one_nested_run_a_strategy(finished: Path) -> None:
    found = runs(finished)
    assert set(found["status"]) == {"FINISHED"}
    nested = found.dropna(subset=["tags.mlflow.parentRunId"])
    names = [entry if isinstance(entry, str) else entry["kind"] for entry in STRATEGIES]
    assert sorted(nested["params.strategy"]) == sorted(names)
    assert len(found) == len(nested) + 1
    parent = found[found["tags.mlflow.parentRunId"].isna()].iloc[0]
    assert set(nested["tags.mlflow.parentRunId"]) == {parent["run_id"]}


def test_every_strategy_reports_the_same_metrics_on_both_folds(finished: Path) -> None:
    nested = runs(finished).dropna(subset=["tags.mlflow.parentRunId"])
    wanted = "average_precision roc_auc brier log_loss precision recall f1 f2 mcc alerts_per_day value_detection_rate"
    for fold in ("validation", "test"):
        for metric in wanted.split():
            assert nested[f"metrics.{fold}/{metric}"].notna().all(), (fold, metric)
    assert (nested["metrics.test/average_precision"] > 2 * 0.02).all()


def test_counts_and_curves_are_a_table_that_mlflow_loads_for_all_strategies_at_once(finished: Path) -> None:
    nested = runs(finished).dropna(subset=["tags.mlflow.parentRunId"]).set_index("params.strategy")
    mlflow.set_experiment("small")
    table = mlflow.load_table("curves.parquet", extra_columns=["params.strategy"])
    assert set(table["params.strategy"]) == set(nested.index)
    documented = Path(__file__).parents[2].joinpath("docs/evidence.md").read_text("utf-8")
    assert {name for name in table.columns if f"`{name}`" not in documented} == {"params.strategy"}
    for (name, fold), rows in table.groupby(["params.strategy", "fold"]):
        logged = nested.loc[name]
        assert rows.threshold.is_monotonic_decreasing
        assert rows.positives.sum() + rows.negatives.sum() == rows.flagged.iloc[-1]
        assert rows.positives.sum() == logged[f"metrics.{fold}/tp"] + logged[f"metrics.{fold}/fn"]
        step = (rows.recall.diff().fillna(rows.recall.iloc[0]) * rows.precision).sum()
        assert step == pytest.approx(logged[f"metrics.{fold}/average_precision"], abs=1e-9)
    on_test = table[(table["params.strategy"] == "none") & (table.fold == "test")]
    at = nested.loc["none", "metrics.threshold/min_cost_fn_10_fp_1"]
    assert on_test[on_test.threshold >= at].recall.max() == pytest.approx(nested.loc["none", "metrics.test/recall"])


def test_each_round_has_its_metric_and_each_strategy_its_ledger_entry(finished: Path) -> None:
    nested = runs(finished).dropna(subset=["tags.mlflow.parentRunId"]).set_index("params.strategy")
    client = MlflowClient()
    for name in ("none", "undersample", "class_weight", "balanced_sketch", "focal"):
        history = client.get_metric_history(nested.loc[name, "run_id"], "learning/validation")
        assert len(history) >= nested.loc[name, "metrics.best_round"]
    # A regression has no slice to stop by; a forest learns nothing round by round.
    regression = nested.loc["logistic_class_weight"]
    history = client.get_metric_history(regression.run_id, "learning/training")
    assert len(history) == regression["metrics.best_round"] > 3
    for member in (0, 1):
        run_id = nested.loc["undersample_ensemble", "run_id"]
        assert client.get_metric_history(run_id, f"learning/member_{member}/validation")
    entries = {
        name: mlflow.artifacts.load_dict(f"runs:/{run_id}/ledger.json") for name, run_id in nested.run_id.items()
    }
    assert entries["focal"]["correction"] == {"factors": [1.0, 1.0], "gammas": [2.0, 2.0]}
    # Two samples of 5 negatives for a positive, some 50 for each before: kept a tenth.
    assert entries["undersample_ensemble"]["correction"]["factors"][0] == pytest.approx(0.1, rel=0.25)
    assert nested.loc["isolation_forest", "params.prior_correction"] == "none: scores are ranks"


def test_the_parent_run_holds_the_table_the_page_the_plan_and_the_input(finished: Path) -> None:
    client = MlflowClient()
    found = runs(finished)
    parent = found[found["tags.mlflow.parentRunId"].isna()].iloc[0]["run_id"]
    files = {file.path for file in client.list_artifacts(parent)}
    assert {"report.html", "comparison.csv", "comparison.html", "config.json", "split.json", "diagnosis.json"} <= files
    assert {file.path for file in client.list_artifacts(parent, "plots")} >= {"plots/comparison.png", "plots/roc.png"}
    run = client.get_run(parent)
    source = json.loads(run.inputs.dataset_inputs[0].dataset.source)
    # MLflow's own record leaves out version 0, so the run has it as a parameter too.
    assert (source["path"], run.data.params["orders_version"]) == (str(finished / "orders"), "0")


def test_no_table_of_training_rows_is_logged(finished: Path) -> None:
    places = [Path(uri.removeprefix("file://")) for uri in runs(finished)["artifact_uri"]]
    tables = [file.name for place in places for file in place.rglob("*.parquet")]
    assert set(tables) == {"curves.parquet"}


def test_the_report_can_be_made_again_from_what_was_logged(finished: Path, tmp_path: Path) -> None:
    found = runs(finished)
    parent = found[found["tags.mlflow.parentRunId"].isna()].iloc[0]["run_id"]
    again = tmp_path / "again.html"
    assert report.main(["--run", parent, "--tracking-uri", new_store(finished), "--output", str(again)]) == 0
    assert again.read_text("utf-8") == mlflow.artifacts.load_text(f"runs:/{parent}/report.html")


def test_the_champion_is_the_advised_strategy_and_its_threshold_can_be_moved(finished: Path) -> None:
    found = runs(finished)
    nested = found.dropna(subset=["tags.mlflow.parentRunId"]).set_index("params.strategy")
    parent = found[found["tags.mlflow.parentRunId"].isna()].iloc[0]
    advice = mlflow.artifacts.load_dict(f"runs:/{parent['run_id']}/advice.json")
    assert advice["registered"] == advice["use"] == parent["params.best_strategy"]
    verdicts = nested["tags.verdict"].to_dict()
    assert {**advice["verdicts"], "none": "plain"} == verdicts
    gains = nested.drop(index="none")["metrics.gain/cost"]
    costs = nested["metrics.validation/cost"]
    assert gains.to_dict() == pytest.approx((costs["none"] - costs).drop(index="none").to_dict(), abs=1e-6)
    best = nested.loc[advice["use"]]
    version = MlflowClient().get_model_version_by_alias("small", "champion")
    assert version.run_id == best["run_id"]
    model = mlflow.pyfunc.load_model("models:/small@champion")
    numbers = {name: [1.0, 2.0, np.nan] for name in NUMERIC}
    orders = pd.DataFrame(numbers | {"country": ["DE", None, "XX"], "channel": "web"})
    usual, all_flagged = model.predict(orders), model.predict(orders, params={"threshold": 0.0})
    assert (all_flagged["decision"] == 1).all()
    assert usual["probability"].tolist() == all_flagged["probability"].tolist()
    assert usual["threshold"].iloc[0] == pytest.approx(best["metrics.threshold/min_cost_fn_10_fp_1"])


def test_the_logged_model_holds_no_pickle_and_refuses_a_changed_part(finished: Path, tmp_path: Path) -> None:
    path = mlflow.artifacts.download_artifacts("models:/small@champion", dst_path=str(tmp_path))
    names = [file.name for file in Path(path).rglob("*") if file.is_file()]
    assert not [name for name in names if name.endswith((".pkl", ".pickle", ".joblib"))]
    part = next(Path(path).rglob("model.ubj"))
    changed = bytearray(part.read_bytes())
    changed[len(changed) // 2] ^= 1
    part.write_bytes(bytes(changed))
    with pytest.raises(Exception, match="was changed: expected sha256"):
        mlflow.pyfunc.load_model(path)


def test_probabilities_fit_the_gold_standard_better_than_the_base_rate(finished: Path, spark: SparkSession) -> None:
    model = mlflow.pyfunc.load_model("models:/small@champion")
    held_out = generate_orders(spark, rows=30_000, prevalence=0.02, seed=7, partitions=2).where("order_id >= 20000")
    orders = held_out.toPandas()  # 10,000 rows
    error = np.mean(np.abs(model.predict(orders)["probability"] - orders[TRUE_PROBABILITY]))
    assert error < np.mean(np.abs(0.02 - orders[TRUE_PROBABILITY]))


def test_a_second_run_with_the_same_config_redoes_nothing(
    finished: Path, write: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Run, "record", lambda *_: pytest.fail("a finished step was done again"))
    before = len(runs(finished))
    assert train.main(["--config", write(), "--json"]) == 0
    assert len(runs(finished)) == before
    assert len(MlflowClient().search_model_versions("name = 'small'")) == 1


def test_weights_never_reach_the_held_out_folds(finished: Path) -> None:
    nested = runs(finished).dropna(subset=["tags.mlflow.parentRunId"])
    for fold in ("validation", "test"):
        assert nested[f"metrics.{fold}/prevalence"].nunique() == 1
        total = sum(nested[f"metrics.{fold}/{cell}"] for cell in ("tp", "fp", "tn", "fn"))
        assert total.nunique() == 1


def ending(capsys: pytest.CaptureFixture[str], code: int) -> str:
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith(f"ERROR {code}: ")
    return last


@pytest.mark.parametrize(
    ("changes", "code", "said"),
    [
        (["orders.source.path=/nowhere/at/all"], 3, "/nowhere/at/all"),
        (["orders.numeric=[amount, amuont_over_customer_mean]"], 3, "Did you mean 'amount_over_customer_mean'"),
        (["orders.numeric=[amount, ordered_at]", "orders.time=null"], 3, "ordered_at"),
        (["orders.numeric=[amount, country]", "orders.categorical=[]"], 3, "country"),
        (["strategies=[smoat]"], 2, "strategies"),
        (["strategies=[{kind: class_weight, weights: {0: 1.0, 2: 5.0}}]"], 2, "2"),
        (
            ["strategies=[{kind: class_weight, weights: balanced, scale_pos_weight: 3.0}]"],
            2,
            "unknown key of kind",
        ),
        (["strategies=[{kind: undersample, sampling_strategy: 1.5}]"], 2, "1.5"),
        (["orders.numeric=[amount, is_fraud]"], 2, "leaks"),
        (["orders.numeric=[amount, true_probability]"], 2, "true probability column"),
        (["objectives=[{name: max_recal, precision: 0.9}]"], 2, "max_recall"),
        (["serve_objective=max_f9"], 2, "serve_objective"),
        (["training.num_workers=64"], 2, "64"),
        (["tracking.uri=http://127.0.0.1:9"], 2, "tracking.uri"),
    ],
)
def test_what_cannot_be_ends_with_one_line_and_its_code(
    finished: Path,
    write: Callable[..., str],
    capsys: pytest.CaptureFixture[str],
    changes: list[str],
    code: int,
    said: str,
) -> None:
    options = [option for change in changes for option in ("--set", change)]
    assert train.main(["--config", write(), "--json", *options]) == code
    assert said in ending(capsys, code)
    status = json.loads((finished / "output/status.json").read_text("utf-8"))
    assert (status["state"], status["exit_code"]) == ("failed", code)
    assert said in status["error"]


def test_a_model_below_the_gate_ends_with_code_4_and_all_reasons(
    finished: Path, write: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    unreachable = "objectives=[{name: max_recall, precision: 1.0}, {name: max_f_beta, beta: 1.0}]"
    gate = [unreachable, "serve_objective=max_recall_at_precision_1", "gate.require_reachable=true"]
    options = [o for change in (*SMALLEST, *gate, "gate.minimum=0.99") for o in ("--set", change)]
    assert train.main(["--config", write(), "--json", *options]) == 4
    said = ending(capsys, 4)
    assert "out of reach" in said
    assert "gate.minimum" in said
    assert len(MlflowClient().search_model_versions("name = 'small'")) == 1


def test_all_rows_quarantined_ends_with_code_3_and_no_table(
    finished: Path, spark: SparkSession, write: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    broken = spark.read.format("delta").load(str(finished / "orders")).selectExpr("* except (amount)", "-amount amount")
    broken.write.format("delta").save(str(finished / "broken"))
    options = ["--set", f"orders.source.path={finished}/broken", "--set", "run_id=broken"]
    assert train.main(["--config", write(), "--json", *options]) == 3
    assert "negative_amount" in ending(capsys, 3)
    assert not (finished / "output/broken/tables").exists()


@pytest.mark.parametrize(("condition", "said"), [("is_fraud = 0", "class"), ("is_fraud = 0 or order_id < 50", "class")])
def test_a_class_that_is_absent_or_too_rare_ends_with_code_3(
    finished: Path,
    spark: SparkSession,
    write: Callable[..., str],
    capsys: pytest.CaptureFixture[str],
    condition: str,
    said: str,
) -> None:
    path = f"{finished}/orders-{abs(hash(condition))}"
    spark.read.format("delta").load(str(finished / "orders")).where(condition).write.format("delta").save(path)
    assert train.main(["--config", write(), "--json", "--set", f"orders.source.path={path}"]) == 3
    assert said in ending(capsys, 3)


def test_help_says_what_the_job_does(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        train.main(["--help"])
    assert ended.value.code == 0
    assert "--config" in capsys.readouterr().out
