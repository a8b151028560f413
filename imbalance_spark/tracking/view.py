"""A saved view of MLflow's list of runs: the strategies of the last comparison, best first."""

import json
import time
from collections.abc import Sequence

from mlflow.tracking import MlflowClient

from imbalance_spark.core.masking import masked_uri
from imbalance_spark.tracking.config import TrackingConfig
from imbalance_spark.tracking.runs import parent_identity

_VIEW = "strategies"
_PAGE = "#/experiments/{}/runs?viewStateShareKey=" + _VIEW + "&workflowType=machine_learning"
_LOCAL = "http://127.0.0.1:5000"
"""Where `mlflow ui` listens by default."""
_CHARACTER, _MARGIN = 6.3, 35
"""Pixels of a letter in a column's header, and of what surrounds the text."""


def save_view(experiment_id: str, run_id: str, metrics: Sequence[str]) -> None:
    """Keep the view in the experiment, where the UI lists it; the last comparison's replaces the one before it.

    By default the UI shows no metrics in its list of runs. A view is JSON in a tag of the experiment: the settings of
    the page, with defaults left out.

    Args:
        metrics: what to show, by the first of which runs are ordered.
    """
    (run, value), (strategy, none) = parent_identity(run_id).items()
    columns = {f"metrics.`{name}`": name for name in metrics}
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
    """The command to start, if any, and the page to open to see that view, without secrets."""
    page, uri = _PAGE.format(experiment_id), masked_uri(config.uri)
    if uri.startswith("databricks"):
        return f"the experiment {config.experiment!r} of the workspace"
    if uri.startswith(("http://", "https://")):
        return f"{uri.rstrip('/')}/{page}"
    return f"mlflow ui --backend-store-uri {uri}   then {_LOCAL}/{page}"
