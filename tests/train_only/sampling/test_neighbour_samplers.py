"""The SMOTE family and the cleaners against imbalanced-learn, and against their own definitions."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from imblearn import over_sampling, under_sampling
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from sklearn.neighbors import NearestNeighbors
from support.sampler_checks import CHECKS, CLASSES, make_train

from imbalance_spark.core.errors import ConfigError, DataContractError
from imbalance_spark.train_only import sampling
from imbalance_spark.train_only.sampling import (
    ADASYN,
    SMOTE,
    SMOTEENN,
    SMOTENC,
    BorderlineSMOTE,
    EditedNearestNeighbours,
    InstanceHardnessThreshold,
    NearMiss,
    NeighbourhoodCleaningRule,
    RandomOverSampler,
    SMOTETomek,
    TomekLinks,
)
from imbalance_spark.train_only.sampling import smote_in_memory as held_class
from imbalance_spark.train_only.sampling.neighbours import index

NAMES = ["f0", "f1", "f2"]
ROLES: dict[str, Any] = {"key": "order_id", "label": "label", "features": NAMES, "scaling": "none"}
LIGHT = ("layout", "leak", "schema", "class_totals")


@pytest.fixture(scope="module")
def arrays() -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    draws = np.random.default_rng(3)
    y = np.repeat([0, 1, 2], [300, 60, 30])
    return draws.normal(size=(390, 3)) + 0.9 * y[:, None], y


@pytest.fixture(scope="module")
def train(spark: SparkSession, arrays: Any) -> DataFrame:
    table = pd.DataFrame(arrays[0], columns=NAMES)
    table.insert(0, "order_id", np.arange(len(table)))
    table["label"], table["split"] = arrays[1], "train"
    table["colour"] = np.array(["red", "green", "blue", None], object)[(np.arange(len(table)) * 7) % 4]
    table["score"] = 1 / (1 + np.exp(-table.f0))
    return spark.createDataFrame(table).localCheckpoint()


def kept(resampled: DataFrame) -> list[int]:
    return sorted(row["order_id"] for row in resampled.select("order_id").collect())


CLEANERS: dict[str, tuple[Any, Any]] = {
    "tomek": (TomekLinks(**ROLES), under_sampling.TomekLinks()),
    "tomek all": (TomekLinks(**ROLES, sampling_strategy="all"), under_sampling.TomekLinks(sampling_strategy="all")),
    "enn": (EditedNearestNeighbours(**ROLES), under_sampling.EditedNearestNeighbours()),
    "enn mode all": (
        EditedNearestNeighbours(**ROLES, kind_sel="mode", sampling_strategy="all", n_neighbors=4),
        under_sampling.EditedNearestNeighbours(kind_sel="mode", sampling_strategy="all", n_neighbors=4),
    ),
    "enn one class": (
        EditedNearestNeighbours(**ROLES, sampling_strategy=[1]),
        under_sampling.EditedNearestNeighbours(sampling_strategy=[1]),
    ),
    "ncr": (NeighbourhoodCleaningRule(**ROLES), under_sampling.NeighbourhoodCleaningRule()),
    "near miss 1": (NearMiss(**ROLES), under_sampling.NearMiss(version=1)),
    "near miss 2": (NearMiss(**ROLES, version=2), under_sampling.NearMiss(version=2)),
}


@pytest.mark.parametrize("name", CLEANERS)
def test_the_rows_that_stay_are_those_of_imbalanced_learn(train: DataFrame, arrays: Any, name: str) -> None:
    ours, theirs = CLEANERS[name]
    theirs.fit_resample(*arrays)
    assert kept(ours.fit_resample(train)) == sorted(theirs.sample_indices_.tolist())


@pytest.fixture(params=["held", "cluster"])
def bytes_in_memory(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Cells in memory, and on the cluster."""
    if request.param == "cluster":
        for room in (index, held_class):
            monkeypatch.setattr(
                room, "bytes_in_memory", lambda rows, space, engine: (engine == "cells") * (index.IN_MEMORY_BYTES + 1)
            )
    return str(request.param)


@pytest.mark.usefixtures("bytes_in_memory")
def test_cells_of_one_leaf_clean_as_the_exact_search(train: DataFrame) -> None:
    for sampler in (TomekLinks, EditedNearestNeighbours, NeighbourhoodCleaningRule):
        exact, cells = (kept(sampler(**ROLES, exact_rows=rows).fit_resample(train)) for rows in (1000, 0))
        assert exact == cells


def test_many_rows_in_doubt_take_several_scans_to_the_same_end(train: DataFrame) -> None:
    few, many = (kept(EditedNearestNeighbours(**ROLES, exact_rows=rows).fit_resample(train)) for rows in (90, 1000))
    assert few == many


