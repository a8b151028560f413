import json
import math
from collections import Counter
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from imbalance_spark.core import columns
from imbalance_spark.core.errors import DataContractError
from imbalance_spark.orders.config import OrdersConfig, SourceConfig
from imbalance_spark.orders.labels import LabelEncoding
from imbalance_spark.orders.validation.duplicate_keys import row_key_hash
from imbalance_spark.orders.validation.label_counts import FeatureRange, LabelCounts, leaked_features
from imbalance_spark.orders.validation.validate import ValidationReport, validate_orders

NAN, INF = math.nan, math.inf
GOOD = {"order_id": 0, "label": 0.0, "x": 1.0, "w": 1.0, "amount": 5.0, "time": "2026-01-01 00:00:00"}


def config(**changed: Any) -> OrdersConfig:
    return OrdersConfig(
        **{"source": SourceConfig(path="unread"), "label": "label", "numeric": ("x",), "max_quarantined": 0.5} | changed
    )


def log(spark: SparkSession, broken: list[dict[str, Any]], good: int = 40, **always: Any) -> DataFrame:
    """`good` valid orders, one in four positive, and one order for each dict of changed values."""
    rows = [GOOD | {"order_id": i, "label": float(i % 4 == 0), "x": float(i % 7)} | always for i in range(good)]
    rows += [GOOD | {"order_id": 1000 + i} | always | changed for i, changed in enumerate(broken)]
    frame = spark.createDataFrame(
        [tuple(row.values()) for row in rows],
        "order_id bigint, label double, x double, w double, amount double, t string",
    )
    return frame.selectExpr("order_id", "label", "x", "w", "amount", "to_timestamp(t) time")


def test_each_broken_rule_is_found_and_counted_and_the_rest_stays(spark: SparkSession) -> None:
    planted: list[tuple[dict[str, Any], list[str]]] = [
        ({"order_id": None}, ["null_key"]),
        ({"order_id": None}, ["null_key"]),
        ({"label": None}, ["null_label"]),
        ({"label": NAN}, ["nan_label"]),
        ({"label": INF}, ["nan_label"]),
        ({"label": -INF}, ["nan_label"]),
        ({"x": INF}, ["infinite_feature"]),
        ({"x": -INF}, ["infinite_feature"]),
        ({"x": 1e300}, ["feature_beyond_float32"]),
        ({"x": -3.5e38}, ["feature_beyond_float32"]),
        ({"time": None}, ["null_time"]),
        ({"w": None}, ["null_weight"]),
        ({"w": NAN}, ["nan_weight"]),
        ({"w": INF}, ["infinite_weight"]),
        ({"w": -1.0}, ["negative_weight"]),
        ({"amount": None}, ["null_amount"]),
        ({"amount": NAN}, ["nan_amount"]),
        ({"amount": -0.01}, ["negative_amount"]),
        ({"label": None, "x": INF, "w": -1.0}, ["null_label", "infinite_feature", "negative_weight"]),
        ({"order_id": 7}, ["duplicate_key"]),  # and the good order 7 with it
        ({"order_id": 8, "x": INF}, ["infinite_feature", "duplicate_key"]),
        ({}, []),
        ({"x": None}, []),
        ({"x": NAN}, []),
        ({"x": 3.4028234663852886e38}, []),
        ({"x": 5e-324}, []),
        ({"x": -0.0, "label": -0.0}, []),
        ({"w": 0.0}, []),
        ({"amount": -0.0}, []),
    ]
    found = validate_orders(log(spark, [row for row, _ in planted]), config(time="time", weight="w", amount="amount"))
    expected = Counter(tuple(why) for _, why in planted if why) + Counter([("duplicate_key",)] * 2)
    quarantined, valid = found.quarantined.collect(), found.valid.collect()
    assert Counter(tuple(row["reasons"]) for row in quarantined) == expected
    assert found.report.by_rule == Counter(rule for why, n in expected.items() for rule in why * n)
    assert found.report.rows == 40 + len(planted) == len(valid) + len(quarantined)
    assert found.report.quarantined == len(quarantined)
    assert found.report.class_counts == Counter(f"{abs(row['label']):.0f}" for row in valid)
    assert found.report.label == LabelEncoding(classes=("0", "1"))
    assert found.quarantined.dtypes == [("key_hash", "bigint"), ("reasons", "array<string>")]
    again = validate_orders(found.valid, config(time="time", weight="w", amount="amount")).report
    assert (again.quarantined, again.rows) == (0, len(valid))


