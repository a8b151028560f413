"""What tests of jobs share: orders, a store with a registered model, and the processes that run the jobs."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from support import scoring_store
from support.forks import Forks, forks

from imbalance_spark.orders.datasets.synthetic import generate_orders


@pytest.fixture(scope="session")
def resumable_home(tmp_path_factory: pytest.TempPathFactory, spark: SparkSession) -> Path:
    """A folder with `orders`, 6,000 rows of a Delta table, which the runs of `resumable` read."""
    home = tmp_path_factory.mktemp("resumable")
    orders = generate_orders(spark, rows=6_000, prevalence=0.05, seed=7, partitions=2)
    orders.write.format("delta").save(str(home / "orders"))
    return home


@pytest.fixture(scope="session")
def forked_jobs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    with forks(tmp_path_factory.mktemp("forks") / "jobs") as server:
        yield server


@pytest.fixture(scope="session")
def scoring_home(tmp_path_factory: pytest.TempPathFactory, spark: SparkSession) -> Path:
    """What `scoring_store.fill` makes."""
    home = tmp_path_factory.mktemp("scoring")
    scoring_store.fill(spark, home)
    return home
