"""SMOTE against the promises of every sampler, and against its own definition."""

from typing import Any

import numpy as np
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from scipy import stats
from sklearn.neighbors import NearestNeighbors
from support.sampler_checks import CHECKS, make_train

from imbalance_spark.core.errors import DataContractError
from imbalance_spark.train_only.sampling import smote as smote_room
from imbalance_spark.train_only.sampling.neighbours import on_cluster as places
from imbalance_spark.train_only.sampling.neighbours.on_cluster import with_hash_ranks
from imbalance_spark.train_only.sampling.smote import SMOTE
from imbalance_spark.train_only.sampling.synthetic import PROVENANCE, draw_pairs

ROLES: dict[str, Any] = {"key": "order_id", "label": "label", "seed": 7, "features": ["amount.eur"]}
STRATEGY = {2: 100}
OF_SMOTE = [check for check in CHECKS if "rows_are_training_rows" not in check.__name__]


@pytest.mark.parametrize("check", OF_SMOTE, ids=lambda check: check.__name__)
def test_smote_keeps_the_promise(spark: SparkSession, check: Any) -> None:
    check(
        spark,
        lambda train: (
            SMOTE(**ROLES, sampling_strategy=STRATEGY).fit_resample(train).drop("parent_id", "neighbour_id", "gap")
        ),
    )


def test_originals_are_unchanged_and_counts_are_as_asked(spark: SparkSession) -> None:
    train = make_train(spark)
    rows = SMOTE(**ROLES, sampling_strategy=STRATEGY).fit_resample(train)
    originals = rows.where("not is_synthetic").drop(*PROVENANCE, "sampling_weight")
    assert sorted(map(tuple, originals.collect())) == sorted(map(tuple, train.collect()))
    found = rows.where("is_synthetic").groupBy("label").count().collect()
    assert {row["label"]: row["count"] for row in found} == {2: 70}


def test_a_synthetic_row_lies_on_the_segment_to_a_near_neighbour(spark: SparkSession) -> None:
    columns = [(F.rand(i) * (i + 1) * 10).alias(f"f{i}") for i in range(2)]
    train = make_train(spark).select("*", *columns, (F.rand(9) * 1000).cast("int").alias("n")).localCheckpoint()
    names = ["f0", "f1", "n"]
    sampler = SMOTE(**{**ROLES, "features": names}, sampling_strategy={2: 300})
    made = sampler.fit_resample(train).where("is_synthetic").toPandas()
    all_rows = train.toPandas().set_index("order_id")
    mine = all_rows[all_rows.label == 2]
    scaled = mine[names] / all_rows[names].std(ddof=0)
    near = NearestNeighbors(n_neighbors=6).fit(scaled.to_numpy()).kneighbors(scaled.to_numpy(), return_distance=False)
    allowed = {mine.index[i]: set(mine.index[near[i, 1:]]) for i in range(len(mine))}
    assert all(b in allowed[a] for a, b in zip(made.parent_id, made.neighbour_id, strict=True))
    start, end = mine.loc[made.parent_id, names].to_numpy(), mine.loc[made.neighbour_id, names].to_numpy()
    expected = start + made.gap.to_numpy()[:, None] * (end - start)
    expected[:, 2] = np.rint(expected[:, 2])
    np.testing.assert_allclose(made[names].to_numpy(), expected, rtol=1e-12)
    assert (made.order_id == made.parent_id).all()
    assert not made.duplicated(["order_id", "copy_number"]).any()


