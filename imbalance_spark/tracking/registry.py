"""MLflow's registry: versions and aliases of a model, and the model at a `models:/` address."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import mlflow
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from imbalance_spark.core.errors import ConfigError, DataContractError
from imbalance_spark.scoring.bundle import ModelBundle
from imbalance_spark.tracking.models import BUNDLE_SHA256, PARENT, load_bundle, register_version
from imbalance_spark.tracking.store import (
    NOT_FOUND,
    refuse_absent_file,
    short_waits,
    store_alone,
    store_errors,
    use_store,
)

_ADDRESS = re.compile(r"models:/(?P<name>[^/@]+)(?:/(?P<version>\d+)|@(?P<alias>[^/@]+))")

CHAMPION, CHALLENGER = "champion", "challenger"
_REPLACED = "replaced_version"
SPLIT_RECORD = "split.json"
"""Of a job's parent run: how its orders were split."""


@dataclass(frozen=True, kw_only=True)
class RegisteredVersion:
    """A version of a registered model."""

    name: str
    version: str
    run_id: str
    model_id: str
    bundle_sha256: str | None
    """Of the bundle that was registered; None of a version that an earlier version of this package registered."""

    @property
    def label(self) -> str:
        """Name and version, such as `orders/3`."""
        return f"{self.name}/{self.version}"


@dataclass(frozen=True, kw_only=True)
class RegisteredModel(RegisteredVersion):
    """A version with its model bundle."""

    bundle: ModelBundle


@dataclass(frozen=True, kw_only=True)
class Registered:
    """The model version of the best strategy, its alias, and the reason for that alias."""

    name: str
    version: str
    alias: str
    reason: str


def load_registered_model(uri: str, address: str) -> RegisteredModel:
    """The model at an address, `models:/orders@champion` or `models:/orders/3`; an alias is resolved once.

    Points MLflow at the store. A missing store is not created.

    Raises:
        ConfigError: the address is malformed, or there is no such store, model, version or alias.
        DataContractError: the model's files do not match its manifest.
    """
    parts = _ADDRESS.fullmatch(address)
    if parts is None:
        raise ConfigError(f"--model {address!r}: must read models:/NAME@ALIAS or models:/NAME/VERSION.")
    refuse_absent_file(uri)
    use_store(uri)
    name, version, alias = parts["name"], parts["version"], parts["alias"]
    absent = (
        f"--model {address}: the MLflow store has no such model, version or alias, or not all of its files. "
        "Look it up in the MLflow UI, and check --tracking-uri."
    )
    with store_errors(absent), short_waits():
        client = MlflowClient()
        found = client.get_model_version(name, version) if version else client.get_model_version_by_alias(name, alias)
        return _with_bundle(found)


def register_bundle(
    name: str, model_uri: str, bundle: ModelBundle, *, tags: Mapping[str, str], alias: str | None = None
) -> RegisteredModel:
    """Register a logged model, once, and read it back; only then the alias moves.

    Args:
        bundle: what the logged model must hold.
        alias: to move to the version, such as `champion`; None moves none.
    Returns:
        The version with the bundle that it serves.
    Raises:
        DataContractError: the version holds another bundle, or its files do not match their manifest.
    """
    client = MlflowClient()
    model = _with_bundle(client.get_model_version(name, register_version(name, model_uri, tags)))
    if model.bundle.sha256 != bundle.sha256:
        raise DataContractError(
            f"{model.label} holds another model (sha256 {model.bundle.sha256}) than the one to register "
            f"({bundle.sha256}), so no alias was moved. Delete the MLflow run whose tag {BUNDLE_SHA256} is "
            f"{bundle.sha256}, then retune again."
        )
    if alias is not None:
        _move_alias(client, model, alias)
    return model


def _move_alias(client: MlflowClient, model: RegisteredVersion, alias: str) -> None:
    """Give a version an alias; a champion that it replaces is noted on it, so that it can be restored."""
    with store_alone(mlflow.get_tracking_uri()):
        present = champion_of(model.name) if alias == CHAMPION else None
        if present is not None and present.version != model.version:
            client.set_model_version_tag(model.name, model.version, _REPLACED, present.version)
        client.set_registered_model_alias(model.name, alias, model.version)


def champion_of(name: str) -> RegisteredVersion | None:
    """The version with the alias `champion`; None if there is none."""
    try:
        return _version(MlflowClient().get_model_version_by_alias(name, CHAMPION))
    except MlflowException as error:
        if error.error_code in NOT_FOUND:
            return None
        raise


def aliases_of(name: str) -> dict[str, str]:
    """The version number that each alias of a registered model stands for."""
    return {str(alias): str(version) for alias, version in MlflowClient().get_registered_model(name).aliases.items()}


def bundle_of_version(version: RegisteredVersion) -> ModelBundle:
    """The version's parts.

    Raises:
        DataContractError: its files do not match its manifest.
    """
    return load_bundle(version.model_id, version.bundle_sha256)


def split_record_of(version: RegisteredVersion) -> Mapping[str, Any] | None:
    """How the orders of the run that trained a version were split, as `SplitPlan.to_dict` has it.

    Returns:
        None where MLflow has no such record: the run was deleted, or another tool logged the model.
    """
    client = MlflowClient()
    try:
        parent = client.get_run(version.run_id).data.tags.get(PARENT, version.run_id)
        names = [file.path for file in client.list_artifacts(parent)]
    except MlflowException as error:
        if error.error_code in NOT_FOUND:
            return None
        raise
    return mlflow.artifacts.load_dict(f"runs:/{parent}/{SPLIT_RECORD}") if SPLIT_RECORD in names else None


def promote(name: str, version: str, against: str | None, reason: str) -> Registered:
    """Make a version champion, if the champion is still the version `against` that it was compared with.

    MLflow has no compare-and-set. On a SQLite store, one process at a time does this. On a server, the champion is read
    right before the alias moves and again afterwards: of two promotions at once the later one stays, and the other
    version becomes challenger. The former champion is noted on the new one, so that it can be restored.
    """
    with store_alone(mlflow.get_tracking_uri()):
        present = champion_of(name)
        if present is not None and present.version not in (against, version):
            return challenge(name, version, _moved(present))
        if against is not None:
            MlflowClient().set_model_version_tag(name, version, _REPLACED, against)
        promoted = _give_alias(MlflowClient(), name, version, CHAMPION, reason)
        found = champion_of(name)
        return promoted if found is None or found.version == version else challenge(name, version, _moved(found))


def _moved(champion: RegisteredVersion) -> str:
    return f"The champion became version {champion.version} meanwhile: run the job again to compare with it."


def challenge(name: str, version: str, reason: str) -> Registered:
    """Give a version the alias `challenger`; the champion stays."""
    return _give_alias(MlflowClient(), name, version, CHALLENGER, reason)


def _give_alias(client: MlflowClient, name: str, version: str, alias: str, reason: str) -> Registered:
    client.set_registered_model_alias(name, alias, version)
    client.set_model_version_tag(name, version, "reason", reason)
    return Registered(name=name, version=version, alias=alias, reason=reason)


def _with_bundle(found: ModelVersion) -> RegisteredModel:
    present = _version(found)
    return RegisteredModel(**asdict(present), bundle=bundle_of_version(present))


def _version(found: ModelVersion) -> RegisteredVersion:
    # Some stores leave `model_id` empty; there, the source names the logged model.
    return RegisteredVersion(
        name=str(found.name),
        version=str(found.version),
        run_id=str(found.run_id),
        model_id=found.model_id or str(found.source).removeprefix("models:/"),
        bundle_sha256=found.tags.get(BUNDLE_SHA256),
    )
