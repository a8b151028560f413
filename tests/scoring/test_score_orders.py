"""Scoring a table: the numbers of the model in memory, whatever the orders hold and however they are laid out."""

import dataclasses
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xgboost
from pyspark.errors import PythonException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from support.orders_to_score import CATEGORICAL, COUNTRIES, NUMERIC, STORES, as_table, bundle, orders

from imbalance_spark.calibration import PriorCorrection
from imbalance_spark.core.columns import col, delta_options
from imbalance_spark.core.errors import DataContractError
from imbalance_spark.orders.model_inputs import CategoryEncoding, feature_column
from imbalance_spark.scoring.bundle import ModelBundle
from imbalance_spark.scoring.score_orders import added_columns, score_orders
from imbalance_spark.scoring.scorer import Scorer

NOW = datetime(2024, 5, 1, 12, 30, tzinfo=UTC)


@pytest.fixture(scope="module")
def model() -> ModelBundle:
    return bundle()


def scored(table: DataFrame, model: ModelBundle) -> DataFrame:
    return score_orders(table, model, model_version="3", scored_at=NOW)


def test_rows_have_the_scores_of_the_model_in_memory(spark: SparkSession, model: ModelBundle) -> None:
    frame = orders()
    found = scored(as_table(spark, frame), model).orderBy("order_id").toPandas()
    expected = Scorer(model).score(frame)
    assert found["probability"].tolist() == expected["probability"].tolist()
    assert found["decision"].tolist() == expected["decision"].tolist()
    assert 0 < expected["decision"].sum() < len(frame)


def test_scores_are_those_of_xgboost_corrected_and_calibrated_by_the_formulas(
    spark: SparkSession, model: ModelBundle
) -> None:
    frame = orders()
    codes = {"country": dict(zip(COUNTRIES, range(3), strict=True)), "store": dict(zip(STORES, range(4), strict=True))}

    def code(name: str, value: object) -> float:
        return np.nan if value is None else float(codes[name].get(str(value), len(codes[name])))

    numbers = [[np.nan if v is None else float(v) for v in frame[name]] for name in NUMERIC]
    x = np.column_stack([*numbers, *[[code(name, v) for v in frame[name]] for name in CATEGORICAL]])
    raw = xgboost.Booster(model_file=bytearray(model.model_bytes)).predict(xgboost.DMatrix(x), output_margin=True)
    # Half of the negatives were kept: real odds are half of the raw ones. Platt: 1.2 logit + 0.1.
    expected = 1 / (1 + np.exp(-(1.2 * (raw.astype(float) + np.log(0.5)) + 0.1)))
    found = scored(as_table(spark, frame), model).orderBy("order_id").toPandas()
    np.testing.assert_allclose(found["probability"], expected, atol=1e-6)
    assert found["decision"].tolist() == (expected >= 0.2).astype(int).tolist()


def test_a_shift_to_another_base_rate_reaches_the_rows(spark: SparkSession, model: ModelBundle) -> None:
    shift = PriorCorrection.of_odds(positive=1.0, negative=3.0)
    moved = dataclasses.replace(model, base_rate_shift=shift)
    frame = orders(50)
    found = scored(as_table(spark, frame), moved).orderBy("order_id").toPandas()
    assert found["probability"].tolist() == Scorer(moved).score(frame)["probability"].tolist()
    assert (found["probability"] > Scorer(model).score(frame)["probability"].to_numpy()).all()


def test_every_column_passes_through_and_five_are_added(spark: SparkSession, model: ModelBundle) -> None:
    table = as_table(spark, orders()).select("*", F.array("items").alias("basket"), F.lit(NOW).alias("ordered"))
    found = scored(table, model)
    assert found.columns == [*table.columns, *added_columns(model)]
    assert [field.dataType.simpleString() for field in found.schema.fields[-5:]] == [
        "double", "bigint", "double", "string", "timestamp",
    ]  # fmt: skip
    assert found.select(table.columns).exceptAll(table).isEmpty()
    [constants] = found.select("threshold", "model_version", "scored_at").distinct().collect()
    assert (constants[0], constants[1]) == (0.2, "3")
    assert found.where(F.col("scored_at") == F.lit(NOW)).count() == table.count()


def test_neither_partitions_nor_batches_move_a_score(spark: SparkSession, model: ModelBundle) -> None:
    table = as_table(spark, orders())
    spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", "7")
    try:
        small = scored(table.repartition(5), model).orderBy("order_id").toPandas()
    finally:
        spark.conf.unset("spark.sql.execution.arrow.maxRecordsPerBatch")
    pd.testing.assert_frame_equal(small, scored(table.coalesce(1), model).orderBy("order_id").toPandas())


def test_types_that_hold_the_same_values_score_the_same(spark: SparkSession, model: ModelBundle) -> None:
    table = as_table(spark, orders())
    other = table.select(
        "order_id",
        F.col("amount").cast("decimal(12,2)").alias("amount"),
        F.col("items").cast("double").alias("items"),
        F.col("is_new").cast("int").alias("is_new"),
        "country",
        F.col("store").cast("string").alias("store"),
    )
    one, two = (scored(t, model).orderBy("order_id").select("probability").toPandas() for t in (table, other))
    assert one["probability"].tolist() == two["probability"].tolist()