def test_draws_are_uniform_and_fewer_are_the_first_of_more(spark: SparkSession) -> None:
    lists = spark.range(40).selectExpr(
        "shiftleft(id, 56) as __hash", "transform(sequence(0, 4), i -> (0D, id * 5L + i, 1)) as n"
    )
    entries = "array<struct<distance: double, near: bigint, code: int>>"
    lists = lists.select("__hash", F.col("n").cast(entries).alias("__near"), F.expr("shiftright(__hash, 56) as __rank"))
    few, many = (
        draw_pairs(lists, 40, wanted, "smote/7/1").toPandas().sort_values(["__hash", "copy_number"])
        for wanted in (1000, 40_000)
    )
    assert stats.chisquare(many.groupby("__neighbour").size()).pvalue > 1e-3
    assert many["__neighbour"].nunique() == 200
    assert ((many["__hash"] // 2**56) == many["__neighbour"] // 5).all()
    assert stats.kstest(many.gap, "uniform").pvalue > 1e-3
    assert abs(np.corrcoef(many.gap, many["__hash"] / 2**62)[0, 1]) < 0.02
    both = few.merge(many, on=list(few.columns))
    assert len(both) == len(few) == 1000


def test_places_are_ranks_of_hashes_also_over_many_buckets(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "_BUCKET_ROWS", 10)
    ids = spark.range(500).selectExpr("pmod(xxhash64(id), shiftleft(1L, 62)) as __hash", "array() as __near")
    found = with_hash_ranks(ids, ids, 500, "SMOTE").orderBy("__hash").collect()
    assert [row["__rank"] for row in found] == list(range(500))


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({}, {"k_neighbors": 30}, r"\{2: 30 rows\}, but k_neighbors=30 needs 31 rows"),
        ({"amount.eur": "'a'"}, {}, "SMOTENC"),
        ({"amount.eur": "if(order_id > 1, 1.5D, double('inf'))"}, {}, r"\{'amount.eur': 2\}. Replace them"),
        ({"order_id": "least(order_id, 1000L)"}, {}, "rows of the same key"),
    ],
)
def test_what_smote_cannot_do_is_refused(spark: SparkSession, change: Any, options: Any, message: str) -> None:
    train = make_train(spark).withColumns({name: F.expr(sql) for name, sql in change.items()})
    with pytest.raises(DataContractError, match=message):
        SMOTE(**ROLES, **options, sampling_strategy=STRATEGY).fit_resample(train)


def test_a_synthetic_row_lacks_what_its_parent_lacks_and_nothing_else(spark: SparkSession) -> None:
    train = make_train(spark).select(
        "*",
        F.expr("if(order_id % 3 = 0, null, int(order_id))").alias("n"),
        F.expr("case when order_id % 5 = 0 then null when order_id % 7 = 0 then double('nan') else order_id end").alias(
            "x"
        ),
    )
    sampler = SMOTE(**{**ROLES, "features": ["amount.eur", "n", "x"]}, sampling_strategy={2: 300}, k_neighbors=25)
    made = (
        sampler.fit_resample(train)
        .where("is_synthetic")
        .select("order_id", "parent_id", "neighbour_id", "n", "x", "gap")
    )
    rows = made.collect()
    assert len(rows) == 270
    for row in rows:
        assert (row["n"] is None) == (row["parent_id"] % 3 == 0)
        assert (row["x"] is None) == (row["parent_id"] % 5 == 0)
        assert (row["x"] is not None and np.isnan(row["x"])) == (row["parent_id"] % 5 > 0 and row["parent_id"] % 7 == 0)
    only_neighbour_lacks = [r for r in rows if r["neighbour_id"] % 3 == 0 and r["parent_id"] % 3]
    assert only_neighbour_lacks
    assert all(row["n"] == row["parent_id"] for row in only_neighbour_lacks)


def test_rows_made_in_memory_are_those_made_by_joins(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = F.when(F.col("order_id") % 5 > 0, F.rand(3)).alias("f0")
    numbers = [
        missing,
        (F.rand(4) * 1000).cast("int").alias("n"),
        F.array(F.lit("a"), F.col("order_id").cast("string")).alias("other"),
    ]
    train = make_train(spark).select("*", *numbers, F.lit("x").alias("shop id")).localCheckpoint()

    def made() -> list[str]:
        sampler = SMOTE(
            **{**ROLES, "key": ["shop id", "order_id"], "features": ["f0", "n"]}, sampling_strategy={2: 300, 1: 320}
        )
        rows = sampler.fit_resample(train)
        return [*sorted(map(str, rows.collect())), str(rows.schema)]

    in_memory = made()
    monkeypatch.setattr(smote_room, "IN_MEMORY_BYTES", 0)
    assert made() == in_memory
