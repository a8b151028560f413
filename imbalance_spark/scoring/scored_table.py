"""The Delta table of scored orders: each input version is in it once for each model version, whatever is run again."""

import hashlib
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from delta.exceptions import (
    ConcurrentAppendException,
    ConcurrentTransactionException,
    ConcurrentWriteException,
    MetadataChangedException,
    ProtocolChangedException,
)
from delta.tables import DeltaTable
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from imbalance_spark.core.columns import col, delta_options, map_columns, require_columns
from imbalance_spark.core.errors import ConfigError, DataContractError
from imbalance_spark.core.files import Folder
from imbalance_spark.core.masking import masked_uri
from imbalance_spark.orders.config import SourceConfig
from imbalance_spark.orders.read import SourceOrders, read_orders
from imbalance_spark.orders.validation.rules import BrokenRows
from imbalance_spark.scoring.control_sample import CONTROL_COLUMNS
from imbalance_spark.scoring.reasons import REASONS

STAMPS = ("bundle_sha256", "batch")
"""What each scored row says besides `model_version` and `scored_at`: by which bundle, and in which batch."""

INCREMENTS = "_increments"
"""Folder in the table's own for what `score_increments` plans; Delta and its VACUUM leave such names alone."""

_NAMED = ("state", "model")
_MET_ANOTHER = (
    ConcurrentAppendException,
    ConcurrentTransactionException,
    ConcurrentWriteException,
    MetadataChangedException,
    ProtocolChangedException,
)
"""How Delta refuses a commit that another one was faster than; its exceptions have no parent of their own."""
_LISTINGS, _ATTEMPTS = 3, 20
"""How often files are listed to find them unchanged, and how often a commit is tried that meets others."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What is scored by what.

    Args:
        location: path or name of the orders.
        state: which orders these are: of a Delta table its id and version, else a hash of its files.
        model: name and version in the registry, such as `orders/3`.
        bundle_sha256: `ModelBundle.sha256` of the model; `score_batch` sets it.
        is_increment: whether the orders are what came since others, which one model scores, whichever it is.
    """

    location: str
    state: str
    model: str
    bundle_sha256: str = ""
    is_increment: bool = False

    @property
    def identity(self) -> str:
        """The same for the same orders and the same model, wherever the orders lie and whatever it is called.

        That of an increment does not depend on the model: it is scored once, also if the champion moves meanwhile.
        """
        text = json.dumps([self.state] if self.is_increment else [self.state, self.bundle_sha256])
        return f"score/{hashlib.sha256(text.encode()).hexdigest()[:32]}"


@dataclass(frozen=True, kw_only=True)
class ScoredBatch:
    """Where a batch stands in the table; but for `is_new` all is None where Delta's history has forgotten it.

    Args:
        rows: scored ones.
        quarantined: rows that were set aside, by the rule that they broke.
    """

    version: int | None
    rows: int | None
    is_new: bool
    quarantined: Mapping[str, int] | None


@dataclass(frozen=True, kw_only=True)
class BatchOrders:
    """The orders of a batch, as they were read."""

    frame: DataFrame
    location: str
    version: int | None
    """Of a Delta table; None for other files."""
    description: str
    batch: Batch


def read_batch(
    spark: SparkSession,
    model: str,
    *,
    path: str | None = None,
    table: str | None = None,
    file_format: Literal["delta", "parquet", "csv"] = "delta",
    version: int | None = None,
) -> BatchOrders:
    """The orders at a path or in a table of the catalog, and the batch that they make with this model; reads no rows.

    Args:
        model: name and version in the registry, such as `orders/3`.
        path, table: where the orders are; exactly one of them.
        version: of the Delta table, the latest by default.

    Raises:
        DataContractError: there are no such orders, or not in that format.
    """
    source = SourceConfig(path=path, table=table, format=file_format, version=version)
    if source.path is not None and source.format != "delta":
        orders, state = _settled(spark, source.path, source)
    else:
        orders = read_orders(spark, source)
        delta = DeltaTable.forName if table is not None else DeltaTable.forPath
        [described] = delta(spark, orders.location).detail().select("id").collect()
        state = f"{described['id']} version {orders.version}"
    return BatchOrders(
        frame=orders.frame,
        location=orders.location,
        version=orders.version,
        description=orders.description,
        batch=Batch(location=masked_uri(orders.location), state=state, model=model),
    )


