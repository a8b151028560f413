"""The search of a run: trials on train alone, each done once, and what MLflow and the report are given of them."""

import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xgboost
from mlflow.tracking import MlflowClient
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from support.mlflow_store import new_store
from support.small_run import STRONG, config_file, write_orders

from imbalance_spark.calibration.log_odds import LogOddsCalibration
from imbalance_spark.comparison.compare import compare, stages
from imbalance_spark.comparison.evidence import trial_evidence
from imbalance_spark.comparison.run import RunResult, run
from imbalance_spark.comparison.searched_strategy import SearchedStrategy
from imbalance_spark.config.run import RunConfig
from imbalance_spark.config.yaml_file import load_config
from imbalance_spark.core.progress import Progress
from imbalance_spark.core.run import Run
from imbalance_spark.core.run_lock import locks_released
from imbalance_spark.metrics import ScoreCounts
from imbalance_spark.split.folds import TrainShare, as_split
from imbalance_spark.split.plan import SplitPlan
from imbalance_spark.tracking.runs import log_trials
from imbalance_spark.train_only.search.trials import best_of, promoted
from jobs import train

STRATEGIES = ["none", {"kind": "undersample", "sampling_strategy": 0.2}]
SPACE = {"max_depth": [2, 4], "min_child_weight": {"low": 0.1, "high": 30.0, "log": True}}
FITS = {"none": (3, 2), "undersample": (3, 2)}
"""Of each rung."""


@dataclass(frozen=True)
class Searched:
    """A run that was interrupted in the middle of its search and started again; `recorded` are its steps in order."""

    result: RunResult
    recorded: list[str]
    before_interrupt: int
    client: MlflowClient

    @property
    def searches(self) -> dict[str, SearchedStrategy]:
        return dict(self.result.comparison.searches)


class Interrupted(BaseException):
    pass


@pytest.fixture(scope="module")
def home(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("search")
    write_orders(spark, home)
    return home


@pytest.fixture(scope="module")
def conf(home: Path) -> str:
    few = {**STRONG, "rounds": 6, "early_stopping_rounds": 6}
    search = {"trials": 3, "factor": 3, "space": SPACE}
    split = {"by": "group", "seed": 7}
    return config_file(home, "searched", uri=new_store(home), training=few, strategies=STRATEGIES, search=search,
                       split=split)  # fmt: skip


@pytest.fixture(scope="module")
def searched(spark: SparkSession, home: Path, conf: str) -> Searched:
    config, recorded = load_config(conf, RunConfig, ()), []
    record, stop_at = Run.record, ["judged_0_undersample"]

    def recording(of: Run, step: str, output: Any) -> None:
        if step in stop_at:
            stop_at.remove(step)
            raise Interrupted
        record(of, step, output)
        recorded.append(f"{of.folder.full_path().partition('searched-')[2].partition('/')[2]}/{step}")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "record", recording)
        with pytest.raises(Interrupted):
            run(spark, config, quiet=True)
        before = len(recorded)
        result = run(spark, config, quiet=True)
    return Searched(result, recorded, before, MlflowClient(config.tracking.uri))


def test_an_interrupted_search_begins_again_at_the_trial_where_it_stopped(searched: Searched) -> None:
    steps = [step for step in searched.recorded if step.startswith("search/")]
    assert len(steps) == len(set(steps))
    assert searched.recorded[searched.before_interrupt] == "search/rung_0/judged_0_undersample"
    for name, fits in FITS.items():
        found = [sum(f"rung_{rung}/" in step and step.endswith(f"/fit_{name}") for step in steps) for rung in (0, 1)]
        assert tuple(found) == fits
    # Strategies that do not sample read fewer rows at first; those that do share one table of all.
    tables = [step for step in steps if "/rows_" in step]
    assert tables == ["search/rows_0/train", "search/rows_1/train", "search/rows_1/train_undersample"]