@pytest.mark.parametrize(("repeated", "jobs"), [(False, 0), (True, None)])
def test_a_known_report_gives_the_same_orders_without_counting_them(
    spark: SparkSession, repeated: bool, jobs: int | None
) -> None:
    frame, roles = log(spark, [{"x": INF}, {"order_id": 7} if repeated else {}]), config(weight="w")
    first = validate_orders(frame, roles)
    record = json.loads(json.dumps(first.report.to_dict()))
    spark.sparkContext.setJobGroup("known", "known")
    try:
        again = validate_orders(frame, roles, ValidationReport.from_dict(record))
        assert jobs is None or len(spark.sparkContext.statusTracker().getJobIdsForGroup("known")) == jobs
    finally:
        spark.sparkContext.setLocalProperty("spark.jobGroup.id", None)
    assert again.report == first.report
    for found, expected in ((again.valid, first.valid), (again.quarantined, first.quarantined)):
        assert sorted(map(str, found.collect())) == sorted(map(str, expected.collect()))


def test_days_are_those_from_the_first_valid_order_to_the_last(spark: SparkSession) -> None:
    later = [{"time": "2026-01-31 23:59:59"}, {"time": "2027-01-01 00:00:00", "w": -1.0}]
    assert validate_orders(log(spark, later), config(time="time", weight="w")).report.days == 31
    assert validate_orders(log(spark, []), config(time="time")).report.days == 1
    assert validate_orders(log(spark, []), config()).report.days is None


def test_a_sample_of_keys_finds_a_day_loaded_twice_and_may_miss_one_order(spark: SparkSession) -> None:
    sampled = config(check_keys="sampled")
    twice = log(spark, [{"order_id": number} for number in range(400)], good=500)
    found = validate_orders(twice, sampled.model_copy(update={"max_quarantined": 0.95}))
    assert found.report.by_rule == {"duplicate_key": 800}  # of all rows, not of the sample
    assert found.valid.count() == 100

    numbers = spark.range(40).select("id", F.pmod(row_key_hash(("id",)), F.lit(64)).alias("part")).collect()
    outside = next(row["id"] for row in numbers if row["part"] != 0)
    once_more = log(spark, [{"order_id": outside}])
    assert validate_orders(once_more, sampled).report.by_rule == {}
    assert validate_orders(once_more, config()).report.by_rule == {"duplicate_key": 2}


def test_composite_keys_are_told_apart(spark: SparkSession) -> None:
    rows = [("ab", "c", 0, 1.0), ("a", "bc", 1, 2.0), ("a", None, 0, 3.0), (None, "a", 1, 2.0), ("z", "z", 0, 1.0)]
    frame = spark.createDataFrame([*rows, ("z", "z", 1, 1.0)], "`k.1` string, k2 string, label int, x double")
    found = validate_orders(frame, config(key=("k.1", "k2"), max_quarantined=0.9))
    assert found.report.by_rule == {"null_key": 2, "duplicate_key": 2}
    assert {tuple(row)[:2] for row in found.valid.collect()} == {("ab", "c"), ("a", "bc")}


@pytest.mark.parametrize("kind", ["boolean", "tinyint", "bigint", "float", "decimal(10,0)", "decimal(5,2)"])
def test_labels_zero_and_one_of_any_type_are_understood(spark: SparkSession, kind: str) -> None:
    orders = log(spark, []).selectExpr("order_id", f"cast(label as {kind}) label", "x")
    assert sorted(validate_orders(orders, config()).report.class_counts.values()) == [10, 30]


