import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession

from imbalance_spark.core.errors import DataContractError, MissingColumnsError
from imbalance_spark.metrics import (
    LogitGrid,
    ScoreCounts,
    bin_counts,
    collect_score_counts,
    collect_score_counts_by,
    score_counts,
)

COLUMNS = ("score", "threshold", "positives", "negatives", "positive_weight", "negative_weight", "positive_amount")
GRID = LogitGrid(bins=1024, bound=15.0)
ROW = st.tuples(st.booleans(), st.floats(0, 1), st.integers(0, 5), st.integers(0, 3))
ROWS = st.lists(ROW, min_size=1, max_size=60)


def assert_same(one: ScoreCounts, other: ScoreCounts, tolerance: float = 0.0) -> None:
    assert one.grid == other.grid
    for name in COLUMNS:
        left, right = getattr(one, name), getattr(other, name)
        if left is None or right is None:
            assert left is right
        else:
            np.testing.assert_allclose(left, right, rtol=tolerance, atol=0.0)


def sample(rows: int, seed: int = 7) -> pd.DataFrame:
    draw = np.random.default_rng(seed)
    score = 1 / (1 + np.exp(-draw.normal(-3, 2, rows)))
    return pd.DataFrame(
        {
            "score": score.round(3),
            "label": (draw.random(rows) < score).astype(int),
            "weight": draw.integers(0, 4, rows).astype(float),
            "amount": draw.integers(0, 100, rows).astype(float),
            "fold": draw.choice(["validation", "test"], rows),
        }
    )


def test_exact_counts_have_one_entry_for_each_distinct_score() -> None:
    counts = ScoreCounts.from_arrays([1, 0, 1, 0, 0], [0.9, 0.9, 0.5, 0.3, 0.2], [1, 2, 3, 4, 5], [10, 0, 20, 0, 0])
    assert counts.is_exact
    assert counts.is_weighted
    assert counts.score.tolist() == counts.threshold.tolist() == [0.9, 0.5, 0.3, 0.2]
    assert counts.positives.tolist() == [1, 1, 0, 0]
    assert counts.negatives.tolist() == [1, 0, 1, 1]
    assert counts.negative_weight.tolist() == [2.0, 0.0, 4.0, 5.0]
    assert counts.positive_amount is not None
    assert counts.positive_amount.tolist() == [10.0, 60.0, 0.0, 0.0]


def test_counts_without_weights_weigh_each_row_one_and_have_no_amounts() -> None:
    counts = ScoreCounts.from_arrays([True, False], [0.2, 0.1])
    assert not counts.is_weighted
    assert counts.positive_weight.tolist() == [1.0, 0.0]
    assert counts.positive_amount is None


def test_more_distinct_scores_than_the_limit_are_counted_in_bins() -> None:
    rows = sample(500)
    counts = ScoreCounts.from_arrays(rows["label"], rows["score"], grid=GRID, exact_limit=10)
    assert counts.grid == GRID
    assert counts.positives.sum() == rows["label"].sum()
    assert counts.positives.dtype == np.int64


@settings(max_examples=200, deadline=None)
@given(ROWS)
def test_counts_do_not_depend_on_how_rows_are_dealt_to_batches(rows: list[tuple[bool, float, int, int]]) -> None:
    label, score, weight, batch = (np.array(column) for column in zip(*rows, strict=True))
    whole = bin_counts(label, score, weight, weight, grid=GRID)
    parts = [bin_counts(label[i], score[i], weight[i], weight[i], grid=GRID) for i in (batch == b for b in range(4))]
    merged = pa.concat_tables([pa.table(part) for part in parts])
    assert_same(ScoreCounts.from_table(pa.table(whole), GRID), ScoreCounts.from_table(merged, GRID))


@pytest.mark.parametrize("exact_limit", [0, 1 << 20])
@pytest.mark.parametrize("with_amount", [False, True])
def test_records_survive_json_to_the_last_bit(exact_limit: int, with_amount: bool) -> None:
    rows = sample(2000)
    amount = rows["amount"] if with_amount else None
    counts = ScoreCounts.from_arrays(rows["label"], rows["score"], rows["weight"], amount, exact_limit=exact_limit)
    assert_same(ScoreCounts.from_records(json.loads(json.dumps(counts.to_records()))), counts)


def test_a_pandas_table_gives_the_same_counts_as_an_arrow_table() -> None:
    rows = sample(300)
    table = bin_counts(rows["label"], rows["score"], grid=GRID)
    assert_same(ScoreCounts.from_table(pd.DataFrame(table), GRID), ScoreCounts.from_table(pa.table(table), GRID))


