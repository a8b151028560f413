"""The job that moves a threshold: from what a comparison logged, to a new model version beside the old one."""

import contextlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import xgboost
from mlflow.tracking import MlflowClient
from support.halves import counts_of_halves, together
from support.mlflow_store import new_store

from imbalance_spark.calibration import LogOddsCalibration, PriorCorrection
from imbalance_spark.orders.labels import LabelEncoding
from imbalance_spark.orders.model_inputs import CategoryEncoding
from imbalance_spark.scoring.bundle import ModelBundle
from imbalance_spark.scoring.scorer import Scorer
from imbalance_spark.threshold.class_rules import ClassThresholds
from imbalance_spark.tracking import models, runs
from imbalance_spark.tracking.config import TrackingConfig
from imbalance_spark.tracking.models import register_version
from imbalance_spark.tracking.runs import Evidence
from jobs.retune import main

CALIBRATOR = LogOddsCalibration(method="platt", a=1.3, b=1.3, c=0.4)
NAME = "orders"


@dataclass(frozen=True, kw_only=True)
class Logged:
    """A comparison of one strategy in a store of its own."""

    uri: str
    parent_id: str
    run_id: str
    label: np.ndarray
    probability: np.ndarray
    """Calibrated, of validation."""


def _booster() -> bytes:
    draw = np.random.default_rng(3)
    x = draw.normal(size=(200, 1))
    data = xgboost.DMatrix(x, label=(x[:, 0] > 1.0).astype(float))
    found = xgboost.train({"objective": "binary:logistic", "max_depth": 1, "nthread": 1}, data, num_boost_round=2)
    return bytes(found.save_raw("ubj"))


def _rows(seed: int) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    score = np.round(draw.beta(1.0, 8.0, 600), 3)
    label = (draw.random(600) < score).astype(np.int64)
    label[score == score.max()] = 0  # so that no cut-off has precision 1
    return label, score


@pytest.fixture
def logged(tmp_path: Path) -> Logged:
    """For tests that write into the store."""
    with contextlib.chdir(tmp_path):  # MLflow puts a new experiment's artifacts below it
        return _log(tmp_path)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Logged:
    """For tests that leave the store as it is."""
    folder = tmp_path_factory.mktemp("retune")
    with contextlib.chdir(folder):
        return _log(folder)


def _log(folder: Path) -> Logged:
    uri = new_store(folder)
    experiment_id = runs.connect(TrackingConfig(uri=uri, experiment="retune"))
    rows = [_rows(seed) for seed in (1, 2, 3)]
    held_out, (label, score) = counts_of_halves(*rows), together(*rows[:2])
    bundle = ModelBundle(
        strategy="undersample",
        model_bytes=_booster(),
        numeric=("x",),
        categorical=(),
        categories=CategoryEncoding(values={}),
        label=LabelEncoding(classes=("no", "yes")),
        correction=PriorCorrection.identity(),
        calibrator=CALIBRATOR,
        rules={"max_f1": ClassThresholds.of_threshold(0.3)},
        serve_objective="max_f1",
    )
    with runs.tracked_run(experiment_id, "job", runs.parent_identity("job")) as parent_id:
        runs.log_evidence(parent_id, Evidence(params={"best_strategy": "undersample"}))
        identity = runs.strategy_identity("job", "undersample")
        with runs.tracked_run(experiment_id, "undersample", identity, parent_id) as run_id:
            evidence = Evidence(
                documents={"counts.json": held_out.to_records()}, metrics={"validation/average_precision": 0.5}
            )
            runs.log_evidence(run_id, evidence)
            model_uri = models.log_bundle(run_id, bundle)
        register_version(NAME, model_uri, {})
        MlflowClient().set_registered_model_alias(NAME, "champion", "1")
    return Logged(
        uri=uri,
        parent_id=parent_id,
        run_id=run_id,
        label=label,
        probability=CALIBRATOR.apply(score),
    )


def _argv(logged: Logged, *more: str, run: str | None = None) -> list[str]:
    return ["--run", run or logged.run_id, "--tracking-uri", logged.uri, *more]


MIN_COST = ("--objective", "min_cost", "--fn", "25", "--fp", "1")


def _bundle_of(number: str, folder: Path) -> ModelBundle:
    folder.mkdir(exist_ok=True)
    place = mlflow.artifacts.download_artifacts(f"models:/{NAME}/{number}", dst_path=str(folder))
    return ModelBundle.load(f"{place}/artifacts/bundle")


def _cost(logged: Logged, threshold: float) -> float:
    flagged = logged.probability >= threshold
    return float(25.0 * np.sum(~flagged & (logged.label == 1)) + np.sum(flagged & (logged.label == 0)))


