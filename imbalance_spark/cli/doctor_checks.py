"""The doctor's checks: this machine, this Spark, and the places that a config names."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Literal, Self
from urllib.parse import unquote, urlsplit

from pyspark.sql import SparkSession

from imbalance_spark.cli.jars import altered_jars, recorded_hashes
from imbalance_spark.core.errors import UnsupportedSparkError
from imbalance_spark.core.files import Folder
from imbalance_spark.core.masking import masked_uri
from imbalance_spark.core.spark_errors import describe
from imbalance_spark.core.spark_session import delta_package, runtime
from imbalance_spark.tracking.config import TrackingConfig
from imbalance_spark.train_only.learners.executors import check_executors, count_slots, require_training_slots
from imbalance_spark.train_only.learners.kinds import require_packages
from imbalance_spark.train_only.learners.learner import Learner
from imbalance_spark.train_only.strategies import Strategy

_WITHOUT_METADATA = ("pyspark", "delta-spark")
"""What a Databricks runtime brings under no package's name."""
_OLDEST_PYTHON = (3, 11)
_OLDEST_JAVA = 17
_JAVA_WAIT_S = 20
_PROBE = "doctor.probe"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What one check found, and how to fix it."""

    status: Literal["ok", "WARN", "FAIL"]
    what: str
    found: str
    fix: str = ""

    @property
    def line(self) -> str:
        """`FAIL  what  found  -> fix`."""
        return f"{self.status:<4}  {self.what:<19}  {self.found}" + (f"  -> {self.fix}" if self.fix else "")

    @classmethod
    def of_error(cls, what: str, error: Exception) -> Self:
        """A failed check, split into what is wrong and how to fix it, as errors of this package are worded."""
        text = describe(error)[1]
        # Known causes of Spark's and XGBoost's errors read `what; fix.`
        found, _, fix = text.partition(". ") if ". " in text else text.partition("; ")
        return cls(status="FAIL", what=what, found=found.removesuffix("."), fix=fix)


def guarded(what: str, check: Callable[[], Finding]) -> Finding:
    """What the check finds; an exception is a finding, too."""
    try:
        return check()
    except Exception as error:
        return Finding.of_error(what, error)


def is_healthy(findings: Iterable[Finding]) -> bool:
    """Whether no check failed; a warning is no failure."""
    return all(finding.status != "FAIL" for finding in findings)


def check_python(found: tuple[int, ...]) -> Finding:
    """The driver's Python; `found` is (major, minor)."""
    name, oldest = ".".join(map(str, found)), ".".join(map(str, _OLDEST_PYTHON))
    if found >= _OLDEST_PYTHON:
        return Finding(status="ok", what="Python", found=f"{name} on the driver")
    fix = f"install Python {oldest} or newer, and point PYSPARK_PYTHON at it"
    return Finding(status="FAIL", what="Python", found=f"{name} on the driver", fix=fix)


def installed_versions() -> dict[str, str | None]:
    """Version of each package that the driver needs; None where it is missing. A runtime's own Spark is left out."""
    names = _proven() if runtime() is None else _proven().keys() - set(_WITHOUT_METADATA)
    return {name: _version(name) for name in sorted(names, key=str.lower)}


def proven_versions() -> dict[str, str]:
    """The version of each package that this one was proven with.

    On Databricks only of what its wheel asks for: the runtime's own packages are not to be replaced.
    """
    if runtime() is None:
        return _proven()
    try:
        needed = requires("imbalance_spark") or []
    except PackageNotFoundError:
        return {}
    asked = {re.split(r"[^\w-]", one, maxsplit=1)[0] for one in needed if "extra ==" not in one}
    return {name: proven for name, proven in _proven().items() if name in asked}


def check_packages(installed: Mapping[str, str | None], proven: Mapping[str, str]) -> Iterator[Finding]:
    """One finding per package: installed, and in the version that was proven."""
    for name, found in installed.items():
        wanted = proven.get(name, found)
        asked = f"{name}=={wanted}" if wanted else name
        if found is None:
            yield Finding(status="FAIL", what=name, found="not installed on the driver", fix=f"pip install {asked}")
        elif found != wanted:
            text = f"{found} on the driver, proven with {wanted}"
            yield Finding(status="WARN", what=name, found=text, fix=f"pip install {asked}")
        else:
            yield Finding(status="ok", what=name, found=f"{found} on the driver")


def check_delta() -> Finding:
    """The Delta JAR's coordinate for spark-submit; a Databricks runtime has Delta inside."""
    if (name := runtime()) is not None:
        return Finding(status="ok", what="Delta package", found=f"part of Databricks runtime {name}")
    return guarded("Delta package", lambda: Finding(status="ok", what="Delta package", found=delta_package()))


def check_jars(spark_jars: str) -> Finding:
    """Delta's JARs against the recorded sha256; `spark_jars` is the setting `spark.jars`, addresses with commas."""
    what, recorded = "Delta JARs", recorded_hashes()
    places = [urlsplit(address) for address in spark_jars.split(",")]
    local = [Path(unquote(place.path)) for place in places if place.scheme in ("", "file")]
    jars = [jar for jar in local if jar.name in recorded]
    if not jars:
        found = "none by --packages or --jars on the driver, so no sha256 was compared"
        return Finding(status="WARN", what=what, found=found, fix="compare them with cli/delta_jars.sha256 yourself")

    def compare() -> Finding:
        if altered := "; ".join(altered_jars(jars)):
            fix = "delete it from Ivy's cache and fetch it from a repository that you trust"
            return Finding(status="FAIL", what=what, found=altered, fix=fix)
        return Finding(status="ok", what=what, found=f"{len(jars)} with the recorded sha256")

    return guarded(what, compare)


