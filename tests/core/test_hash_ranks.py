"""Exact counts: allocation against scikit-learn, cut-offs against a sort."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from sklearn.utils.extmath import _approximate_mode

from imbalance_spark.core.errors import DataContractError
from imbalance_spark.core.hash_ranks import collect_cut_offs, largest_remainder
from imbalance_spark.core.hashing import HASH_RANGE, key_hash

SHARES = st.lists(st.integers(1, 97), min_size=2, max_size=4).map(lambda parts: [part / sum(parts) for part in parts])


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), SHARES)
def test_allocation_uses_every_row_and_is_within_one_of_each_share(total: int, shares: list[float]) -> None:
    counts = largest_remainder(total, shares)
    assert sum(counts) == total
    for count, share in zip(counts, shares, strict=True):
        assert math.floor(total * share - 1e-6) <= count <= math.ceil(total * share + 1e-6)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 5000), st.lists(st.sampled_from([1, 3, 7, 19, 41, 97]), min_size=3, max_size=3, unique=True))
def test_allocation_is_that_of_scikit_learn_where_no_remainders_tie(total: int, parts: list[int]) -> None:
    quotas = [total * part / sum(parts) for part in parts]
    remainders = [total * part % sum(parts) for part in parts]
    if len(set(remainders)) < 3:
        return
    oracle = _approximate_mode(np.array(parts), total, rng=0)
    assert list(largest_remainder(total, [part / sum(parts) for part in parts])) == list(oracle), quotas


def test_three_rows_with_a_quarter_for_test_give_one_row_to_test() -> None:
    assert largest_remainder(3, [0.75, 0.25]) == (2, 1)
    assert largest_remainder(997, [0.75, 0.25]) == (748, 249)  # 747.75 and 249.25


def test_a_tie_goes_to_the_part_named_first() -> None:
    assert largest_remainder(10, [0.7, 0.15, 0.15]) == (7, 2, 1)


def test_cut_offs_are_those_of_a_full_sort(spark: SparkSession) -> None:
    rows = spark.range(40_000).select("id", (F.col("id") % 20 == 0).cast("int").alias("label"))
    hashed = key_hash(["id"], 3, "test")
    ranks = {0: (0, 1, 19_000, 37_999, 38_000), 1: (1, 1000, 1999)}
    found = collect_cut_offs(rows, F.col("label"), hashed, counts={0: 38_000, 1: 2_000}, ranks=ranks, stage="test")
    pairs = [(row[0], row[1]) for row in rows.select("label", hashed).collect()]
    for label, asked in ranks.items():
        hashes = [*sorted(h for name, h in pairs if name == label), HASH_RANGE]
        assert list(found[label]) == [0 if rank == 0 else hashes[rank] for rank in asked]


def test_a_hash_that_is_not_uniform_is_found_in_a_wider_window(spark: SparkSession) -> None:
    rows = spark.range(50_000).withColumn("label", F.lit("a"))
    found = collect_cut_offs(rows, F.col("label"), F.col("id"), counts={"a": 50_000}, ranks={"a": (700,)}, stage="test")
    assert found == {"a": (700,)}


def test_duplicate_keys_at_a_cut_off_are_refused(spark: SparkSession) -> None:
    rows = spark.range(10).select(F.lit(1).alias("id"), F.lit(1).alias("label"))
    with pytest.raises(DataContractError, match="the key is not unique: two rows of class 1"):
        collect_cut_offs(rows, F.col("label"), F.col("id"), counts={1: 10}, ranks={1: (5,)}, stage="test")


def test_fewer_rows_than_counted_end_in_an_error_not_in_a_loop(spark: SparkSession) -> None:
    rows = spark.range(10).withColumn("label", F.lit(1))
    with pytest.raises(DataContractError, match="had 20 rows in one scan and fewer in the next"):
        collect_cut_offs(rows, F.col("label"), F.col("id"), counts={1: 20}, ranks={1: (15,)}, stage="test")
