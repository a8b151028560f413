"""Scoring for every day: only what came since the last time, by Delta's change data feed or by new files."""

import hashlib
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, Self

from delta.tables import DeltaTable
from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from imbalance_spark.core.columns import map_columns
from imbalance_spark.core.errors import DataContractError, PinDamagedError
from imbalance_spark.core.files import Folder
from imbalance_spark.core.masking import masked_uri
from imbalance_spark.orders.config import SourceConfig
from imbalance_spark.orders.read import read_files, read_orders
from imbalance_spark.scoring.scored_table import INCREMENTS, Batch, ScoredBatch

_FEED = "delta.enableChangeDataFeed"
_OF_THE_FEED = ("_change_type", "_commit_version", "_commit_timestamp")
_CAME, _LEFT = ("insert", "update_postimage"), ("delete", "update_preimage")
_NO_FEED = re.compile(r"DELTA_MISSING_CHANGE_DATA|DELTA_CHANGE_DATA_FILE_NOT_FOUND|DELTA_CHANGE_TABLE_FEED_DISABLED")
_READS, _BETWEEN_READS_S = 20, 0.2
"""How often a plan is read that another process may be writing."""


def score_increments(
    spark: SparkSession,
    output: str,
    model: str,
    score: Callable[[DataFrame, Batch], ScoredBatch],
    *,
    path: str | None = None,
    table: str | None = None,
    file_format: Literal["delta", "parquet", "csv"] = "delta",
    version: int | None = None,
) -> list[ScoredBatch]:
    """Score the orders that came since the last call, and nothing that a table of scored orders has.

    Of a Delta table with a change data feed these are the rows that the commits since then added or changed, less those
    that they took away again: OPTIMIZE, an overwrite with equal rows and a late commit of old orders are what they are.
    Of Parquet and CSV they are the files since then, by their paths. The first call scores everything, or goes on after
    the latest version that is in the table as a batch.

    Each part is planned in a file below `output` before it is scored, so that a part that was cut off is scored again,
    as it was planned, and jobs that run at once score the same parts; the table takes each of them once.

    Args:
        output: path of the Delta table that `score` appends to.
        model: name and version in the registry, such as `orders/3`.
        score: scores the orders of a part as a batch, once; see `score_batch`.
        path, table: where the orders are; exactly one of them.
        version: of the Delta table, the last one to score; the latest by default.

    Returns:
        The parts, in order; none where nothing is new.

    Raises:
        DataContractError: there are no such orders; the table has no change data feed, or had none since the last time;
            a file that was scored has another size.
        PinDamagedError: a plan is damaged.
    """
    source = SourceConfig(path=path, table=table, format=file_format, version=version)
    kind = _NewVersions if source.table is not None or source.format == "delta" else _NewFiles
    arriving = kind.of(spark, source, output)
    plans = _Plans(Folder(spark, f"{output}/{INCREMENTS}/{_sha256(arriving.source_id)[:16]}"))
    scored = []
    while (planned := plans.next(arriving)) is not None:
        number, plan = planned
        orders = arriving.orders(plan)
        if not orders.isEmpty():
            state = arriving.state(plan)
            scored.append(score(orders, Batch(location=arriving.location, state=state, model=model, is_increment=True)))
        plans.finish(number)
    return scored


class _Arriving(Protocol):
    """Orders that become more."""

    @property
    def location(self) -> str:
        """Where they are, without secrets."""

    @property
    def source_id(self) -> str:
        """The same for the same orders, however many they are."""

    def next(self, plans: "_Plans") -> Mapping[str, Any] | None:
        """The plan of what is in none of these; None where nothing is new."""

    def is_scored(self, plan: Mapping[str, Any]) -> bool:
        """Whether the table is known to hold what was planned."""

    def state(self, plan: Mapping[str, Any]) -> str:
        """Which orders these are, as `Batch.state`."""

    def orders(self, plan: Mapping[str, Any]) -> DataFrame:
        """The orders of a plan."""


