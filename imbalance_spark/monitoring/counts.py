"""The Delta tables of daily counts: what each batch of scored orders adds, and what labels say of each day."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import reduce
from typing import cast

import pandas as pd
from delta.tables import DeltaTable
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from imbalance_spark.core.columns import col, refuse_columns, require_columns
from imbalance_spark.core.errors import ConfigError
from imbalance_spark.core.spark_errors import CONTRACT_BROKEN
from imbalance_spark.monitoring.cells import GRID
from imbalance_spark.monitoring.config import MonitoringConfig
from imbalance_spark.monitoring.drift import ColumnValues
from imbalance_spark.orders.labels import LabelEncoding
from imbalance_spark.scoring.bundle import DECISION, PROBABILITY
from imbalance_spark.scoring.control_sample import FOR_REVIEW, REVIEW_PROPENSITY

DAILY_COUNTS, LABEL_COUNTS = "daily_counts", "label_counts"
_VERSION, _SCORED_AT, _DAY = "model_version", "scored_at", "day"
_LONGEST_COMMIT = timedelta(days=7)
"""A batch is committed within so many days of its `scored_at`: files of older batches are not read again."""

_CELLS = ("kind", "name", "value", "bin", "flagged")


@dataclass(frozen=True, kw_only=True)
class ScoredOrders:
    """The table of scored orders at one version, with the day of each.

    Args:
        frame: its columns, and `day` (date, UTC).
        version: of the Delta table, read throughout.
    """

    frame: DataFrame
    version: int


def read_scored(spark: SparkSession, config: MonitoringConfig, time: str | None) -> ScoredOrders:
    """Pin the latest version of the table; reads no rows.

    Args:
        time: the orders' timestamp or date column; None takes the day on which they were scored.

    Raises:
        ConfigError: there is no Delta table.
        DataContractError: it is not one that `jobs/score.py` writes for two classes.
    """
    if not DeltaTable.isDeltaTable(spark, config.scored):
        raise ConfigError(
            f"monitoring.scored: there is no Delta table at {config.scored!r}. Name the output of jobs/score.py."
        )
    version = int(DeltaTable.forPath(spark, config.scored).history(1).collect()[0]["version"])
    frame = spark.read.format("delta").option("versionAsOf", version).load(config.scored)
    require_columns(frame, {PROBABILITY, DECISION, _VERSION, _SCORED_AT, *([] if time is None else [time])}, "monitor")
    refuse_columns(frame, (_DAY,), "monitor")
    return ScoredOrders(frame=frame.select("*", F.to_date(col(time or _SCORED_AT)).alias(_DAY)), version=version)


def new_batches(spark: SparkSession, config: MonitoringConfig, scored: ScoredOrders) -> DataFrame:
    """The rows of batches that the daily counts do not have yet. Lazy, but for one look at the counts.

    A batch is known by its model version and `scored_at`. Delta skips the files of batches that are a week older than
    the last one that was counted.
    """
    if not DeltaTable.isDeltaTable(spark, f"{config.output}/{DAILY_COUNTS}"):
        return scored.frame
    batches = daily_counts(spark, config).select(_VERSION, _SCORED_AT).distinct()
    last = batches.agg(F.max(_SCORED_AT)).collect()[0][0]
    if last is None:
        return scored.frame
    recent = batches.where(F.col(_SCORED_AT) > F.lit(last - _LONGEST_COMMIT))
    return scored.frame.where(F.col(_SCORED_AT) > F.lit(last - _LONGEST_COMMIT)).join(
        F.broadcast(recent), on=[_VERSION, _SCORED_AT], how="left_anti"
    )


def count_scored(orders: DataFrame, columns: ColumnValues) -> DataFrame:
    """Counts of scored orders by day, batch and cell. Lazy; one scan, in which each row is counted once per column.

    Args:
        orders: one row per scored order, with `day`.

    Returns:
        day (date), model_version (string), scored_at (timestamp), kind (`score`, `segment` or `feature`), name (of the
        column, empty for `score`), value (string), bin (int, of the probability; null for features), flagged (boolean),
        n (bigint), p and variance (double, sums of p and of p (1 - p)).
    """
    p, none = col(PROBABILITY), F.lit(None).cast("int")
    cells = [_cell("score", "", F.lit(""), GRID.bin_column(p))]
    for kind, name in columns.names:
        value = columns.grouped(kind, name)
        cells.append(_cell(kind, name, value, GRID.bin_column(p) if kind == "segment" else none))
    rows = orders.select(_DAY, _VERSION, _SCORED_AT, p.alias("p"), F.inline(F.array(*cells)))
    return rows.groupBy(_DAY, _VERSION, _SCORED_AT, *_CELLS).agg(*_sums())


def _sums() -> list[Column]:
    """What is kept of the rows of a cell: `n`, `p` and `variance`."""
    p = F.col("p")
    return [F.count(F.lit(1)).alias("n"), F.sum(p).alias("p"), F.sum(p * (1.0 - p)).alias("variance")]


def _cell(kind: str, name: str, value: Column, bin_number: Column) -> Column:
    flagged = col(DECISION) == 1
    parts = {"kind": F.lit(kind), "name": F.lit(name), "value": value, "bin": bin_number, "flagged": flagged}
    return F.struct(*[column.alias(part) for part, column in parts.items()])


def append_counts(counts: DataFrame, config: MonitoringConfig, version: int) -> None:
    """Append the counts of new batches, in one pass over them; Delta skips a second write of one scored version."""
    (
        counts.write.format("delta")
        .mode("append")
        .option("txnAppId", f"monitor/{config.scored}")
        .option("txnVersion", version)
        .save(f"{config.output}/{DAILY_COUNTS}")
    )


def daily_counts(spark: SparkSession, config: MonitoringConfig) -> DataFrame:
    """The table that `append_counts` writes."""
    return spark.read.format("delta").load(f"{config.output}/{DAILY_COUNTS}")


def collect_days(spark: SparkSession, config: MonitoringConfig) -> pd.DataFrame:
    """A row per day and model version: `day`, `model_version`, `n`, `alerts`, `p`; as many as days times versions."""
    of_score = daily_counts(spark, config).where("kind = 'score'")
    alerts = F.sum(F.when(F.col("flagged"), F.col("n")).otherwise(0)).alias("alerts")
    found = of_score.groupBy(_DAY, _VERSION).agg(F.sum("n").alias("n"), alerts, F.sum("p").alias("p"))
    return found.orderBy(_DAY, _VERSION).toPandas()


def collect_cells(spark: SparkSession, config: MonitoringConfig, days: Sequence[date], version: str) -> pd.DataFrame:
    """The counts of some days and one model version, summed: the columns `kind` to `variance` of `count_scored`.

    Bounded: 4,096 rows for the score and for each of at most 52 values of a segment, 106 for a feature.
    """
    asked = daily_counts(spark, config).where(F.col(_DAY).isin(*days) & (F.col(_VERSION) == version))
    return asked.groupBy(*_CELLS).agg(*[F.sum(name).alias(name) for name in ("n", "p", "variance")]).toPandas()


def write_label_counts(
    spark: SparkSession, config: MonitoringConfig, scored: ScoredOrders, *, key: Sequence[str], label: str,
    encoding: LabelEncoding, today: date,
) -> None:  # fmt: skip
    """Count each day's orders by class, again as long as labels may come; one scan of the days of the last
    `label_delay_days` and of what was younger than that at the last run, joined with the labels. Days after `today`
    stay as they are, so that the report of an earlier day takes nothing from later ones.

    The table has day, model_version, bin, flagged, weight (double: orders that a labelled one stands for, 0 for
    one that was not for review; 1 without a control sample), label (int; null is unknown), known_days (int, from the
    day to `known_at`; null without), n, p, variance, and final (boolean): whether the day's labels are complete.

    Raises:
        ConfigError: there is no table of labels.
        DataContractError: it has two rows of one key, or lacks a column.
    """
    labels = _read_labels(spark, config, key, label, encoding, today)
    since = _first_open_day(spark, config)
    if since is not None and since > today:
        return
    rows = scored.frame if since is None else scored.frame.where(F.col(_DAY) >= F.lit(since))
    rows = rows.where(F.col(_DAY) <= F.lit(today))
    is_final = F.datediff(F.lit(today), F.col(_DAY)) >= config.label_delay_days
    known = F.col("label")
    if config.absent_is_negative:
        known = F.when(known.isNull() & is_final, F.lit(0)).otherwise(known)
    p = col(PROBABILITY)
    counted = (
        rows.select(
            *map(col, key), _DAY, _VERSION, p.alias("p"), (col(DECISION) == 1).alias("flagged"),
            _weight(rows).alias("weight"),
        )
        .join(labels, on=list(key), how="left")
        .select(
            _DAY, _VERSION, "p", "flagged", "weight", GRID.bin_column(F.col("p")).alias("bin"), known.alias("label"),
            F.datediff("known_at", F.col(_DAY)).alias("known_days"), is_final.alias("final"),
        )
        .groupBy(_DAY, _VERSION, "bin", "flagged", "weight", "label", "known_days", "final")
        .agg(*_sums())
    )  # fmt: skip
    target = f"{config.output}/{LABEL_COUNTS}"
    writer = counted.write.format("delta").mode("overwrite")
    if since is not None:
        writer = writer.option("replaceWhere", f"day >= '{since.isoformat()}' AND day <= '{today.isoformat()}'")
    writer.save(target)


def collect_labels(spark: SparkSession, config: MonitoringConfig, until: date) -> pd.DataFrame:
    """The table of `write_label_counts` by day and version, without cells: `day`, `model_version`, `label`,
    `known_days`, `final`, `n`; at most days times versions times the distinct delays.

    Args:
        until: last day, included.
    """
    table = spark.read.format("delta").load(f"{config.output}/{LABEL_COUNTS}").where(F.col(_DAY) <= F.lit(until))
    return (
        table.groupBy(_DAY, _VERSION, "label", "known_days", "final")
        .agg(F.sum("n").alias("n"))
        .orderBy(_DAY, _VERSION, "label", "known_days")
        .toPandas()
    )


def collect_labelled_cells(
    spark: SparkSession, config: MonitoringConfig, days: Sequence[date], version: str
) -> pd.DataFrame:
    """All orders of some days and one version by `bin`, `flagged`, `weight` and `is_labelled`: `n`, `positives`, `p`,
    `variance`. At most 8,192 rows for each share of a control sample that the days have.
    """
    table = spark.read.format("delta").load(f"{config.output}/{LABEL_COUNTS}")
    asked = table.where(F.col(_DAY).isin(*days) & (F.col(_VERSION) == version))
    sums = [F.sum(name).alias(name) for name in ("n", "p", "variance")]
    positives = F.sum(F.col("n") * F.coalesce("label", F.lit(0))).alias("positives")
    is_labelled = F.col("label").isNotNull().alias("is_labelled")
    return asked.groupBy("bin", "flagged", "weight", is_labelled).agg(*sums, positives).toPandas()


def _weight(scored: DataFrame) -> Column:
    """Orders that a row stands for once its label is known; one scored before a control sample stands for itself."""
    if REVIEW_PROPENSITY not in scored.columns:
        return F.lit(1.0)
    weight = F.when(col(FOR_REVIEW), 1.0 / col(REVIEW_PROPENSITY)).otherwise(0.0)
    return F.when(col(REVIEW_PROPENSITY).isNull(), 1.0).otherwise(weight)


def _first_open_day(spark: SparkSession, config: MonitoringConfig) -> date | None:
    """The first day whose labels were not complete at the last run; None before the first."""
    target = f"{config.output}/{LABEL_COUNTS}"
    if not DeltaTable.isDeltaTable(spark, target):
        return None
    closed = spark.read.format("delta").load(target).where("final").agg(F.max(_DAY)).collect()[0][0]
    return None if closed is None else cast(date, closed) + timedelta(days=1)


def _read_labels(
    spark: SparkSession, config: MonitoringConfig, key: Sequence[str], label: str, encoding: LabelEncoding,
    today: date,
) -> DataFrame:  # fmt: skip
    if config.labels is None or not DeltaTable.isDeltaTable(spark, config.labels):
        raise ConfigError(f"monitoring.labels: there is no Delta table at {config.labels!r}. Name one, or null.")
    frame = spark.read.format("delta").load(config.labels)
    needed = {*key, label, *([] if config.known_at is None else [config.known_at])}
    require_columns(frame, needed, "monitoring.labels")
    is_key = reduce(Column.__and__, [col(name).isNotNull() for name in key])
    known_at = F.lit(None).cast("timestamp") if config.known_at is None else col(config.known_at).cast("timestamp")
    rows = frame.where(is_key).select(*map(col, key), encoding.encode(col(label)).alias("label"), known_at.alias("at"))
    # What is known today: a day may be looked at again later.
    rows = rows.where(F.col("at").isNull() | (F.to_date("at") <= F.lit(today)))
    per_key = rows.where("label is not null").groupBy(*map(col, key)).agg(
        F.count(F.lit(1)).alias("rows"), F.first("label").alias("label"), F.min("at").alias("known_at")
    )  # fmt: skip
    message = (
        f"{CONTRACT_BROKEN}monitoring.labels: two rows have one key. Keep the last outcome of each order in the table "
        "of labels."
    )
    return per_key.select(
        *map(col, key), "known_at", F.when(F.col("rows") > 1, F.raise_error(F.lit(message)).cast("int"))
        .otherwise(F.col("label")).alias("label"),
    )  # fmt: skip