def in_danger(arrays: Any, label: int) -> set[int]:
    x, y = arrays
    model = over_sampling.BorderlineSMOTE()
    mine = np.flatnonzero(y == label)
    nearest = NearestNeighbors(n_neighbors=11).fit(x)
    return set(mine[model._in_danger_noise(nearest, x[mine], label, y, kind="danger")].tolist())


@pytest.mark.parametrize("kind", ["borderline-1", "borderline-2"])
def test_borderline_rows_start_from_rows_in_danger(train: DataFrame, arrays: Any, kind: Any) -> None:
    sampler = BorderlineSMOTE(**ROLES, seed=7, kind=kind, sampling_strategy={2: 600})
    made = sampler.fit_resample(train).where("is_synthetic").toPandas()
    x, y = arrays
    assert set(made.parent_id) == in_danger(arrays, 2)
    assert sampler.danger_rows_ == {2: len(set(made.parent_id))}
    searched = np.flatnonzero(y == 2) if kind == "borderline-1" else np.arange(len(y))
    near = NearestNeighbors(n_neighbors=6).fit(x[searched]).kneighbors(x[made.parent_id], return_distance=False)
    assert all(b in searched[row[1:]] for b, row in zip(made.neighbour_id, near, strict=True))
    is_foreign = y[made.neighbour_id] != 2
    assert is_foreign.any() == (kind == "borderline-2")
    assert (made.gap[is_foreign] < 0.5).all()
    assert made.gap[~is_foreign].max() > 0.9
    expected = x[made.parent_id] + made.gap.to_numpy()[:, None] * (x[made.neighbour_id] - x[made.parent_id])
    np.testing.assert_allclose(made[NAMES], expected, rtol=1e-12)


def test_adasyn_gives_each_row_the_count_of_its_share(train: DataFrame, arrays: Any) -> None:
    x, y = arrays
    sampler = ADASYN(**ROLES, seed=7, sampling_strategy={2: 250})
    made = sampler.fit_resample(train).where("is_synthetic").toPandas()
    mine = np.flatnonzero(y == 2)
    near = NearestNeighbors(n_neighbors=6).fit(x).kneighbors(x[mine], return_distance=False)[:, 1:]
    share = (y[near] != 2).sum(axis=1) / 5
    expected = np.rint(share / share.sum() * 220).astype(int)
    found = made.groupby("parent_id").size()
    assert {int(i): int(n) for i, n in zip(mine, expected, strict=True) if n} == found.to_dict()
    assert sampler.kept_fractions_[2] == (30 + expected.sum()) / 30
    _, theirs = over_sampling.ADASYN(sampling_strategy={2: 250}).fit_resample(x, y)
    assert (theirs == 2).sum() == 30 + expected.sum()


def test_adasyn_without_a_border_is_refused(spark: SparkSession) -> None:
    columns = ["id as order_id", "int(id >= 90) as label", "id + 1000.0D * int(id >= 90) as f0", "'train' as split"]
    apart = spark.range(100).selectExpr(*columns)
    with pytest.raises(DataContractError, match="no row of class 1 has a neighbour of another class"):
        ADASYN(**{**ROLES, "features": ["f0"]}, seed=7).fit_resample(apart)


def test_borderline_without_danger_makes_nothing(spark: SparkSession) -> None:
    columns = ["id as order_id", "int(id >= 90) as label", "id + 1000.0D * int(id >= 90) as f0", "'train' as split"]
    apart = spark.range(100).selectExpr(*columns)
    sampler = BorderlineSMOTE(**{**ROLES, "features": ["f0"]}, seed=7)
    assert sampler.fit_resample(apart).count() == 100
    assert (sampler.danger_rows_, sampler.kept_fractions_) == ({1: 0}, {0: 1.0, 1: 1.0})


def test_the_constant_of_smotenc_is_the_median_of_the_class(spark: SparkSession) -> None:
    # semantics: rows (1,10,a)(2,30,a)(4,20,b)(3,60,b): M = median(1.1180, 18.7083) = 9.91316.
    rows = [(1.0, 10.0, "a"), (2.0, 30.0, "a"), (4.0, 20.0, "b"), (3.0, 60.0, "b")]
    table = [(i, 1, "train", *row) for i, row in enumerate(rows)] + [
        (9 + i, 0, "train", 0.0, 0.0, "c") for i in range(90)
    ]
    frame = spark.createDataFrame(table, "order_id long, label int, split string, u double, v double, c string")
    sampler = SMOTENC(
        **{**ROLES, "features": ["u", "v"]},
        categorical_features=["c"],
        seed=7,
        k_neighbors=1,
        sampling_strategy={1: 60},
    )
    made = sampler.fit_resample(frame).where("is_synthetic").collect()
    assert sampler.median_std_[1] == pytest.approx(9.91316, abs=1e-5)
    # d(0, 1) = sqrt(1 + 400) = 20.02; d(0, 2) = sqrt(9 + 100 + M^2) = 14.40: row 2 is the nearest of row 0.
    assert {row["neighbour_id"] for row in made if row["parent_id"] == 0} == {2}
    assert {row["c"] for row in made if row["parent_id"] == 0} == {"b"}


