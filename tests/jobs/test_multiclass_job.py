"""The main job on four outcomes, end to end: from generated orders to scored ones."""

import json
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import yaml
from mlflow.tracking import MlflowClient
from pyspark.sql import SparkSession
from support.mlflow_store import new_store

from imbalance_spark.core.run import Run
from imbalance_spark.orders.datasets.population import OUTCOMES
from imbalance_spark.orders.datasets.synthetic import generate_outcomes
from jobs import diagnose, retune, score, train

SHARES = {"late_return": 0.1, "chargeback": 0.08, "fraud": 0.05}
STRATEGIES = [
    "none", "balanced_sketch", {"kind": "focal", "gamma": 1.0},
    {"kind": "undersample", "sampling_strategy": {"ok": 2500}},
    {"kind": "smote_nc", "sampling_strategy": {"fraud": 500}},
]  # fmt: skip
NAMES = sorted(entry if isinstance(entry, str) else entry["kind"] for entry in STRATEGIES)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, spark: SparkSession) -> Path:
    home = tmp_path_factory.mktemp("multiclass")
    orders = generate_outcomes(spark, rows=10_000, shares=SHARES, seed=7, partitions=2)
    orders.write.format("delta").save(str(home / "orders"))
    return home


def written(home: Path) -> str:
    """The shipped config on these orders, made small."""
    config = yaml.safe_load((Path(__file__).parents[2] / "conf/multiclass.yaml").read_text("utf-8"))
    config["orders"] |= {
        "source": {"path": str(home / "orders")},
        "categorical": ["payment_method", "merchant_category"],
    }
    config |= {"output": str(home / "output"), "strategies": STRATEGIES, "evaluation": "holdout"}
    config["training"] |= {"num_workers": 1, "rounds": 15, "early_stopping_rounds": 5}
    config["tracking"]["uri"] = new_store(home)
    del config["spark"]
    file = home / "config.yaml"
    file.write_text(yaml.safe_dump(config), "utf-8")
    return str(file)


@pytest.fixture(scope="module")
def finished(spark: SparkSession, home: Path) -> Path:
    assert train.main(["--config", written(home)]) == 0
    return home


def nested(home: Path) -> pd.DataFrame:
    mlflow.set_tracking_uri(f"sqlite:///{home}/mlflow.db")
    runs = mlflow.search_runs(experiment_names=["multiclass"])
    assert set(runs["status"]) == {"FINISHED"}
    # Later tests add runs of the same strategies.
    first = runs.dropna(subset=["tags.mlflow.parentRunId"]).sort_values("start_time").drop_duplicates("params.strategy")
    return first.set_index("params.strategy")


def test_every_strategy_has_a_run_with_the_metrics_of_each_class_and_decision(finished: Path) -> None:
    runs = nested(finished)
    assert sorted(runs.index) == NAMES
    for fold in ("validation", "test"):
        names = [
            "macro_average_precision",
            "log_loss",
            "brier",
            "cost_matrix/cost",
            "max_f1/macro_f1",
            "argmax/cost",
        ]
        names += [f"{metric}/{outcome}" for metric in ("recall", "average_precision") for outcome in OUTCOMES]
        for name in names:
            assert runs[f"metrics.{fold}/{name}"].notna().all(), name
    # A cost matrix costs less than deciding by argmax, and each class is told apart better than by chance.
    assert (runs["metrics.test/cost_matrix/cost"] < runs["metrics.test/argmax/cost"]).all()
    for outcome, share in SHARES.items():
        assert (runs[f"metrics.test/average_precision/{outcome}"] > 1.5 * share).all()
    entries = {name: mlflow.artifacts.load_dict(f"runs:/{run}/ledger.json") for name, run in runs.run_id.items()}
    kept = entries["undersample"]["correction"]["factors"]
    assert kept[1:] == [1.0, 1.0, 1.0]
    assert 0.3 < kept[0] < 0.9
    assert entries["focal"]["correction"] == {"factors": [1.0] * 4, "gammas": [1.0] * 4}
    assert entries["balanced_sketch"]["correction"] == entries["none"]["correction"]
    assert MlflowClient().get_metric_history(runs.loc["focal", "run_id"], "learning/validation")