def check_java(found: str | None) -> Finding:
    """The Java that Spark runs on; `found` is such as "17.0.9", or None when there is none."""
    # Up to Java 8 the version began with "1."; that of an early-access build ends with "-ea".
    number = re.match(r"(?:1\.)?(\d+)", found or "")
    if found is not None and number is not None and int(number[1]) >= _OLDEST_JAVA:
        return Finding(status="ok", what="Java", found=found)
    fix = f"install Java {_OLDEST_JAVA} or newer, and set JAVA_HOME"
    return Finding(status="FAIL", what="Java", found=found or "there is none", fix=fix)


def installed_java() -> str | None:
    """The version of the Java that Spark would start; None when there is none."""
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home, "bin", "java")) if home else shutil.which("java")
    if java is None or not Path(java).is_file():
        return None
    said = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=_JAVA_WAIT_S, check=False)  # noqa: S603  # Spark starts the same one
    quoted = re.search(r'version "(\d[\w.]*)', said.stderr)
    return quoted[1] if quoted else None


def check_learners(strategies: Iterable[Strategy]) -> Iterator[Finding]:
    """Whether each learner that comes as an extra is installed."""
    learners = {one.fitted_by.name: one.fitted_by for one in strategies if one.fitted_by.extra is not None}
    for name, learner in learners.items():

        def look(learner: Learner = learner) -> Finding:
            require_packages([learner])
            return Finding(status="ok", what=f"learner {learner.name}", found=version(learner.package))

        yield guarded(f"learner {name}", look)


def check_tracking(config: TrackingConfig) -> Finding:
    """Whether MLflow's store can be written to: one tag of the experiment, which is created if new."""

    def touch() -> Finding:
        # In here: a missing mlflow is a finding, too.
        from imbalance_spark.tracking.runs import touch_store

        touch_store(config)
        return Finding(status="ok", what="tracking store", found=f"writable: {masked_uri(config.uri)}")

    return guarded("tracking store", touch)


def _proven() -> dict[str, str]:
    # Package data, not metadata: a zip given to spark-submit has none.
    lines = resources.files("imbalance_spark.cli").joinpath("proven_versions.txt").read_text("utf-8").splitlines()
    return dict(line.split("==", maxsplit=1) for line in lines if "==" in line)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def check_dynamic_allocation(spark: SparkSession) -> Finding:
    """Barrier training needs executors that stay."""
    is_on = spark.sparkContext.getConf().get("spark.dynamicAllocation.enabled", "false").lower() == "true"
    what = "dynamic allocation"
    if not is_on:
        return Finding(status="ok", what=what, found="off")
    fix = "set spark.dynamicAllocation.enabled=false and fix the number of executors (Databricks: no autoscaling)"
    return Finding(status="FAIL", what=what, found="on: Spark runs no barrier stage under it", fix=fix)


def check_slots(spark: SparkSession, num_workers: int | None, *, slot_wait_s: float) -> Finding:
    """Tasks that can run at the same time, against the workers that a config asks for."""

    def count() -> Finding:
        if num_workers is None:
            found = f"{count_slots(spark)} now: the most that training.num_workers may be"
            return Finding(status="ok", what="barrier slots", found=found)
        slots = require_training_slots(spark, num_workers, slot_wait_s=slot_wait_s)
        return Finding(status="ok", what="barrier slots", found=f"{slots} for {num_workers} workers")

    return guarded("barrier slots", count)


def check_executor_versions(spark: SparkSession) -> Iterator[Finding]:
    """Python, packages and this package on each executor, against the driver's."""
    what = "executors"
    try:
        check_executors(spark)
    except UnsupportedSparkError as error:
        for problem in str(error).split(" | "):
            yield Finding.of_error(what, UnsupportedSparkError(problem.removeprefix("executors: ")))
    except Exception as error:
        yield Finding.of_error(what, error)
    else:
        # The check passed, so each slot has the driver's versions.
        same = ", ".join(f"{name} {version(name)}" for name in ("xgboost", "pandas", "pyarrow", "numpy"))
        python = ".".join(map(str, sys.version_info[:2]))
        found = f"imbalance_spark importable, Python {python}, {same} in all {count_slots(spark)} slots"
        yield Finding(status="ok", what=what, found=found)


def check_output(spark: SparkSession, output: str) -> Finding:
    """Whether a file can be written to the output folder, which is created if new; the file is removed again."""
    what, folder = "output folder", Folder(spark, output)
    try:
        folder.write_bytes(_PROBE, b"")
        folder.delete(_PROBE)
        return Finding(status="ok", what=what, found=f"writable: {folder.full_path()}")
    except Exception as error:
        found = f"{output}: {Finding.of_error(what, error).found}"
        fix = "give the user of the job write access, or set output to a folder that has it"
        return Finding(status="FAIL", what=what, found=found, fix=fix)
