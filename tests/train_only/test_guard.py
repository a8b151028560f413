"""The guard: no plan that the optimiser makes lets a row of another fold through unseen."""

from pathlib import Path

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from imbalance_spark.core.errors import LeakageError, MissingColumnsError
from imbalance_spark.train_only.guard import leakage_errors, only_train

USES = {
    "count": lambda rows: rows.count(),
    "one column": lambda rows: rows.select("order_id").collect(),
    "no column": lambda rows: rows.select(F.lit(1)).collect(),
    "filter that drops the row": lambda rows: rows.where("label = 1").count(),
    "filter on the split": lambda rows: rows.where("split = 'train'").select("label").collect(),
    "aggregate": lambda rows: rows.groupBy("label").count().collect(),
    "join": lambda rows: rows.join(rows.select("order_id").where("label = 1"), "order_id", "inner").count(),
}


def some_rows(spark: SparkSession, stray: str | None) -> DataFrame:
    """1,000 training rows, but for row 500 (label 0), whose split is `stray`."""
    is_stray = F.col("id") == 500
    split = F.when(is_stray, F.lit(stray).cast("string")).otherwise("train")
    return spark.range(1000).select(
        F.col("id").alias("order_id"), (F.col("id") % 7 == 0).cast("int").alias("label"), split.alias("split")
    )


@pytest.fixture(scope="module")
def tables(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> dict[str, DataFrame]:
    """The same 1,000 rows with one test row: computed, from Delta, from Parquet, by split folder."""
    folder: Path = tmp_path_factory.mktemp("guard")
    rows = some_rows(spark, "test")
    rows.repartition(4, "label").write.format("delta").save(str(folder / "delta"))
    rows.repartition(4, "label").write.parquet(str(folder / "parquet"))
    rows.write.partitionBy("split").format("delta").save(str(folder / "folders"))
    return {
        "computed": rows,
        "delta": spark.read.format("delta").load(str(folder / "delta")),
        "parquet": spark.read.parquet(str(folder / "parquet")),
        "folders": spark.read.format("delta").load(str(folder / "folders")),
    }


@pytest.mark.parametrize(
    ("source", "use"),
    [
        *[(source, use) for source in ("delta", "parquet") for use in USES],
        *[(source, use) for source in ("computed", "folders") for use in ("count", "filter that drops the row")],
    ],
)
def test_one_test_row_fails_whatever_is_done_with_the_rows(tables: dict[str, DataFrame], source: str, use: str) -> None:
    with pytest.raises(LeakageError, match=r"^sampler: a row that is not a training row"), leakage_errors():
        USES[use](only_train(tables[source], "sampler"))


@pytest.mark.parametrize("stray", ["validation", "gap", "Train", "", None])
def test_any_other_value_of_split_fails(spark: SparkSession, stray: str | None) -> None:
    with pytest.raises(LeakageError), leakage_errors():
        only_train(some_rows(spark, stray), "sampler").count()


def test_training_rows_pass_unchanged_without_a_job(spark: SparkSession) -> None:
    rows = some_rows(spark, "train")
    spark.sparkContext.setJobGroup("guard", "guard")
    guarded = only_train(rows, "sampler")
    assert not spark.sparkContext.statusTracker().getJobIdsForGroup("guard")
    spark.sparkContext.setLocalProperty("spark.jobGroup.id", None)
    assert guarded.columns == rows.columns
    assert sorted(guarded.collect()) == sorted(rows.collect())


def test_a_frame_without_split_is_refused(spark: SparkSession) -> None:
    with pytest.raises(MissingColumnsError, match=r"sampler: the input has no column \['split'\]"):
        only_train(spark.range(3), "sampler")


def test_another_failure_is_not_taken_for_a_leak(spark: SparkSession) -> None:
    with pytest.raises(Exception, match="other") as caught, leakage_errors():
        spark.range(3).select(F.raise_error(F.lit("other"))).collect()
    assert not isinstance(caught.value, LeakageError)
