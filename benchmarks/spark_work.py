"""What Spark has read and shuffled so far, by its own metrics; the UI need not be on."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pyspark.sql import SparkSession

_WHOLE_PATHS = "100000"  # characters of a scan's location in a plan; 100 by default, which cuts paths
_DELTA_LOG = "/_delta_log"


@dataclass(frozen=True, kw_only=True)
class Scan:
    """One scan of files in one query: where they lie, and the rows that it gave."""

    location: str
    rows: int


class SparkWork:
    """The queries and stages of a session from here on.

    Spark keeps the last 1,000 of each by default: count no more with one of these.
    """

    def __init__(self, spark: SparkSession) -> None:
        self._spark = spark
        spark.conf.set("spark.sql.maxMetadataStringLength", _WHOLE_PATHS)
        self._first_query = max((query.executionId() for query in self._queries()), default=-1) + 1
        self._first_stage = max((stage.stageId() for stage in self._stages()), default=-1) + 1

    def scans_of(self, path: str) -> list[Scan]:
        """The scans of the files below a path, in the order of their queries; those that gave no row are left out."""
        return [scan for scan in self._scans() if f"{path}]" in scan.location or f"{path}/" in scan.location]

    @property
    def shuffled_bytes(self) -> int:
        """Bytes that tasks wrote for others to read."""
        return sum(int(stage.shuffleWriteBytes()) for stage in self._stages() if stage.stageId() >= self._first_stage)

    def _scans(self) -> Iterator[Scan]:
        for query in self._queries():
            if query.executionId() < self._first_query:
                continue
            metrics = self._store.executionMetrics(query.executionId())
            for node in _items(self._store.planGraph(query.executionId()).allNodes()):
                if not str(node.name()).startswith("Scan ") or _DELTA_LOG in str(node.desc()):
                    continue
                rows = [m.accumulatorId() for m in _items(node.metrics()) if m.name() == "number of output rows"]
                found = [metrics.get(number) for number in rows]
                counted = sum(int(str(one.get()).replace(",", "")) for one in found if one.isDefined())
                if counted:
                    yield Scan(location=str(node.desc()), rows=counted)

    @property
    def _store(self) -> Any:
        return self._spark._jsparkSession.sharedState().statusStore()

    def _queries(self) -> list[Any]:
        return _items(self._store.executionsList())

    def _stages(self) -> list[Any]:
        context = self._spark.sparkContext
        quantiles = context._gateway.new_array(context._jvm.double, 0)
        return _items(context._jsc.sc().statusStore().stageList(None, False, False, quantiles, None))


def _items(found: Any) -> list[Any]:
    """A Scala collection as a list."""
    return [found.apply(number) for number in range(found.size())]
