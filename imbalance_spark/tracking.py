"""MLflow: one parent run a job, one nested run a strategy, each with its model; the record of a comparison."""

import fcntl
import logging
import os
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module, resources
from importlib.metadata import PackageNotFoundError, version
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import mlflow
from matplotlib.figure import Figure
from mlflow.data.delta_dataset_source import DeltaDatasetSource
from mlflow.data.meta_dataset import MetaDataset
from mlflow.entities import Metric, Param, RunStatus, RunTag
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.tracking import MlflowClient
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
from mlflow.types.schema import AnyType

from imbalance_spark import __version__
from imbalance_spark.bundles import Bundle
from imbalance_spark.config import TrackingConfig
from imbalance_spark.errors import ConfigError, SparkEndedError, TrackingError
from imbalance_spark.interrupts import is_end_of_spark
from imbalance_spark.process import is_gone, own_mark

logger = logging.getLogger(__name__)

_RUN_ID, _STRATEGY, _MANIFEST = "imbalance_spark.run_id", "imbalance_spark.strategy", "imbalance_spark.manifest"
_MODEL_ID, _PROCESS = "imbalance_spark.model_id", "imbalance_spark.process"
_LONGEST_PARAM = 500
_LARGEST_BATCH = 1000  # MLflow refuses more metrics in one call
_AWAY = ("INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED")
"""What MLflow says of a store that does not answer, whether a server or a database."""
_REQUIREMENTS = ("xgboost", "mlflow", "pandas", "numpy", "pyspark", "pyarrow", "pydantic")


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What one MLflow run is given: params and tags once, metrics, and files under their artifact path."""

    params: Mapping[str, object] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    curves: Mapping[str, Sequence[float]] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    documents: Mapping[str, Any] = field(default_factory=dict)
    figures: Mapping[str, Figure] = field(default_factory=dict)
    description: str = ""


@contextmanager
def short_waits() -> Iterator[None]:
    """Few, short HTTP retries, so that a tracking server that is away is noticed within half a minute."""
    limits = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "8"}
    before = {name: os.environ.get(name) for name in limits}
    os.environ.update(limits)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})


def connect(config: TrackingConfig) -> str:
    """Point MLflow at the store, make the experiment if it is new, and give its id.

    Runs that a process of this machine left running when it died are closed as KILLED.

    Raises:
        ConfigError: the store does not answer or cannot be used.
    """
    os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "false"
    mlflow.set_tracking_uri(config.uri)
    try:
        with short_waits(), store_alone(config.uri):
            experiment_id = str(mlflow.set_experiment(config.experiment).experiment_id)
            _close_lost_runs(experiment_id)
            return experiment_id
    except (MlflowException, OSError) as error:
        raise ConfigError(
            f"tracking.uri: the MLflow store does not answer ({type(error).__name__}). Start it, or name another, "
            "such as sqlite:///mlflow.db."
        ) from error


@contextmanager
def tracked_run(
    experiment_id: str, name: str, identity: Mapping[str, str], parent_id: str | None = None
) -> Iterator[str]:
    """An MLflow run that ends FINISHED, FAILED or KILLED as the block does; the same identity goes on with its run.

    Raises:
        TrackingError: the store stopped answering.
        SparkEndedError: Spark was ended from outside. What the block raises else passes.
    """
    client = MlflowClient()
    tags = {**identity, "imbalance_spark.version": __version__}
    if parent_id is not None:
        tags["mlflow.parentRunId"] = parent_id
    run_id = _find_run(client, experiment_id, identity)
    if run_id is None:
        run_id = client.create_run(experiment_id, run_name=name, tags=tags).info.run_id
    client.set_tag(run_id, _PROCESS, own_mark())
    client.update_run(run_id, status=RunStatus.to_string(RunStatus.RUNNING))
    try:
        yield run_id
        client.set_terminated(run_id, RunStatus.to_string(RunStatus.FINISHED))
    except BaseException as error:
        has_no_spark = is_end_of_spark(error)
        is_killed = has_no_spark or not isinstance(error, Exception)
        _end_unfinished(client, run_id, RunStatus.KILLED if is_killed else RunStatus.FAILED)
        if has_no_spark and isinstance(error, Exception):
            raise SparkEndedError("Spark was ended under the job.") from error
        if isinstance(error, MlflowException) and error.error_code in _AWAY:
            raise TrackingError(
                f"MLflow: the store stopped answering ({type(error).__name__}). All that was fitted and counted stands "
                "in the run's folder. Run the job again when the store is back: it logs and registers from there."
            ) from error
        raise


def _end_unfinished(client: MlflowClient, run_id: str, status: int) -> None:
    try:
        with short_waits():
            client.set_terminated(run_id, RunStatus.to_string(status))
    except MlflowException:
        # The error that is on its way says more than this one.
        logger.warning("MLflow run %s still shows RUNNING: the store is away. The next job closes it.", run_id)


def parent_identity(run_id: str) -> dict[str, str]:
    """Tags that find the parent run of a job's run id."""
    return {_RUN_ID: run_id, _STRATEGY: "-"}


def strategy_identity(run_id: str, strategy: str) -> dict[str, str]:
    """Tags that find the nested run of one strategy."""
    return {_RUN_ID: run_id, _STRATEGY: strategy}


def has_identity(mlflow_run_id: str, identity: Mapping[str, str]) -> bool:
    """Whether an MLflow run has these tags."""
    return identity.items() <= MlflowClient().get_run(mlflow_run_id).data.tags.items()


