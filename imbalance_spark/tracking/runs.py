"""MLflow runs: one parent run per job, one nested run per strategy, each found again by its identity."""

import hashlib
import json
import logging
import os
import re
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.data.delta_dataset_source import DeltaDatasetSource
from mlflow.data.meta_dataset import MetaDataset
from mlflow.data.spark_dataset_source import SparkDatasetSource
from mlflow.entities import DatasetInput, InputTag, Metric, Param, RunStatus, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT, MLFLOW_LOGGED_ARTIFACTS
from pyspark.sql import SparkSession

from imbalance_spark.core.errors import ConfigError, SparkEndedError, TrackingError
from imbalance_spark.core.files import Folder
from imbalance_spark.core.masking import masked_uri
from imbalance_spark.core.run_lock import Owner, is_gone
from imbalance_spark.core.run_status import settle_status
from imbalance_spark.core.spark_errors import is_end_of_spark, state_after
from imbalance_spark.core.version import __version__
from imbalance_spark.tracking.config import TrackingConfig
from imbalance_spark.tracking.store import NOT_FOUND, short_waits, store_alone, use_store

logger = logging.getLogger(__name__)

_RUN_ID, _STRATEGY, _MANIFEST = "imbalance_spark.run_id", "imbalance_spark.strategy", "imbalance_spark.manifest"
_MODEL_ID, _PROCESS = "imbalance_spark.model_id", "imbalance_spark.process"
_FOLDER = "imbalance_spark.folder"
_SEARCH, _SEARCHED = "imbalance_spark.search", "imbalance_spark.searched"
_TOUCHED = "imbalance_spark.touched_ms"
_LONGEST_PARAM = 500
_REFUSED = re.compile(r"[^\w.\- /]")  # and the colon, which MLflow takes, but which marks what was replaced here
_LONGEST = 250
_LARGEST_BATCH = 1000  # MLflow refuses more metrics in one call
_UNREACHABLE = ("INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED")
"""MLflow's error codes for a store that does not answer, be it a server or a database."""
_working = set[str]()
"""Ids of the runs whose block this process is in."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What is logged to one MLflow run: params, tags, metrics, and files by artifact path.

    Tables are logged as Parquet, and found by `mlflow.load_table`.
    """

    params: Mapping[str, object] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    curves: Mapping[str, Sequence[float]] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    documents: Mapping[str, Any] = field(default_factory=dict)
    images: Mapping[str, bytes] = field(default_factory=dict)
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    description: str = ""


def connect(config: TrackingConfig) -> str:
    """Point MLflow at the store, create the experiment if it is new, and return its id.

    Raises:
        ConfigError: the store does not answer, or refuses the experiment, such as a deleted one.
    """
    os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "false"
    use_store(config.uri)
    try:
        with short_waits(), store_alone(config.uri):
            return str(mlflow.set_experiment(config.experiment).experiment_id)
    except (MlflowException, OSError) as error:
        if isinstance(error, MlflowException) and error.error_code in NOT_FOUND:
            raise ConfigError(
                f"tracking.experiment: MLflow refuses {config.experiment!r}: it was deleted, or cannot be a name. "
                "Restore it with `mlflow experiments restore`, or name another."
            ) from error
        raise ConfigError(
            f"tracking.uri: the MLflow store does not answer ({type(error).__name__}). Start it, or name another, "
            "such as sqlite:///mlflow.db."
        ) from error


