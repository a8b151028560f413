"""`python -m tools.sbom FILE`: a CycloneDX 1.4 bill of materials of the locked packages and of Delta's JARs.

The same lock and the same installed packages give the same bytes: the document has no time and no random number.
"""

import argparse
import json
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from imbalance_spark.cli.jars import recorded_hashes
from imbalance_spark.core.version import __version__
from tools.closure import PACKAGE, LockedPackage, locked_packages


def sbom() -> dict[str, Any]:
    """The bill of materials, valid by CycloneDX's JSON schema."""
    packages = locked_packages()
    components = [*map(_of_package, packages), *[_of_jar(name, sha256) for name, sha256 in recorded_hashes().items()]]
    needed = sorted(_purl(one) for one in packages if one.is_runtime)
    by_name = {one.name: _purl(one) for one in packages}
    edges = [{"ref": PACKAGE, "dependsOn": [*needed, *[one["bom-ref"] for one in components[len(packages) :]]]}]
    edges += [{"ref": _purl(one), "dependsOn": sorted(by_name[name] for name in one.needs)} for one in packages]
    content = json.dumps([components, edges], sort_keys=True)
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.4",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, content)}",
        "version": 1,
        "metadata": {
            "component": {
                "type": "library", "bom-ref": PACKAGE, "name": PACKAGE, "version": __version__,
                "licenses": [{"license": {"id": "Apache-2.0"}}],
            }
        },
        "components": components,
        "dependencies": edges,
    }  # fmt: skip


def _of_package(locked: LockedPackage) -> dict[str, Any]:
    component: dict[str, Any] = {
        "type": "library",
        "bom-ref": _purl(locked),
        "name": locked.name,
        "version": locked.version,
        "purl": _purl(locked),
        "scope": "required" if locked.is_runtime else "optional",
        "properties": [{"name": "lock:sha256", "value": one} for one in locked.sha256],
    }
    if locked.marker:
        component["properties"].append({"name": "lock:marker", "value": locked.marker})
    if locked.licence:
        component["licenses"] = [{"license": {"name": locked.licence}}]
    return component


def _of_jar(name: str, sha256: str) -> dict[str, Any]:
    # Ivy names a file organisation_module-version.jar.
    organisation, _, file = name.removesuffix(".jar").partition("_")
    module, _, version = file.rpartition("-") if not file.rsplit("-", 1)[1].isdigit() else _with_build_number(file)
    purl = f"pkg:maven/{organisation}/{module}@{version}"
    return {
        "type": "library", "bom-ref": purl, "group": organisation, "name": module, "version": version, "purl": purl,
        "scope": "required", "hashes": [{"alg": "SHA-256", "content": sha256}],
    }  # fmt: skip


def _with_build_number(file: str) -> tuple[str, str, str]:
    """Of `zstd-jni-1.5.7-3`: the version is 1.5.7-3."""
    module, version, build = file.rsplit("-", 2)
    return module, "-", f"{version}-{build}"


def _purl(locked: LockedPackage) -> str:
    return f"pkg:pypi/{locked.name}@{locked.version}"


def main(argv: Sequence[str] | None = None) -> int:
    """Write the file."""
    parser = argparse.ArgumentParser(prog="python -m tools.sbom", description=__doc__)
    parser.add_argument("target", type=Path)
    target = parser.parse_args(argv).target
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(sbom(), indent=1) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
