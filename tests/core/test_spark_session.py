"""Which settings a session takes: those of spark-submit before those of the config."""

from imbalance_spark.core.spark_session import settings_beside


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
