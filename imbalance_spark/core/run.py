"""A run as a sequence of steps: each is done once, logged, and verified when its result is read again."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from delta.tables import DeltaTable
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from imbalance_spark.core.columns import col
from imbalance_spark.core.errors import PinDamagedError, RunConflictError
from imbalance_spark.core.files import Folder
from imbalance_spark.core.run_lock import claim
from imbalance_spark.core.version import __version__

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class TablePin:
    """A step's Delta table as it was when the step ended.

    `fingerprint` is the sum of 31-bit row hashes: equal for equal rows in any order.
    """

    step: str
    path: str
    version: int
    rows: int
    fingerprint: int


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run of a job: a folder that belongs to one config and one input, with a log of its finished steps.

    The step log holds one JSON file per step, written once the step's result is complete. A step in the log is read,
    not redone.
    """

    spark: SparkSession
    folder: Folder
    run_id: str
    config_hash: str

    @classmethod
    def open(cls, spark: SparkSession, output: str, run_id: str, config_hash: str, source: Mapping[str, Any]) -> "Run":
        """Start a run, or resume the one with that id; this process holds its lock until `locks_released` ends.

        Raises:
            RunConflictError: the id belongs to another config or input, or another process is working on it.
        """
        folder = Folder(spark, f"{output}/{run_id}")
        claim(folder, run_id)
        identity = {"run": run_id, "config_hash": config_hash, "source": dict(source), "code_version": __version__}
        if not folder.exists("run.json"):
            folder.write_json("run.json", identity)
        found = folder.read_json("run.json")
        differing = [name for name in ("config_hash", "source") if found[name] != identity[name]]
        if differing:
            was = {name: found[name] for name in differing}
            now = {name: identity[name] for name in differing}
            raise RunConflictError(
                f"run_id {run_id!r}: it was started with {was}, this is {now}. Use another run_id, or none."
            )
        return cls(spark=spark, folder=folder, run_id=run_id, config_hash=config_hash)

    def is_done(self, step: str) -> bool:
        """Whether the step is finished."""
        return self.folder.exists(f"ledger/{step}.json")

    def table(self, step: str, build: Callable[[], DataFrame]) -> DataFrame:
        """The step's table, built and written unless it exists.

        Scans: what `build` reads, once; then the written table, for its fingerprint.

        Raises:
            PinDamagedError: the table no longer holds the logged rows.
        """
        if self.is_done(step):
            pin = TablePin(**self.folder.read_json(f"ledger/{step}.json")["output"])
            logger.info("step %s: done before, %d rows", step, pin.rows)
            self._verify(pin)
        else:
            path = self._table_path(step)
            if not DeltaTable.isDeltaTable(self.spark, path):
                self._write(build(), step, path)
            pin = self._pin(step, path)
            self.record(step, asdict(pin))
        return self._read(pin)

    def pin(self, step: str) -> TablePin:
        """The logged version, rows and fingerprint of a table step."""
        return TablePin(**self.folder.read_json(f"ledger/{step}.json")["output"])

    def document(self, step: str, build: Callable[[], Any]) -> Any:
        """The step's JSON-able result, computed by `build` unless the step is finished."""
        if not self.is_done(step):
            self.record(step, build())
        return self.read_document(step)

    def read_document(self, step: str) -> Any:
        """The JSON-able result of a finished step."""
        return self.folder.read_json(f"ledger/{step}.json")["output"]

    def record(self, step: str, output: Any) -> None:
        """Log a step as finished, with its JSON-able result."""
        entry = {"run": self.run_id, "step": step, "config_hash": self.config_hash, "code_version": __version__}
        self.folder.write_json(f"ledger/{step}.json", {**entry, "output": output})

    def _write(self, frame: DataFrame, step: str, path: str) -> None:
        (
            frame.write.format("delta")
            .option("txnAppId", f"{self.run_id}/{step}")
            .option("txnVersion", 1)
            .option("userMetadata", f"{self.run_id}/{step}/{self.config_hash}")
            .save(path)
        )

    def _table_path(self, step: str) -> str:
        return self.folder.below(f"tables/{step}").full_path()

    def _read(self, pin: TablePin) -> DataFrame:
        return self.spark.read.format("delta").option("versionAsOf", pin.version).load(pin.path)

    def _pin(self, step: str, path: str) -> TablePin:
        version = DeltaTable.forPath(self.spark, path).history(1).select("version").first()
        latest = int(version["version"]) if version else 0
        pin = TablePin(step=step, path=path, version=latest, rows=0, fingerprint=0)
        rows, fingerprint = count_fingerprint(self._read(pin))
        return TablePin(step=step, path=path, version=latest, rows=rows, fingerprint=fingerprint)

    def _verify(self, pin: TablePin) -> None:
        # Delta's log still counts the rows of lost files: only a scan notices.
        found = count_fingerprint(self._read(pin))
        if found != (pin.rows, pin.fingerprint):
            raise PinDamagedError(
                f"run {self.run_id!r}, table of step {pin.step!r}, version {pin.version}: expected {pin.rows} rows "
                f"with fingerprint {pin.fingerprint}, found {found[0]} with {found[1]}. Start a new run_id."
            )


def count_fingerprint(frame: DataFrame) -> tuple[int, int]:
    """Number of rows and sum of their 31-bit hashes; one scan. Neither depends on the order of rows."""
    row_hash = F.pmod(F.xxhash64(*[col(name) for name in frame.columns]), F.lit(1 << 31))
    found = frame.agg(F.count(F.lit(1)).alias("rows"), F.sum(row_hash).alias("fingerprint")).first()
    return (int(found["rows"]), int(found["fingerprint"] or 0)) if found else (0, 0)
