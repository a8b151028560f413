"""What comes along with the package: every locked package, with version, hashes, licence and what it needs itself."""

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "imbalance_spark"
_LONGEST_LICENCE = 60
_LOCKED = re.compile(r"^([A-Za-z0-9][\w.-]*)==(\S+)(?: ; ([^\\\n]*))?", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class LockedPackage:
    """One package of the lock.

    Args:
        name: normalised, as PyPI spells it in addresses.
        marker: for which platforms it is locked; empty for all.
        sha256: of the files that `pip install --require-hashes` accepts.
        licence: as its metadata states it; None where it is not installed here.
        needs: names of the locked packages that it needs here.
        is_runtime: whether the package itself needs it, directly or not; else the tests alone do.
    """

    name: str
    version: str
    marker: str
    sha256: tuple[str, ...]
    licence: str | None
    needs: tuple[str, ...]
    is_runtime: bool


@functools.cache
def locked_packages() -> tuple[LockedPackage, ...]:
    """The packages of `requirements.lock` by name; of those installed here also what their metadata says."""
    lock = _lock()
    at_runtime = needed_by(PACKAGE)
    return tuple(
        LockedPackage(
            name=name,
            version=version,
            marker=marker,
            sha256=hashes,
            licence=_licence(name),
            needs=tuple(sorted(needed for needed in _needs(name, frozenset()) if needed in lock)),
            is_runtime=name in at_runtime,
        )
        for name, (version, marker, hashes) in sorted(lock.items())
    )


def _lock() -> Mapping[str, tuple[str, str, tuple[str, ...]]]:
    text = (ROOT / "requirements.lock").read_text("utf-8")
    starts = list(_LOCKED.finditer(text))
    ends = [start.start() for start in starts[1:]] + [len(text)]
    return {
        canonicalize_name(start[1]): (
            start[2],
            (start[3] or "").strip(),
            tuple(re.findall(r"--hash=sha256:([0-9a-f]{64})", text[start.end() : end])),
        )
        for start, end in zip(starts, ends, strict=True)
    }


def needed_by(root: str) -> frozenset[str]:
    """What is needed by a package, directly or not, as its metadata and this platform say."""
    found: dict[str, frozenset[str]] = {}
    open_ends: list[tuple[str, frozenset[str]]] = [(root, frozenset())]
    while open_ends:
        name, extras = open_ends.pop()
        if not extras <= found.get(name, frozenset()) or name not in found:
            found[name] = found.get(name, frozenset()) | extras
            open_ends += _needs(name, found[name]).items()
    return frozenset(found) - {root}


def _needs(name: str, extras: frozenset[str]) -> dict[str, frozenset[str]]:
    installed = _installed(name)
    needed = [Requirement(line) for line in (installed.requires or [] if installed else [])]
    environments = [{"extra": extra} for extra in ("", *sorted(extras))]
    asked = [one for one in needed if one.marker is None or any(one.marker.evaluate(e) for e in environments)]
    return {canonicalize_name(one.name): frozenset(one.extras) for one in asked}


def _licence(name: str) -> str | None:
    installed = _installed(name)
    if installed is None:
        return None
    metadata: Any = installed.metadata  # its protocol lacks what every implementation has
    classifiers = [line for line in metadata.get_all("Classifier") or [] if line.startswith("License ::")]
    short = metadata.get("License", "").strip()
    if expression := metadata.get("License-Expression"):
        return str(expression)
    if named := [line.rsplit(" :: ", 1)[1] for line in classifiers if line != "License :: OSI Approved"]:
        return ", ".join(sorted(named))
    # Some packages put the whole text of their licence here.
    return short if short and "\n" not in short and len(short) <= _LONGEST_LICENCE else "in the package's own files"


def _installed(name: str) -> Distribution | None:
    try:
        return distribution(name)
    except PackageNotFoundError:
        return None
