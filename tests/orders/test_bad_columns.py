"""Bad columns, told by the schema alone."""

import pytest
from pyspark.ml.linalg import VectorUDT
from pyspark.sql import SparkSession
from pyspark.sql import types as T

from imbalance_spark.core.errors import DataContractError
from imbalance_spark.orders.config import OrdersConfig, SourceConfig
from imbalance_spark.orders.schema import check_features, check_orders

SOURCE = SourceConfig(path="unread")


def test_a_label_that_is_misspelt_is_named_with_the_nearest_column(spark: SparkSession) -> None:
    frame = spark.createDataFrame([], "order_id bigint, is_fruad int, x double")
    with pytest.raises(DataContractError, match=r"no column \['is_fraud'\].*Did you mean 'is_fruad'"):
        check_orders(frame, OrdersConfig(source=SOURCE, label="is_fraud", numeric=("x",)))


@pytest.mark.parametrize("kind", [VectorUDT(), T.ArrayType(T.DoubleType())])
def test_arrays_and_vectors_are_refused_in_training_and_in_scoring(spark: SparkSession, kind: T.DataType) -> None:
    fields = [T.StructField("order_id", T.LongType()), T.StructField("y", T.IntegerType()), T.StructField("v", kind)]
    frame = spark.createDataFrame([], T.StructType(fields))
    with pytest.raises(DataContractError, match=r"'v' is .*: write each element to a column of its own"):
        check_orders(frame, OrdersConfig(source=SOURCE, label="y", numeric=("v",)))
    with pytest.raises(DataContractError, match=r"column 'v' is .*, the model was trained on numbers"):
        check_features(frame, ("v",), ())
