"""The main job with several learners: one table, one ledger, and models that are loaded without their libraries."""

import contextlib
import io
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import yaml
from mlflow.tracking import MlflowClient
from pyspark.sql import SparkSession
from support.mlflow_store import new_store
from support.pytorch import HAS_TORCH
from support.small_run import STRONG, config_file, write_orders

from imbalance_spark.scoring.boosters import load_booster
from jobs import train

STRATEGIES = (
    {"kind": "none", "learner": "xgboost"},
    {"kind": "none", "name": "lightgbm", "learner": "lightgbm"},
    {"kind": "class_weight", "name": "catboost_weighted", "learner": "catboost"},
    {"kind": "class_weight", "name": "logistic", "learner": "logistic"},
    *([{"kind": "focal", "name": "network", "learner": "torch", "params": {"lr": 0.01}}] if HAS_TORCH else []),
)
LEARNERS = {entry.get("name", entry["kind"]): entry["learner"] for entry in STRATEGIES}


@dataclass(frozen=True)
class Ran:
    """A run with several learners, what it printed, and its runs in MLflow by strategy."""

    home: Path
    printed: str
    params: dict[str, dict[str, str]]
    metrics: dict[str, dict[str, float]]


@pytest.fixture(scope="module")
def ran(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    home, printed = tmp_path_factory.mktemp("learners"), io.StringIO()
    write_orders(spark, home)
    store = new_store(home)
    config = config_file(home, "learners", uri=store, training={**STRONG, "engine": "native"}, run_id="learners")
    content = yaml.safe_load(Path(config).read_text("utf-8")) | {"strategies": list(STRATEGIES)}
    Path(config).write_text(yaml.safe_dump(content), "utf-8")
    with contextlib.chdir(home), contextlib.redirect_stdout(printed), contextlib.redirect_stderr(io.StringIO()):
        assert train.main(["--config", config]) == 0
    client = MlflowClient(store)
    experiment = client.get_experiment_by_name("small")
    assert experiment is not None
    runs = [run for run in client.search_runs([experiment.experiment_id]) if "strategy" in run.data.params]
    by_strategy = {run.data.params["strategy"]: run.data for run in runs}
    return Ran(
        home, printed.getvalue(), {name: data.params for name, data in by_strategy.items()},
        {name: data.metrics for name, data in by_strategy.items()},
    )  # fmt: skip


def test_the_table_and_mlflow_name_the_learner_of_each_strategy(ran: Ran) -> None:
    for strategy, learner in LEARNERS.items():
        assert re.search(rf"^ *{strategy} +{learner} ", ran.printed, re.MULTILINE)
    assert {name: params["learner"] for name, params in ran.params.items()} == LEARNERS


def test_probabilities_of_every_learner_are_right_on_average(ran: Ran) -> None:
    for metrics in ran.metrics.values():
        # Some 600 positives in 12,000 orders, of which a third is held out.
        assert metrics["ledger/mean_over_base_rate"] == pytest.approx(1.0, abs=0.35)
        assert metrics["test/average_precision"] > 0.15


def test_models_are_loaded_without_the_library_that_fitted_them(ran: Ran, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("lightgbm", "catboost", "torch"):
        monkeypatch.setitem(sys.modules, name, None)
    files = sorted((ran.home / "output").rglob("*.ubj"))
    assert {file.stem for file in files} >= set(LEARNERS)
    for file in files:
        margin = load_booster(file.read_bytes()).inplace_predict(
            np.zeros((3, 5), np.float32), predict_type="margin", validate_features=False
        )  # fmt: skip
        assert np.isfinite(margin).all()
