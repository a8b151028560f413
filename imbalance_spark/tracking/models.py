"""Logged models: a bundle with its code as a pyfunc, written once and read back."""

import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module, resources
from importlib.metadata import PackageNotFoundError, version
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import mlflow
from mlflow.entities import Run
from mlflow.models import Model, ModelSignature
from mlflow.tracking import MlflowClient
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
from mlflow.types.schema import AnyType

from imbalance_spark.core.errors import ConfigError
from imbalance_spark.scoring.bundle import ModelBundle
from imbalance_spark.scoring.bundle_files import check_identity
from imbalance_spark.scoring.held_out_counts import HeldOutCounts
from imbalance_spark.tracking.runs import (
    _MANIFEST,
    _MODEL_ID,
    Evidence,
    log_evidence,
    parent_identity,
    strategy_identity,
    tracked_run,
)
from imbalance_spark.tracking.store import refuse_absent_file, short_waits, store_errors, use_store

_REQUIREMENTS = ("xgboost", "mlflow", "pandas", "numpy", "pyspark", "pyarrow", "pydantic")


def log_bundle(run_id: str, bundle: ModelBundle) -> str:
    """Log the model of a strategy's run, once; give its model URI."""
    client = MlflowClient()
    run = client.get_run(run_id)
    if (known := run.data.tags.get(_MODEL_ID)) is not None:
        return f"models:/{known}"
    _delete_unfinished(client, run)
    # MLflow's own call of one argument less would take whichever experiment was set last.
    model_id = client.create_logged_model(
        run.info.experiment_id, name="model", source_run_id=run_id, params=run.data.params,
        tags={BUNDLE_SHA256: bundle.sha256},
    ).model_id  # fmt: skip
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        # An input example would put rows of data into the artifact store.
        warnings.filterwarnings("ignore", message=r"(?is).*(input example|type hint|signature).*")
        manifest = bundle.save(f"{folder}/bundle")
        # Not `pyfunc.log_model`, which takes a run only from `start_run`, and that ends it as finished.
        Model.log(
            artifact_path=None,
            name="model",
            flavor=mlflow.pyfunc,
            run_id=run_id,
            model_id=model_id,
            python_model=str(_package_source(Path(folder)) / "tracking/served_model.py"),
            artifacts={"bundle": f"{folder}/bundle"},
            code_paths=[f"{folder}/imbalance_spark"],
            signature=signature(bundle),
            pip_requirements=_pinned_requirements(),
            metadata={"strategy": bundle.strategy, "manifest": manifest},
        )
    client.set_tag(run_id, _MANIFEST, str(manifest))
    client.set_tag(run_id, BUNDLE_SHA256, bundle.sha256)
    client.set_tag(run_id, _MODEL_ID, model_id)
    return f"models:/{model_id}"


def _delete_unfinished(client: MlflowClient, run: Run) -> None:
    """Delete models that a job was killed over while it uploaded them."""
    for output in run.outputs.model_outputs if run.outputs else []:
        client.delete_logged_model(output.model_id)


def run_of_model(model_uri: str) -> str:
    """The run that logged a model."""
    return str(MlflowClient().get_logged_model(model_uri.removeprefix("models:/")).source_run_id)


def signature(bundle: ModelBundle) -> ModelSignature:
    """Features of any type, which the model checks itself, and what a call may change as parameters.

    A fixed type would refuse integers where the training data had fractions, and nulls in integers.
    """
    any_type = AnyType()  # type: ignore[no-untyped-call]
    kinds = {float: DataType.double, str: DataType.string}
    params = [ParamSpec(name, kinds[type(value)], value) for name, value in bundle.predict_parameters.items()]
    return ModelSignature(
        inputs=Schema([ColSpec(any_type, name) for name in bundle.numbers + bundle.categorical]),
        outputs=Schema([ColSpec(kind, name) for name, kind in bundle.output_columns.items()]),
        params=ParamSchema(params),
    )


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


_RUN_ID, _STRATEGY = strategy_identity("", "")


PARENT = "mlflow.parentRunId"


_RETUNED_FROM, BUNDLE_SHA256 = "imbalance_spark.retuned_from", "imbalance_spark.bundle_sha256"
"""Tags: of a retuned run the run that it comes from; of each run with a model and each version `ModelBundle.sha256`."""


@dataclass(frozen=True, kw_only=True)
class LoggedModel:
    """A model as an earlier job logged it: its run, its counts, and the versions it stands in."""

    run_id: str
    experiment_id: str
    parent_run_id: str | None
    bundle: ModelBundle
    documents: Mapping[str, Any]
    """By file name; always `counts.json`."""
    registered_name: str | None
    """None when the model was not registered."""
    registered_version: str | None
    orders_per_day: float | None
    """Of the log that it learnt from; None where that has no time column."""

    @cached_property
    def held_out(self) -> HeldOutCounts:
        """The counts of validation and test that were logged with the model."""
        return HeldOutCounts.from_records(self.documents["counts.json"])


