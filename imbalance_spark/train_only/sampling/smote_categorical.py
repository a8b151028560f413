"""SMOTE where features are categories: SMOTENC for mixed features, SMOTEN for categories alone."""

import statistics
from collections.abc import Sequence
from dataclasses import replace
from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from imbalance_spark.core.class_counts import Label
from imbalance_spark.core.columns import COPY_NUMBER, col, refuse_columns, require_columns
from imbalance_spark.core.errors import ConfigError, DataContractError
from imbalance_spark.train_only.guard import leakage_errors
from imbalance_spark.train_only.sampling.base import Census, Points
from imbalance_spark.train_only.sampling.feature_scale import FeatureScale, Scaling
from imbalance_spark.train_only.sampling.neighbours import EXACT_ROWS, NeighbourIndex
from imbalance_spark.train_only.sampling.neighbours.lists import NEAR
from imbalance_spark.train_only.sampling.neighbours.space import CODE, HASH, Space, ValueDifferenceSpace
from imbalance_spark.train_only.sampling.sampling_strategy import SamplingStrategy
from imbalance_spark.train_only.sampling.synthetic import (
    NEIGHBOUR,
    SyntheticSampler,
    draw_pairs,
    join_hint,
    uniform_draw,
)

VOTERS = "__voters"
"""Column of the hashes of those who vote for a row."""

MOST_VALUES = 100_000
"""Different values of all features together, which the driver holds with their class shares."""

_SHARES = "__shares"


def cell(number: int) -> str:
    """Name of the column of what is elected for a feature."""
    return f"__cell_{number}"


def most_frequent(electorate: DataFrame, rows: DataFrame, hashed: Column, features: Sequence[str]) -> DataFrame:
    """For each row of the electorate the most frequent categories of its voters; a null is a category. Lazy.

    Args:
        electorate: `HASH`, unique, and `VOTERS`. rows: those that voters are among, with the features.
        hashed: the hash of a row's key.

    Returns:
        `HASH`, and for each feature `cell(i)`: an array of structs of one `value`, sorted, null first.
    """
    # Wrapped, since a null compares as a value inside a struct only.
    cells = [F.struct(col(feature).alias("value")).alias(cell(i)) for i, feature in enumerate(features)]
    values = rows.select(hashed.alias("__voter"), *cells)
    ballots = electorate.select(HASH, F.explode(VOTERS).alias("__voter")).join(values, on="__voter", how="inner")
    return ballots.groupBy(HASH).agg(*[_modes(F.col(cell(i))).alias(cell(i)) for i in range(len(features))])


def _modes(cell_of_voter: Column) -> Column:
    ballots = F.collect_list(cell_of_voter)
    counted = F.transform(
        F.array_sort(F.array_distinct(ballots)),
        lambda value: F.struct(F.size(F.filter(ballots, lambda other: other == value)).alias("n"), value.alias("of")),
    )
    most = F.array_max(F.transform(counted, lambda entry: entry["n"]))
    return F.transform(F.filter(counted, lambda entry: entry["n"] == most), lambda entry: entry["of"])


