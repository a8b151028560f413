"""What samplers that look at neighbours share: roles, space, and searches."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from imbalance_spark.checks import refuse_columns
from imbalance_spark.class_counts import Label, of_class
from imbalance_spark.errors import ConfigError
from imbalance_spark.frames import col
from imbalance_spark.hashing import key_hash
from imbalance_spark.train_only.sampling.census import Census
from imbalance_spark.train_only.sampling.feature_scale import (
    FeatureScale,
    Scaling,
    check_numeric,
    feature_sums,
    fit_feature_scale,
)
from imbalance_spark.train_only.sampling.neighbours import EXACT_ROWS, NeighbourIndex, index_points, is_exact
from imbalance_spark.train_only.sampling.neighbours.lists import NEAR
from imbalance_spark.train_only.sampling.neighbours.search import collect_points, search_by_scan
from imbalance_spark.train_only.sampling.neighbours.space import CODE, HASH, Space
from imbalance_spark.train_only.sampling.random_sampler import RandomSampler
from imbalance_spark.train_only.sampling.strategy import SamplingStrategy


@dataclass(frozen=True, kw_only=True)
class Points:
    """Training rows as points, with the number of each class and its rows."""

    frame: DataFrame
    space: Space
    codes: Mapping[Label, int]
    counts: Mapping[Label, int]

    def of(self, name: Label) -> DataFrame:
        """The points of one class."""
        return self.frame.where(F.col(CODE) == self.codes[name])

    @property
    def minority(self) -> Label:
        """The rarest class; of equally rare ones the first in sorted order."""
        return min(sorted(self.counts), key=lambda name: self.counts[name])

    @property
    def majority(self) -> Label:
        """The most frequent class; of equally frequent ones the first in sorted order."""
        return max(sorted(self.counts), key=lambda name: self.counts[name])


class NeighbourSampler(RandomSampler):
    """Roles and searches; a class of at most `exact_rows` rows is searched exactly, a larger one by cells."""

    def __init__(
        self, *, key: str | Sequence[str], label: str, features: Sequence[str],
        sampling_strategy: SamplingStrategy = "auto", scaling: Scaling = "standard", seed: int,
        exact_rows: int = EXACT_ROWS,
    ) -> None:  # fmt: skip
        super().__init__(key=key, label=label, sampling_strategy=sampling_strategy, seed=seed)
        self.features: tuple[str, ...] = tuple(features)
        self.categorical_features: tuple[str, ...] = ()
        self.scaling: Scaling = scaling
        self.exact_rows: int = self._whole("exact_rows", exact_rows, 0)

    def _whole(self, name: str, value: int, least: int) -> int:
        if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
            raise ConfigError(f"{type(self).__name__}.{name} must be an integer >= {least}, got {value!r}.")
        return int(value)

    def _hashed(self) -> Column:
        return key_hash(self.key, self.seed, self._purpose)

    def _check(self, train: DataFrame, added: Sequence[str] = ()) -> Census:
        stage = type(self).__name__
        refuse_columns(train, (*added, HASH, CODE, NEAR), stage)
        check_numeric(train, self.features, stage)
        return self._count(train, feature_sums(self.features))

    def _space(self, census: Census, scale: FeatureScale, name: Label) -> Space:
        """The space in which the neighbours of a class are looked for."""
        return Space(numeric=self.features, scale=scale)

    def _scale(self, census: Census) -> FeatureScale:
        """The scale of the features, from what was summed up with the counts; see `fit_feature_scale`."""
        return fit_feature_scale(
            census.rows, self.features, self.scaling, type(self).__name__, sums=list(census.sums.values()),
            hashed=self._hashed(),
        )  # fmt: skip

    def _points(self, census: Census, space: Space) -> Points:
        codes = {name: number for number, name in enumerate(sorted(census.counts))}
        code = of_class(self.label, codes, -1)
        return Points(
            frame=space.points(census.rows, self._hashed(), code), space=space, codes=codes, counts=census.counts
        )

    def _is_exact(self, points: Points, rows: int) -> bool:
        return is_exact(rows, points.space, self.exact_rows)

    def _index(self, points: Points, frame: DataFrame, rows: int) -> NeighbourIndex:
        """An index of some of the points, from one pass over them."""
        return index_points(
            frame, rows, points.space, exact_rows=self.exact_rows, seed=self.seed, stage=type(self).__name__
        )

    def _among_all(self, points: Points, names: Sequence[Label], k: int) -> DataFrame:
        """The k nearest training rows of any class for each row of the named ones: `HASH`, `CODE` and `NEAR`."""
        queries = points.frame.where(F.col(CODE).isin([points.codes[name] for name in names]))
        return self._nearest_of(points, queries, sum(points.counts[name] for name in names), k)

    def _nearest_of(self, points: Points, queries: DataFrame, rows: int, k: int) -> DataFrame:
        """The k nearest training rows of any class for each of `rows` points."""
        if self._is_exact(points, rows):
            return search_by_scan(points.frame, collect_points(queries, type(self).__name__), points.space, k)
        lists = self._index(points, points.frame, sum(points.counts.values())).nearest(points.frame.sparkSession, k)
        return lists.join(queries.select(HASH), on=HASH, how="left_semi")

    def _id(self) -> Column:
        return col(self.key[0]) if len(self.key) == 1 else F.struct(*[col(name) for name in self.key])
