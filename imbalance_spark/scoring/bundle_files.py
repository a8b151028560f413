"""A model's parts as files: no pickle, each with its sha256 in a manifest that is checked before a part is parsed."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from imbalance_spark.core.errors import DataContractError

BOOSTER, LINEAR, NETWORK = "model.ubj", "linear.json", "network.safetensors"
"""The model itself: XGBoost's bytes, a linear model's coefficients, or a network's weights."""


DESCRIPTION, DECISION, MANIFEST = "model.json", "threshold.json", "manifest.json"
"""What never changes; how probabilities become decisions, which may be changed later; the hashes."""


def encode_parts(
    name: str, model: bytes, description: Mapping[str, Any], decision: Mapping[str, Any]
) -> dict[str, bytes]:
    """The content of each part's file by its name; `name` is that of the model."""
    described, decided = (json.dumps(part, indent=1).encode() for part in (description, decision))
    return {name: model, DESCRIPTION: described, DECISION: decided}


def manifest_of(parts: Mapping[str, bytes]) -> dict[str, str]:
    """The sha256 of each part, by its file's name."""
    return {name: _sha256(content) for name, content in parts.items()}


def sha256_of(parts: Mapping[str, bytes]) -> str:
    """One sha256 of all parts: that of their manifest."""
    return _sha256(json.dumps(manifest_of(parts), sort_keys=True).encode())


def check_identity(folder: str, sha256: str) -> None:
    """Refuse a bundle whose manifest is not that of the bundle with this hash; its parts are checked when it is read.

    Raises:
        DataContractError: it is another bundle, or has no manifest.
    """
    manifest = Path(folder) / MANIFEST
    if not manifest.is_file():
        raise DataContractError(f"model bundle: {[MANIFEST]} are missing. Fetch the model again.")
    found = _sha256(json.dumps(_read_manifest(manifest), sort_keys=True).encode())
    if found != sha256:
        raise DataContractError(
            f"model bundle: it was changed together with its manifest: the registry expects sha256 {sha256}, found "
            f"{found}. Restore the model's files, or register another version."
        )


def write_parts(folder: str, parts: Mapping[str, bytes]) -> dict[str, str]:
    """Write the parts of `encode_parts` and a manifest of their sha256; give the manifest."""
    target, manifest = Path(folder), manifest_of(parts)
    target.mkdir(parents=True, exist_ok=True)
    for name, content in parts.items():
        (target / name).write_bytes(content)
    (target / MANIFEST).write_text(json.dumps(manifest, indent=1), "utf-8")
    return manifest


def read_parts(folder: str) -> tuple[bytes, dict[str, Any], dict[str, Any]]:
    """The model's bytes, the description and the decision, as `encode_parts` was given them.

    Raises:
        DataContractError: a part is missing, or is not what the manifest says.
    """
    source = Path(folder)
    model = next((name for name in (LINEAR, NETWORK) if (source / name).is_file()), BOOSTER)
    _check_manifest(source, (model, DESCRIPTION, DECISION))
    description: dict[str, Any] = json.loads((source / DESCRIPTION).read_text("utf-8"))
    decision: dict[str, Any] = json.loads((source / DECISION).read_text("utf-8"))
    return (source / model).read_bytes(), description, decision


def _check_manifest(source: Path, parts: Sequence[str]) -> None:
    if absent := [name for name in (MANIFEST, *parts) if not (source / name).is_file()]:
        raise DataContractError(f"model bundle: {absent} are missing. Fetch the model again.")
    manifest = _read_manifest(source / MANIFEST)
    for name in parts:
        found = _sha256((source / name).read_bytes())
        if found != manifest.get(name):
            raise DataContractError(
                f"model bundle: {name} was changed: expected sha256 {manifest.get(name)}, found {found}. "
                "Fetch it again."
            )


def _read_manifest(file: Path) -> dict[str, str]:
    try:
        manifest = json.loads(file.read_bytes())
        if isinstance(manifest, dict):
            return manifest
    except ValueError:  # neither text nor JSON
        pass
    raise DataContractError(f"model bundle: {file.name} was changed: it is no list of hashes. Fetch it again.")


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