@pytest.mark.parametrize(
    ("orders", "changed", "parts"),
    [
        ({"good": 0}, {}, ["empty", "0 rows"]),
        ({"label": 0.0}, {}, ["only one class", "'0': 40 rows"]),
        ({"label": None}, {}, ["every row breaks", "null_label 40"]),
        ({"label": None}, {"max_quarantined": 1.0}, ["every row breaks"]),
        ({"broken": [{"x": INF}]}, {"max_quarantined": 0.01}, ["1 of 41 rows", "infinite_feature 1", "0.01"]),
        ({"broken": [{"label": 2.0}]}, {}, ["3 classes", "'2': 1 rows"]),
        ({"broken": [{"label": 0.5}]}, {}, ["3 classes", "'0.5': 1 rows"]),
        ({"w": 0.0}, {"weight": "w"}, ["is 0 in every row"]),
        ({"w": 1e30}, {"weight": "w"}, ["mean 1e+30"]),
        ({"w": 1e-30}, {"weight": "w"}, ["mean 1e-30"]),
        ({"w": 1e308}, {"weight": "w"}, ["sum that overflows"]),
        ({"broken": [{"w": 1e7}]}, {"weight": "w"}, ["1e+07 times"]),
    ],
)
def test_logs_that_cannot_be_learnt_from_are_refused(
    spark: SparkSession, orders: dict[str, Any], changed: dict[str, Any], parts: list[str]
) -> None:
    frame = log(spark, **{"broken": [], **orders})
    with pytest.raises(DataContractError) as caught:
        validate_orders(frame, config(**changed))
    assert all(part in str(caught.value) for part in parts), str(caught.value)
    assert len(str(caught.value)) < 600


def test_a_label_of_many_values_is_refused_without_listing_them(spark: SparkSession) -> None:
    orders = spark.range(150).selectExpr("id order_id", "id label", "rand(1) x")
    with pytest.raises(DataContractError, match="more than 100 distinct"):
        validate_orders(orders, config())


def test_useless_and_oversized_features_are_warned_about(spark: SparkSession) -> None:
    orders = log(spark, []).selectExpr(
        "order_id", "label", "x", "cast(null as double) nothing", "1 same", "'a' one", "order_id + 20000000 big"
    )
    roles = config(numeric=("x", "nothing", "same", "big"), categorical=("one",))
    report = validate_orders(orders, roles).report
    empty, constant, large = report.warnings
    assert "['nothing']" in empty
    assert "['same', 'one']" in constant
    assert "['big']" in large
    assert report.missing == {"x": 0, "nothing": 40, "same": 0, "big": 0, "one": 0}


def test_a_label_that_leaked_into_features_is_named_whatever_its_disguise(spark: SparkSession) -> None:
    disguises = {
        "copy": "label", "negated": "-3 * label + 2", "null_for_0": "if(label = 1, 5.0, null)", "flag": "label = 1",
        "null_for_1": "if(label = 1, null, rand(3))", "scaled": "cast(label * 100 as decimal(9,2))",
    }  # fmt: skip
    status = "if(label = 1, 'charged back', 'ok')"
    orders = log(spark, [], good=200).selectExpr(
        "order_id",
        "label",
        "x",
        "x + label honest",
        f"{status} status",
        *[f"{expression} {name}" for name, expression in disguises.items()],
    )
    with pytest.raises(DataContractError) as caught:
        validate_orders(orders, config(numeric=("x", "honest", *disguises), categorical=("status",)))
    suspects = (*disguises, "status", "x", "honest")
    named = {name for name in suspects if f"'{name}' leaks the label" in str(caught.value)}
    assert named == {*disguises, "status"}


def test_few_rare_rows_are_no_proof_of_a_leak() -> None:
    def counts(rows: int, low: float, high: float) -> LabelCounts:
        ranges = {"x": FeatureRange(values=rows, low=low, high=high)}
        return LabelCounts(rows=rows, broken=0, by_rule={}, features=ranges)

    assert not list(leaked_features(counts(1000, 0, 1), counts(29, 2, 3)))
    assert len(list(leaked_features(counts(1000, 0, 1), counts(30, 2, 3)))) == 1
    assert not list(leaked_features(counts(1000, 0, 2), counts(30, 2, 3)))