def test_nan_is_missing_as_null_is(spark: SparkSession, model: ModelBundle) -> None:
    table = as_table(spark, orders(20)).select("*").drop("amount")
    nan, null = (scored(table.withColumn("amount", F.lit(v).cast("double")), model) for v in (float("nan"), None))
    one, two = (frame.orderBy("order_id").select("probability").toPandas() for frame in (nan, null))
    assert one["probability"].tolist() == two["probability"].tolist()


def test_a_category_that_training_lacked_has_a_code_of_its_own(spark: SparkSession, model: ModelBundle) -> None:
    frame = pd.concat([orders(30).assign(country=country) for country in ("XX", "YY", "DE", None)])
    found = Scorer(model).score(frame)["probability"].to_numpy().reshape(4, 30)
    assert found[0].tolist() == found[1].tolist()
    assert not np.array_equal(found[0], found[2])
    assert not np.array_equal(found[0], found[3])
    table = as_table(spark, frame.assign(order_id=np.arange(len(frame))))
    rows = scored(table, model).orderBy("order_id").toPandas()
    assert rows["probability"].to_numpy().reshape(4, 30).tolist() == found.tolist()


def test_scoring_starts_no_job_and_shuffles_nothing(spark: SparkSession, model: ModelBundle) -> None:
    table = as_table(spark, orders(10)).coalesce(1)
    spark.sparkContext.setJobGroup("lazy scoring", "none expected")
    frame = scored(spark.createDataFrame([], table.schema), model)
    assert spark.sparkContext.statusTracker().getJobIdsForGroup("lazy scoring") == []
    assert "Exchange" not in frame._jdf.queryExecution().executedPlan().toString()
    assert frame.count() == 0


def test_all_that_is_wrong_with_the_columns_is_said_at_once(spark: SparkSession, model: ModelBundle) -> None:
    table = as_table(spark, orders(5)).select(
        F.col("amount").cast("string").alias("amount"), "items", "is_new", F.col("country").alias("cuontry"),
        F.col("store").cast("double").alias("store"), F.lit(0.5).alias("Probability"), F.lit(1).alias("ITEMS"),
    )  # fmt: skip
    with pytest.raises(DataContractError) as said:
        scored(table, model)
    text = str(said.value)
    for part in (
        "no column ['country']", "Did you mean 'cuontry' for 'country'?", "'amount' is string", "trained on numbers",
        "'store' is double", "already have ['probability']", "differ only in letter case",
    ):  # fmt: skip
        assert part.lower() in text.lower(), part


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), 1e300])
def test_an_amount_beyond_any_number_is_refused_in_memory_and_on_the_cluster(
    spark: SparkSession, model: ModelBundle, value: float
) -> None:
    frame = orders(5)
    frame.loc[2, "amount"] = value
    with pytest.raises(DataContractError, match=r"infinite or beyond float32, rows by column \{'amount': 1\}"):
        Scorer(model).score(frame)
    with pytest.raises(PythonException, match="infinite or beyond float32"):
        scored(as_table(spark, frame), model).collect()


@pytest.mark.parametrize("format", ["parquet", "csv", "delta"])
def test_any_name_of_a_column_is_scored_and_kept(
    spark: SparkSession, model: ModelBundle, tmp_path: Path, format: str
) -> None:
    odd = ("n" * 300, 'amount "€" (gross)\' OR 1=1 --', "клиент.id", "国 `c`", "=cmd()<script>[0], {1};")
    named = dict(zip((*NUMERIC, *CATEGORICAL), odd, strict=True))
    hostile = dataclasses.replace(
        model,
        numeric=tuple(named[name] for name in NUMERIC),
        categorical=tuple(named[name] for name in CATEGORICAL),
        categories=CategoryEncoding(values={named[name]: of for name, of in model.categories.values.items()}),
    )
    frame = orders(40)
    plain = as_table(spark, frame)
    table = plain.select(*[col(name).alias(named.get(name, name)) for name in plain.columns]).coalesce(1)
    found = scored(table, hostile)
    assert found.columns == [*table.columns, *added_columns(model)]
    found.write.format(format).options(header=True, **delta_options(found.columns)).save(f"{tmp_path}/scored")
    back = spark.read.format(format).options(header=True).load(f"{tmp_path}/scored")
    assert back.columns == found.columns
    probabilities = [float(row["probability"]) for row in back.orderBy(back["order_id"].cast("int")).collect()]
    assert probabilities == Scorer(model).score(frame)["probability"].tolist()


def test_names_of_the_models_inputs_are_free_for_the_orders(spark: SparkSession, model: ModelBundle) -> None:
    table = as_table(spark, orders(5)).withColumn(feature_column(0), F.lit("mine")).withColumn("split", F.lit("x"))
    row = scored(table, model).first()
    assert row is not None
    assert (row[feature_column(0)], row["split"]) == ("mine", "x")
    assert {*NUMERIC, *CATEGORICAL} <= set(row.asDict())
