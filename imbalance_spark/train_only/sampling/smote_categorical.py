"""SMOTE where features are categories: SMOTENC for mixed features, SMOTEN for categories alone."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from imbalance_spark.core.class_counts import Label
from imbalance_spark.core.columns import COPY_NUMBER, col, refuse_columns, require_columns
from imbalance_spark.core.errors import ConfigError, DataContractError
from imbalance_spark.train_only.guard import leakage_errors
from imbalance_spark.train_only.sampling.base import CountedRows, Points
from imbalance_spark.train_only.sampling.feature_scale import FeatureScale
from imbalance_spark.train_only.sampling.neighbours import NeighbourIndex
from imbalance_spark.train_only.sampling.neighbours.lists import NEAR
from imbalance_spark.train_only.sampling.neighbours.space import CODE, HASH, Space, ValueDifferenceSpace
from imbalance_spark.train_only.sampling.synthetic import (
    NEIGHBOUR,
    SyntheticSampler,
    draw_pairs,
    join_hint,
    uniform_draw,
)

NEIGHBOURS = "__neighbours"
"""Column of the hashes of the rows whose categories decide those of a synthetic row."""

MOST_VALUES = 100_000
"""Most distinct values of all features together, which the driver holds with their class shares."""

_SHARES = "__shares"


def mode_column(number: int) -> str:
    """Name of the column that holds the most frequent categories of a feature."""
    return f"__mode_{number}"


def neighbour_modes(parents: DataFrame, rows: DataFrame, hashed: Column, features: Sequence[str]) -> DataFrame:
    """For each parent the most frequent categories among its neighbours; a null is a category. Lazy.

    Args:
        parents: `HASH`, unique, and `NEIGHBOURS`. rows: the rows that neighbours are found in, with the features.
        hashed: the hash of a row's key.

    Returns:
        `HASH`, and for each feature `mode_column(i)`: an array of structs of one `value`, sorted, null first.
    """
    # Wrapped in a struct, where nulls compare equal.
    categories = [F.struct(col(feature).alias("value")).alias(mode_column(i)) for i, feature in enumerate(features)]
    values = rows.select(hashed.alias("__neighbour"), *categories)
    neighbours = parents.select(HASH, F.explode(NEIGHBOURS).alias("__neighbour"))
    modes = [_modes(F.col(name)).alias(name) for name in map(mode_column, range(len(features)))]
    return neighbours.join(values, on="__neighbour", how="inner").groupBy(HASH).agg(*modes)


def _modes(value: Column) -> Column:
    values = F.collect_list(value)
    counted = F.transform(
        F.array_sort(F.array_distinct(values)),
        lambda value: F.struct(F.size(F.filter(values, lambda other: other == value)).alias("n"), value.alias("of")),
    )
    most = F.array_max(F.transform(counted, lambda entry: entry["n"]))
    return F.transform(F.filter(counted, lambda entry: entry["n"] == most), lambda entry: entry["of"])


@dataclass(kw_only=True, eq=False)
class SMOTENC(SyntheticSampler):
    """SMOTE-NC (Chawla et al., 2002): a differing category adds M, the median of the class's standard deviations.

    M is the median over the numeric features of their population standard deviation inside the class, in
    the units of the distance. Numbers are interpolated; a category is the most frequent one among the parent's
    k neighbours (without the parent itself; ties are broken by a hash). Null is a category of its own.

    Args: as `SMOTE`, and
        categorical_features: columns of any type that Spark casts to string, not among `features`.

    Attributes, after `fit_resample`: as `SMOTE`, and
        median_std_: M for each class that was sampled.
    """

    _purpose = "smotenc"

    categorical_features: Sequence[str]

    def __post_init__(self) -> None:
        super().__post_init__()
        self.categorical_features = tuple(self.categorical_features)
        if not self.categorical_features:
            raise ConfigError("SMOTENC.categorical_features names no column: with numbers alone use SMOTE.")
        if both := sorted(set(self.features) & set(self.categorical_features)):
            raise ConfigError(f"SMOTENC: columns {both} are both numeric and categorical features. Name each once.")
        self.median_std_: dict[Label, float] = {}

    def _check(self, train: DataFrame, added: Sequence[str] = ()) -> CountedRows:
        require_columns(train, self.categorical_features, "SMOTENC")
        return super()._check(train, added)

    def _space(self, counted: CountedRows, scale: FeatureScale, name: Label) -> Space:
        """One pass over the class, for M."""
        spreads = [F.stddev_pop(value) for value in scale.scaled(self.features)]
        with leakage_errors():
            [row] = counted.rows.where(col(self.label) == F.lit(name)).agg(*spreads).collect()
        self.median_std_[name] = float(f"{statistics.median(row):.6g}")
        return Space(
            numeric=tuple(self.features),
            scale=scale,
            categorical=tuple(self.categorical_features),
            penalty=self.median_std_[name],
        )

    def _draw(self, points: Points, name: Label, wanted: int, index: NeighbourIndex) -> tuple[DataFrame, int]:
        ranked = index.ranked(points.frame.sparkSession, self.k_neighbors, "SMOTENC").localCheckpoint()
        draws = draw_pairs(ranked, index.rows, wanted, self._draw_seed(name))
        near = ranked.select(HASH, F.transform(NEAR, lambda entry: entry["near"]).alias(NEIGHBOURS))
        return draws.join(near, on=HASH, how="inner"), wanted

    def _synthetic(self, counted: CountedRows, name: Label, draws: DataFrame) -> DataFrame:
        return super()._synthetic(counted, name, self._with_modes(counted, name, draws))

    def _with_modes(self, counted: CountedRows, name: Label, draws: DataFrame) -> DataFrame:
        """The draws with the most frequent category of the parent's neighbours, one column per categorical feature."""
        mine = counted.rows.where(col(self.label) == F.lit(name))
        parents = draws.select(HASH, NEIGHBOURS).dropDuplicates([HASH])
        modes = neighbour_modes(parents, mine, self._hashed(), self.categorical_features)
        with_modes = draws.drop(NEIGHBOURS).join(modes, on=HASH, how="inner")
        numbers = range(len(self.categorical_features))
        chosen = [_drawn(F.col(mode_column(i)), f"{self._draw_seed(name)}/{i}").alias(mode_column(i)) for i in numbers]
        return with_modes.select(*draws.drop(NEIGHBOURS).columns, *chosen)

    def _output(self, rows: DataFrame, name: str) -> Column:
        if name not in self.categorical_features:
            return super()._output(rows, name)
        return F.col(mode_column(self.categorical_features.index(name))).alias(name)