class SMOTENC(SyntheticSampler):
    """SMOTE-NC (Chawla et al., 2002): a differing category costs M, the median of the class's standard deviations.

    M is the median over the numeric features of their population standard deviation inside the class, in
    the units of the distance. Numbers are interpolated; a category is the most frequent one among the parent's
    k neighbours (the parent itself has no vote; of equally frequent ones a hash draws). Null is a category of its own.

    Args: as `SMOTE`, and
        categorical_features: columns of any type that Spark casts to string, not among `features`.

    Attributes, after `fit_resample`: as `SMOTE`, and
        median_std_: M for each class that was sampled.
    """

    _purpose = "smotenc"

    def __init__(
        self, *, key: str | Sequence[str], label: str, features: Sequence[str], categorical_features: Sequence[str],
        sampling_strategy: SamplingStrategy = "auto", k_neighbors: int = 5, scaling: Scaling = "standard", seed: int,
        exact_rows: int = EXACT_ROWS,
    ) -> None:  # fmt: skip
        super().__init__(
            key=key, label=label, features=features, sampling_strategy=sampling_strategy, k_neighbors=k_neighbors,
            scaling=scaling, seed=seed, exact_rows=exact_rows,
        )  # fmt: skip
        self.categorical_features = tuple(categorical_features)
        if not self.categorical_features:
            raise ConfigError("SMOTENC.categorical_features names no column: with numbers alone use SMOTE.")
        if both := sorted(set(self.features) & set(self.categorical_features)):
            raise ConfigError(f"SMOTENC: columns {both} are both numeric and categorical features. Name each once.")
        self.median_std_: dict[Label, float] = {}

    def _check(self, train: DataFrame, added: Sequence[str] = ()) -> Census:
        require_columns(train, self.categorical_features, "SMOTENC")
        return super()._check(train, added)

    def _space(self, census: Census, scale: FeatureScale, name: Label) -> Space:
        """One pass over the class, for M."""
        spreads = [F.stddev_pop(value) for value in scale.scaled(self.features)]
        with leakage_errors():
            [row] = census.rows.where(col(self.label) == F.lit(name)).agg(*spreads).collect()
        self.median_std_[name] = float(f"{statistics.median(row):.6g}")
        return Space(
            numeric=self.features, scale=scale, categorical=self.categorical_features, penalty=self.median_std_[name]
        )

    def _draw(self, points: Points, name: Label, wanted: int, index: NeighbourIndex) -> tuple[DataFrame, int]:
        placed = index.placed(points.frame.sparkSession, self.k_neighbors, "SMOTENC").localCheckpoint()
        draws = draw_pairs(placed, index.rows, wanted, self._draw_seed(name))
        near = placed.select(HASH, F.transform(NEAR, lambda entry: entry["near"]).alias(VOTERS))
        return draws.join(near, on=HASH, how="inner"), wanted

    def _synthetic(self, census: Census, name: Label, draws: DataFrame) -> DataFrame:
        return super()._synthetic(census, name, self._with_votes(census, name, draws))

    def _with_votes(self, census: Census, name: Label, draws: DataFrame) -> DataFrame:
        """The draws with the category that the parent's neighbours elect, one column a categorical feature."""
        mine = census.rows.where(col(self.label) == F.lit(name))
        electorate = draws.select(HASH, VOTERS).dropDuplicates([HASH])
        tied = most_frequent(electorate, mine, self._hashed(), self.categorical_features)
        elected = draws.drop(VOTERS).join(tied, on=HASH, how="inner")
        numbers = range(len(self.categorical_features))
        chosen = [_drawn(F.col(cell(i)), f"{self._draw_seed(name)}/{i}").alias(cell(i)) for i in numbers]
        return elected.select(*draws.drop(VOTERS).columns, *chosen)

    def _output(self, rows: DataFrame, name: str) -> Column:
        if name not in self.categorical_features:
            return super()._output(rows, name)
        return F.col(cell(self.categorical_features.index(name))).alias(name)


def _drawn(modes: Column, seed: str) -> Column:
    place = F.floor(uniform_draw(seed, "category", F.col(HASH), F.col(COPY_NUMBER)) * F.size(modes))
    return F.get(modes, place.cast("int"))["value"]