@dataclass(frozen=True)
class _Plans:
    """What was planned of one source: `000007.json`, and once that is scored `000007.done`."""

    folder: Folder

    def next(self, arriving: _Arriving) -> tuple[int, Mapping[str, Any]] | None:
        """Number and plan of what is to be scored next: the last plan, if it is not done, or a new one."""
        numbers, done = self._numbers("json"), self._numbers("done")
        last = max(numbers, default=-1)
        if last >= 0 and last not in done:
            plan = self.read(last)
            if not arriving.is_scored(plan):
                return last, plan
            self.finish(last)
        if (new := arriving.next(self)) is None:
            return None
        self.folder.create(_name(last + 1, "json"), json.dumps(new).encode())
        # That of another process, where one was faster.
        return last + 1, self.read(last + 1)

    def finish(self, number: int) -> None:
        """Note that the table holds what was planned."""
        self.folder.create(_name(number, "done"), b"")

    def all(self) -> Iterator[Mapping[str, Any]]:
        """All plans in order."""
        return (self.read(number) for number in sorted(self._numbers("json")))

    def last(self) -> Mapping[str, Any] | None:
        """The latest plan."""
        numbers = self._numbers("json")
        return self.read(max(numbers)) if numbers else None

    def read(self, number: int) -> Mapping[str, Any]:
        """A plan.

        Raises:
            PinDamagedError: it was cut short.
        """
        for _ in range(_READS):
            try:
                return dict(self.folder.read_json(_name(number, "json")))
            except ValueError:
                time.sleep(_BETWEEN_READS_S)
        raise PinDamagedError(
            f"{self.folder.path}/{_name(number, 'json')}: what was to be scored was cut short while it was written, so "
            "nothing of it was scored. Remove the file and run the job again."
        )

    def _numbers(self, ending: str) -> set[int]:
        found = (re.fullmatch(rf"(\d+)\.{ending}", name) for name in self.folder.names())
        return {int(match[1]) for match in found if match}


def _name(number: int, ending: str) -> str:
    return f"{number:06d}.{ending}"


@dataclass(frozen=True, kw_only=True)
class _NewVersions:
    """Of a Delta table: plans are ranges of versions, from the one after `since` to `until`; null begins with all rows.

    Args:
        latest: version to score up to.
        scored: the latest version that the output's history knows as scored.
    """

    spark: SparkSession
    source: SourceConfig
    location: str
    source_id: str
    latest: int
    scored: int | None

    @classmethod
    def of(cls, spark: SparkSession, source: SourceConfig, output: str) -> Self:
        """The table as it is now.

        Raises: as `score_increments`.
        """
        orders = read_orders(spark, source)
        delta = DeltaTable.forName if source.table is not None else DeltaTable.forPath
        [described] = delta(spark, orders.location).detail().select("id", "properties").collect()
        if described["properties"].get(_FEED) != "true":
            raise DataContractError(_without_feed(orders.location, "has no change data feed"))
        scored = _scored_version(spark, output, described["id"])
        return cls(
            spark=spark, source=source, location=masked_uri(orders.location), source_id=described["id"],
            latest=int(orders.version or 0), scored=scored,
        )  # fmt: skip

    def next(self, plans: _Plans) -> Mapping[str, Any] | None:
        last = plans.last()
        planned: int | None = None if last is None else last["until"]
        since = max((version for version in (planned, self.scored) if version is not None), default=None)
        return {"since": since, "until": self.latest} if since is None or since < self.latest else None

    def is_scored(self, plan: Mapping[str, Any]) -> bool:
        return self.scored is not None and plan["until"] <= self.scored

    def state(self, plan: Mapping[str, Any]) -> str:
        return f"{self.source_id} versions {0 if plan['since'] is None else plan['since'] + 1} to {plan['until']}"

    def orders(self, plan: Mapping[str, Any]) -> DataFrame:
        if plan["since"] is None:
            return read_orders(self.spark, self.source.model_copy(update={"version": plan["until"]})).frame
        changes = self._changes(plan["since"] + 1, plan["until"])
        came, left = (
            changes.where(F.col(_OF_THE_FEED[0]).isin(*kinds)).drop(*_OF_THE_FEED) for kinds in (_CAME, _LEFT)
        )
        if self._is_empty(left):
            return came
        if maps := map_columns(came):
            raise DataContractError(
                f"incremental scoring: rows of {self.location!r} were changed or deleted in versions "
                f"{plan['since'] + 1} to {plan['until']}, and its columns {maps[:20]} are maps, which Spark does not "
                "compare. Score the latest version once as a whole (without --incremental), then continue."
            )
        return came.exceptAll(left)

    def _changes(self, first: int, last: int) -> DataFrame:
        reader = self.spark.read.option("readChangeFeed", "true")
        reader = reader.option("startingVersion", first).option("endingVersion", last)
        return (
            reader.table(str(self.source.table)) if self.source.table else reader.format("delta").load(self.source.path)
        )

    def _is_empty(self, rows: DataFrame) -> bool:
        try:
            return rows.isEmpty()
        except (PySparkException, Py4JJavaError) as error:
            if _NO_FEED.search(str(error)):
                raise DataContractError(_without_feed(self.location, "had no change data feed all the time")) from None
            raise


