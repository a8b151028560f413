"""Instants of a log as numbers: microseconds and days since 1970, in UTC whatever the session's time zone."""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from imbalance_spark.core.columns import col, require_columns
from imbalance_spark.core.errors import DataContractError

SECOND_US = 1_000_000
DAY_US = 86_400 * SECOND_US


def time_us(frame: DataFrame, time: str, stage: str) -> Column:
    """The column `time` in microseconds; a date is its first instant, a time without zone is UTC.

    Raises:
        MissingColumnsError: there is no column `time`.
        DataContractError: it is neither a timestamp nor a date.
    """
    require_columns(frame, (time,), stage)
    found = frame.schema[time].dataType
    if isinstance(found, T.TimestampType):
        return F.unix_micros(col(time))
    if isinstance(found, T.DateType):
        return F.unix_date(col(time)) * F.lit(DAY_US)
    if isinstance(found, T.TimestampNTZType):
        return _without_zone_us(col(time))
    raise DataContractError(
        f"{stage}: time column {time!r} is {found.simpleString()}, not a timestamp or a date. Cast it upstream."
    )


def utc_day(instant: Column) -> Column:
    """The day of an instant in microseconds, counted from 1970."""
    return F.floor(instant / F.lit(DAY_US))


def _without_zone_us(time: Column) -> Column:
    # A cast to timestamp would read the session's zone, and a zone must never move a row.
    seconds = (F.hour(time) * 3600 + F.minute(time) * 60).cast("bigint")
    within_minute = (F.extract(F.lit("SECOND"), time) * SECOND_US).cast("bigint")
    return F.unix_date(time.cast("date")) * F.lit(DAY_US) + seconds * F.lit(SECOND_US) + within_minute