def _drawn(modes: Column, seed: str) -> Column:
    index = F.floor(uniform_draw(seed, "category", F.col(HASH), F.col(COPY_NUMBER)) * F.size(modes))
    return F.get(modes, index.cast("int"))["value"]


class SMOTEN(SyntheticSampler):
    """SMOTEN (Chawla et al., 2002): each category is the most frequent one among the parent and its k neighbours.

    Parents are drawn uniformly with replacement. Of equally frequent categories the smallest is taken, null only
    where there is no other; so all synthetic rows of one parent are equal. Neighbours are of the same class, by the
    value difference metric: the distance of two values is that of the class shares among all training rows with these
    values. Null is a value of its own. A synthetic row has no `neighbour_id` and no `gap`.

    Args: as `SMOTE` (`scaling` has no meaning here), where `features` are categorical columns of any type that
        Spark casts to string, with at most 100,000 distinct values together.

    Raises, in `fit_resample`: as `SMOTE`, and
        DataContractError: more distinct values than that.
    """

    _purpose = "smoten"

    def _check(self, train: DataFrame, added: Sequence[str] = ()) -> CountedRows:
        if not self.features:
            raise ConfigError("SMOTEN.features names no column. Name the categorical columns.")
        coordinates = [f"{_SHARES}_{i}" for i in range(len(self.features))]
        refuse_columns(train, (*added, HASH, CODE, NEAR, *coordinates), "SMOTEN")
        require_columns(train, self.features, "SMOTEN")
        return self._count(train)

    def _scale(self, counted: CountedRows) -> FeatureScale:
        """One pass: the shares of the classes for each value, which are coordinates as they are."""
        self._shares = _value_shares(counted, self.label, self.features)
        width = len(self.features) * len(counted.counts)
        return FeatureScale(divisors=(1.0,) * width, means=(0.0,) * width)

    def _space(self, counted: CountedRows, scale: FeatureScale, name: Label) -> Space:
        classes = len(counted.counts)
        names = tuple(f"{_SHARES}_{i}_{c}" for i in range(len(self.features)) for c in range(classes))
        return ValueDifferenceSpace(numeric=names, scale=scale, classes=classes)

    def _points(self, counted: CountedRows, space: Space) -> Points:
        rows = reduce(self._with_shares, range(len(self.features)), counted.rows)
        shares = [
            F.get(f"{_SHARES}_{i}", F.lit(c)).alias(f"{_SHARES}_{i}_{c}")
            for i in range(len(self.features))
            for c in range(len(counted.counts))
        ]
        return super()._points(replace(counted, rows=rows.select("*", *shares)), space)

    def _with_shares(self, rows: DataFrame, number: int) -> DataFrame:
        of_feature = self._shares.where(F.col("feature") == number)
        known = F.broadcast(of_feature.select(F.col("value").alias("__value"), F.col("shares").alias("__found")))
        matched = rows.join(known, _text(self.features[number]).eqNullSafe(F.col("__value")), "left")
        return matched.drop("__value").withColumnRenamed("__found", f"{_SHARES}_{number}")

    def _draw(self, points: Points, name: Label, wanted: int, index: NeighbourIndex) -> tuple[DataFrame, int]:
        ranked = index.ranked(points.frame.sparkSession, self.k_neighbors, "SMOTEN").localCheckpoint()
        draws = draw_pairs(ranked, index.rows, wanted, self._draw_seed(name)).drop(NEIGHBOUR)
        deciding = F.concat(F.array(HASH), F.transform(NEAR, lambda entry: entry["near"]))
        return draws.join(ranked.select(HASH, deciding.alias(NEIGHBOURS)), on=HASH, how="inner"), wanted

    def _synthetic(self, counted: CountedRows, name: Label, draws: DataFrame) -> DataFrame:
        """The drawn parents with the most frequent categories of their neighbours: one count, and two joins by hash."""
        rows, hashed = counted.rows, self._hashed()
        mine = rows.where(col(self.label) == F.lit(name))
        drawn = draws.select(HASH, NEIGHBOURS).dropDuplicates([HASH])
        modes = neighbour_modes(drawn, mine, hashed, self.features)
        names = [mode_column(i) for i in range(len(self.features))]
        chosen = modes.select(HASH, *[_smallest(name).alias(name) for name in names])
        parents = mine.select("*", hashed.alias(HASH)).join(chosen, on=HASH, how="inner")
        hint = join_hint(counted.counts[name], len(parents.columns))
        joined = draws.drop(NEIGHBOURS, "gap").join(parents.hint(hint), on=HASH, how="inner")
        # Null, of the key's type.
        no_neighbour = F.when(F.lit(False), self._id()).alias("neighbour_id")
        whole = joined.select("*", no_neighbour, F.lit(None).cast("double").alias("gap"))
        return whole.select(*[self._output(rows, column) for column in rows.columns], *self._provenance())

    def _output(self, rows: DataFrame, name: str) -> Column:
        return F.col(mode_column(self.features.index(name))).alias(name) if name in self.features else col(name)


