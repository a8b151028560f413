"""The split: which rows go where, and what cannot move them."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from scipy.stats import chi2_contingency

from imbalance_spark.core.class_counts import Label, count_classes
from imbalance_spark.core.errors import ConfigError, DataContractError, MissingColumnsError
from imbalance_spark.split import SplitPlan, count_splits, early_stopping_slice, fit_split, stratified_split
from imbalance_spark.split.rules import KnownCounts, SplitRules
from imbalance_spark.split.stratified import fit_rules

ROWS = 12_000
ROLES: dict[str, Any] = {"key": "order_id", "label": "label", "seed": 7}


@pytest.fixture(scope="module")
def orders(spark: SparkSession) -> DataFrame:
    """12,000 orders of 1,500 customers, 1 % positive, one order in ten minutes."""
    return make_orders(spark, 0, ROWS)


def make_orders(spark: SparkSession, start: int, end: int) -> DataFrame:
    row = F.col("id")
    return spark.range(start, end).select(
        row.alias("order_id"),
        (F.xxhash64(row, F.lit("label")) % 100 == 0).cast("int").alias("label"),
        (F.abs(F.xxhash64(row, F.lit("customer"))) % 1500).alias("customer_id"),
        F.timestamp_seconds(1_600_000_000 + row * 600).alias("ordered_at"),
    )


def folds(split: DataFrame) -> dict[int, str]:
    return {row["order_id"]: row["split"] for row in split.select("order_id", "split").collect()}


def passes(spark: SparkSession, orders: DataFrame, act: Callable[[DataFrame], object]) -> float:
    """How often `act` reads each row, counted on the executors."""
    seen = spark.sparkContext.accumulator(0)
    rows = orders.limit(0).unionByName(orders).rdd.map(lambda row: (seen.add(1), row)[1])
    act(spark.createDataFrame(rows, orders.schema))
    return seen.value / ROWS


def test_every_row_is_in_exactly_one_fold_and_no_column_changes(orders: DataFrame) -> None:
    split = stratified_split(orders, **ROLES)
    assert split.columns == [*orders.columns, "split"]
    rows = split.groupBy("order_id").agg(F.count("*").alias("n"), F.first("split").alias("split"))
    found = {row["split"]: row["count"] for row in rows.where("n = 1").groupBy("split").count().collect()}
    assert set(found) == {"train", "validation", "test"}
    assert sum(found.values()) == ROWS


def test_layout_order_files_and_wider_keys_move_no_row(spark: SparkSession, orders: DataFrame, tmp_path: Path) -> None:
    expected = folds(stratified_split(orders, **ROLES))
    orders.repartition(5, "customer_id").write.parquet(str(tmp_path / "orders"))
    spark.conf.set("spark.sql.files.maxPartitionBytes", "20000")
    try:
        refiled = spark.read.parquet(str(tmp_path / "orders"))
        others = {
            "1": orders.repartition(1),
            "7": orders.repartition(7),
            "200": orders.repartition(200),
            "shuffled": orders.orderBy(F.xxhash64("order_id")),
            "files": refiled,
            "int": orders.withColumn("order_id", F.col("order_id").cast("int")),
            "columns": orders.select(*reversed(orders.columns)),
        }
        for name, other in others.items():
            assert folds(stratified_split(other, **ROLES)) == expected, name
    finally:
        spark.conf.unset("spark.sql.files.maxPartitionBytes")


def test_appended_rows_move_no_row_under_the_recorded_plan(spark: SparkSession, orders: DataFrame) -> None:
    plan = fit_split(orders, **ROLES)
    recorded = SplitPlan.from_dict(json.loads(json.dumps(plan.to_dict())))
    assert recorded == plan
    before, after = folds(plan.assign(orders)), folds(recorded.assign(make_orders(spark, 0, 2 * ROWS)))
    assert {key: after[key] for key in before} == before


def test_appended_rows_move_no_row_of_a_new_fit_without_exact_counts(spark: SparkSession, orders: DataFrame) -> None:
    before = folds(stratified_split(orders, **ROLES, exact_below=0))
    after = folds(stratified_split(make_orders(spark, 0, 2 * ROWS), **ROLES, exact_below=0))
    assert {key: after[key] for key in before} == before


def test_without_exact_counts_a_corrected_label_moves_no_row(orders: DataFrame) -> None:
    corrected = orders.withColumn("label", F.when(F.col("order_id") % 7 == 0, 1).otherwise(F.col("label")))
    nominal = {"exact_below": 0}
    assert folds(stratified_split(orders, **ROLES, **nominal)) == folds(stratified_split(corrected, **ROLES, **nominal))


def test_small_classes_get_largest_remainder_counts_and_large_ones_stay_in_bounds(orders: DataFrame) -> None:
    plan = fit_split(orders, **ROLES, exact_below=5000)
    counted = count_splits(plan.assign(orders), "label")
    assert counted == plan.counts
    positives = sum(counts[1] for counts in counted.values())
    exact = [math.floor(positives * share) for share in (0.7, 0.15, 0.15)]
    assert all(0 <= counted[fold][1] - floor <= 1 for fold, floor in zip(plan.rules.folds, exact, strict=True))
    negatives = ROWS - positives
    for fold, share in plan.rules.fractions:
        assert abs(counted[fold][0] - negatives * share) <= 4.5 * math.sqrt(negatives * share * (1 - share)) + 1


def test_a_class_of_thirteen_rows_is_split_nine_two_two(orders: DataFrame) -> None:
    rare = orders.withColumn("label", (F.col("order_id") < 13).cast("int"))
    counts = fit_split(rare, **ROLES).counts  # 9.1, 1.95, 1.95
    assert [counts[fold][1] for fold in ("train", "validation", "test")] == [9, 2, 2]


def test_a_larger_train_fraction_moves_rows_towards_train_only(orders: DataFrame) -> None:
    small = folds(stratified_split(orders, **ROLES))
    large = folds(stratified_split(orders, **ROLES, fractions={"train": 0.8, "validation": 0.1, "test": 0.1}))
    place = {"train": 0, "validation": 1, "test": 2}
    assert all(place[large[key]] <= place[small[key]] for key in small)


def test_another_seed_gives_an_independent_split(orders: DataFrame) -> None:
    first, second = (stratified_split(orders, **{**ROLES, "seed": seed}).drop("label") for seed in (1, 2))
    both = first.select("order_id", "split").join(
        second.select("order_id", F.col("split").alias("other")), on="order_id", how="inner"
    )
    table: dict[str, dict[str, int]] = {}
    for row in both.groupBy("split", "other").count().collect():
        table.setdefault(row["split"], {})[row["other"]] = row["count"]
    names = sorted(table)
    # Fixed seeds: a p-value this small would be a fault of the hash, not bad luck.
    assert chi2_contingency([[table[a][b] for b in names] for a in names]).pvalue > 1e-3


def test_text_boolean_and_double_labels_split_the_same_rows(orders: DataFrame) -> None:
    expected = folds(stratified_split(orders, **ROLES))
    label = F.col("label")
    for other in (label.cast("boolean"), label.cast("double"), F.when(label == 1, "fraud").otherwise("fine")):
        assert folds(stratified_split(orders.withColumn("label", other), **ROLES)) == expected


def test_odd_column_names_are_taken_as_they_are(spark: SparkSession) -> None:
    odd = spark.range(200).select(F.col("id").alias("order.id"), (F.col("id") % 2).alias("y` OR 1=1 --"))
    assert stratified_split(odd, key="order.id", label="y` OR 1=1 --", seed=1).where("split is null").count() == 0


def test_no_group_is_in_two_folds_and_counts_are_exact_per_stratum(orders: DataFrame) -> None:
    plan = fit_split(orders, **ROLES, group="customer_id")
    split = plan.assign(orders)
    per_group = split.groupBy("customer_id").agg(
        F.countDistinct("split").alias("folds"), F.max("label").alias("stratum"), F.first("split").alias("split")
    )
    cells = per_group.groupBy("stratum", "split").agg(F.count("*").alias("n"), F.max("folds").alias("folds")).collect()
    assert {row["folds"] for row in cells} == {1}
    for stratum in (0, 1):
        sizes = {row["split"]: row["n"] for row in cells if row["stratum"] == stratum}
        total = sum(sizes.values())
        assert all(abs(sizes[fold] - total * share) < 1 for fold, share in plan.rules.fractions)
    assert count_splits(split, "label") == plan.counts


def test_a_later_row_of_a_group_that_was_moved_keeps_its_fold(spark: SparkSession, orders: DataFrame) -> None:
    plan = fit_split(orders, **ROLES, group="customer_id")
    assert 0 < len(plan.moved_groups) < 100
    recorded = SplitPlan.from_dict(json.loads(json.dumps(plan.to_dict())))
    later = recorded.assign(make_orders(spark, ROWS, 2 * ROWS))
    both = recorded.assign(orders).unionByName(later)
    assert both.groupBy("customer_id").agg(F.countDistinct("split").alias("n")).where("n > 1").count() == 0


def test_rows_without_a_group_are_split_by_their_key(orders: DataFrame) -> None:
    some = orders.withColumn("customer_id", F.when(F.col("order_id") % 2 == 0, F.col("customer_id")))
    alone = stratified_split(some, **ROLES, group="customer_id").where("customer_id is null")
    share = {row["split"]: row["count"] / (ROWS / 2) for row in alone.groupBy("split").count().collect()}
    assert share["train"] == pytest.approx(0.7, abs=0.03)
    assert share["test"] == pytest.approx(0.15, abs=0.03)


def test_fewer_groups_with_a_positive_than_folds_are_refused(orders: DataFrame) -> None:
    few = orders.withColumn("label", (F.col("customer_id") < 2).cast("int"))
    with pytest.raises(DataContractError, match=r"class 1 is in 2 groups of \['customer_id'\], fewer than the 3 folds"):
        fit_split(few, **ROLES, group="customer_id")


def test_one_group_with_most_rows_is_warned_of(orders: DataFrame, caplog: pytest.LogCaptureFixture) -> None:
    lumped = orders.withColumn("customer_id", F.when(F.col("order_id") % 2 == 0, 1).otherwise(F.col("customer_id")))
    with caplog.at_level("WARNING"):
        fit_split(lumped, **ROLES, group="customer_id")
    assert "of all rows; folds are whole groups" in caplog.text


@pytest.mark.parametrize("kind", ["timestamp", "timestamp_ntz", "date"])
def test_time_folds_follow_each_other_with_the_gap_between(orders: DataFrame, kind: str) -> None:
    timed = orders.withColumn("ordered_at", F.col("ordered_at").cast(kind))
    split = stratified_split(timed, **ROLES, time="ordered_at", gap_days=2.0)
    spans = split.groupBy("split").agg(
        F.min(F.col("ordered_at").cast("timestamp")).alias("first"),
        F.max(F.col("ordered_at").cast("timestamp")).alias("last"),
        F.count("*").alias("n"),
    )
    span = {row["split"]: row for row in spans.collect()}
    for early, late in (("train", "validation"), ("validation", "test")):
        assert (span[late]["first"] - span[early]["last"]).total_seconds() > 2.0 * 86_400
    assert span["gap"]["n"] > 0
    assert sum(row["n"] for row in span.values()) == ROWS


def test_time_folds_have_the_asked_sizes_and_the_session_zone_moves_no_row(
    spark: SparkSession, orders: DataFrame
) -> None:
    ntz = orders.withColumn("ordered_at", F.col("ordered_at").cast("timestamp_ntz"))
    plan = fit_split(orders, **ROLES, time="ordered_at")
    assert {fold: sum(counts.values()) for fold, counts in plan.counts.items()} == {
        "train": 8400, "validation": 1800, "test": 1800,
    }  # fmt: skip
    spark.conf.set("spark.sql.session.timeZone", "America/New_York")
    try:
        assert fit_split(ntz, **ROLES, time="ordered_at").boundaries_us == plan.boundaries_us
    finally:
        spark.conf.set("spark.sql.session.timeZone", "UTC")


def test_rows_of_the_same_time_never_straddle_a_boundary(orders: DataFrame) -> None:
    coarse = orders.withColumn("ordered_at", F.date_trunc("week", "ordered_at"))
    split = stratified_split(coarse, **ROLES, time="ordered_at")
    assert split.groupBy("ordered_at").agg(F.countDistinct("split").alias("n")).where("n > 1").count() == 0


def test_the_passes_are_as_documented(spark: SparkSession, orders: DataFrame) -> None:
    assert passes(spark, orders, lambda rows: fit_split(rows, **ROLES, exact_below=0)) == 1
    assert passes(spark, orders, lambda rows: fit_split(rows, **ROLES)) == 2
    assert passes(spark, orders, lambda rows: fit_split(rows, **ROLES, group="customer_id")) == 2
    assert passes(spark, orders, lambda rows: fit_split(rows, **ROLES, time="ordered_at")) == 2


def known_counts(orders: DataFrame) -> KnownCounts:
    days: dict[int, dict[Label, int]] = {}
    for row in orders.groupBy("label", F.unix_date(F.to_date("ordered_at")).alias("day")).count().collect():
        days.setdefault(row["day"], {})[row["label"]] = row["count"]
    return KnownCounts(classes=count_classes(orders, "label", "test"), days=days)


@pytest.mark.parametrize("by", [{}, {"group": ("customer_id",)}, {"time": "ordered_at", "gap_days": 1.7}])
def test_with_known_counts_one_pass_gives_the_same_split(
    spark: SparkSession, orders: DataFrame, by: dict[str, Any]
) -> None:
    shares = (("train", 0.7), ("validation", 0.15), ("test", 0.15))
    rules = SplitRules(key=("order_id",), label="label", seed=7, fractions=shares, **by)
    known, plan = known_counts(orders), fit_rules(orders, rules)
    assert passes(spark, orders, lambda rows: fit_rules(rows, rules, known)) == 1
    assert fit_rules(orders, rules, known) == plan
    # Brute force: what the plan makes of the rows.
    assert plan.counts == count_splits(plan.assign(orders), "label")
    with pytest.raises(DataContractError, match=r"in one scan, .* in the next"):
        fit_rules(orders.where("order_id % 9 > 0"), rules, known)


def test_assigning_a_plan_starts_no_job(spark: SparkSession, orders: DataFrame) -> None:
    plan = fit_split(orders, **ROLES)
    spark.sparkContext.setJobGroup("assign", "assign")
    try:
        plan.assign(orders)
        assert not spark.sparkContext.statusTracker().getJobIdsForGroup("assign")
    finally:
        spark.sparkContext.setLocalProperty("spark.jobGroup.id", None)


def test_the_early_stopping_slice_is_stratified_and_independent_of_the_split(orders: DataFrame) -> None:
    train = stratified_split(orders, **ROLES).where("split = 'train'")
    sliced = early_stopping_slice(train, **ROLES, fraction=0.1)
    counts = {
        (row["label"], row["is_early_stopping"]): row["count"]
        for row in sliced.groupBy("label", "is_early_stopping").count().collect()
    }
    positives = counts[1, True] + counts[1, False]
    assert abs(counts[1, True] - 0.1 * positives) < 1
    assert counts[0, True] == pytest.approx(0.1 * 0.7 * ROWS, rel=0.15)
    again = early_stopping_slice(train.repartition(7), **ROLES, fraction=0.1)
    assert sliced.exceptAll(again).count() == 0


def test_the_early_stopping_slice_keeps_groups_whole(orders: DataFrame) -> None:
    sliced = early_stopping_slice(orders, **ROLES, fraction=0.2, group="customer_id")
    per_group = sliced.groupBy("customer_id").agg(F.countDistinct("is_early_stopping").alias("n"))
    assert per_group.where("n > 1").count() == 0


@pytest.mark.parametrize("fraction", [0, 1, -0.1, math.nan, "0.1", True, None])
def test_an_early_stopping_fraction_outside_its_range_is_refused(orders: DataFrame, fraction: Any) -> None:
    with pytest.raises(ConfigError, match=r"early_stopping.fraction must be in \(0, 1\)"):
        early_stopping_slice(orders, **ROLES, fraction=fraction)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"fractions": {"train": 0.7, "validation": 0.2, "test": 0.2}}, "must sum to 1"),
        ({"fractions": {"train": 1.0, "test": 0}}, r"fractions\['test'\] must be in \(0, 1\], got 0"),
        ({"fractions": {"train": 1.2, "test": -0.2}}, r"fractions\['train'\].*\| .*fractions\['test'\]"),
        ({"fractions": {"train": math.nan, "test": 0.2}}, "got nan"),
        ({"fractions": {"train": 0.8, "tset": 0.2}}, r"fold \['tset'\].*Did you mean 'test'.*no fraction for"),
        ({"seed": -1}, "seed must be an integer >= 0, got -1"),
        ({"seed": True}, "got True"),
        ({"seed": "7"}, "got '7'"),
        ({"seed": None}, "got None"),
        ({"exact_below": -1}, "exact_below must be an integer"),
        ({"gap_days": 1.0}, "gap_days is 1.0 but no time column"),
        ({"gap_days": -1.0, "time": "ordered_at"}, "gap_days must be a number >= 0"),
        ({"time": "ordered_at", "group": "customer_id"}, "exclude each other: a group recurs over time"),
    ],
)  # fmt: skip
def test_settings_that_cannot_be_are_refused(orders: DataFrame, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        stratified_split(orders, **{**ROLES, **settings})


def test_a_seed_has_no_default(orders: DataFrame) -> None:
    with pytest.raises(TypeError, match="seed"):
        stratified_split(orders, key="order_id", label="label")  # type: ignore[call-arg]


NULL_LABEL = "3 of 12000 rows have no label"
LABEL_GONE = {"label": "if(order_id >= 3, label, null)"}
ONE_DAY = {"ordered_at": "date'2020-01-01'"}


@pytest.mark.parametrize(
    ("change", "settings", "message"),
    [
        (LABEL_GONE, {}, NULL_LABEL),
        (LABEL_GONE, {"time": "ordered_at"}, NULL_LABEL),
        (LABEL_GONE, {"group": "customer_id"}, NULL_LABEL),
        ({"label": "if(order_id < 3, double('nan'), label)"}, {}, NULL_LABEL),
        ({"label": "0"}, {}, r"only one class is present, \{0: 12000 rows\}"),
        ({"label": "0"}, {"time": "ordered_at"}, "only one class is present"),
        ({"label": "order_id"}, {}, "more than 1000 distinct values"),
        ({"label": "ordered_at"}, {}, "label column 'label' is timestamp"),
        ({"order_id": "if(order_id >= 3, order_id, null)"}, {}, "3 of 12000 rows have no key"),
        ({"order_id": "double(order_id)"}, {}, "Cast them to string or bigint"),
        ({"ordered_at": "if(order_id >= 3, ordered_at, null)"}, {"time": "ordered_at"}, "3 of 12000 rows have no time"),
        ({"ordered_at": "'2020-01-01'"}, {"time": "ordered_at"}, "not a timestamp or a date"),
        (ONE_DAY, {"time": "ordered_at"}, "a fold would be empty"),
        ({"split": "'train'"}, {}, r"already has column \['split'\]"),
    ],
)
def test_data_that_breaks_the_contract_is_refused(
    orders: DataFrame, change: dict[str, str], settings: dict[str, Any], message: str
) -> None:
    broken = orders.withColumns({name: F.expr(value) for name, value in change.items()})
    with pytest.raises(DataContractError, match=message):
        stratified_split(broken, **ROLES, **settings)


def test_an_empty_table_is_refused(orders: DataFrame) -> None:
    for settings in ({}, {"group": "customer_id"}, {"time": "ordered_at"}):
        with pytest.raises(DataContractError, match="the input has no rows"):
            fit_split(orders.where("false"), **ROLES, **settings)


def test_a_missing_column_is_named(orders: DataFrame) -> None:
    with pytest.raises(MissingColumnsError, match=r"no column \['customer'\].*Did you mean 'customer_id'"):
        fit_split(orders, **ROLES, group="customer")


def test_a_class_absent_from_a_fold_is_refused_with_what_would_do(orders: DataFrame) -> None:
    rare = orders.withColumn("label", (F.col("order_id") < 2).cast("int"))  # 1.4, 0.3, 0.3 give 2, 0, 0
    message = (
        "class 1 has no row in 'validation': a share of 0.15 of its 2 rows is 0.3. 3 rows of the class would be enough."
    )
    with pytest.raises(DataContractError, match="class 1 has no row") as caught:
        fit_split(rare, **ROLES)
    assert message in str(caught.value)


def test_a_class_of_as_many_rows_as_folds_has_one_in_each(orders: DataFrame) -> None:
    rare = orders.withColumn("label", (F.col("order_id") < 3).cast("int"))
    assert [counts[1] for counts in fit_split(rare, **ROLES).counts.values()] == [1, 1, 1]


def test_a_class_absent_from_the_latest_time_is_refused(orders: DataFrame) -> None:
    early = orders.withColumn("label", (F.col("order_id") < 100).cast("int"))
    with pytest.raises(DataContractError, match=r"'validation'.*lie elsewhere in time.*'test'"):
        fit_split(early, **ROLES, time="ordered_at")
