"""What leaves the house: zip and wheel of the same bytes each time, the archive, bill of materials, licences, JARs."""

import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from referencing import Registry, Resource

from imbalance_spark.cli.jars import recorded_hashes
from imbalance_spark.core.spark_session import delta_package
from tools import archive, pack, sbom
from tools.closure import ROOT, locked_packages

SCHEMAS = Path(__file__).parent / "cyclonedx"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The zip and the wheel of this tree, and `again`: of a copy that another user made at another time."""
    home = tmp_path_factory.mktemp("built")
    other = home / "other"
    mask = os.umask(0o077)
    try:
        for name in ("imbalance_spark", "jobs"):
            shutil.copytree(ROOT / name, other / name, copy_function=shutil.copyfile)
        for name in ("setup.py", "pyproject.toml", "LICENSE"):
            shutil.copyfile(ROOT / name, other / name)
        again = {"zip again": pack.write_zip(other, home / "2"), "wheel again": pack.build_wheel(other, home / "2")}
    finally:
        os.umask(mask)
    return {"zip": pack.write_zip(ROOT, home / "1"), "wheel": pack.build_wheel(ROOT, home / "1"), **again}


@pytest.mark.parametrize("kind", ["zip", "wheel"])
def test_the_same_sources_are_packed_to_the_same_bytes(built: Mapping[str, Path], kind: str) -> None:
    first, second = built[kind], built[f"{kind} again"]
    assert (first.name, first.read_bytes()) == (second.name, second.read_bytes())


def test_another_source_is_packed_to_other_bytes(built: Mapping[str, Path], tmp_path: Path) -> None:
    shutil.copytree(ROOT / "imbalance_spark", tmp_path / "imbalance_spark")
    shutil.copytree(ROOT / "jobs", tmp_path / "jobs")
    (tmp_path / "jobs/train.py").write_text("# another one\n", "utf-8")
    assert pack.write_zip(tmp_path, tmp_path / "out").read_bytes() != built["zip"].read_bytes()


def test_the_zip_for_spark_submit_brings_its_data_along(built: Mapping[str, Path], tmp_path: Path) -> None:
    with zipfile.ZipFile(built["zip"]) as opened:
        names = opened.namelist()
    assert {"imbalance_spark/py.typed", "imbalance_spark/cli/proven_versions.txt"} <= set(names)
    assert not [name for name in names if "__pycache__" in name or name.startswith("/")]
    said = _in_python(built["zip"], tmp_path)
    assert said["file"].startswith(str(built["zip"]))
    assert (said["proven"]["delta-spark"], said["jars"]) == ("4.4.0", len(recorded_hashes()))


def test_the_wheel_installs_with_its_commands_and_its_data(built: Mapping[str, Path], tmp_path: Path) -> None:
    place = tmp_path / "place"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-compile"]
    subprocess.run([*command, "--target", str(place), str(built["wheel"])], check=True, cwd=tmp_path)
    said = _in_python(place, tmp_path)
    assert said["file"].startswith(str(place))
    assert (said["proven"]["delta-spark"], said["jars"]) == ("4.4.0", len(recorded_hashes()))
    commands = {file.name for file in (place / "bin").iterdir()}
    assert {"imbalance-train", "imbalance-score", "imbalance-doctor"} <= commands


def _in_python(place: Path, cwd: Path) -> dict[str, Any]:
    """What a Python finds that has the package from there alone."""
    script = (
        "import json; from imbalance_spark.cli import doctor_checks as c, jars; "
        "print(json.dumps({'file': c.__file__, 'proven': c.proven_versions(), 'jars': len(jars.recorded_hashes())}))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], cwd=cwd, env={"PYTHONPATH": str(place)}, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    return dict(json.loads(ended.stdout))


def test_the_bill_of_materials_is_valid_cyclonedx_and_the_same_each_time() -> None:
    names = {file.name.replace(".schema", ".SNAPSHOT.schema"): file for file in SCHEMAS.glob("*.json")}
    schemas = {name: json.loads(file.read_text("utf-8")) for name, file in names.items()}
    # The schemas name each other beside their own address.
    registry: Any = Registry().with_resources(
        (f"http://cyclonedx.org/schema/{name}", Resource.from_contents(schema)) for name, schema in schemas.items()
    )
    bom = sbom.sbom()
    jsonschema.Draft7Validator(schemas["bom-1.4.SNAPSHOT.schema.json"], registry=registry).validate(bom)
    assert json.dumps(sbom.sbom()) == json.dumps(bom)
    references = [one["bom-ref"] for one in bom["components"]]
    assert len(set(references)) == len(references)
    assert {ref for edge in bom["dependencies"] for ref in edge["dependsOn"]} <= set(references)


def test_the_bill_of_materials_lists_the_lock_and_each_jar_with_its_hash() -> None:
    components = {one["purl"]: one for one in sbom.sbom()["components"]}
    lock = (ROOT / "requirements.lock").read_text("utf-8")
    packages = locked_packages()
    assert len(packages) == sum("==" in line for line in lock.splitlines() if not line.startswith("#"))
    for one in packages:
        assert components[f"pkg:pypi/{one.name}@{one.version}"]["properties"]
        assert one.sha256
        assert all(f"--hash=sha256:{sha256}" in lock for sha256 in one.sha256)
    group, name, version = delta_package().split(":")
    assert components[f"pkg:maven/{group}/{name}@{version}"]["hashes"][0]["alg"] == "SHA-256"
    assert len(components) == len(packages) + len(recorded_hashes())


def test_what_jobs_need_is_told_from_what_tests_need() -> None:
    is_runtime = {one.name: one.is_runtime for one in locked_packages()}
    assert all(is_runtime[name] for name in ("pyspark", "xgboost", "mlflow", "numpy", "sqlalchemy"))
    assert not any(is_runtime[name] for name in ("pytest", "ruff", "mypy", "hypothesis"))
    packed = set(archive.runtime_packages())
    assert {"xgboost", "mlflow"} <= packed
    assert not packed & {"pyspark", "py4j", "pytest"}


def test_the_archive_holds_what_is_locked_and_runs_where_it_is_unpacked(tmp_path: Path) -> None:
    made = archive.write_archive(tmp_path / "environment.tar.gz", ["pyyaml", "six"])
    place = tmp_path / "elsewhere"
    with tarfile.open(made) as tar:
        assert {entry.uname for entry in tar} == {""}
        tar.extractall(place, filter="fully_trusted")  # as Spark does: a link leads to the executor's own Python
    names = ("yaml", "six", "imbalance_spark", "jobs", "xgboost")
    script = f"import importlib.util as u; print([bool(u.find_spec(name)) for name in {names}])"
    ended = subprocess.run(
        [str(place / "bin/python"), "-c", script], cwd=tmp_path, env={}, capture_output=True, text=True, check=True
    )
    assert ended.stdout == "[True, True, True, True, False]\n"


def test_another_version_than_the_locked_one_is_not_packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = [replace(one, version="0") for one in locked_packages()]
    monkeypatch.setattr(archive, "locked_packages", lambda: other)
    with pytest.raises(SystemExit, match=r"six is \S+ here and 0 in the lock: run make clean, then make"):
        archive.write_archive(tmp_path / "environment.tar.gz", ["six"])
    assert list(tmp_path.iterdir()) == []


def test_the_page_of_licences_names_every_locked_package() -> None:
    page = (ROOT / "docs/licences.md").read_text("utf-8")
    missing = [one.name for one in locked_packages() if f"- {one.name} {one.version}: " not in page]
    assert missing == [], "run make licences"
