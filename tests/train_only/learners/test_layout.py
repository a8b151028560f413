"""Training tables as they lie: one file a worker is read without a shuffle, anything else is not taken for it."""

from pathlib import Path

import pytest
from pyspark.sql import DataFrame, SparkSession
from support.model_rows import FEATURES, as_spark, model_rows, start_of

from imbalance_spark.calibration import PriorCorrection
from imbalance_spark.train_only.config import BoosterParams, TrainingConfig
from imbalance_spark.train_only.learners.layout import laid_out_for, one_file_a_worker
from imbalance_spark.train_only.learners.xgboost import fit_booster

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


def test_the_same_rows_give_the_same_model_whatever_their_files(spark: SparkSession, tmp_path: Path) -> None:
    rows = model_rows(800, seed=1, intercept=-2.5)
    shuffled = rows.sample(frac=1.0, random_state=3)
    boosters = []
    for name, files in (("one", [rows]), ("five", [shuffled[part::5] for part in range(5)])):
        for part in files:
            as_spark(spark, part).write.mode("append").parquet(str(tmp_path / name))
        source = spark.read.parquet(str(tmp_path / name))
        laid_out = laid_out_for(source, key=["order_id"], num_workers=2, seed=7)
        laid_out.write.parquet(str(tmp_path / f"{name} laid out"))
        table = spark.read.parquet(str(tmp_path / f"{name} laid out"))
        positives = table.where("y = 1").groupBy("_metadata.file_path", "is_early_stopping").count().collect()
        assert len(positives) == 4, "a worker lacks positives, in the slice or outside it"
        training = TrainingConfig(engine="xgboost_spark", num_workers=2, rounds=5)
        booster = fit_booster(
            table, features=FEATURES, training=training, params=BoosterParams(),
            start=start_of(0.1), correction=PriorCorrection.identity(), strategy="none",
        )  # fmt: skip
        boosters.append(booster.model_bytes)
    assert boosters[0] == boosters[1]