def _text(feature: str) -> Column:
    return col(feature).cast("string")


def _smallest(modes: str) -> Column:
    # Null sorts first, but is taken only where there is no other category.
    present = F.filter(modes, lambda mode: mode["value"].isNotNull())
    return F.get(present, F.lit(0))["value"]


def _value_shares(counted: CountedRows, label: str, features: Sequence[str]) -> DataFrame:
    """`feature` (its number), `value` (text) and `shares`: p(class | value), classes in sorted order."""
    values = [F.struct(F.lit(i).alias("feature"), _text(name).alias("value")) for i, name in enumerate(features)]
    classes = sorted(counted.counts)
    of_class = [F.count_if(F.col("__label") == F.lit(name)).alias(f"n_{i}") for i, name in enumerate(classes)]
    exploded = counted.rows.select(col(label).alias("__label"), F.inline(F.array(*values)))
    with leakage_errors():
        # Bounded: one row per value, and at most one more than allowed.
        found = exploded.groupBy("feature", "value").agg(*of_class).limit(MOST_VALUES + 1).collect()
    if len(found) > MOST_VALUES:
        per_feature = [sum(row["feature"] == i for row in found) for i in range(len(features))]
        raise DataContractError(
            f"SMOTEN: the features have more than {MOST_VALUES:,} distinct values together, most of them in "
            f"{features[per_feature.index(max(per_feature))]!r}. Leave out columns that identify rows, or group values."
        )
    table = [(row["feature"], row["value"], _shares_of([row[f"n_{i}"] for i in range(len(classes))])) for row in found]
    return counted.rows.sparkSession.createDataFrame(table, "feature int, value string, shares array<double>")


def _shares_of(counts: list[int]) -> list[float]:
    return [n / sum(counts) for n in counts]