@pytest.mark.usefixtures("bytes_in_memory")
@pytest.mark.parametrize("exact_rows", [0, 1000])
def test_smotenc_takes_the_category_that_most_neighbours_have(train: DataFrame, exact_rows: int) -> None:
    sampler = SMOTENC(
        **ROLES, categorical_features=["colour"], seed=7, sampling_strategy={2: 400}, exact_rows=exact_rows
    )
    made = sampler.fit_resample(train).where("is_synthetic").toPandas()
    mine = train.where("label = 2").toPandas().set_index("order_id")
    penalty = sampler.median_std_[2]
    colours = mine.colour.fillna("none").to_numpy()
    squares = np.square(mine[NAMES].to_numpy()[:, None] - mine[NAMES].to_numpy()[None]).sum(axis=2)
    squares += penalty**2 * (colours[:, None] != colours[None, :])
    np.fill_diagonal(squares, np.inf)
    tied = 0
    for parent, neighbour, colour in zip(made.parent_id, made.neighbour_id, made.colour.fillna("none"), strict=True):
        near = np.argsort(squares[mine.index.get_loc(parent)])[:5]
        assert neighbour in mine.index[near]
        votes = pd.Series(colours[near]).value_counts()
        assert votes[colour] == votes.max()
        tied += (votes == votes.max()).sum() > 1
    assert tied


def test_smotenc_says_what_it_is_for() -> None:
    with pytest.raises(ConfigError, match="use SMOTE"):
        SMOTENC(**ROLES, categorical_features=[], seed=7)
    with pytest.raises(ConfigError, match=r"\['f1'\] are both"):
        SMOTENC(**ROLES, categorical_features=["f1"], seed=7)


def test_after_smote_and_tomek_no_link_of_the_whole_is_left_behind(train: DataFrame) -> None:
    sampler = SMOTETomek(**ROLES, seed=7)
    cleaned = sampler.fit_resample(train).toPandas()
    whole = SMOTE(**ROLES, seed=7)
    whole._purpose = "smote_tomek"
    rows = whole.fit_resample(train).toPandas().sort_values(["order_id", "copy_number"])
    theirs = under_sampling.TomekLinks(sampling_strategy="all")
    theirs.fit_resample(rows[NAMES].to_numpy(), rows.label.to_numpy())
    expected = rows.iloc[theirs.sample_indices_]
    assert set(zip(expected.order_id, expected.copy_number, strict=True)) == set(
        zip(cleaned.order_id, cleaned.copy_number, strict=True)
    )
    assert sum(sampler.removed_.values()) == len(rows) - len(expected) > 0


def test_smote_and_enn_leave_only_rows_that_their_neighbours_confirm(train: DataFrame) -> None:
    sampler = SMOTEENN(**ROLES, seed=7)
    left = sampler.fit_resample(train).groupBy("label").count().collect()
    assert {row["label"]: row["count"] for row in left} == {name: 300 - n for name, n in sampler.removed_.items()}


@pytest.mark.usefixtures("bytes_in_memory")
@pytest.mark.parametrize("exact_rows", [0, 1000])
def test_the_report_says_how_good_and_how_new_neighbours_are(train: DataFrame, arrays: Any, exact_rows: int) -> None:
    sampler = SMOTE(**ROLES, seed=7, sampling_strategy={1: 100}, exact_rows=exact_rows)
    sampler.fit_resample(train)
    report = sampler.neighbour_report_[1]
    mine = arrays[0][arrays[1] == 1]
    near = NearestNeighbors(n_neighbors=6).fit(mine).kneighbors(mine)[0][:, 1:]
    assert report.engine == ("exact" if exact_rows else "cells")
    assert (report.recall, report.rows_to_make, report.class_rows) == (1.0, 40, 60)
    assert report.distance_ratio == pytest.approx(1.0, abs=1e-6)
    assert report.novelty_ratio == pytest.approx(near.mean() / np.sqrt(2 * mine.var(axis=0).sum()))
    assert "40 rows from 60" in report.sentence