def test_the_share_that_judges_is_of_train_and_no_trial_is_fitted_on_it(searched: Searched, home: Path) -> None:
    prepared = searched.result.comparison.prepared
    part = prepared.run.part("search")
    share = TrainShare(plan=SplitPlan.from_dict(part.read_document("share")))
    rows = as_split(prepared.inputs, share, 0).select("order_id", "customer_id", F.col("split").alias("part"))
    by_part = {name: rows.where(F.col("part") == name) for name in ("train", "validation")}
    judging, fitted = by_part["validation"], by_part["train"]
    train = prepared.inputs.where("split = 'train'")
    assert judging.join(train, on="order_id", how="left_anti").count() == 0
    assert judging.join(fitted, on="customer_id", how="left_semi").count() == 0  # whole groups
    assert judging.count() / train.count() == pytest.approx(0.2, abs=0.02)
    for rung, fraction in ((0, 3**-0.5), (1, 1.0)):
        table = part.part(f"rows_{rung}").table("train", lambda: fitted)
        assert table.join(fitted, on="order_id", how="left_anti").count() == 0
        counts = {label: table.where(F.col("y") == label).count() for label in (0, 1)}
        assert sum(counts.values()) == pytest.approx(fraction * fitted.count(), rel=0.05)
        assert counts[1] == fitted.join(train.where("y = 1"), on="order_id", how="left_semi").count()


def test_the_final_fit_has_the_parameters_of_the_best_trial(searched: Searched) -> None:
    assert list(searched.searches) == ["none", "undersample"]
    for result in searched.result.comparison.results:
        search = searched.searches[result.name]
        first, last = FITS[result.name]
        assert [len(trial.values) for trial in search.trials].count(2) == last
        left = promoted([replace(trial, values=trial.values[:1]) for trial in search.trials], last, is_loss=True)
        assert {trial.number for trial in left} == {trial.number for trial in search.trials if len(trial.values) == 2}
        assert search.trials[0].params == {"max_depth": 4, "min_child_weight": 1.0}
        assert len(search.trials) == first
        assert search.chosen == best_of(search.trials, is_loss=True)
        assert search.chosen.params.items() <= result.fitted.booster.params.items()
        assert f"Search of {result.name}: 5 fits of 3 trials" in searched.result.text()


def test_a_trial_is_worth_what_scikit_learn_counts_on_the_share(searched: Searched) -> None:
    prepared, search = searched.result.comparison.prepared, searched.searches["none"]
    assert search.words == "min_cost_fn_10_fp_1 of 1,000 orders"
    part = prepared.run.part("search")
    share = TrainShare(plan=SplitPlan.from_dict(part.read_document("share")))
    rows = as_split(prepared.inputs, share, 0).where("split = 'validation'").orderBy("order_id").toPandas()
    booster = xgboost.Booster(model_file=bytearray(_model(part, search, "none")))
    raw = booster.inplace_predict(rows[[f"x_{i}" for i in range(5)]].to_numpy(np.float32))
    corrected = searched.result.comparison.plain.fitted.recipe.prior_shift.correction().apply(raw)
    fitted = LogOddsCalibration.fit_with_prior(ScoreCounts.from_arrays(rows["y"], corrected))
    is_flagged = fitted.apply(corrected) >= 1.0 / 11.0
    cost = 10.0 * (rows["y"] * ~is_flagged).sum() + ((1 - rows["y"]) * is_flagged).sum()
    # Scores were counted in steps of 0.01 in logit.
    assert search.chosen.values[-1] == pytest.approx(1000.0 * cost / len(rows), rel=0.01)


def _model(part: Run, search: SearchedStrategy, name: str) -> bytes:
    return part.part("rung_1").part(f"trial_{search.chosen.number}").folder.read_bytes(f"models/{name}.ubj")


def test_every_trial_is_a_nested_run_of_its_strategys_run(searched: Searched) -> None:
    nested = searched.result.logged.strategy_run_ids
    runs = searched.client.search_runs([searched.result.logged.experiment_id])
    assert len(runs) == 1 + len(STRATEGIES) + 6
    for name, search in searched.searches.items():
        trials = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == nested[name]]
        by_number = {int(run.data.params["trial"]): run for run in trials}
        assert set(by_number) == {0, 1, 2}
        for trial in search.trials:
            run = by_number[trial.number]
            assert run.info.status == "FINISHED"
            assert {key: float(run.data.params[key]) for key in SPACE} == pytest.approx(trial.params)
            history = searched.client.get_metric_history(run.info.run_id, search.metric)
            assert [(one.step, one.value) for one in history] == list(enumerate(trial.values))
            assert run.data.metrics["search/rungs"] == len(trial.values)
            assert run.data.tags["search.chosen"] == str(trial is search.chosen).lower()
    shown = searched.client.get_experiment(searched.result.logged.experiment_id).tags["mlflow.sharedViewState.trials"]
    state = json.loads(json.loads(shown)["state"])
    listed = searched.client.search_runs([searched.result.logged.experiment_id], filter_string=state["searchFilter"])
    assert {run.info.run_id for run in listed} == {run.info.run_id for run in runs if "trial" in run.data.params}
    [chart] = state["compareRunCharts"]
    assert (chart["type"], chart["selectedParams"]) == ("PARALLEL", list(SPACE))
    assert chart["selectedMetrics"] == [searched.searches["none"].metric]
    table = searched.client.download_artifacts(nested["none"], "search.csv")
    assert Path(table).read_text("utf-8").count("\n") == 4


