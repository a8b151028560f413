"""What pip is told: ranges that hold what was proven, a lock with hashes, and an import that needs no engine."""

import re
import subprocess
import sys
from importlib import resources
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
LOCK = (ROOT / "requirements.lock").read_text("utf-8")
LOCKED = {canonicalize_name(name): version for name, version in re.findall(r"^([\w.-]+)==(\S+)", LOCK, re.MULTILINE)}
PROVEN = dict(
    line.split("==")
    for line in resources.files("imbalance_spark.cli").joinpath("proven_versions.txt").read_text("utf-8").splitlines()
    if "==" in line
)

FOLDERS = (
    "benchmarks", "conf", "docker", "docs", "imbalance_spark", "jobs", "notebooks", "tests", "tools", ".ci", "Makefile",
    "README.md", "databricks.yml", "pyproject.toml", "setup.py",
)  # fmt: skip
TEXT = {".py", ".md", ".yaml", ".yml", ".toml", ".json", ".txt", ".Dockerfile", ".j2", ".js", ".css", ""}
CREDENTIALS = re.compile(
    r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|\bgh[pousr]_[A-Za-z0-9]{36}|\bdapi[0-9a-f]{32}\b|\bxox[abpr]-[0-9A-Za-z-]{20}"
    r"|\bAIza[\w-]{35}|-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----"
)
"""Keys of AWS, GitHub, Databricks, Slack and Google, and private keys, as their issuers write them."""

WITHOUT_ENGINES = """
import sys

ENGINES = ("pyspark", "py4j", "delta", "mlflow", "xgboost")

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ENGINES:
            raise ImportError(f"{name} must not be imported")

sys.meta_path.insert(0, Refuse())
import imbalance_spark
print(imbalance_spark.__version__, *[name for name in ENGINES if name in sys.modules])
"""


def _needed() -> dict[str, Requirement]:
    """What `setup.py` asks for, without its extras."""
    source = (ROOT / "setup.py").read_text("utf-8")
    table = re.search(r"^NEEDED = \{.*?^\}", source, re.MULTILINE | re.DOTALL)
    assert table is not None
    found: dict[str, dict[str, str]] = {}
    exec(table[0], found)
    return {name: Requirement(name + versions) for name, versions in found["NEEDED"].items()}


def test_every_range_holds_the_version_that_was_proven() -> None:
    needed = _needed()
    assert needed.keys() == PROVEN.keys()
    for name, requirement in needed.items():
        assert requirement.specifier.contains(PROVEN[name]), f"{requirement} without {PROVEN[name]}"


def test_the_lock_holds_the_proven_versions() -> None:
    assert {name: LOCKED[canonicalize_name(name)] for name in PROVEN} == PROVEN


def test_each_line_of_the_lock_has_a_hash_and_none_names_a_registry() -> None:
    packages = re.split(r"^(?=[A-Za-z])", re.sub(r"^#.*\n", "", LOCK, flags=re.MULTILINE), flags=re.MULTILINE)
    assert [package for package in packages if package.strip() and "--hash=sha256:" not in package] == []
    assert "://" not in LOCK
    assert "index-url" not in LOCK


def test_the_package_imports_without_spark_mlflow_and_xgboost() -> None:
    ended = subprocess.run([sys.executable, "-c", WITHOUT_ENGINES], cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert len(ended.stdout.split()) == 1


def test_a_scan_for_advisories_that_skips_a_package_or_reaches_nobody_fails() -> None:
    recipe = (ROOT / "Makefile").read_text("utf-8").split("\nadvisories:")[1].split("\n\n")[0]
    [scan] = [line for line in recipe.splitlines() if "/pip-audit " in line]
    assert {"--strict", "--require-hashes", "requirements.lock"} <= set(scan.split())
    assert not scan.strip().startswith("-")  # make would go on after a failure


def test_no_credential_is_in_the_repository() -> None:
    found = [
        (str(file.relative_to(ROOT)), match[0][:12])
        for folder in FOLDERS
        for file in [ROOT / folder, *(ROOT / folder).rglob("*")]
        if file.is_file() and file.suffix in TEXT
        for match in CREDENTIALS.finditer(file.read_text("utf-8"))
    ]
    assert found == []


@pytest.mark.parametrize(
    "credential", ["AKIA" + "Z" * 16, "ghp_" + "a" * 36, "dapi" + "0" * 32, "-----BEGIN RSA " + "PRIVATE KEY-----"]
)
def test_a_credential_would_be_found(credential: str) -> None:
    assert CREDENTIALS.search(f"key: {credential}\n")