def _settled(spark: SparkSession, path: str, source: SourceConfig) -> tuple[SourceOrders, str]:
    """The orders in files and a hash of those files: none of them came or went while they were listed to be read."""
    folder = Folder(spark, path)
    for _ in range(_LISTINGS):
        before = folder.listing_hash() if folder.exists() else ""
        orders = read_orders(spark, source)
        if folder.listing_hash() == before:
            return orders, before
    raise DataContractError(
        f"orders.source.path: the files at {path!r} change while they are listed. Score them once they are "
        "all there, or write them to a Delta table."
    )


def find_batch(spark: SparkSession, output: str, batch: Batch, writer: str | None = None) -> ScoredBatch | None:
    """The batch as the table's history has it; None where there is no table, or no such commit in its history.

    Args:
        writer: whose commit of it is new.

    Raises:
        ConfigError: something else than a Delta table is at `output`.
    """
    if not DeltaTable.isDeltaTable(spark, output):
        _refuse_other_files(spark, output)
        return None
    history = DeltaTable.forPath(spark, output).history()
    noted = {name: F.get_json_object("userMetadata", f"$.{name}") for name in ("batch", "bundle_sha256", *_NAMED)}
    # Earlier versions knew a model by its name and version alone.
    is_of_earlier = noted["bundle_sha256"].isNull() & (noted["state"] == batch.state) & (noted["model"] == batch.model)
    is_batch = (noted["batch"] == batch.identity) | is_of_earlier
    found = history.where(is_batch).select("version", "operationMetrics", "userMetadata").first()
    if found is None:
        return None
    note = json.loads(found["userMetadata"])
    return ScoredBatch(
        version=found["version"],
        rows=int(found["operationMetrics"]["numOutputRows"]),
        is_new=writer is not None and note.get("writer") == writer,
        quarantined=note.get("quarantined", {}),
    )


def next_scored_at(spark: SparkSession, output: str) -> datetime:
    """Now, or just after the table's last commit where a clock says that this one is still to come.

    So whatever clocks say, rows of a later job are later ones, by which `current_scores` chooses.
    """
    now = datetime.now(UTC)
    if not DeltaTable.isDeltaTable(spark, output):
        return now
    [last] = DeltaTable.forPath(spark, output).history(1).select(F.unix_millis("timestamp")).collect()
    return max(now, datetime.fromtimestamp(last[0] / 1000.0, UTC) + timedelta(milliseconds=1))


def write_batch(scored: DataFrame, output: str, batch: Batch, aside: BrokenRows | None = None) -> ScoredBatch:
    """Append the batch to the table, which is made if it is new; one pass over `scored`.

    Args:
        aside: the batch's rows that are not in `scored`, which the commit keeps a note of.

    Raises:
        DataContractError: the table has other columns than the scored orders.
        ConfigError: something else than a Delta table is at `output`.
    """
    quarantined = {} if aside is None else dict(aside.by_rule)
    # Delta does not say whether it skipped the commit: the one in its history names who made it.
    writer = uuid.uuid4().hex
    write_once(scored, output, batch, {"quarantined": quarantined, "writer": writer})
    found = find_batch(scored.sparkSession, output, batch, writer)
    return found or ScoredBatch(version=None, rows=None, is_new=False, quarantined=None)


