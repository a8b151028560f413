import json
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from imbalance_spark.core.columns import col
from imbalance_spark.core.errors import DataContractError
from imbalance_spark.orders.config import OrdersConfig, SourceConfig
from imbalance_spark.orders.labels import LabelEncoding, label_text, learn_label
from imbalance_spark.orders.model_inputs import CategoryEncoding, fit_categories, model_inputs


def config(**changed: Any) -> OrdersConfig:
    return OrdersConfig(**{"source": SourceConfig(path="unread"), "label": "label", "numeric": ("x",), **changed})


@pytest.mark.parametrize(
    ("counts", "positive", "is_text", "classes"),
    [
        ({"0": 9, "1": 1}, None, False, ("0", "1")),
        ({"true": 1, "false": 9}, None, False, ("false", "true")),
        ({"-1": 9, "1": 1}, 1, False, ("-1", "1")),
        ({"1": 9, "2": 1}, 2, False, ("1", "2")),
        ({"0": 9, "2": 1}, 2, False, ("0", "2")),
        ({"0": 1, "1": 9}, 0, False, ("1", "0")),
        ({"no": 9, "yes": 1}, "yes", True, ("no", "yes")),
        ({"0": 9, "1": 1}, "1", True, ("0", "1")),
        ({"true": 1, "false": 9}, False, False, ("true", "false")),
    ],
)
def test_the_positive_class_is_found(
    counts: dict[str, int], positive: Any, is_text: bool, classes: tuple[str, str]
) -> None:
    assert learn_label(counts, config(positive_label=positive), is_text=is_text).classes == classes


@pytest.mark.parametrize(
    ("counts", "positive", "is_text", "parts"),
    [
        ({"0": 9, "1": 1}, None, True, ["positive_label", "'0': 9 rows"]),
        ({"no": 9, "yes": 1}, None, True, ["positive_label"]),
        ({"-1": 9, "1": 1}, None, False, ["positive_label", "'-1': 9 rows"]),
        ({"1": 9, "2": 1}, None, False, ["positive_label"]),
        ({"0": 9, "2": 1}, None, False, ["positive_label"]),
        ({"Yes ": 1, "yes": 4, "no": 5}, "yes", True, ["look alike", "'Yes '"]),
        ({"0": 9}, None, False, ["only one class", "9 rows"]),
        ({}, None, False, ["no class"]),
        ({str(i): 1 for i in range(12)}, None, False, ["12 classes", "and 2 more"]),
        ({"chargeback": 1, "fine": 9}, "chargebak", True, ["Did you mean 'chargeback'", "'fine': 9 rows"]),
    ],
)
def test_labels_that_do_not_say_which_is_which_are_refused(
    counts: dict[str, int], positive: Any, is_text: bool, parts: list[str]
) -> None:
    with pytest.raises(DataContractError) as caught:
        learn_label(counts, config(positive_label=positive), is_text=is_text)
    assert all(part in str(caught.value) for part in parts)


def test_zero_and_one_of_any_numeric_type_are_the_same_labels(spark: SparkSession) -> None:
    row = spark.range(1).select(
        *[label_text(F.expr(e)) for e in ("1", "1L", "1.0D", "cast(1 as decimal(10,2))", "cast(1 as float)", "'1'")],
        *[label_text(F.expr(e)) for e in ("-0.0D", "0.0D", "cast(0 as decimal(10,0))", "cast(null as int)", "1.5D")],
        *[LabelEncoding(classes=("0", "1")).encode(F.expr(e)) for e in ("-0.0D", "1.0D", "2", "cast(null as int)")],
    )
    assert tuple(row.collect()[0]) == ("1",) * 6 + ("0",) * 3 + (None, "1.5") + (0, 1, None, None)


def test_encodings_survive_json() -> None:
    label = LabelEncoding(classes=("no", "yes"))
    categories = CategoryEncoding(values={"channel": ("web", 'é`"\\'), "none": ()})
    assert LabelEncoding.from_dict(json.loads(json.dumps(label.to_dict()))) == label
    assert CategoryEncoding.from_dict(json.loads(json.dumps(categories.to_dict()))) == categories


def test_categories_are_ordered_by_frequency_then_text(spark: SparkSession) -> None:
    rows = [("b", 3, True), ("b", 3, None), ("a", 1, True), ("c", None, False), (None, 2, False)]
    train = spark.createDataFrame(rows, "channel string, `shop.id` int, member boolean")
    found = fit_categories(train, ("channel", "shop.id", "member"), 10)
    assert found.values == {"channel": ("b", "a", "c"), "shop.id": ("3", "1", "2"), "member": ("false", "true")}


def test_columns_with_too_many_categories_are_all_named(spark: SparkSession) -> None:
    train = spark.range(20).selectExpr("id a", "cast(id as string) b", "id % 3 c")
    with pytest.raises(DataContractError, match=r"\['a', 'b'\] have more than 5"):
        fit_categories(train, ("a", "b", "c"), 5)


def test_no_categories_need_no_pass() -> None:
    class NoFrame:
        columns = ()

    assert fit_categories(NoFrame(), (), 5).values == {}  # type: ignore[arg-type]


