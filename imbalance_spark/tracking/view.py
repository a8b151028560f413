"""Saved views of MLflow's list of runs: the strategies of the last comparison, best first, and the trials of a search.

By default the UI shows neither metrics in its list nor parallel coordinates among its charts. A view is JSON in a tag
of the experiment: the settings of the page, with defaults left out. The last comparison's replaces the one before it.
"""

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from mlflow.tracking import MlflowClient

from imbalance_spark.core.masking import masked_uri
from imbalance_spark.tracking.config import TrackingConfig
from imbalance_spark.tracking.runs import parent_identity, search_identity, stored_name

_VIEW, _TRIALS = "strategies", "trials"
_PAGE = "#/experiments/{}/runs?viewStateShareKey=" + _VIEW + "&workflowType=machine_learning"
_LOCAL = "http://127.0.0.1:5000"
"""Where `mlflow ui` listens by default."""
_CHARACTER, _MARGIN = 6.3, 35
"""Pixels of a letter in a column's header, and of what surrounds the text."""


def save_view(experiment_id: str, run_id: str, metrics: Sequence[str]) -> None:
    """Keep a view of a run's strategies in the experiment, where the UI lists it.

    Args:
        metrics: what to show, by the first of which runs are ordered.
    """
    (run, value), (strategy, none) = parent_identity(run_id).items()
    wanted = f"tags.`{run}` = '{value}' AND tags.`{strategy}` != '{none}'"
    columns = {f"metrics.`{name}`": name for name in metrics}
    _save(experiment_id, _VIEW, "Strategies, best first", _state(wanted, columns, is_ascending=False))


def save_trials_view(experiment_id: str, run_id: str, metric: str, params: Sequence[str], *, is_loss: bool) -> None:
    """Keep a view of the trials of a run's searches, with their parallel coordinates among its charts.

    Args:
        metric: what trials are worth, by which they are ordered. params: those that all of them have.
    """
    [(run, value)] = search_identity(run_id).items()
    metric = stored_name(metric)
    columns = {f"metrics.`{metric}`": metric, **{f"params.`{name}`": name for name in params}}
    chart = {"type": "PARALLEL", "uuid": _TRIALS, "metricSectionId": _TRIALS, "deleted": False, "isGenerated": False}
    chart |= {"showAllRuns": True, "selectedParams": list(params), "selectedMetrics": [metric]}
    # In a reordered section the charts that the UI adds, one a metric, come behind this one.
    section = {"uuid": _TRIALS, "name": "search", "display": True, "isReordered": True, "isGenerated": False}
    charts = {"compareRunCharts": [chart], "compareRunSections": [section]}
    state = _state(f"tags.`{run}` = '{value}'", columns, is_ascending=is_loss)
    _save(experiment_id, _TRIALS, "Trials of the search", {**state, **charts})


def _state(wanted: str, columns: Mapping[str, str], *, is_ascending: bool) -> dict[str, Any]:
    """The list of the runs that a filter wants, with these columns and their headers, ordered by the first."""
    return {
        "searchFilter": wanted,
        "orderByKey": next(iter(columns)),
        "orderByAsc": is_ascending,
        "selectedColumns": list(columns),
        "columnOrder": list(columns),
        "columnWidths": {column: round(_CHARACTER * len(name)) + _MARGIN for column, name in columns.items()},
    }


def _save(experiment_id: str, key: str, name: str, state: Mapping[str, Any]) -> None:
    now = int(time.time() * 1000)
    view = {"name": name, "createdAt": now, "updatedAt": now, "state": json.dumps(state)}
    MlflowClient().set_experiment_tag(experiment_id, f"mlflow.sharedViewState.{key}", json.dumps(view))


def where_to_look(config: TrackingConfig, experiment_id: str) -> str:
    """The command to start, if any, and the page to open to see that view, without secrets."""
    page, uri = _PAGE.format(experiment_id), masked_uri(config.uri)
    if uri.startswith("databricks"):
        return f"the experiment {config.experiment!r} of the workspace"
    if uri.startswith(("http://", "https://")):
        return f"{uri.rstrip('/')}/{page}"
    return f"mlflow ui --backend-store-uri {uri}   then {_LOCAL}/{page}"