def write_once(rows: DataFrame, output: str, batch: Batch, note: Mapping[str, Any] | None = None) -> None:
    """Append rows of a batch to a Delta table, which is made if it is new; one pass over `rows`.

    Delta itself keeps the batch's identity and skips a second commit of it, also one that began meanwhile or whose
    first commit has left the history. A commit that meets another one is tried again, and skipped if that was its own.

    Raises: as `check_output`.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        check_output(rows, output)
        new = {} if DeltaTable.isDeltaTable(rows.sparkSession, output) else delta_options(rows.columns)
        try:
            (
                rows.write.format("delta")
                .mode("append")
                .option("mergeSchema", True)  # a table may lack some columns, see `check_output`
                .options(**new)
                .option("txnAppId", batch.identity)
                .option("txnVersion", 1)
                .option("userMetadata", json.dumps({"batch": batch.identity, **asdict(batch), **(note or {})}))
                .save(output)
            )
        except _MET_ANOTHER:
            if attempt == _ATTEMPTS:
                raise
        else:
            return


def check_output(rows: DataFrame, output: str) -> None:
    """Refuse a path at which these rows can neither be appended to a Delta table nor begin one.

    Raises:
        DataContractError: the table has other columns than the scored orders.
        ConfigError: something else than a Delta table is at `output`.
    """
    spark = rows.sparkSession
    if DeltaTable.isDeltaTable(spark, output):
        _refuse_other_columns(rows, spark.read.format("delta").load(output), output)
    else:
        _refuse_other_files(spark, output)


def _refuse_other_files(spark: SparkSession, output: str) -> None:
    names = Folder(spark, output).names()
    # With a log that has no commit yet, the files are what a first write left when it was cut off.
    ours = ("status.json", INCREMENTS)
    others = [] if "_delta_log" in names else [name for name in names if not name.startswith(ours)]
    if others:
        raise ConfigError(
            f"{output!r} is to be a Delta table and holds {len(others)} files or folders, but no Delta table. Name "
            "another path, or one where nothing is."
        )


def _refuse_other_columns(rows: DataFrame, table: DataFrame, output: str) -> None:
    asked = {field.name: field.dataType.simpleString() for field in rows.schema.fields}
    there = {field.name: field.dataType.simpleString() for field in table.schema.fields}
    names = asked.keys() | there.keys()
    # A table of an earlier version, or one that was begun without a control sample or reasons, gets them from now on.
    for late in (STAMPS, CONTROL_COLUMNS, (REASONS,)):
        if not set(late) & there.keys():
            names -= set(late)
    if differing := sorted(name for name in names if asked.get(name) != there.get(name)):
        raise DataContractError(
            f"the table at {output!r} has other columns than these scored orders: {differing[:20]} are absent on one "
            "side, or of another type. Name another table."
        )


def current_scores(scored: DataFrame, key: str | Sequence[str]) -> DataFrame:
    """The rows of a table of scored orders that hold now: of each key the one that was scored last. Lazy; one shuffle.

    An order that was corrected, or scored again by another model, is in the table once for each time. Whoever counts
    alerts counts each order once.

    Args:
        scored: what `score_batch` wrote, with any number of batches.
        key: columns that identify an order; null is a key as any other.

    Returns:
        One row per key with all columns of `scored`. Of rows that were scored at the same time, which a key that comes
        twice in one batch has, it is the same one each time.

    Raises:
        MissingColumnsError: a column of the key is absent, or `scored_at` is.
    """
    keys = (key,) if isinstance(key, str) else tuple(key)
    require_columns(scored, {*keys, "scored_at"}, "current_scores")
    columns = [col(name) for name in scored.columns]
    maps = map_columns(scored)
    hashed = [col(name) for name in scored.columns if name not in maps]
    latest = F.max_by(F.struct(*columns), F.struct(col("scored_at"), F.xxhash64(*hashed)))
    per_key = scored.groupBy(*[col(name).alias(f"_key_{i}") for i, name in enumerate(keys)]).agg(latest.alias("_row"))
    return per_key.select("_row.*")