def test_spark_and_pandas_give_the_same_codes(spark: SparkSession) -> None:
    texts = ["", "a", "A", "a ", "é", "e\u0301", "`\"'\\", "日本", "true", "1", *[f"v{i}" for i in range(300)]]
    encoding = CategoryEncoding(
        values={"t": tuple(texts), "n": ("3", "-1", "0"), "b": ("false", "true"), "o": ("true",), "e": ()}
    )
    rows = [(t, 3, True, False, "z") for t in texts] + [(None, None, None, None, None), ("unseen", 7, False, True, "")]
    frame = spark.createDataFrame(rows, "t string, n bigint, b boolean, o boolean, e string").coalesce(1)
    encoded = frame.select(*[encoding.encode(name).alias(name) for name in "tnboe"])
    ours, source = encoded.toPandas(), frame.toPandas()
    for name in "tnboe":
        np.testing.assert_array_equal(encoding.encode_pandas(name, source[name]), ours[name].to_numpy(float))
    assert ours["t"].tolist()[:310] == list(range(310))
    assert ours["t"].tolist()[311] == 310.0
    assert np.isnan(ours["t"].tolist()[310])


def test_the_lookup_table_is_a_constant_of_the_plan(spark: SparkSession) -> None:
    encoding = CategoryEncoding(values={"t": tuple(f"v{i}" for i in range(1000))})
    frame = spark.range(3).selectExpr("concat('v', id) t").select(encoding.encode("t").alias("code"))
    plan = frame._jdf.queryExecution().optimizedPlan().toString()
    assert "from_json" not in plan
    assert [row[0] for row in frame.collect()] == [0.0, 1.0, 2.0]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(max_size=5), unique=True, max_size=40), st.lists(st.text(max_size=5) | st.none(), max_size=20))
def test_pandas_codes_are_places_in_the_list(values: list[str], column: list[str | None]) -> None:
    encoding = CategoryEncoding(values={"t": tuple(values)})
    expected = [np.nan if v is None else float(values.index(v)) if v in values else float(len(values)) for v in column]
    codes = encoding.encode_pandas("t", pd.Series(column, dtype=object))
    np.testing.assert_array_equal(codes, np.array(expected, float))


def test_pandas_integers_with_nulls_keep_their_codes() -> None:
    encoding = CategoryEncoding(values={"n": ("3", "10")})
    for column in (pd.Series([3, None, 10.0, 4]), pd.Series([3, None, 10, 4], dtype="Int64")):
        np.testing.assert_array_equal(encoding.encode_pandas("n", column), [0.0, np.nan, 1.0, 2.0])


def test_model_inputs_have_internal_names_and_one_kind_of_missing(spark: SparkSession) -> None:
    rows = [(1, 1.0, float("nan"), Decimal("1.50"), True, "web", 2, 3.0), (2, 0.0, None, None, None, None, 1, 4.0)]
    orders = spark.createDataFrame(
        rows,
        "order_id bigint, label double, prediction double, `a.b` decimal(5,2), c boolean, d string, w int, m double",
    )
    roles = config(numeric=("prediction", "a.b", "c"), categorical=("d",), weight="w", amount="m")
    inputs = model_inputs(
        orders, roles, LabelEncoding(classes=("0", "1")), CategoryEncoding(values={"d": ("web",)}), keep=("order_id",)
    )
    assert inputs.dtypes == [
        ("order_id", "bigint"), ("x_0", "double"), ("x_1", "double"), ("x_2", "double"), ("x_3", "double"),
        ("y", "int"), ("row_weight", "double"), ("amount_value", "double"),
    ]  # fmt: skip
    assert [tuple(row) for row in inputs.orderBy("order_id").collect()] == [
        (1, None, 1.5, 1.0, 0.0, 1, 2.0, 3.0),
        (2, None, None, None, None, 0, 1.0, 4.0),
    ]


def test_a_kept_column_may_not_have_an_internal_name(spark: SparkSession) -> None:
    orders = spark.createDataFrame([], "Y bigint, label int, x double")
    with pytest.raises(DataContractError, match=r"\['Y'\]"):
        model_inputs(
            orders, config(key=("Y",)), LabelEncoding(classes=("0", "1")), CategoryEncoding(values={}), keep=("Y",)
        )


def test_label_columns_with_odd_names_are_encoded(spark: SparkSession) -> None:
    orders = spark.createDataFrame([("yes",), ("no",), ("other",)], "`is.fraud?` string").coalesce(1)
    codes = orders.select(LabelEncoding(classes=("no", "yes")).encode(col("is.fraud?"))).collect()
    assert [row[0] for row in codes] == [1, 0, None]


def orders_config() -> OrdersConfig:
    return OrdersConfig(source=SourceConfig(path="x"), label="outcome", classes=(0, 1, 5), numeric=("amount",))


def test_labels_keep_the_order_of_the_config_and_gaps_are_numbered() -> None:
    found = learn_label({"5": 3, "0": 90, "1": 7}, orders_config(), is_text=False)
    assert found.classes == ("0", "1", "5")
    assert found.sentence == "Classes: 0 is '0', 1 is '1', 2 is '5'."


def test_a_class_without_rows_and_a_class_that_nobody_named_are_said_together() -> None:
    with pytest.raises(DataContractError) as caught:
        learn_label({"0": 90, "1": 7, "7": 2}, orders_config(), is_text=False)
    assert "has no valid row of ['5'], which orders.classes names" in str(caught.value)
    assert "has {'7': 2 rows}, which orders.classes ['0', '1', '5'] does not name" in str(caught.value)