def test_wide_logs_are_counted_in_several_passes_and_nothing_is_lost(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(columns, "FEATURES_PER_SCAN", 2)
    names = [f"c{i}" for i in range(4)]
    orders = log(spark, [], good=160).selectExpr(
        "order_id", "label", *[f"if(x < {i}, null, x) {name}" for i, name in enumerate(names)], "label leak"
    )
    # x runs from 0 to 6: of each 7 rows, i have a null in c<i>; 160 = 22 * 7 + 6.
    report = validate_orders(orders, config(numeric=tuple(names))).report
    assert report.missing == {f"c{i}": 23 * i for i in range(4)}
    with pytest.raises(DataContractError, match="'leak' leaks the label"):
        validate_orders(orders, config(numeric=(*names, "leak")))


def test_validation_takes_two_passes_when_no_key_is_repeated(spark: SparkSession) -> None:
    orders = log(spark, [{"x": INF}])
    spark.sparkContext.setJobGroup("validate", "validate")
    validate_orders(orders, config())
    tracker = spark.sparkContext.statusTracker()
    executions = set(tracker.getJobIdsForGroup("validate"))
    spark.sparkContext.setLocalProperty("spark.jobGroup.id", None)  # type: ignore[arg-type]
    # Adaptive execution runs a shuffle's two sides as two jobs: two passes are four jobs at most.
    assert len(executions) <= 4


def test_decimal_features_and_labels_pass(spark: SparkSession) -> None:
    rows = [(i, Decimal(i % 2), Decimal(i % 5)) for i in range(20)]
    orders = spark.createDataFrame(rows, "order_id bigint, label decimal(3,1), x decimal(38,10)")
    assert validate_orders(orders, config()).report.class_counts == {"0": 10, "1": 10}


keys = st.integers(0, 12) | st.none()
labels = st.sampled_from([0.0, 1.0, -0.0, NAN, None])
values = st.sampled_from([0.0, 1.5, -2.0, NAN, None, INF, 1e39])


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.tuples(keys, labels, values), min_size=1, max_size=12))
def test_valid_and_quarantined_rows_are_those_of_a_plain_python_twin(
    spark: SparkSession, rows: list[tuple[int | None, float | None, float | None]]
) -> None:
    times = Counter(key for key, _, _ in rows if key is not None)

    def is_valid(row: tuple[int | None, float | None, float | None]) -> bool:
        key, label, x = row
        has_label = label is not None and not math.isnan(label)
        is_only = times[key] == 1 or (key is not None and key >= 100)
        return is_only and has_label and (x is None or math.isnan(x) or abs(x) < 3.5e38)

    # Two rows of each class that are always valid, so that there is something to learn.
    anchors = [(100, 0.0, 0.0), (101, 1.0, 0.0), (102, 0.0, 1.0), (103, 1.0, 1.0)]
    frame = spark.createDataFrame([*rows, *anchors], "order_id int, label double, x double").coalesce(1)
    found = validate_orders(frame, config(max_quarantined=1.0))
    expected = [row for row in [*rows, *anchors] if is_valid(row)]
    assert Counter(map(repr, map(tuple, found.valid.collect()))) == Counter(map(repr, expected))
    assert found.quarantined.count() == found.report.quarantined == len(rows) + 4 - len(expected)


def test_a_feature_that_separates_one_class_of_several_leaks() -> None:
    def counts(low: float, high: float) -> LabelCounts:
        plain, telling = FeatureRange(values=50, low=0.0, high=9.0), FeatureRange(values=50, low=low, high=high)
        return LabelCounts(rows=50, broken=0, by_rule={}, features={"plain": plain, "telling": telling})

    [sentence] = leaked_features(counts(0.0, 4.0), counts(1.0, 3.0), counts(5.0, 7.0))
    assert "column 'telling' leaks the label" in sentence
    # The middle class lies inside the others: no cut tells it alone.
    assert not list(leaked_features(counts(0.0, 4.0), counts(3.0, 6.0), counts(5.0, 7.0)))