def test_trials_that_were_logged_are_logged_once(searched: Searched) -> None:
    comparison, logged = searched.result.comparison, searched.result.logged
    before = len(searched.client.search_runs([logged.experiment_id]))
    for name, search in searched.searches.items():
        run_id, trials = comparison.prepared.run.run_id, trial_evidence(search)
        log_trials(logged.experiment_id, logged.strategy_run_ids[name], run_id, name, trials)
    assert len(searched.client.search_runs([logged.experiment_id])) == before


def test_three_classes_of_a_pool_are_searched_by_tpe(spark: SparkSession, tmp_path: Path) -> None:
    draw = np.random.default_rng(3)
    x = draw.normal(size=(4000, 2))
    late, fraud = (x + draw.normal(0.0, 0.7, (4000, 2)) > (1.5, 1.9)).T
    outcome = np.where(fraud, "fraud", np.where(late, "late", "ok"))
    orders = pd.DataFrame({"order_id": np.arange(4000), "x": x[:, 0], "z": x[:, 1], "outcome": outcome})
    config = RunConfig.model_validate(
        {
            "name": "three", "output": f"{tmp_path}/output", "strategies": ("none", "class_weight_power"),
            "orders": {"label": "outcome", "classes": ("ok", "late", "fraud"), "numeric": ("x", "z")},
            "training": {"engine": "native", "num_workers": 1, "rounds": 6, "max_rows": 1500},
            "search": {"method": "tpe", "trials": 3, "strategies": ("class_weight_power",),
                       "space": {"power": {"low": 0.0, "high": 1.0}, "max_depth": {"low": 2, "high": 4}}},
            "objectives": ("max_mcc",), "serve_objective": "max_mcc",
        }
    )  # fmt: skip
    with locks_released():
        compared = compare(spark, config, Progress(stages(config), quiet=True), spark.createDataFrame(orders))
    [search] = compared.searches.values()
    assert (search.strategy, search.words, search.rounds) == ("class_weight_power", "macro_average_precision", (6,))
    assert search.trials[0].params == {"power": 0.5, "max_depth": 6}
    assert all(0.2 < trial.values[0] < 1.0 for trial in search.trials)
    assert len({trial.values for trial in search.trials}) > 1
    [fitted] = [one.fitted for one in compared.results if one.name == "class_weight_power"]
    assert fitted.recipe.params.max_depth == search.chosen.params["max_depth"]
    assert fitted.recipe.logged["power"] == search.chosen.params["power"]
    assert min(compared.prepared.pool.shares) < 0.6


def test_the_plan_counts_the_fits_and_the_tables_of_the_search(
    searched: Searched, conf: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train.main(["--config", conf, "--dry-run", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["searched_fits"] == 10 == plan["fits"] - len(STRATEGIES)
    assert "and before them 10 fits of the search" in plan["evaluation"]["cost"]
    part = searched.result.comparison.prepared.run.part("search")
    for rung in (0, 1):
        planned = plan["tables"]["rows"][f"search/rows_{rung}/train"]
        assert planned == pytest.approx(part.part(f"rows_{rung}").pin("train").rows, rel=0.05)


def test_a_search_and_a_cross_fit_exclude_each_other(conf: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert train.main(["--config", conf, "--dry-run", "--set", "evaluation=cross_fit"]) == 2
    assert "search chooses parameters on rows of train" in capsys.readouterr().err


@pytest.mark.parametrize("options", [[], ["--dry-run"]])
def test_tpe_without_optuna_is_refused_before_anything_is_read(
    conf: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert train.main(["--config", conf, "--set", "search.method=tpe", *options]) == 2
    assert "pip install 'imbalance_spark[search]'" in capsys.readouterr().err