def load_logged_model(uri: str, run_id: str) -> LoggedModel:
    """The model and counts of a strategy's run; of a job's parent run, those of its best strategy.

    Points MLflow at the store. A store that is not there is not made.

    Raises:
        ConfigError: no such store or run, or a run without a model and its counts.
        DataContractError: the model's files are not what its manifest says.
    """
    refuse_absent_file(uri)
    use_store(uri)
    absent = (
        f"--run {run_id}: the MLflow store has no such run, or not all of its files. "
        "Copy the id from the MLflow UI, and check --tracking-uri."
    )
    with store_errors(absent), short_waits():
        run = _strategy_run(MlflowClient(), run_id)
        model_id = run.data.tags.get(_MODEL_ID)
        if model_id is None:
            raise _no_model(run_id)
        name, number = _registered(MlflowClient(), run.info.run_id)
        bundle = load_bundle(model_id, run.data.tags.get(BUNDLE_SHA256))
        return LoggedModel(
            run_id=run.info.run_id,
            experiment_id=run.info.experiment_id,
            parent_run_id=run.data.tags.get(PARENT),
            bundle=bundle,
            documents=_documents(run.info.run_id),
            registered_name=name,
            registered_version=number,
            orders_per_day=_orders_per_day(MlflowClient(), run.data.tags.get(PARENT)),
        )


def log_retuned(source: LoggedModel, bundle: ModelBundle, evidence: Evidence) -> str:
    """A run beside the source's with the retuned bundle, logged once for each source; gives its model URI."""
    identity = {_RETUNED_FROM: source.run_id, BUNDLE_SHA256: bundle.sha256}
    with tracked_run(
        source.experiment_id, f"{bundle.strategy}, {bundle.serve_objective}", identity, source.parent_run_id
    ) as run_id:
        log_evidence(run_id, evidence)
        return log_bundle(run_id, bundle)


def register_version(name: str, model_uri: str, tags: Mapping[str, str]) -> str:
    """Register a logged model, once, and give the version's number; no alias moves.

    The version's tag `BUNDLE_SHA256` says which bundle it is: one that was changed later, hashes and all, is refused.
    """
    client, run_id = MlflowClient(), run_of_model(model_uri)
    identity = client.get_run(run_id).data.tags.get(BUNDLE_SHA256)  # a run of an earlier version has none
    tags = dict(tags) if identity is None else {BUNDLE_SHA256: identity, **tags}
    # Unity Catalog takes one condition only.
    found = [one.version for one in client.search_model_versions(f"run_id = '{run_id}'") if one.name == name]
    return str(found[0] if found else mlflow.register_model(model_uri, name, tags=tags).version)


def _strategy_run(client: MlflowClient, run_id: str) -> Run:
    run = client.get_run(run_id)
    if parent_identity("")[_STRATEGY] != run.data.tags.get(_STRATEGY):
        return run
    best = run.data.params.get("best_strategy")
    identity = strategy_identity(run.data.tags[_RUN_ID], str(best))
    query = " and ".join(f"tags.`{name}` = '{value}'" for name, value in identity.items())
    found = client.search_runs([run.info.experiment_id], filter_string=query, max_results=1)
    if not found:
        raise _no_model(run_id)
    return client.get_run(found[0].info.run_id)


def _orders_per_day(client: MlflowClient, parent_run_id: str | None) -> float | None:
    found = {} if parent_run_id is None else client.get_run(parent_run_id).data.metrics
    if "orders/days" not in found:
        return None
    return float((found["orders/rows"] - found["orders/quarantined_rows"]) / found["orders/days"])


def _no_model(run_id: str) -> ConfigError:
    return ConfigError(
        f"--run {run_id}: this run has no model. Give a strategy's run, or the parent of a job that came to its end."
    )


def load_bundle(model_id: str, sha256: str | None) -> ModelBundle:
    """The parts of a logged model, fetched and checked against their manifest.

    Args:
        sha256: of the bundle that was logged; None of one that an earlier version logged.
    Raises:
        DataContractError: a part is missing or was changed, alone or together with the manifest.
    """
    # A models:/ URI would fetch the whole model, this package's code with it.
    place = MlflowClient().get_logged_model(model_id).artifact_location
    with tempfile.TemporaryDirectory() as folder:
        bundle = mlflow.artifacts.download_artifacts(f"{place}/artifacts/bundle", dst_path=folder)
        if sha256 is not None:
            check_identity(bundle, sha256)
        return ModelBundle.load(bundle)


def _documents(run_id: str) -> dict[str, Any]:
    present = {item.path for item in MlflowClient().list_artifacts(run_id)}
    if "counts.json" not in present:
        raise ConfigError(f"--run {run_id}: it has no counts.json to choose a threshold on. Train again, then retune.")
    names = sorted(present & {"counts.json", "calibration.json"})
    return {name: mlflow.artifacts.load_dict(f"runs:/{run_id}/{name}") for name in names}


def _registered(client: MlflowClient, run_id: str) -> tuple[str | None, str | None]:
    found = client.search_model_versions(f"run_id = '{run_id}'")
    first = min(found, key=lambda version: int(version.version), default=None)
    return (None, None) if first is None else (str(first.name), str(first.version))
