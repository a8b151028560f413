"""What barrier training is refused on."""

import re
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from pyspark.sql import SparkSession

from imbalance_spark.core.errors import UnsupportedSparkError
from imbalance_spark.train_only.learners import executors as slots
from imbalance_spark.train_only.learners.executors import check_executors, require_training_slots


class _Cluster:
    """A session of which one executor with two slots registers at each look."""

    def __init__(self, *, settings: dict[str, str] | None = None) -> None:
        self.looks = 0
        conf = settings or {}
        self.sparkContext = SimpleNamespace(
            getConf=lambda: SimpleNamespace(get=lambda name, default=None: conf.get(name, default)),
            _jsc=SimpleNamespace(sc=lambda: self),
        )

    def isLocal(self) -> bool:  # noqa: N802  # Spark's name
        return False

    def resourceProfileManager(self) -> Any:  # noqa: N802
        return SimpleNamespace(resourceProfileFromId=lambda number: number)

    def maxNumConcurrentTasks(self, profile: Any) -> int:  # noqa: N802
        self.looks += 1
        return 2 * self.looks


def test_a_local_session_has_as_many_slots_as_threads(spark: SparkSession) -> None:
    assert require_training_slots(spark, 2) == 2


def test_too_few_slots_are_refused_with_found_and_needed(spark: SparkSession) -> None:
    with pytest.raises(UnsupportedSparkError, match=r"num_workers is 3, but Spark has 2 slots .* Set num_workers to 2"):
        require_training_slots(spark, 3)


def test_executors_that_register_late_are_waited_for() -> None:
    assert require_training_slots(_Cluster(), 5) == 6


def test_the_wait_for_slots_ends() -> None:
    with pytest.raises(UnsupportedSparkError, match=r"has 2 slots after 0 s"):
        require_training_slots(_Cluster(), 500, slot_wait_s=0.0)


def test_dynamic_allocation_is_refused_with_a_sentence() -> None:
    session = _Cluster(settings={"spark.dynamicAllocation.enabled": "true"})
    with pytest.raises(UnsupportedSparkError, match=r"dynamicAllocation.enabled is true.*Set it to false"):
        require_training_slots(session, 1)


def test_spark_connect_is_refused_with_a_sentence() -> None:
    connect = type("SparkSession", (), {"__module__": "pyspark.sql.connect.session"})()
    with pytest.raises(UnsupportedSparkError, match="Spark Connect"):
        require_training_slots(connect, 1)


def test_executors_like_the_driver_pass(spark: SparkSession) -> None:
    check_executors(spark)


def test_each_difference_of_the_executors_is_named(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "version", lambda name: "9.9" if name == "xgboost" else slots_version(name))
    monkeypatch.setattr(slots, "_python", lambda: "2.7")
    monkeypatch.setattr(slots, "__version__", "0.0.1")
    with pytest.raises(UnsupportedSparkError) as refused:
        check_executors(spark)
    here = re.escape(".".join(map(str, sys.version_info[:2])))
    assert re.search(rf"python is {here} in 2 of 2 slots, the driver has 2\.7", str(refused.value))
    assert re.search(r"imbalance_spark is \d\S+ in 2 of 2 slots, the driver has 0\.0\.1", str(refused.value))
    assert re.search(r"xgboost is \d\S+ in 2 of 2 slots, the driver has 9\.9", str(refused.value))


def test_a_package_that_executors_lack_is_named() -> None:
    found = [{"imbalance_spark": "missing", "pandas": "missing"}, {"imbalance_spark": "0.9", "pandas": "2.3.3"}]
    problems = slots._differences(found, {"imbalance_spark": "0.9", "pandas": "2.3.3"})
    assert problems == [
        "executors: imbalance_spark is missing in 1 of 2 slots, the driver has 0.9. "
        "Submit this package with --py-files.",
        "executors: pandas is missing in 1 of 2 slots, the driver has 2.3.3. "
        "Install the driver's version on every node.",
    ]


def slots_version(name: str) -> str:
    from importlib.metadata import version

    return version(name)