@contextmanager
def tracked_run(
    experiment_id: str,
    name: str,
    identity: Mapping[str, str],
    parent_id: str | None = None,
    folder: Folder | None = None,
) -> Iterator[str]:
    """An MLflow run that ends FINISHED, FAILED or KILLED as the block does; the run of the same identity is resumed.

    Within a block of the same run, another one changes nothing.

    Args:
        folder: of the job's run, whose `status.json` tells a later job how the run stands.
    Raises:
        TrackingError: the store stopped answering.
        SparkEndedError: Spark was shut down from outside. Other exceptions of the block pass through.
    """
    client = MlflowClient()
    tags = {**identity, "imbalance_spark.version": __version__}
    if parent_id is not None:
        tags["mlflow.parentRunId"] = parent_id
    run_id = _find_run(client, experiment_id, identity)
    if run_id is None:
        run_id = client.create_run(experiment_id, run_name=name, tags=tags).info.run_id
    if run_id in _working:  # the outer block ends it
        yield run_id
        return
    client.set_tag(run_id, _PROCESS, Owner.current().mark)
    if folder is not None:
        client.set_tag(run_id, _FOLDER, masked_uri(folder.path))
    client.update_run(run_id, status=RunStatus.to_string(RunStatus.RUNNING))
    _working.add(run_id)
    try:
        yield run_id
        client.set_terminated(run_id, RunStatus.to_string(RunStatus.FINISHED))
    except BaseException as error:
        is_killed = state_after(error) == "killed"
        _end_unfinished(client, run_id, RunStatus.KILLED if is_killed else RunStatus.FAILED)
        if is_killed and isinstance(error, Exception) and is_end_of_spark(error):
            raise SparkEndedError("Spark was shut down during the job.") from error
        if isinstance(error, MlflowException) and error.error_code in _UNREACHABLE:
            raise TrackingError(
                f"MLflow: the store stopped answering ({type(error).__name__}). All fits and counts are kept in "
                "the run's folder. Run the job again when the store is back: it logs and registers from there."
            ) from error
        raise
    finally:
        _working.discard(run_id)


def _end_unfinished(client: MlflowClient, run_id: str, status: int) -> None:
    try:
        with short_waits():
            client.set_terminated(run_id, RunStatus.to_string(status))
    except MlflowException:
        # The exception being handled says more than this one.
        logger.warning("MLflow run %s stays RUNNING: the store is unreachable. The next job closes it.", run_id)


def parent_identity(run_id: str) -> dict[str, str]:
    """Tags that find the parent run of a job's run id."""
    return {_RUN_ID: run_id, _STRATEGY: "-"}


def strategy_identity(run_id: str, strategy: str) -> dict[str, str]:
    """Tags that find the nested run of one strategy."""
    return {_RUN_ID: run_id, _STRATEGY: strategy}


def log_trials(experiment_id: str, parent_id: str, run_id: str, strategy: str, trials: Sequence[Evidence]) -> None:
    """Log each trial of a strategy's search as a nested run of the strategy's; those that ended are left alone.

    Args:
        parent_id: the strategy's nested run.
        trials: params and metrics of each, by number.
    """
    client, identity = MlflowClient(), {**search_identity(run_id), _SEARCHED: strategy}
    found = client.search_runs([experiment_id], filter_string=_filter_of(identity), max_results=len(trials))
    runs = {run.info.run_name: run.info for run in found}
    for number, evidence in enumerate(trials):
        name = f"{strategy} trial {number}"
        if name in runs and runs[name].status == RunStatus.to_string(RunStatus.FINISHED):
            continue
        tags = {**identity, "mlflow.parentRunId": parent_id}
        logged = runs[name] if name in runs else client.create_run(experiment_id, run_name=name, tags=tags).info
        log_evidence(logged.run_id, evidence)
        client.set_terminated(logged.run_id, RunStatus.to_string(RunStatus.FINISHED))


def search_identity(run_id: str) -> dict[str, str]:
    """Tags that find the trials of all searches of a job's run id."""
    return {_SEARCH: run_id}


def has_identity(mlflow_run_id: str, identity: Mapping[str, str]) -> bool:
    """Whether an MLflow run has these tags."""
    return identity.items() <= MlflowClient().get_run(mlflow_run_id).data.tags.items()


def log_evidence(run_id: str, evidence: Evidence) -> None:
    """Log everything to the run; metrics and params that it has already are not written again.

    Their names are those of `stored_name`.
    """
    client = MlflowClient()
    known = client.get_run(run_id).data
    now = int(time.time() * 1000)
    by_name = {stored_name(name): number for name, number in evidence.metrics.items()}
    curves = {stored_name(name): list(numbers) for name, numbers in evidence.curves.items()}
    curves = {name: numbers for name, numbers in curves.items() if name not in known.metrics}
    curves |= {name: [number] for name, number in by_name.items() if known.metrics.get(name) != number}
    metrics = [Metric(name, value, now, step) for name, values in curves.items() for step, value in enumerate(values)]
    asked = {stored_name(name): str(value)[:_LONGEST_PARAM] for name, value in evidence.params.items()}
    params = [Param(name, value) for name, value in asked.items() if name not in known.params]
    tags = dict(evidence.tags) | ({"mlflow.note.content": evidence.description} if evidence.description else {})
    if evidence.tables:
        tables = [{"path": path, "type": "table"} for path in evidence.tables]
        tags[MLFLOW_LOGGED_ARTIFACTS] = json.dumps(tables)
    client.log_batch(run_id, params=params, tags=[RunTag(name, text) for name, text in tags.items()])
    for start in range(0, len(metrics), _LARGEST_BATCH):
        client.log_batch(run_id, metrics=metrics[start : start + _LARGEST_BATCH])
    _log_files(client, run_id, evidence)


