"""A run as a sequence of steps: each is done once, logged, and verified when its result is read again."""

import hashlib
import json
import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

from pyspark.sql import Column, DataFrame, Observation, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from imbalance_spark.core.columns import col, map_columns
from imbalance_spark.core.errors import PinDamagedError, RunConflictError
from imbalance_spark.core.files import Folder
from imbalance_spark.core.masking import masked_settings
from imbalance_spark.core.records import reading
from imbalance_spark.core.run_lock import claim, require_lock
from imbalance_spark.core.run_status import end_status, write_status
from imbalance_spark.core.version import __version__

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class TablePin:
    """A step's Parquet table as it was when the step ended.

    Args:
        fingerprint: sum of 31-bit row hashes: equal for equal rows in any order.
        table_schema: of its columns, as Spark's JSON.
        files: bytes of each file, by its path below the table's folder. These are the table: what else is found there,
            such as the files of a process that lost the run while it wrote, is not read.
        observed: what else was added up of the rows while they were written, by name.
    """

    step: str
    path: str
    rows: int
    fingerprint: int
    table_schema: str
    files: Mapping[str, int]
    observed: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run of a job: a folder that belongs to one config and one input, with a log of its finished steps.

    The step log holds one JSON file per step, written once the step's result is complete. A step in the log is read,
    not redone, unless its entry is damaged. `status.json` says how the run stands.
    """

    spark: SparkSession
    folder: Folder
    run_id: str
    config_hash: str
    locked: Folder | None = None
    """Of a part, the folder of the run, whose lock holds for it."""

    @classmethod
    def open(cls, spark: SparkSession, output: str, run_id: str, config_hash: str, source: Mapping[str, Any]) -> "Run":
        """Start a run, or resume the one with that id; this process holds its lock until `locks_released` ends.

        Raises:
            RunConflictError: the id belongs to another config or input, or another process is working on it.
            PinDamagedError: the file that says to which is damaged.
        """
        # By its address, which the JVM need not be asked for, the status is written also once the JVM is gone.
        folder = Folder(spark, Folder(spark, f"{output}/{run_id}").full_path())
        claim(folder, run_id, lambda error: end_status(folder, run_id, error))
        identity = {
            "run": run_id,
            "config_hash": config_hash,
            "source": masked_settings(source),
            "code_version": __version__,
        }
        if not folder.exists("run.json"):
            folder.write_json("run.json", identity)
        found = _read_identity(folder, run_id)
        was = {name: masked_settings(found[name]) for name in ("config_hash", "source")}
        differing = [name for name in was if was[name] != identity[name]]
        if differing:
            was = {name: was[name] for name in differing}
            now = {name: identity[name] for name in differing}
            raise RunConflictError(
                f"run_id {run_id!r}: it was started with {was}, this is {now}. Use another run_id, or none."
            )
        write_status(folder, run_id, "running")
        return cls(spark=spark, folder=folder, run_id=run_id, config_hash=config_hash)

    @contextmanager
    def ending(self) -> Iterator[None]:
        """At the end of the block, `status.json` says how the run ended."""
        try:
            yield
        except BaseException as error:
            end_status(self.folder, self.run_id, error)
            raise
        end_status(self.folder, self.run_id, None)

    def part(self, name: str) -> "Run":
        """The same run with a folder of its own for the steps of one part, such as the fits of a fold."""
        return replace(self, folder=self.folder.below(name), locked=self.locked or self.folder)

    def is_done(self, step: str) -> bool:
        """Whether the step is finished; one whose entry in the log is damaged is not."""
        return self._entry(step) is not None

    def table(
        self,
        step: str,
        build: Callable[[], DataFrame],
        *,
        partition_by: Sequence[str] = (),
        observe: Callable[[DataFrame], Mapping[str, Column]] = lambda _: {},
    ) -> DataFrame:
        """The step's table, built and written unless the step is finished.

        Scans: what `build` reads, once; its rows are counted while they are written.

        Args:
            partition_by: columns whose values have folders of their own, so that a filter on them reads no other rows.
            observe: what to add up of the rows of `build` while they are written; see `TablePin.observed`.

        Raises:
            PinDamagedError: the table has lost files, or an earlier version of this package wrote it.
        """
        if self.is_done(step):
            pin = self.pin(step)
            logger.info("step %s: done before, %d rows", step, pin.rows)
            self._verify(pin)
        else:
            self.require_lock()
            frame = build()
            pin = self._write(frame, step, partition_by, observe(frame))
            self.record(step, asdict(pin))
        return self._read(pin)

    def pin(self, step: str) -> TablePin:
        """The logged files, rows and fingerprint of a table step."""
        with reading(f"run {self.run_id!r}, the entry of step {step!r} in the step log", "Start a new run_id."):
            return TablePin(**self.read_document(step))

    def document(self, step: str, build: Callable[[], Any]) -> Any:
        """The step's JSON-able result, computed by `build` unless the step is finished."""
        if not self.is_done(step):
            self.record(step, build())
        return self.read_document(step)

    def read_document(self, step: str) -> Any:
        """The JSON-able result of a finished step."""
        entry = self._entry(step)
        if entry is None:
            raise PinDamagedError(
                f"run {self.run_id!r}: the log of step {step!r} was lost or damaged. Run the job again."
            )
        return entry["output"]

    def record(self, step: str, output: Any) -> None:
        """Log a step as finished, with its JSON-able result.

        Raises:
            RunConflictError: another process has taken over the run meanwhile.
        """
        self.require_lock()
        entry = {"run": self.run_id, "step": step, "config_hash": self.config_hash, "code_version": __version__}
        self.folder.write_json(f"ledger/{step}.json", {**entry, "output": output, "output_sha256": _sha256_of(output)})

    def _entry(self, step: str) -> Mapping[str, Any] | None:
        """The step's entry in the log; None where there is none, or a damaged one."""
        name = f"ledger/{step}.json"
        try:
            entry = self.folder.read_json(name)
            output = entry["output"]
            # Entries of earlier versions have no hash.
            if entry.get("output_sha256") in (None, _sha256_of(output)):
                return dict(entry)
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, AttributeError):
            pass  # no JSON, or not that of an entry
        logger.warning("run %s: %s is damaged: the step is done again", self.run_id, name)
        return None

    def require_lock(self) -> None:
        """Refuse to go on where another process has taken over the run, as after a long suspension of this one.

        Raises:
            RunConflictError: it has.
        """
        require_lock(self.locked or self.folder, self.run_id)

    def _write(self, frame: DataFrame, step: str, partition_by: Sequence[str], more: Mapping[str, Column]) -> TablePin:
        """Write the table over whatever is left there of a process that died."""
        folder, counted = self.folder.below(f"tables/{step}"), Observation()
        columns = [*_count_and_fingerprint(frame), *[column.alias(name) for name, column in more.items()]]
        writer = frame.observe(counted, *columns).write.mode("overwrite")
        (writer.partitionBy(*partition_by) if partition_by else writer).parquet(folder.full_path())
        found = counted.get
        return TablePin(
            step=step,
            path=folder.full_path(),
            rows=int(found["rows"]),
            fingerprint=int(found["fingerprint"] or 0),
            table_schema=frame.schema.json(),
            files=self._files_below(folder),
            observed={name: found[name] for name in more},
        )

    def _read(self, pin: TablePin) -> DataFrame:
        schema = StructType.fromJson(json.loads(pin.table_schema))
        if not pin.files:
            return self.spark.createDataFrame([], schema)
        # Spark takes each path for a pattern.
        paths = [re.sub(r"([\\\[\]{}*?])", r"\\\1", f"{pin.path}/{file}") for file in pin.files]
        return self.spark.read.schema(schema).option("basePath", pin.path).parquet(*paths)

    def _verify(self, pin: TablePin) -> None:
        """Without a scan: nobody writes to the table again, so that only its files can be gone."""
        found = self._files_below(self.folder.below(f"tables/{pin.step}"))
        if lost := [name for name, size in pin.files.items() if found.get(name) != size]:
            raise PinDamagedError(
                f"run {self.run_id!r}, table of step {pin.step!r}: {len(lost)} of its {len(pin.files)} files are "
                "lost or cut short. Start a new run_id."
            )

    @staticmethod
    def _files_below(folder: Folder) -> dict[str, int]:
        # In the order of the tasks that wrote them, in which they are read.
        start = len(folder.full_path()) + 1
        return {path[start:]: size for path, size in sorted(folder.data_files().items())}


