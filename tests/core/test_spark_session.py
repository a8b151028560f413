"""Which settings a session takes: those of spark-submit before those of the config."""

from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from imbalance_spark.core import spark_session as module
from imbalance_spark.core.spark_session import fit_shuffles, settings_beside, shuffles_of_a_run

PARTITIONS = "spark.sql.shuffle.partitions"


def test_the_master_of_spark_submit_is_the_one_that_runs() -> None:
    assert "spark.master" not in settings_beside({"spark.master": "spark://host:7077"}, "local[2]", {})


def test_the_master_of_a_config_holds_where_spark_submit_was_given_none() -> None:
    # Of itself it says local[*].
    assert settings_beside({"spark.master": "local[*]"}, "local[2]", {})["spark.master"] == "local[2]"
    assert settings_beside({}, None, {})["spark.master"] == "local[*]"


def test_settings_of_spark_submit_come_before_those_of_the_config() -> None:
    config = {"spark.executor.memory": "9g", "spark.sql.shuffle.partitions": "77"}
    added = settings_beside({"spark.executor.memory": "1g"}, None, config)
    assert "spark.executor.memory" not in added
    assert added["spark.sql.shuffle.partitions"] == "77"


def test_no_default_of_a_cluster_moves_a_row_across_a_time_split() -> None:
    zone = "spark.sql.session.timeZone"
    assert settings_beside({zone: "Asia/Tokyo"}, None, {})[zone] == "UTC"


def test_shuffles_follow_from_slots_and_rows_until_the_run_ends(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = spark.newSession()
    session.conf.unset(PARTITIONS)
    default = session.conf.get(PARTITIONS)
    session.range(10_000).write.parquet(f"{tmp_path}/rows")
    rows = session.read.parquet(f"{tmp_path}/rows")
    with shuffles_of_a_run(session):
        fit_shuffles(rows)
        assert session.conf.get(PARTITIONS) == str(2 * spark.sparkContext.defaultParallelism)
    assert session.conf.get(PARTITIONS) == default
    size = sum(file.stat().st_size for file in tmp_path.glob("rows/*.parquet"))
    monkeypatch.setattr(module, "_PARTITION_BYTES", size // 50)
    with shuffles_of_a_run(session):
        fit_shuffles(rows)
        assert int(session.conf.get(PARTITIONS) or 0) in (50, 51)


def test_a_number_of_shuffle_partitions_that_somebody_set_stays(spark: SparkSession) -> None:
    session = spark.newSession()
    session.conf.set(PARTITIONS, "77")
    with shuffles_of_a_run(session):
        fit_shuffles(session.range(10))
        assert session.conf.get(PARTITIONS) == "77"
    assert session.conf.get(PARTITIONS) == "77"
