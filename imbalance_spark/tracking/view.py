"""A saved view of MLflow's list of runs: the strategies of the last comparison, best first, with what decides."""

import json
import time
from collections.abc import Sequence

from mlflow.tracking import MlflowClient

from imbalance_spark.config.run import GateConfig
from imbalance_spark.core.columns import TEST, VALIDATION
from imbalance_spark.core.masking import masked_uri
from imbalance_spark.tracking.config import TrackingConfig
from imbalance_spark.tracking.runs import parent_identity

_VIEW = "strategies"


_PAGE = "#/experiments/{}/runs?viewStateShareKey=" + _VIEW + "&workflowType=machine_learning"


_LOCAL = "http://127.0.0.1:5000"
"""Where `mlflow ui` listens unless told otherwise."""


_CHARACTER, _MARGIN = 6.3, 35
"""Pixels of a letter in a column's head, and of what stands beside the name."""


def save_view(
    experiment_id: str, run_id: str, gate: GateConfig, serve_objective: str, metrics: Sequence[str] = ()
) -> None:
    """Keep the view in the experiment, where the UI lists it; the last comparison's replaces the one before it.

    By itself the UI shows no metric of a run in its list. A view is JSON in a tag of the experiment: the settings of
    the page, those that are left out at their defaults.

    Args:
        metrics: what to show, by the first of which runs are ordered; by default those of two classes.
    """
    (run, value), (strategy, none) = parent_identity(run_id).items()
    columns = {f"metrics.`{name}`": name for name in metrics or _metrics(gate.metric, serve_objective)}
    state = {
        "searchFilter": f"tags.`{run}` = '{value}' AND tags.`{strategy}` != '{none}'",
        "orderByKey": next(iter(columns)),
        "orderByAsc": False,
        "selectedColumns": list(columns),
        "columnOrder": list(columns),
        "columnWidths": {column: round(_CHARACTER * len(name)) + _MARGIN for column, name in columns.items()},
    }
    now = int(time.time() * 1000)
    view = {"name": "Strategies, best first", "createdAt": now, "updatedAt": now, "state": json.dumps(state)}
    MlflowClient().set_experiment_tag(experiment_id, f"mlflow.sharedViewState.{_VIEW}", json.dumps(view))


def where_to_look(config: TrackingConfig, experiment_id: str) -> str:
    """What to start, if need be, and which page to open to see that view; without passwords."""
    page, uri = _PAGE.format(experiment_id), masked_uri(config.uri)
    if uri.startswith("databricks"):
        return f"the experiment {config.experiment!r} of the workspace"
    if uri.startswith(("http://", "https://")):
        return f"{uri.rstrip('/')}/{page}"
    return f"mlflow ui --backend-store-uri {uri}   then {_LOCAL}/{page}"


def _metrics(metric: str, serve_objective: str) -> list[str]:
    """First by what the strategies are ranked, then at what threshold they serve and what that gives on test."""
    at_threshold = [f"{TEST}/{name}" for name in ("cost", "precision", "recall")]
    return [f"{VALIDATION}/{metric}", f"threshold/{serve_objective}", *at_threshold, f"{TEST}/{metric}"]