def _without_feed(location: str, what: str) -> str:
    return (
        f"incremental scoring: the Delta table {location!r} {what}, so that what is new in it is not known. Set its "
        f"property {_FEED} to true, score its latest version once as a whole (without --incremental), then continue."
    )


def _scored_version(spark: SparkSession, output: str, table_id: str) -> int | None:
    """The latest version of a table that the history of scored orders names, alone or as the end of a range."""
    if not DeltaTable.isDeltaTable(spark, output):
        return None
    state = F.get_json_object("userMetadata", "$.state")
    version = F.regexp_extract(state, r"^([0-9a-f-]+) versions? (?:\d+ to )?(\d+)$", 2).cast("bigint")
    is_of_table = state.startswith(f"{table_id} version")
    [found] = DeltaTable.forPath(spark, output).history().where(is_of_table).agg(F.max(version)).collect()
    return None if found[0] is None else int(found[0])


@dataclass(frozen=True, kw_only=True)
class _NewFiles:
    """Of Parquet and CSV: plans are files by path, with their sizes; with the columns of CSV."""

    spark: SparkSession
    source: SourceConfig
    location: str
    source_id: str
    files: Mapping[str, int]

    @classmethod
    def of(cls, spark: SparkSession, source: SourceConfig, output: str) -> Self:  # as of versions
        """The files that are there now."""
        path = str(source.path)
        found = Folder(spark, path)
        files = found.data_files() if found.exists() else {}
        location = masked_uri(path)
        return cls(spark=spark, source=source, location=location, source_id=masked_uri(found.full_path()), files=files)

    def next(self, plans: _Plans) -> Mapping[str, Any] | None:
        scored = {path: size for plan in plans.all() for path, size in plan["files"].items()}
        changed = [path for path, size in self.files.items() if path in scored and scored[path] != size]
        if changed:
            raise DataContractError(
                f"orders.source.path: {len(changed)} files have another size than when they were scored, such as "
                f"{masked_uri(changed[0])!r}. Files must be complete when they arrive; write corrections to new files."
            )
        new = {path: size for path, size in self.files.items() if path not in scored}
        if scored and not new:
            return None
        return {"files": new, "schema": self._csv_schema(plans.last())}

    def _csv_schema(self, last: Mapping[str, Any] | None) -> Any:
        """Types of all columns as the first files have them: inferred from a few rows they would differ by day."""
        if last is not None:
            return last["schema"]
        orders = read_orders(self.spark, self.source)  # which refuses what is not in this format
        return json.loads(orders.frame.schema.json()) if self.source.format == "csv" else None

    def is_scored(self, plan: Mapping[str, Any]) -> bool:
        return False

    def state(self, plan: Mapping[str, Any]) -> str:
        return f"{self.source_id} files {_sha256(json.dumps(plan['files'], sort_keys=True))}"

    def orders(self, plan: Mapping[str, Any]) -> DataFrame:
        schema = None if plan["schema"] is None else T.StructType.fromJson(plan["schema"])
        return read_files(self.spark, self.source, sorted(plan["files"]), schema)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