BAD = pd.DataFrame(
    {
        "label": [0.0, 1.0, 2.0, None, 1.0, 0.0, 1.0, 0.0],
        "score": [None, 1.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5],
        "weight": [1.0, 1.0, 1.0, 1.0, -1.0, np.inf, 1.0, 1.0],
        "amount": [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, -5.0, 1.0],
    }
)
BAD_TEXT = (
    "2 rows have a score that is null, NaN or outside [0, 1], 2 rows have a label that is neither 0 nor 1, "
    "2 rows have a weight that is null, NaN, infinite or negative, "
    "1 rows have an amount that is null, NaN, infinite or negative, of 8 rows."
)


@pytest.mark.parametrize("exact_limit", [0, 100])
def test_rows_that_break_a_rule_are_refused_with_their_number(exact_limit: int) -> None:
    with pytest.raises(DataContractError) as error:
        ScoreCounts.from_arrays(BAD["label"], BAD["score"], BAD["weight"], BAD["amount"], exact_limit=exact_limit)
    assert BAD_TEXT in str(error.value)


def test_no_row_at_all_is_refused() -> None:
    for limit in (0, 10):
        with pytest.raises(DataContractError, match="no row"):
            ScoreCounts.from_arrays([], [], exact_limit=limit)


def test_spark_counts_equal_numpy_counts_and_refuse_the_same_rows(spark: SparkSession) -> None:
    rows = sample(20_000)
    frame = spark.createDataFrame(pa.Table.from_pandas(rows))
    columns = {"score": "score", "label": "label", "weight": "weight", "amount": "amount"}
    found = collect_score_counts(frame, **columns, exact_limit=0)
    wanted = ScoreCounts.from_arrays(rows["label"], rows["score"], rows["weight"], rows["amount"], exact_limit=0)
    assert_same(found, wanted, 1e-12)
    bad = spark.createDataFrame(pa.Table.from_pandas(BAD))
    with pytest.raises(DataContractError) as error:
        collect_score_counts(bad, score="score", label="label", weight="weight", amount="amount")
    assert BAD_TEXT in str(error.value)


def test_groups_are_counted_apart_in_one_job(spark: SparkSession) -> None:
    rows = sample(5000).rename(columns={"score": "raw.score", "fold": "a fold"})
    frame = spark.createDataFrame(pa.Table.from_pandas(rows)).selectExpr("*", "label = 1 as is_fraud")
    spark.sparkContext.setJobGroup("counts", "by fold")
    found = collect_score_counts_by(frame, ["a fold"], score="raw.score", label="is_fraud")
    jobs = spark.sparkContext.statusTracker().getJobIdsForGroup("counts")
    spark.sparkContext.setLocalProperty("spark.jobGroup.id", "")
    # Adaptive execution submits the map stage before a shuffle as a job of its own: two jobs, one scan.
    assert len(jobs) <= 2
    for fold in ("validation", "test"):
        part = rows[rows["a fold"] == fold]
        assert_same(found[(fold,)], ScoreCounts.from_arrays(part["label"], part["raw.score"], exact_limit=0))


def test_the_counts_frame_is_lazy_typed_and_free_of_python(spark: SparkSession) -> None:
    spark.sparkContext.setJobGroup("lazy", "lazy")
    frame = spark.createDataFrame([(0.5, 1, "x")], "score double, label int, split string")
    counts = score_counts(frame, score="score", label="label", by=["split"])
    assert not spark.sparkContext.statusTracker().getJobIdsForGroup("lazy")
    spark.sparkContext.setLocalProperty("spark.jobGroup.id", "")
    assert counts.schema.simpleString() == "struct<split:string,bin:int,label:int,n:bigint,weight:double,amount:double>"
    plan = counts._jdf.queryExecution().executedPlan().toString()
    assert "Python" not in plan
    assert "Pandas" not in plan


def test_wrong_columns_are_refused_all_at_once(spark: SparkSession) -> None:
    frame = spark.createDataFrame([("0.5", "yes", 1)], "score string, label string, bin int")
    with pytest.raises(MissingColumnsError, match="scores"):
        score_counts(frame, score="scores", label="label")
    with pytest.raises(DataContractError) as error:
        score_counts(frame, score="score", label="label", by=["bin"])
    assert all(part in str(error.value) for part in ("'score' is string", "'label' is string", "['bin']"))
