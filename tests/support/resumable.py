"""A small run of the main job for tests of how it ends and goes on: its config, its ledger, its MLflow store."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from mlflow.tracking import MlflowClient

from support.mlflow_store import new_store
from support.spark_settings import SETTINGS

SECRETS = {
    "spark.hadoop.fs.s3a.secret.key": "canary-password",
    "spark.canary.proxy": "http://canary-token@proxy:8080",
}
"""Settings that no file of a run and nothing in MLflow may show."""


def config_file(
    home: Path, name: str, uri: str | None = None, strategies: Sequence[str] = ("none", "undersample")
) -> str:
    """A run of its own for each name, with an MLflow store of its own unless one is given."""
    roles = {"key": ["order_id"], "label": "is_fraud", "group": "customer_id", "amount": "amount"}
    orders = {"source": {"path": str(home / "orders")}, **roles, "numeric": ["amount", "distance_km"]}
    config = {
        "name": "resume", "run_id": name, "output": str(home / name), "orders": orders,
        "strategies": list(strategies), "evaluation": "holdout",
        "training": {"num_workers": 1, "rounds": 5, "early_stopping_rounds": 5, "params": {"max_depth": 3}},
        "spark": {"master": "local[2]", "settings": {**SETTINGS, **SECRETS}},
        "tracking": {"uri": uri or new_store(home, name), "experiment": "resume", "registered_model": "resume"},
    }  # fmt: skip
    file = home / f"{name}.yaml"
    file.write_text(yaml.safe_dump(config), "utf-8")
    return str(file)


def ledger(home: Path, name: str) -> dict[str, Any]:
    """What each step found, without the places and the MLflow ids, in which two runs differ."""
    found = {}
    for file in (home / name / name / "ledger").glob("*.json"):
        output = json.loads(file.read_text("utf-8"))["output"]
        if isinstance(output, dict):
            output.pop("path", None)
            output.pop("files", None)  # their names are drawn
        found[file.stem] = output
    return found


def client(home: Path, name: str) -> MlflowClient:
    return MlflowClient(f"sqlite:///{home}/{name}.db")


def runs_of(store: MlflowClient) -> dict[str, str]:
    """Name and status of every run of the experiment; a name that is there twice is an error."""
    runs = store.search_runs([store.get_experiment_by_name("resume").experiment_id])
    found = {str(run.info.run_name): str(run.info.status) for run in runs}
    assert len(found) == len(runs)
    return found