def _read_identity(folder: Folder, run_id: str) -> Any:
    try:
        return folder.read_json("run.json")
    except ValueError as error:
        raise PinDamagedError(
            f"run {run_id!r}: run.json, which says to which config and orders the run belongs, is damaged. Start a new "
            "run_id, or remove the run's folder."
        ) from error


def _sha256_of(output: Any) -> str:
    """Of a JSON-able value, as it is read back: keys as text, tuples as lists."""
    return hashlib.sha256(json.dumps(json.loads(json.dumps(output)), sort_keys=True).encode()).hexdigest()


def count_fingerprint(frame: DataFrame) -> tuple[int, int]:
    """Number of rows and sum of their 31-bit hashes; one scan. Neither depends on the order of rows."""
    found = frame.agg(*_count_and_fingerprint(frame)).first()
    return (int(found["rows"]), int(found["fingerprint"] or 0)) if found else (0, 0)


def _count_and_fingerprint(frame: DataFrame) -> list[Column]:
    maps = map_columns(frame)
    values = [F.to_json(col(name)) if name in maps else col(name) for name in frame.columns]
    row_hash = F.pmod(F.xxhash64(*values), F.lit(1 << 31))
    return [F.count(F.lit(1)).alias("rows"), F.sum(row_hash).alias("fingerprint")]