def log_evidence(run_id: str, evidence: Evidence) -> None:
    """Write everything into the run; a metric that has its value already is not written again."""
    client = MlflowClient()
    known = client.get_run(run_id).data
    now = int(time.time() * 1000)
    curves = {name: list(numbers) for name, numbers in evidence.curves.items() if name not in known.metrics}
    curves |= {name: [number] for name, number in evidence.metrics.items() if known.metrics.get(name) != number}
    metrics = [Metric(name, value, now, step) for name, values in curves.items() for step, value in enumerate(values)]
    params = [
        Param(name, str(value)[:_LONGEST_PARAM]) for name, value in evidence.params.items() if name not in known.params
    ]
    tags = dict(evidence.tags) | ({"mlflow.note.content": evidence.description} if evidence.description else {})
    client.log_batch(run_id, params=params, tags=[RunTag(name, text) for name, text in tags.items()])
    for start in range(0, len(metrics), _LARGEST_BATCH):
        client.log_batch(run_id, metrics=metrics[start : start + _LARGEST_BATCH])
    for path, text in evidence.texts.items():
        client.log_text(run_id, text, path)
    for path, document in evidence.documents.items():
        client.log_dict(run_id, document, path)
    for path, figure in evidence.figures.items():
        client.log_figure(run_id, figure, path)


def log_orders_input(run_id: str, name: str, path: str, version: int) -> None:
    """Record which version of which Delta table the run read; nothing is scanned."""
    dataset = MetaDataset(DeltaDatasetSource(path=path, delta_table_version=version), name=name)  # type: ignore[abstract]  # mlflow itself makes them so
    with mlflow.start_run(run_id=run_id):
        mlflow.log_input(dataset, context="training")


def log_bundle(run_id: str, bundle: Bundle) -> str:
    """Log the model of a strategy's run, once; give its model URI."""
    client = MlflowClient()
    known = client.get_run(run_id).data.tags.get(_MODEL_ID)
    if known is not None:
        return f"models:/{known}"
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        # An input example would put rows of data into the artifact store.
        warnings.filterwarnings("ignore", message=r"(?is).*(input example|type hint|signature).*")
        manifest = bundle.save(f"{folder}/bundle")
        with mlflow.start_run(run_id=run_id):
            info = mlflow.pyfunc.log_model(
                name="model",
                python_model=str(_package_source(Path(folder)) / "pyfunc_model.py"),
                artifacts={"bundle": f"{folder}/bundle"},
                code_paths=[f"{folder}/imbalance_spark"],
                signature=signature(bundle),
                pip_requirements=_pinned_requirements(),
                metadata={"strategy": bundle.strategy, "manifest": manifest},
            )
    client.set_tag(run_id, _MANIFEST, str(manifest))
    client.set_tag(run_id, _MODEL_ID, info.model_id)
    return f"models:/{info.model_id}"


def run_of_model(model_uri: str) -> str:
    """The run that logged a model."""
    return str(MlflowClient().get_logged_model(model_uri.removeprefix("models:/")).source_run_id)


def signature(bundle: Bundle) -> ModelSignature:
    """Features of any type, which the model checks itself, and what a call may change as parameters.

    A fixed type would refuse integers where the training data had fractions, and nulls in integers.
    """
    any_type = AnyType()  # type: ignore[no-untyped-call]
    kinds = {float: DataType.double, str: DataType.string}
    params = [ParamSpec(name, kinds[type(value)], value) for name, value in bundle.predict_parameters.items()]
    return ModelSignature(
        inputs=Schema([ColSpec(any_type, name) for name in bundle.numeric + bundle.categorical]),
        outputs=Schema([ColSpec(kind, name) for name, kind in bundle.output_columns.items()]),
        params=ParamSchema(params),
    )


def _close_lost_runs(experiment_id: str) -> None:
    client = MlflowClient()
    for run in client.search_runs([experiment_id], filter_string="attributes.status = 'RUNNING'"):
        if is_gone(run.data.tags.get(_PROCESS, "")):
            client.set_terminated(run.info.run_id, RunStatus.to_string(RunStatus.KILLED))


def _find_run(client: MlflowClient, experiment_id: str, identity: Mapping[str, str]) -> str | None:
    query = " and ".join(f"tags.`{name}` = '{value}'" for name, value in identity.items())
    found = client.search_runs([experiment_id], filter_string=query, max_results=1)
    return str(found[0].info.run_id) if found else None


def _package_source(folder: Path) -> Path:
    """This package's code as files, also where it is imported from a zip."""
    target = folder / "imbalance_spark"
    _copy_code(resources.files("imbalance_spark"), target)
    return target


def _copy_code(source: Traversable, target: Path) -> None:
    target.mkdir()
    for item in source.iterdir():
        if item.is_dir() and item.name != "__pycache__":
            _copy_code(item, target / item.name)
        elif item.name.endswith(".py"):
            (target / item.name).write_bytes(item.read_bytes())


def _pinned_requirements() -> list[str]:
    return [f"{name}=={_version(name)}" for name in _REQUIREMENTS]


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        # The pyspark of a Databricks runtime is a folder without metadata.
        return str(import_module(name).__version__)


@contextmanager
def store_alone(uri: str) -> Iterator[None]:
    """One process at a time within the block, where the store is a SQLite file; of a server nothing is known.

    Two that first touch a new file crash in its migration; two that promote at once would both believe it done.
    """
    if not uri.startswith("sqlite:///"):
        yield
        return
    file = Path(uri.removeprefix("sqlite:///"))
    file.parent.mkdir(parents=True, exist_ok=True)
    with Path(f"{file}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