def test_the_parent_run_holds_the_page_the_tables_and_the_plots(finished: Path) -> None:
    parent = nested(finished)["tags.mlflow.parentRunId"].iloc[0]
    files = {file.path for file in MlflowClient().list_artifacts(parent)}
    assert {"report.html", "comparison.csv", "classes.csv", "confusion.csv", "diagnosis.json", "gate.txt"} <= files
    page = mlflow.artifacts.load_text(f"runs:/{parent}/report.html")
    for said in ("decided by cost_matrix", "chargeback", "What errors cost", "as fraud", "max_f1"):
        assert said in page
    assert MlflowClient().get_run(parent).data.params["classes"] == ", ".join(OUTCOMES)


def test_the_champion_scores_a_table_as_mlflow_does(
    finished: Path, spark: SparkSession, capsys: pytest.CaptureFixture[str]
) -> None:
    runs, uri = nested(finished), f"sqlite:///{finished}/mlflow.db"
    parent = MlflowClient().get_run(runs["tags.mlflow.parentRunId"].iloc[0])
    version = MlflowClient().get_model_version_by_alias("outcome_orders", "champion")
    assert version.run_id == runs.loc[parent.data.params["best_strategy"], "run_id"]
    job = ["--model", "models:/outcome_orders@champion", "--input", f"{finished}/orders", "--tracking-uri", uri]
    assert score.main([*job, "--output", f"{finished}/scored", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["decided_by"] == "cost_matrix"
    table = spark.read.format("delta").load(f"{finished}/scored").where("order_id < 300").orderBy("order_id").toPandas()
    model = mlflow.pyfunc.load_model("models:/outcome_orders@champion")
    found = model.predict(table)
    names = [f"probability_{outcome}" for outcome in OUTCOMES]
    np.testing.assert_allclose(table[names], found[names], atol=1e-12)
    assert table["decision"].tolist() == found["decision"].tolist()
    argmax = model.predict(table, params={"objective": "argmax"})
    assert argmax["decision"].tolist() == np.array(OUTCOMES)[found[names].to_numpy().argmax(axis=1)].tolist()
    # Nearer the gold standard than the base rates are.
    truth = table[[f"true_{name}" for name in names]].to_numpy()
    rates = np.array([1 - sum(SHARES.values()), *SHARES.values()])
    assert np.abs(table[names].to_numpy() - truth).mean() < 0.7 * np.abs(rates - truth).mean()


def test_a_second_run_redoes_nothing(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Run, "record", lambda *_: pytest.fail("a finished step was done again"))
    before = len(nested(finished))
    assert train.main(["--config", written(finished), "--json"]) == 0
    assert len(nested(finished)) == before


def test_a_champion_that_knows_the_classes_otherwise_is_not_compared_and_stays(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    turned = [OUTCOMES[0], *reversed(OUTCOMES[1:])]
    changes = [f"orders.classes=[{', '.join(turned)}]", "strategies=[none]", "training.rounds=1", "run_id=turned"]
    settings = [word for change in changes for word in ("--set", change)]
    assert train.main(["--config", written(finished), "--json", *settings]) == 5
    said = capsys.readouterr()
    assert "gate.incomparable: replace" in said.err.splitlines()[-1]
    gate = json.loads(said.out)["gate"]
    assert gate["outcome"] == "keep"
    assert f"cannot be compared on these rows: it knows the classes {list(OUTCOMES)}" in gate["reasons"][0]
    uri = f"sqlite:///{finished}/mlflow.db"
    assert str(MlflowClient(uri).get_model_version_by_alias("outcome_orders", "champion").version) == "1"


def retuned(home: Path, capsys: pytest.CaptureFixture[str], *asked: str) -> dict[str, object]:
    run_id = nested(home).loc["none", "run_id"]
    argv = ["--run", run_id, "--tracking-uri", f"sqlite:///{home}/mlflow.db", "--register", "retuned", "--json", *asked]
    assert retune.main(argv) == 0
    return json.loads(capsys.readouterr().out.strip().splitlines()[-1])


def test_the_threshold_of_one_class_is_moved_from_the_logged_counts(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = retuned(finished, capsys, "--class", "fraud", "--objective", "max_recall", "--precision", "0.3")
    assert (found["class"], found["objective"]) == ("fraud", "max_recall_at_precision_0.3")
    assert found["folds"]["test"]["after"]["recall"] > 0.0
    model = mlflow.pyfunc.load_model(f"models:/retuned/{found['registered']['version']}")
    orders = pd.DataFrame({name: [1.0] for name in model.metadata.get_input_schema().input_names()})
    orders[["payment_method", "merchant_category"]] = "card"
    assert model.predict(orders)["decided_by"].tolist() == ["max_recall_at_precision_0.3 of fraud"]


def test_other_costs_decide_and_what_they_change_is_said_to_be_unknown(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    costs = {name: {other: 1.0 for other in OUTCOMES if other != name} for name in OUTCOMES}
    file = tmp_path / "costs.yaml"
    file.write_text(yaml.safe_dump({"costs": costs}), "utf-8")
    found = retuned(finished, capsys, "--costs", str(file))
    assert "cannot be computed from them" in found["not_counted"]
    assert (found["registered"]["name"], found["registered"]["objective"]) == ("retuned", "cost_matrix")
    assert found["registered"]["costs"] == [[float(i != j) for j in range(4)] for i in range(4)]


def test_a_threshold_of_a_class_that_has_none_is_refused(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_id = nested(finished)["run_id"].iloc[0]
    asked = ["--run", run_id, "--tracking-uri", f"sqlite:///{finished}/mlflow.db", "--objective", "max_mcc"]
    asked += ["--register", "retuned"]
    assert retune.main(asked) == 2
    assert "Name the class whose threshold is to move" in capsys.readouterr().err
    assert retune.main([*asked, "--class", "stolen"]) == 2
    assert "the model knows ['ok', 'late_return', 'chargeback', 'fraud']" in capsys.readouterr().err


def ending(capsys: pytest.CaptureFixture[str], code: int) -> str:
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith(f"ERROR {code}: ")
    return last


OTHERWISE = ["objectives=[max_mcc]", "serve_objective=max_mcc", "strategies=[none]"]


@pytest.mark.parametrize(("changes", "code", "said"), [
    (["orders.classes=[ok, late_return, chargeback, stolen]", *OTHERWISE], 3, "no valid row of ['stolen']"),
    (["orders.classes=[ok, late_return, chargeback]", *OTHERWISE], 3, "has {'fraud': "),
    (["orders.classes=[]", *OTHERWISE], 3, "Name all of them under orders.classes"),
    (["strategies=[isolation_forest]"], 2, "isolation_forest"),
    (["serve_objective=cost"], 2, "none of the objectives"),
])  # fmt: skip
def test_bad_input_ends_with_one_line_and_its_code(
    home: Path, capsys: pytest.CaptureFixture[str], spark: SparkSession, changes: list[str], code: int, said: str
) -> None:
    settings = [word for change in [*changes, "name=bad"] for word in ("--set", change)]
    assert train.main(["--config", written(home), *settings]) == code
    assert said in ending(capsys, code)


def test_diagnosis_and_dry_run_tell_each_class(
    home: Path, capsys: pytest.CaptureFixture[str], spark: SparkSession
) -> None:
    assert diagnose.main(["--config", written(home)]) == 0
    found = capsys.readouterr().out
    assert "Classes: 0 is 'ok', 1 is 'late_return', 2 is 'chargeback', 3 is 'fraud'." in found
    assert "Severity: mild; ok balanced" in found
    oversample = "strategies=[none, {kind: oversample, sampling_strategy: {fraud: 600}}]"
    assert train.main(["--config", written(home), "--dry-run", "--set", "run_id=planned", "--set", oversample]) == 0
    plan = capsys.readouterr().out
    assert "late_return" in plan
    assert "margins: " in plan
    [oversampled] = [line for line in plan.splitlines() if line.startswith("oversample")]
    assert " 600 " in oversampled
