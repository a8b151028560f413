"""Read an order log: Delta at a pinned version, Parquet or CSV, by path or by table name."""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NoReturn

from pyspark.errors import AnalysisException, PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from imbalance_spark.core.errors import ConfigError, DataContractError, PinDamagedError, nearest
from imbalance_spark.core.files import Folder, files_of
from imbalance_spark.orders.config import SourceConfig

_WHERE = "orders.source"
_GLOB = re.compile(r"[\[\]{}*?\\]")
_COMMIT = re.compile(r"(\d{20})\.(?:json|crc)")
_COMMIT_S = 0.5
"""How long a commit takes at most from its first file to its last one, in seconds."""
_LOSSY_SETTINGS = ("spark.sql.files.ignoreMissingFiles", "spark.sql.files.ignoreCorruptFiles")


@dataclass(frozen=True, kw_only=True)
class SourceOrders:
    """An order log, lazily read, and its source.

    Args:
        frame: one row per order.
        description: for messages, such as `Delta orders, version 3`.
        location: the path or table name.
        format: `delta`, `parquet` or `csv`; with a preparation, its name.
        version: the Delta version that the frame reads, whatever is written later; None for other formats.
    """

    frame: DataFrame
    description: str
    location: str
    format: str
    version: int | None = None


def read_orders(spark: SparkSession, source: SourceConfig) -> SourceOrders:
    """The order log that `source` names.

    Delta is read at `source.version`, or at the latest version, which is looked up once and pinned.
    The first line of a CSV file names the columns, and their types are inferred in one pass over all
    rows: a column of digits becomes a number and loses its leading zeros. Lazy otherwise.

    Raises:
        DataContractError: no such path, table or version; no data in it; data of another format.
        ConfigError: this Spark is set to skip missing or damaged files.
    """
    _refuse_lossy_reads(spark)
    if source.preparation is not None:
        return _prepared(spark, source, source.preparation)
    if source.table is not None:
        return _from_table(spark, source, source.table)
    return _from_path(spark, source, str(source.path))


def read_files(spark: SparkSession, source: SourceConfig, files: Sequence[str], schema: StructType | None) -> DataFrame:
    """Some of the Parquet or CSV files of a source, with the columns that its folders name.

    Args:
        files: their paths.
        schema: of CSV files; of Parquet files None.

    Raises:
        ConfigError: this Spark is set to skip missing or damaged files.
    """
    _refuse_lossy_reads(spark)
    paths = [_GLOB.sub(r"\\\g<0>", path) for path in files]
    reader = (
        spark.read
        if files_of(spark, str(source.path)).size(str(source.path))
        else spark.read.option("basePath", source.path)
    )
    if source.format == "csv":
        return reader.csv(paths, schema, header=True, enforceSchema=False, mode="FAILFAST")
    return reader.parquet(*paths)


def _refuse_lossy_reads(spark: SparkSession) -> None:
    # With these settings a table that lost files is read as a smaller or empty one, without an error.
    if on := [name for name in _LOSSY_SETTINGS if spark.conf.get(name, "false") == "true"]:
        raise ConfigError(
            f"{_WHERE}: {on} are true, so orders in missing or damaged files would be skipped. Set them to false."
        )


def _prepared(spark: SparkSession, source: SourceConfig, name: str) -> SourceOrders:
    # Imported here, since a preparation may need a package that contains its data.
    from imbalance_spark.orders.datasets import PREPARATIONS

    if name not in PREPARATIONS:
        raise ConfigError(f"{_WHERE}.preparation: no preparation {name!r}.{nearest([name], PREPARATIONS)}")
    if source.path is not None:
        _list_files(spark, source.path)
    frame = PREPARATIONS[name](spark, source.path)
    location = source.path or name
    return SourceOrders(frame=frame, description=f"{name} orders from {location}", location=location, format=name)


def _from_table(spark: SparkSession, source: SourceConfig, table: str) -> SourceOrders:
    try:
        spark.read.table(table)
    except PySparkException as error:
        if error.getCondition() in ("TABLE_OR_VIEW_NOT_FOUND", "PARSE_SYNTAX_ERROR", "SCHEMA_NOT_FOUND"):
            raise DataContractError(
                f"{_WHERE}.table: there is no table {table!r}. Check the name and its schema (schema.table), "
                "or give a path instead."
            ) from None
        raise
    if source.format == "delta":
        return _delta(spark, source, table)
    return SourceOrders(
        frame=spark.read.table(table), description=f"table {table}", location=table, format=source.format
    )


def _from_path(spark: SparkSession, source: SourceConfig, path: str) -> SourceOrders:
    names = _list_files(spark, path)
    is_delta = any("/_delta_log/" in name for name in names)
    if is_delta and source.format != "delta":
        _refuse_format(path, source.format, "a Delta table", "delta")
    if source.format == "delta":
        if not is_delta:
            _refuse_format(path, "delta", *_looks_like(names))
        _refuse_damaged_log(spark, path)
        return _delta(spark, source, path)
    if source.format == "csv" and _looks_like(names)[1] == "parquet":
        _refuse_format(path, "csv", *_looks_like(names))
    frame = _read_csv(spark, path) if source.format == "csv" else _read_parquet(spark, path, names)
    return SourceOrders(frame=frame, description=f"{source.format} {path}", location=path, format=source.format)