class SMOTEN(SyntheticSampler):
    """SMOTEN (Chawla et al., 2002): every category of a new row is elected by its parent and the k nearest.

    Parents are uniform with replacement. Of equally frequent categories the smallest wins, null being the
    last; so all rows of one parent are equal. Neighbours are of the same class, by the value difference metric:
    two values are as far apart as the shares of the classes among all training rows that have them. Null is a
    value of its own. A synthetic row has no `neighbour_id` and no `gap`.

    Args: as `SMOTE` (`scaling` has no meaning here), where `features` are categorical columns of any type that
        Spark casts to string, with at most 100,000 different values together.

    Raises, in `fit_resample`: as `SMOTE`, and
        DataContractError: more different values.
    """

    _purpose = "smoten"

    def _check(self, train: DataFrame, added: Sequence[str] = ()) -> Census:
        if not self.features:
            raise ConfigError("SMOTEN.features names no column. Name the categorical columns.")
        coordinates = [f"{_SHARES}_{i}" for i in range(len(self.features))]
        refuse_columns(train, (*added, HASH, CODE, NEAR, *coordinates), "SMOTEN")
        require_columns(train, self.features, "SMOTEN")
        return self._count(train)

    def _scale(self, census: Census) -> FeatureScale:
        """One pass: the shares of the classes for each value, which are coordinates as they are."""
        self._shares = _value_shares(census, self.label, self.features)
        width = len(self.features) * len(census.counts)
        return FeatureScale(divisors=(1.0,) * width, means=(0.0,) * width)

    def _space(self, census: Census, scale: FeatureScale, name: Label) -> Space:
        classes = len(census.counts)
        names = tuple(f"{_SHARES}_{i}_{c}" for i in range(len(self.features)) for c in range(classes))
        return ValueDifferenceSpace(numeric=names, scale=scale, classes=classes)

    def _points(self, census: Census, space: Space) -> Points:
        rows = reduce(self._with_shares, range(len(self.features)), census.rows)
        shares = [
            F.get(f"{_SHARES}_{i}", F.lit(c)).alias(f"{_SHARES}_{i}_{c}")
            for i in range(len(self.features))
            for c in range(len(census.counts))
        ]
        return super()._points(replace(census, rows=rows.select("*", *shares)), space)

    def _with_shares(self, rows: DataFrame, number: int) -> DataFrame:
        of_feature = self._shares.where(F.col("feature") == number)
        known = F.broadcast(of_feature.select(F.col("value").alias("__value"), F.col("shares").alias("__found")))
        matched = rows.join(known, _text(self.features[number]).eqNullSafe(F.col("__value")), "left")
        return matched.drop("__value").withColumnRenamed("__found", f"{_SHARES}_{number}")

    def _draw(self, points: Points, name: Label, wanted: int, index: NeighbourIndex) -> tuple[DataFrame, int]:
        placed = index.placed(points.frame.sparkSession, self.k_neighbors, "SMOTEN").localCheckpoint()
        draws = draw_pairs(placed, index.rows, wanted, self._draw_seed(name)).drop(NEIGHBOUR)
        voters = F.concat(F.array(HASH), F.transform(NEAR, lambda entry: entry["near"]))
        return draws.join(placed.select(HASH, voters.alias(VOTERS)), on=HASH, how="inner"), wanted

    def _synthetic(self, census: Census, name: Label, draws: DataFrame) -> DataFrame:
        """The drawn parents with what their voters elect: a vote, and two joins by hash."""
        rows, hashed = census.rows, self._hashed()
        mine = rows.where(col(self.label) == F.lit(name))
        electorate = draws.select(HASH, VOTERS).dropDuplicates([HASH])
        elected = most_frequent(electorate, mine, hashed, self.features)
        chosen = elected.select(HASH, *[_smallest(cell(i)).alias(cell(i)) for i in range(len(self.features))])
        parents = mine.select("*", hashed.alias(HASH)).join(chosen, on=HASH, how="inner")
        hint = join_hint(census.counts[name], len(parents.columns))
        joined = draws.drop(VOTERS, "gap").join(parents.hint(hint), on=HASH, how="inner")
        # Of the type of the key, and null.
        nobody = F.when(F.lit(False), self._id()).alias("neighbour_id")
        whole = joined.select("*", nobody, F.lit(None).cast("double").alias("gap"))
        return whole.select(*[self._output(rows, column) for column in rows.columns], *self._provenance())

    def _output(self, rows: DataFrame, name: str) -> Column:
        return F.col(cell(self.features.index(name))).alias(name) if name in self.features else col(name)


def _text(feature: str) -> Column:
    return col(feature).cast("string")


def _smallest(modes: str) -> Column:
    # Sorted with null first, which as the last of the categories wins only alone.
    present = F.filter(modes, lambda mode: mode["value"].isNotNull())
    return F.get(present, F.lit(0))["value"]


def _value_shares(census: Census, label: str, features: tuple[str, ...]) -> DataFrame:
    """`feature` (its number), `value` (text) and `shares`: p(class | value), classes in sorted order."""
    cells = [F.struct(F.lit(i).alias("feature"), _text(name).alias("value")) for i, name in enumerate(features)]
    classes = sorted(census.counts)
    of_class = [F.count_if(F.col("__label") == F.lit(name)).alias(f"n_{i}") for i, name in enumerate(classes)]
    exploded = census.rows.select(col(label).alias("__label"), F.inline(F.array(*cells)))
    with leakage_errors():
        # Bounded: one row a value, and one more than allowed.
        found = exploded.groupBy("feature", "value").agg(*of_class).limit(MOST_VALUES + 1).collect()
    if len(found) > MOST_VALUES:
        per_feature = [sum(row["feature"] == i for row in found) for i in range(len(features))]
        raise DataContractError(
            f"SMOTEN: the features have more than {MOST_VALUES:,} different values together, most of them "
            f"{features[per_feature.index(max(per_feature))]!r}. Leave out columns that identify rows, or group values."
        )
    table = [(row["feature"], row["value"], _shares_of([row[f"n_{i}"] for i in range(len(classes))])) for row in found]
    return census.rows.sparkSession.createDataFrame(table, "feature int, value string, shares array<double>")


def _shares_of(counts: list[int]) -> list[float]:
    return [n / sum(counts) for n in counts]