def _log_files(client: MlflowClient, run_id: str, evidence: Evidence) -> None:
    """All files in one upload: a store far away takes its time for each."""
    files = {path: text.encode() for path, text in evidence.texts.items()}
    files |= {path: json.dumps(document, indent=2).encode() for path, document in evidence.documents.items()}
    files |= evidence.images
    files |= {path: table.to_parquet(index=False) for path, table in evidence.tables.items()}
    if not files:
        return
    with tempfile.TemporaryDirectory() as folder:
        for path, content in files.items():
            file = Path(folder, path)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        client.log_artifacts(run_id, folder)


def log_orders_input(run_id: str, name: str, path: str, version: int | None) -> None:
    """Log which table the run read, and of a Delta table which version; nothing is scanned."""
    place = masked_uri(path)
    source = (
        SparkDatasetSource(path=place)
        if version is None
        else DeltaDatasetSource(path=place, delta_table_version=version)
    )
    dataset = MetaDataset(source, name=name)  # type: ignore[abstract]  # mlflow itself instantiates it
    context = InputTag(MLFLOW_DATASET_CONTEXT, "training")
    MlflowClient().log_inputs(run_id, [DatasetInput(dataset._to_mlflow_entity(), [context])])


def close_lost_runs(spark: SparkSession, experiment_id: str) -> None:
    """Close runs left RUNNING by a process of this machine that died: as `status.json` in the run's folder says.

    One that says running says killed from then on. A process is known to have died only where this one would see it.
    """
    client = MlflowClient()
    for run in client.search_runs([experiment_id], filter_string="attributes.status = 'RUNNING'"):
        if is_gone(run.data.tags.get(_PROCESS, "")):
            folder = run.data.tags.get(_FOLDER)
            state = None if folder is None else settle_status(Folder(spark, folder), run.data.tags[_RUN_ID])
            ended = {"done": RunStatus.FINISHED, "failed": RunStatus.FAILED}.get(state or "", RunStatus.KILLED)
            client.set_terminated(run.info.run_id, RunStatus.to_string(ended))


def _find_run(client: MlflowClient, experiment_id: str, identity: Mapping[str, str]) -> str | None:
    found = client.search_runs([experiment_id], filter_string=_filter_of(identity), max_results=1)
    return str(found[0].info.run_id) if found else None


def _filter_of(identity: Mapping[str, str]) -> str:
    return " and ".join(f"tags.`{name}` = '{value}'" for name, value in identity.items())


def touch_store(config: TrackingConfig) -> None:
    """Write one tag of the experiment, which is created if new: proof that runs can be logged.

    Raises:
        ConfigError: the store does not answer within half a minute, or refuses the write.
    """
    experiment_id = connect(config)
    try:
        with short_waits():
            MlflowClient().set_experiment_tag(experiment_id, _TOUCHED, str(int(time.time() * 1000)))
    except (MlflowException, OSError) as error:
        raise ConfigError(
            f"tracking.uri: the MLflow store answers, but takes no write ({type(error).__name__}). "
            "Give the user of the job write access to it, or name another."
        ) from error


def stored_name(name: str) -> str:
    """The name as MLflow stores it: equal where MLflow takes it, and different for different names.

    What it refuses becomes its number between colons, as in `recall/a:26:b` for `recall/a&b`; so do dots and nothing
    between slashes, which it reads as folders. A name that is too long ends with a part of its sha256.
    """
    plain = _REFUSED.sub(_numbered, name)
    taken = "/".join(_no_folder(part) for part in plain.split("/"))
    if len(taken) <= _LONGEST:
        return taken
    mark = hashlib.sha256(name.encode()).hexdigest()[:16]
    return f"{taken[: _LONGEST - len(mark) - 1]}:{mark}"


def _numbered(found: re.Match[str]) -> str:
    return f":{ord(found[0]):x}:"


def _no_folder(part: str) -> str:
    return re.sub(r"\.", _numbered, part) if part in (".", "..") else part or "::"