def _refuse_damaged_log(spark: SparkSession, path: str) -> None:
    """Refuse a log with an empty commit or without its latest one, which Delta itself reads as a smaller table."""
    log = Folder(spark, f"{path.rstrip('/')}/_delta_log")
    if _log_problems(log):
        time.sleep(_COMMIT_S)  # a commit that is listed while it is written may show in part
        if problems := _log_problems(log):
            raise PinDamagedError(
                f"{_WHERE}.path: the log of the Delta table {path!r} is damaged: {', '.join(problems[:5])}. Rows "
                "would be missing without an error. Restore the files, or write the table again."
            )


def _log_problems(log: Folder) -> list[str]:
    sizes = log.sizes_below()
    versions = {name: int(match[1]) for name in sizes if (match := _COMMIT.fullmatch(name))}
    latest = max((version for name, version in versions.items() if name.endswith(".json")), default=None)
    empty = [f"{name} is empty" for name in versions if name.endswith(".json") and sizes[name] == 0]
    orphans = [
        f"{name} belongs to a commit that is not there"
        for name, version in versions.items()
        if name.endswith(".crc") and latest is not None and version > latest
    ]
    return sorted([*empty, *orphans])


def _read_csv(spark: SparkSession, path: str) -> DataFrame:
    # Strict: a ragged line, or a file with other columns, must fail and not turn into nulls.
    return spark.read.csv(path, header=True, inferSchema=True, enforceSchema=False, mode="FAILFAST")


def _read_parquet(spark: SparkSession, path: str, names: list[str]) -> DataFrame:
    try:
        return spark.read.parquet(path)
    except Exception as error:
        if "CANNOT_READ_FILE_FOOTER" in str(error) or "UNABLE_TO_INFER_SCHEMA" in str(error):
            _refuse_format(path, "parquet", *_looks_like(names))
        raise


def _delta(spark: SparkSession, source: SourceConfig, location: str) -> SourceOrders:
    version = _latest_version(spark, source, location) if source.version is None else source.version
    reader = spark.read.option("versionAsOf", version)
    try:
        frame = reader.table(location) if source.table else reader.format("delta").load(location)
    except AnalysisException as error:
        if "VERSION" in str(error.getCondition()) or "TIME_TRAVEL" in str(error.getCondition()):
            _refuse_version(spark, source, location, version)
        raise
    description = f"Delta {location}, version {version}"
    return SourceOrders(frame=frame, description=description, location=location, format="delta", version=version)


def _history(spark: SparkSession, source: SourceConfig, location: str, limit: int | None = None) -> DataFrame:
    from delta.tables import DeltaTable

    try:
        table = DeltaTable.forName(spark, location) if source.table else DeltaTable.forPath(spark, location)
    except AnalysisException as error:
        if error.getCondition() == "DELTA_MISSING_DELTA_TABLE":
            raise DataContractError(
                f"{_WHERE}.table: {location!r} is not a Delta table. Set format: parquet (or csv) to read it as it is, "
                "without a pinned version."
            ) from None
        raise
    return table.history(limit) if limit else table.history()


def _latest_version(spark: SparkSession, source: SourceConfig, location: str) -> int:
    return int(_history(spark, source, location, 1).collect()[0]["version"])


def _refuse_version(spark: SparkSession, source: SourceConfig, location: str, version: int) -> NoReturn:
    known = _history(spark, source, location).agg(F.min("version"), F.max("version")).collect()[0]
    raise DataContractError(
        f"{_WHERE}.version: {location!r} cannot be read at version {version}; its history has versions {known[0]} to "
        f"{known[1]}, of which vacuum removes the older ones after the retention time. "
        "Choose one of these, or drop version to read the latest."
    )


def _list_files(spark: SparkSession, path: str) -> list[str]:
    """Up to a thousand file names below a path; an absent or empty path is an error."""
    files = files_of(spark, path)
    if not files.exists(path):
        raise DataContractError(f"{_WHERE}.path: nothing is at {path!r}. Check the path, or write the orders there.")
    if files.size(path) is not None:
        return [path]
    names = [name for name, _, _ in islice(files.below(path), 1000)]
    # A file whose own name begins with a dot or an underscore is a marker, not data.
    if not any(name.rsplit("/", 1)[1][0] not in "._" for name in names):
        raise DataContractError(f"{_WHERE}.path: the folder {path!r} contains no data. Write the orders there first.")
    return names


def _looks_like(names: list[str]) -> tuple[str, str | None]:
    for ending in ("parquet", "csv"):
        if any(name.endswith(f".{ending}") for name in names):
            return f"plain {'Parquet' if ending == 'parquet' else 'CSV'}", ending
    return "files of another kind", None


def _refuse_format(path: str, format: str, found: str, fix: str | None) -> NoReturn:
    advice = f"Set format: {fix}." if fix else "Convert them to Delta, Parquet or CSV."
    raise DataContractError(f"{_WHERE}.format: {path!r} is not {format}, it contains {found}. {advice}")
