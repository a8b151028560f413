"""What pip is told: ranges that hold what was proven, a lock with hashes, and an import that needs no engine."""

import re
import subprocess
import sys
from importlib import resources
from pathlib import Path

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
