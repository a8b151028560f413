"""One local Spark session for all tests, small and quiet."""

from collections.abc import Iterator

import pytest
from pyspark.sql import SparkSession
from spark_settings import SETTINGS

from imbalance_spark.session import spark_session


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    with spark_session("tests", "local[2]", SETTINGS) as session:
        yield session