def test_a_new_version_has_the_closed_form_threshold_and_the_old_model(
    logged: Logged, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(_argv(logged, *MIN_COST)) == 0
    old, new = _bundle_of("1", tmp_path / "old"), _bundle_of("2", tmp_path / "new")
    said = capsys.readouterr().out
    assert f"Registered {NAME} version 2.\nRead back from it: threshold {new.threshold:.6g}.\n" in said
    assert new.threshold == pytest.approx(1 / 26)  # Elkan's
    assert _cost(logged, new.threshold) < _cost(logged, old.threshold)
    assert new.serve_objective == "min_cost_fn_25_fp_1"
    assert (old.threshold, old.serve_objective) == (0.3, "max_f1")
    assert new.model_bytes == old.model_bytes
    orders = pd.DataFrame({"x": np.linspace(-3, 3, 50)})
    scores = [Scorer(bundle).score(orders)["probability"] for bundle in (old, new)]
    pd.testing.assert_series_equal(*scores)


def test_the_new_version_names_where_it_comes_from_and_no_alias_moves(logged: Logged) -> None:
    assert main(_argv(logged, *MIN_COST)) == 0
    client = MlflowClient()
    new = client.get_model_version(NAME, "2")
    assert new.tags["source_version"] == f"{NAME}/1"
    assert new.tags["source_run_id"] == logged.run_id
    assert new.tags["objective"] == "min_cost_fn_25_fp_1"
    assert new.tags["base_rate"] == "-"
    assert client.get_model_version_by_alias(NAME, "champion").version == 1
    run = client.get_run(new.run_id)
    assert run.data.tags["mlflow.parentRunId"] == logged.parent_id
    assert run.info.status == "FINISHED"
    # The resume of the job that logged the model must not take the retuned run for its own.
    assert runs.strategy_identity("job", "undersample").items().isdisjoint(run.data.tags.items())


def test_the_alias_that_is_asked_for_moves(logged: Logged) -> None:
    assert main(_argv(logged, *MIN_COST, "--alias", "champion")) == 0
    promoted = MlflowClient().get_model_version_by_alias(NAME, "champion")
    assert (promoted.version, promoted.tags["replaced_version"]) == (2, "1")


def test_run_again_it_registers_nothing_new(logged: Logged, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        assert main(_argv(logged, *MIN_COST, "--json")) == 0
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert first == second
    assert len(MlflowClient().search_model_versions(f"name = '{NAME}'")) == 2


def test_what_is_printed_is_served_at_any_number_of_orders_a_day(
    logged: Logged, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # The objective's name is the same; 600 rows are 10 days, then half a day.
    argv = _argv(logged, "--objective", "alert_budget", "--per-day", "5", "--json", "--alias", "champion")
    served = []
    for number, orders_per_day in (("2", "60"), ("3", "1200")):
        assert main([*argv, "--orders-per-day", orders_per_day]) == 0
        printed = json.loads(capsys.readouterr().out)
        served.append(_bundle_of(number, tmp_path / number).threshold)
        registered = {"name": NAME, "version": number, "alias": "champion"}
        assert printed["registered"] == {**registered, "objective": "alert_budget_5_per_day", "threshold": served[-1]}
        assert printed["threshold"]["after"] == served[-1]
        assert str(MlflowClient().get_model_version_by_alias(NAME, "champion").version) == number
    assert served[0] < served[1]


def test_costs_that_nearly_agree_are_two_models(logged: Logged, tmp_path: Path) -> None:
    costs = ("25", "25.00001")
    for fn in costs:
        assert main(_argv(logged, "--objective", "bayes_cost", "--fn", fn, "--fp", "1")) == 0
    served = [_bundle_of(number, tmp_path / number) for number in ("2", "3")]
    assert [bundle.threshold for bundle in served] == [pytest.approx(1 / (1 + float(fn)), rel=1e-12) for fn in costs]


def test_a_version_that_holds_another_model_is_refused_and_no_alias_moves(
    logged: Logged, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(_argv(logged, *MIN_COST)) == 0
    client = MlflowClient()
    first, retuned = (client.get_model_version(NAME, number).run_id for number in ("1", "2"))
    client.set_tag(retuned, "imbalance_spark.model_id", client.get_run(first).data.tags["imbalance_spark.model_id"])
    assert main(_argv(logged, *MIN_COST, "--alias", "next")) == 3
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f"ERROR 3: {NAME}/1 holds another model")
    sha256 = client.get_run(retuned).data.tags["imbalance_spark.bundle_sha256"]
    assert f"Delete the MLflow run whose tag imbalance_spark.bundle_sha256 is {sha256}, then retune again." in last
    assert client.get_registered_model(NAME).aliases.keys() == {"champion"}


def test_the_parent_run_stands_for_its_best_strategy(kept: Logged, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(_argv(kept, *MIN_COST, "--dry-run", "--json", run=kept.parent_id)) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["run"] == kept.run_id
    assert found["registered"] is None


def test_a_dry_run_tells_the_change_and_leaves_the_store(kept: Logged, capsys: pytest.CaptureFixture[str]) -> None:
    argv = _argv(kept, "--objective", "max_f_beta", "--beta", "2", "--fn", "25", "--fp", "1", "--dry-run")
    assert main([*argv, "--orders-per-day", "60"]) == 0
    printed, stages = capsys.readouterr()
    assert re.search(r"^\[1/2\] load  strategy .+, threshold 0.3  \d+ s$", stages, re.MULTILINE)
    assert re.search(r"^\[2/2\] choose  max_f2, threshold .+  \d+ s$", stages, re.MULTILINE)
    for part in ("threshold 0.3 ->", "max_f2", "alerts a day", "validation before", "test after", "cost"):
        assert part in printed
    assert main(argv) == 0
    assert "--orders-per-day N" in capsys.readouterr().out
    assert len(MlflowClient().search_model_versions(f"name = '{NAME}'")) == 1
    experiment = MlflowClient().get_experiment_by_name("retune")
    assert len(MlflowClient().search_runs([experiment.experiment_id])) == 2


def test_alerts_a_day_are_those_at_the_rate_of_the_log_unless_another_is_given(
    logged: Logged, capsys: pytest.CaptureFixture[str]
) -> None:
    days = {"orders/rows": 1210.0, "orders/quarantined_rows": 10.0, "orders/days": 30.0}
    runs.log_evidence(logged.parent_id, Evidence(metrics=days))

    def told(*more: str) -> dict[str, float]:
        assert main(_argv(logged, *MIN_COST, "--dry-run", "--json", *more)) == 0
        found = json.loads(capsys.readouterr().out)
        after = found["folds"]["test"]["after"]
        return {"orders_per_day": found["orders_per_day"], "share": after["alerts_per_day"] / after["alerts"]}

    assert told() == {"orders_per_day": 40.0, "share": pytest.approx(40 / 600)}
    assert told("--orders-per-day", "60") == {"orders_per_day": 60.0, "share": pytest.approx(60 / 600)}
    assert main(_argv(logged, *MIN_COST, "--dry-run")) == 0
    assert "Alerts a day at 40 orders a day, as in the log" in capsys.readouterr().out


def test_a_retuned_run_can_be_retuned(logged: Logged) -> None:
    assert main(_argv(logged, *MIN_COST)) == 0
    run_id = MlflowClient().get_model_version(NAME, "2").run_id
    assert main(_argv(logged, "--objective", "max_mcc", run=run_id)) == 0
    assert MlflowClient().get_model_version(NAME, "3").tags["source_version"] == f"{NAME}/2"


def test_a_moved_base_rate_moves_the_served_probabilities_in_closed_form(logged: Logged, tmp_path: Path) -> None:
    argv = _argv(logged, "--objective", "bayes_cost", "--fn", "25", "--fp", "1", "--base-rate", "0.004")
    assert main(argv) == 0
    old, new = _bundle_of("1", tmp_path / "old"), _bundle_of("2", tmp_path / "new")
    assert new.threshold == pytest.approx(1 / 26)  # Elkan's, on probabilities at the new rate
    orders = pd.DataFrame({"x": np.linspace(-3, 3, 50)})
    before, after = (np.asarray(Scorer(bundle).score(orders)["probability"]) for bundle in (old, new))
    odds = before / (1 - before) * (0.004 / 0.996) / (logged.label.mean() / (1 - logged.label.mean()))
    np.testing.assert_allclose(after, odds / (1 + odds))
    assert MlflowClient().get_model_version(NAME, "2").tags["base_rate"] == "0.004"


def test_an_objective_out_of_reach_is_code_4_and_registers_nothing(
    kept: Logged, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(_argv(kept, "--objective", "max_recall", "--precision", "1")) == 4
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("ERROR 4: max_recall_at_precision_1 is out of reach")
    assert len(MlflowClient().search_model_versions(f"name = '{NAME}'")) == 1


@pytest.mark.parametrize(
    ("more", "run", "said"),
    [
        (MIN_COST, "0" * 32, "the MLflow store has no such run"),
        (("--objective", "min_cost", "--fn", "25"), None, r"min_cost needs ['fp']"),
        (("--objective", "max_mcc", "--beta", "2"), None, r"max_mcc has no setting ['beta']"),
        (("--objective", "min_cost", "--fn", "much", "--fp", "1"), None, "min_cost.fn: 'much' reads ['much']"),
        ((*MIN_COST, "--base-rate", "4"), None, "base rate"),
    ],
)
def test_what_cannot_be_is_code_2_and_one_line(
    kept: Logged, capsys: pytest.CaptureFixture[str], more: tuple[str, ...], run: str | None, said: str
) -> None:
    assert main(_argv(kept, *more, run=run)) == 2
    # Stages that were begun are told before; the error is one line, the last.
    *stages, line = capsys.readouterr().err.splitlines()
    assert line.startswith("ERROR 2: ")
    assert said in line
    assert all(stage.startswith("[") for stage in stages)


def test_a_store_that_is_not_there_is_not_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--run", "x", "--tracking-uri", f"sqlite:///{tmp_path}/absent.db", *MIN_COST]) == 2
    assert "there is no file" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_an_unregistered_model_needs_a_name(logged: Logged, capsys: pytest.CaptureFixture[str]) -> None:
    MlflowClient().delete_registered_model(NAME)
    assert main(_argv(logged, *MIN_COST)) == 2
    assert "Name a registered model with --register" in capsys.readouterr().err
    assert main(_argv(logged, *MIN_COST, "--register", "moved")) == 0
    assert MlflowClient().get_model_version("moved", "1").tags["source_version"] == "-"
