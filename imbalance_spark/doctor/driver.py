"""Checks of the driver, before any Spark: Python, packages, Java, and the tracking store."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from imbalance_spark.config import TrackingConfig
from imbalance_spark.databricks import runtime
from imbalance_spark.doctor.finding import Finding, guarded
from imbalance_spark.session import delta_package

PACKAGES = ("pyspark", "delta-spark", "xgboost", "mlflow", "pandas", "pyarrow", "numpy")
"""What a driver needs; executors are looked at by `check_executors`."""

OF_THE_RUNTIME = ("pyspark", "delta-spark")
"""What a Databricks runtime brings under no package's name."""

_OLDEST_PYTHON = (3, 11)
_OLDEST_JAVA = 17
_JAVA_WAIT_S = 20


def check_python(found: tuple[int, ...]) -> Finding:
    """The driver's Python; `found` is (major, minor)."""
    name, oldest = ".".join(map(str, found)), ".".join(map(str, _OLDEST_PYTHON))
    if found >= _OLDEST_PYTHON:
        return Finding(status="ok", what="Python", found=f"{name} on the driver")
    fix = f"install Python {oldest} or newer, and point PYSPARK_PYTHON at it"
    return Finding(status="FAIL", what="Python", found=f"{name} on the driver", fix=fix)


def installed_versions() -> dict[str, str | None]:
    """Version of each of `PACKAGES` on the driver; None where it is missing. A runtime's own Spark is left out."""
    names = PACKAGES if runtime() is None else [name for name in PACKAGES if name not in OF_THE_RUNTIME]
    return {name: _version(name) for name in names}


def pinned_versions() -> dict[str, str]:
    """The versions that this package was proven with; empty where it was submitted as a zip, without metadata."""
    try:
        needed = requires("imbalance_spark") or []
    except PackageNotFoundError:
        return {}
    pins = (re.fullmatch(r"([\w-]+)==([\w.]+)", one) for one in needed)
    return {pin[1]: pin[2] for pin in pins if pin}


def check_packages(installed: Mapping[str, str | None], pinned: Mapping[str, str]) -> Iterator[Finding]:
    """One finding a package: there, and in the version that was proven."""
    for name, found in installed.items():
        wanted = pinned.get(name, found)
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


def check_java(found: str | None) -> Finding:
    """The Java that Spark runs on; `found` is such as "17.0.9", or None when there is none."""
    # Up to Java 8 the version began with "1.".
    if found is not None and int(found.removeprefix("1.").split(".")[0]) >= _OLDEST_JAVA:
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


def check_tracking(config: TrackingConfig) -> Finding:
    """Whether MLflow's store takes a write: one tag of the experiment, which is made if it is new."""

    def touch() -> Finding:
        # In here: a missing mlflow is a finding, too.
        from imbalance_spark.tracking_models import touch_store

        touch_store(config)
        return Finding(status="ok", what="tracking store", found=f"writable: {_without_password(config.uri)}")

    return guarded("tracking store", touch)


def _without_password(uri: str) -> str:
    return re.sub(r"//[^/@]*@", "//***@", uri)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