def test_copies_are_moved_by_the_noise_of_a_smoothed_bootstrap(train: DataFrame, arrays: Any) -> None:
    x, y = arrays
    sampler = RandomOverSampler(
        key="order_id", label="label", seed=7, features=NAMES, shrinkage=1.5, sampling_strategy={2: 9000}
    )
    rows = sampler.fit_resample(train).toPandas()
    copies = rows[rows.copy_number > 0]
    noise = copies[NAMES].to_numpy() - x[copies.order_id]
    h = (4 / (5 * 390)) ** (1 / 7)
    expected = 1.5 * h * x[y == 2].std(axis=0)
    np.testing.assert_allclose(noise.std(axis=0), expected, rtol=0.03)
    np.testing.assert_allclose(noise.mean(axis=0), 0.0, atol=4 * expected.max() / np.sqrt(len(copies)))
    originals = rows[rows.copy_number == 0].sort_values("order_id")
    np.testing.assert_array_equal(originals[NAMES], x)


def test_a_shrinkage_that_cannot_be_is_refused(train: DataFrame) -> None:
    with pytest.raises(ConfigError, match=r"shrinkage\[2\] must be a number >= 0.*no value for the classes \[1\]"):
        RandomOverSampler(key="order_id", label="label", seed=7, features=NAMES, shrinkage={2: -1.0}).fit_resample(
            train
        )


def test_hardness_keeps_what_imbalanced_learn_keeps(train: DataFrame) -> None:
    rows = train.select("order_id", "label", "score").toPandas().sort_values("order_id")
    sampler = InstanceHardnessThreshold(key="order_id", label="label", probability="score", sampling_strategy={0: 47})
    scores = rows.score[rows.label == 0].to_numpy()
    threshold = np.percentile(scores, (1 - 47 / 300) * 100)
    found = kept(sampler.fit_resample(train))
    assert found == rows.order_id[(rows.label != 0) | (rows.score >= threshold)].tolist()
    bad = train.withColumn("score", F.when(F.col("order_id") > 0, F.col("score")))
    with pytest.raises(DataContractError, match="1 rows have a 'score' that is null"):
        sampler.fit_resample(bad)


REFUSED = ["SVMSMOTE", "CondensedNearestNeighbour", "OneSidedSelection", "ClusterCentroids", "KMeansSMOTE"]


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_parallelise_is_refused_by_name_with_the_reason(name: str) -> None:
    with pytest.raises(AttributeError, match=rf"{name} is not offered on Spark: .* Use "):
        getattr(sampling, name)


ONE: dict[str, Any] = {"key": "order_id", "label": "label", "features": ["amount.eur"], "seed": 7}
PROMISING: dict[str, Any] = {
    "BorderlineSMOTE": BorderlineSMOTE(**ONE, sampling_strategy={2: 100}),
    "ADASYN": ADASYN(**ONE, sampling_strategy={2: 100}),
    "SMOTENC": SMOTENC(**ONE, categorical_features=["split"], sampling_strategy={2: 100}),
    "SMOTE by cells": SMOTE(**ONE, sampling_strategy={2: 100}, exact_rows=0),
    "SMOTETomek": SMOTETomek(**ONE, sampling_strategy={2: 100}),
    "TomekLinks": TomekLinks(**ONE),
    "NeighbourhoodCleaningRule": NeighbourhoodCleaningRule(**ONE),
    "NearMiss": NearMiss(**ONE),
}


@pytest.mark.parametrize("check", [c for c in CHECKS if any(w in c.__name__ for w in LIGHT)], ids=lambda c: c.__name__)
@pytest.mark.parametrize("sampler", PROMISING)
def test_neighbour_samplers_keep_the_promises(spark: SparkSession, sampler: str, check: Any) -> None:
    provenance = ("parent_id", "neighbour_id", "gap")
    check(spark, lambda train: PROMISING[sampler].fit_resample(train).drop(*provenance))


def test_smote_reads_the_rows_as_often_as_it_says(spark: SparkSession, bytes_in_memory: str) -> None:
    seen = spark.sparkContext.accumulator(0)

    def count(batches):  # type: ignore[no-untyped-def]  # Arrow batches in and out
        for batch in batches:
            seen.add(batch.num_rows)
            yield batch

    train = make_train(spark).withColumnRenamed("amount.eur", "amount").coalesce(1)
    counted = train.mapInArrow(count, train.schema)
    resampled = SMOTE(**{**ONE, "features": ["amount"]}, sampling_strategy={2: 100}, exact_rows=0).fit_resample(counted)
    # Counts with the scale, and the class; where it stays on the cluster its sample, three for the report, places.
    passes = {"held": 2, "cluster": 6}[bytes_in_memory]
    assert seen.value == passes * sum(CLASSES.values())
    resampled.write.format("noop").mode("overwrite").save()
    # Originals and parents; on the cluster neighbours and the search too.
    passes += {"held": 2, "cluster": 4}[bytes_in_memory]
    assert seen.value == passes * sum(CLASSES.values())
