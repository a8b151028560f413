"""Before a barrier fit: enough slots at the same time, and executors that run what the driver runs."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import version

from pyspark.sql import SparkSession

from imbalance_spark.core.errors import SlotsUnavailableError, UnsupportedSparkError
from imbalance_spark.core.spark_session import refuse_connect
from imbalance_spark.core.version import __version__

PACKAGES = ("xgboost", "scikit-learn", "pandas", "pyarrow", "numpy", "scipy", "pydantic")
"""What executors import: this package's imports, and scikit-learn, which `xgboost.spark` needs."""


def require_training_slots(spark: SparkSession, num_workers: int, *, slot_wait_s: float = 60.0) -> int:
    """Refuse what barrier training cannot run on, before Spark does so 15 minutes later.

    A slot is a place for one task: executors x cores / `spark.task.cpus`; `local[n]` has n. On a cluster
    executors register one by one, so too few slots are waited for.

    Args:
        num_workers: barrier tasks that must run at the same time.
        slot_wait_s: seconds to wait for executors to register.
    Returns:
        The slots found.
    Raises:
        SlotsUnavailableError: too few slots after the wait.
        UnsupportedSparkError: Spark Connect, or dynamic allocation.
    """
    refuse_connect(spark)
    _refuse_dynamic_allocation(spark)
    deadline = time.monotonic() + slot_wait_s
    while (found := count_slots(spark)) < num_workers:
        if time.monotonic() >= deadline or _is_local(spark):
            waited = "" if _is_local(spark) else f" after {slot_wait_s:g} s"
            raise SlotsUnavailableError(
                f"training.num_workers is {num_workers}, but Spark has {found} slots{waited} (executors x cores / "
                "spark.task.cpus), and all workers must run at the same time. "
                f"Set num_workers to {max(found, 1)} or less, or give Spark more cores."
            )
        time.sleep(0.2)
    return found


def count_slots(spark: SparkSession) -> int:
    """Tasks that can run at the same time now, as Spark itself counts them before a barrier stage."""
    context = spark.sparkContext._jsc.sc()
    return int(context.maxNumConcurrentTasks(context.resourceProfileManager().resourceProfileFromId(0)))


def check_executors(spark: SparkSession) -> int:
    """Refuse executors whose Python, packages or copy of this package differ from the driver's.

    One barrier job with a tiny task in each slot, so that every executor runs one; at most as many
    rows as slots come back.

    Args:
        spark: a classic session; every executor that it has now is checked.
    Returns:
        Bytes of memory that are free on all of them together, by their systems or containers; 0 if none says.
    Raises:
        UnsupportedSparkError: says each difference, with the number of slots that have it.
    """
    slots = max(count_slots(spark), 1)
    places = spark.sparkContext.parallelize(range(slots), slots).barrier()
    try:
        found = places.mapPartitions(_probe(PACKAGES)).collect()
    except Exception as error:
        if "PYTHON_VERSION_MISMATCH" not in str(error):
            raise
        raise UnsupportedSparkError(
            f"executors run another Python than the driver's {_python()}. "
            "Set PYSPARK_PYTHON to a Python of the same minor version that is there on every node."
        ) from None
    expected = {"python": _python(), "imbalance_spark": __version__, **{name: version(name) for name in PACKAGES}}
    if problems := _differences(found, expected):
        raise UnsupportedSparkError.of_all(problems)
    return sum({place["machine"]: int(place["free_bytes"]) for place in found}.values())


def free_bytes() -> int:
    """Of this machine, or of the container where that is less; 0 where the system does not say."""
    [place] = _probe(())(iter(()))
    return int(place["free_bytes"])


def _refuse_dynamic_allocation(spark: SparkSession) -> None:
    if spark.sparkContext.getConf().get("spark.dynamicAllocation.enabled", "false").lower() == "true":
        raise UnsupportedSparkError(
            "spark.dynamicAllocation.enabled is true: Spark runs no barrier stage under dynamic allocation. "
            "Set it to false and fix the number of executors (on Databricks: no autoscaling)."
        )


def _is_local(spark: SparkSession) -> bool:
    return bool(spark.sparkContext._jsc.sc().isLocal())


def _python() -> str:
    return ".".join(map(str, sys.version_info[:2]))


def _probe(packages: tuple[str, ...]) -> Callable[[Iterable[int]], Iterable[dict[str, str]]]:
    def look(_: Iterable[int]) -> Iterator[dict[str, str]]:
        # Imports are in here: an inner function travels by value, so it runs where this package is missing.
        import importlib
        import importlib.metadata
        import importlib.util
        import socket
        import sys
        from pathlib import Path

        def version_of(name: str) -> str:
            try:
                return importlib.metadata.version(name)
            except importlib.metadata.PackageNotFoundError:
                return "missing"

        def own_version() -> str:
            # Of the copy that is imported, which need not be the installed one.
            if importlib.util.find_spec("imbalance_spark") is None:
                return "missing"
            return str(importlib.import_module("imbalance_spark.core.version").__version__)

        def number_in(file: str) -> int | None:
            try:
                return int(Path(file).read_text("ascii"))
            except (OSError, ValueError):  # no such file, or "max"
                return None

        def free_bytes() -> int:
            """Of the machine, or of the container where that is less; 0 where the system does not say."""
            known = Path("/proc/meminfo")
            lines = known.read_text("ascii").splitlines() if known.exists() else []
            available = sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
            most, used = (number_in(f"/sys/fs/cgroup/memory.{name}") for name in ("max", "current"))
            return available if most is None or used is None else min(available, most - used)

        yield {
            "machine": socket.gethostname(),
            "free_bytes": str(free_bytes()),
            "python": ".".join(map(str, sys.version_info[:2])),
            "imbalance_spark": own_version(),
            **{name: version_of(name) for name in packages},
        }

    return look


def _differences(found: list[dict[str, str]], expected: dict[str, str]) -> list[str]:
    problems = []
    for name, wanted in expected.items():
        other = sorted({place[name] for place in found} - {wanted})
        if other:
            slots = sum(place[name] != wanted for place in found)
            problems.append(
                f"executors: {name} is {', '.join(other)} in {slots} of {len(found)} slots, the driver has {wanted}. "
                + (
                    "Submit this package with --py-files."
                    if name == "imbalance_spark"
                    else "Install the driver's version on every node."
                )
            )
    return problems
