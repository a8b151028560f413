"""SMOTEN: SMOTE for rows of categories alone."""

from collections.abc import Sequence
from dataclasses import replace
from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from imbalance_spark.checks import refuse_columns
from imbalance_spark.class_counts import Label
from imbalance_spark.errors import ConfigError, DataContractError
from imbalance_spark.frames import col, require_columns
from imbalance_spark.train_only.guard import leakage_errors
from imbalance_spark.train_only.sampling.census import Census
from imbalance_spark.train_only.sampling.feature_scale import FeatureScale
from imbalance_spark.train_only.sampling.neighbour_sampler import Points
from imbalance_spark.train_only.sampling.neighbours import NeighbourIndex
from imbalance_spark.train_only.sampling.neighbours.lists import NEAR
from imbalance_spark.train_only.sampling.neighbours.space import CODE, HASH, Space
from imbalance_spark.train_only.sampling.neighbours.value_difference import ValueDifferenceSpace
from imbalance_spark.train_only.sampling.synthetic_draws import NEIGHBOUR, draw_pairs, join_hint
from imbalance_spark.train_only.sampling.synthetic_sampler import SyntheticSampler
from imbalance_spark.train_only.sampling.votes import VOTERS, cell, most_frequent

MOST_VALUES = 100_000
"""Different values of all features together, which the driver holds with their class shares."""
_SHARES = "__shares"


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
