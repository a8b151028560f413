"""Training tables as they lie: one file a worker is read without a shuffle, anything else is not taken for it."""

from pathlib import Path

import pytest
from pyspark.sql import DataFrame, SparkSession

from imbalance_spark.learners.layout import one_file_a_worker

SETTING = "spark.sql.files.maxPartitionBytes"


def written(spark: SparkSession, path: Path, files: int, format_: str) -> DataFrame:
    spark.range(10_000).repartition(files, "id").write.format(format_).save(str(path))
    return spark.read.format(format_).load(str(path))


@pytest.mark.parametrize("format_", ["delta", "parquet"])
@pytest.mark.parametrize(("files", "is_laid_out"), [(2, True), (1, False), (3, False)])
def test_only_one_file_a_worker_is_read_as_it_lies(
    spark: SparkSession, tmp_path: Path, files: int, is_laid_out: bool, format_: str
) -> None:
    table, before = written(spark, tmp_path / "odd name %20", files, format_), spark.conf.get(SETTING)
    with one_file_a_worker(table, 2) as found:
        assert found is is_laid_out
        if found:
            assert table.select("id").rdd.getNumPartitions() == 2
    assert spark.conf.get(SETTING) == before
