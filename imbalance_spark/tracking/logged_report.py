"""The report of a job as its parent run has it: contents and figures, read back from the MLflow store."""

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow.tracking import MlflowClient

from imbalance_spark.core.errors import ConfigError, DataContractError
from imbalance_spark.tracking.store import refuse_absent_file, short_waits, store_errors, use_store

_CONTENT, _PLOTS, _PARENT = "report.json", "plots", "mlflow.parentRunId"


@dataclass(frozen=True, kw_only=True)
class LoggedReport:
    """What a page is made of.

    Args:
        run_id: of the job's parent run.
        content: see `comparison.report.page.page_content`.
        images: PNGs by name.
    """

    run_id: str
    content: Mapping[str, Any]
    images: Mapping[str, bytes]


def load_logged_report(uri: str, run_id: str) -> LoggedReport:
    """The report of a job's parent run; of a strategy's run, that of its parent.

    Points MLflow at the store. A store that is not there is not made.

    Raises:
        ConfigError: no such store or run, or a run without a report.
        DataContractError: what was logged is damaged.
    """
    refuse_absent_file(uri)
    use_store(uri)
    absent = (
        f"--run {run_id}: the MLflow store has no such run, or not all of its files. "
        "Copy the id from the MLflow UI, and check --tracking-uri."
    )
    with store_errors(absent), short_waits(), tempfile.TemporaryDirectory() as folder:
        client = MlflowClient()
        parent = str(client.get_run(run_id).data.tags.get(_PARENT, run_id))
        if _CONTENT not in {item.path for item in client.list_artifacts(parent)}:
            raise ConfigError(
                f"--run {run_id}: it has no {_CONTENT} to make a report of. Give the parent run of a job that came to "
                "its end; one of an earlier version has report.html alone."
            )
        for path in (_CONTENT, _PLOTS):
            client.download_artifacts(parent, path, folder)
        plots = sorted(Path(folder, _PLOTS).glob("*.png"))
        return LoggedReport(
            run_id=parent,
            content=_content(Path(folder, _CONTENT), parent),
            images={file.stem: file.read_bytes() for file in plots},
        )


def _content(file: Path, run_id: str) -> Mapping[str, Any]:
    try:
        content = json.loads(file.read_text("utf-8"))
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise DataContractError(
            f"{_CONTENT} of run {run_id} is no JSON object: it was cut off or changed. Train again."
        )
    return content
