"""What samplers share: their roles, the count of the classes, the weight that undoes the sampling."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from types import MappingProxyType
from typing import ClassVar

from pyspark.sql import Column, DataFrame, Row
from pyspark.sql import functions as F

from imbalance_spark.core.class_counts import Label, collect_per_class, of_class, refuse_one_class, show_counts
from imbalance_spark.core.columns import SAMPLING_WEIGHT, check_seed, col, refuse_columns
from imbalance_spark.core.errors import ConfigError, DataContractError
from imbalance_spark.core.hash_ranks import collect_cut_offs
from imbalance_spark.core.hashing import check_key, key_hash
from imbalance_spark.train_only.guard import leakage_errors, only_train
from imbalance_spark.train_only.sampling.feature_scale import (
    FeatureScale,
    Scaling,
    check_numeric,
    feature_sums,
    fit_feature_scale,
)
from imbalance_spark.train_only.sampling.neighbours import EXACT_ROWS, NeighbourIndex, index_points, is_exact
from imbalance_spark.train_only.sampling.neighbours.lists import NEAR
from imbalance_spark.train_only.sampling.neighbours.on_cluster import collect_points, search_by_scan
from imbalance_spark.train_only.sampling.neighbours.space import CODE, HASH, Space
from imbalance_spark.train_only.sampling.sampling_strategy import Kind, SamplingStrategy, check_sampling_strategy


def with_sampling_weight(rows: DataFrame, weight: Column) -> DataFrame:
    """The rows with `sampling_weight` (double, > 0); one that is there already is multiplied.

    Weighted class totals then estimate those before all sampling (Horvitz and Thompson, 1952).
    """
    before = col(SAMPLING_WEIGHT) if SAMPLING_WEIGHT in rows.columns else F.lit(1.0)
    return rows.withColumn(SAMPLING_WEIGHT, before * weight)


@dataclass(frozen=True, kw_only=True)
class Census:
    """Guarded training rows, how many of each class there are, and what else was summed up of each class."""

    rows: DataFrame
    counts: Mapping[Label, int]
    sums: Mapping[Label, Row]


def count_train(
    train: DataFrame, label: str, stage: str, aggregates: Mapping[str, Column] = MappingProxyType({})
) -> Census:
    """One pass over the training rows, which takes the named aggregates along.

    Raises:
        LeakageError: a row whose split is not "train".
        MissingColumnsError: there is no column `label` or `split`.
        DataContractError: no rows, null labels, one class only.
    """
    rows = only_train(train, stage)
    with leakage_errors():
        sums = collect_per_class(rows, label, stage, aggregates)
    counts = {found: row["n"] for found, row in sums.items()}
    refuse_one_class(counts, stage)
    return Census(rows=rows, counts=counts, sums=sums)


def refuse_lost_classes(before: Mapping[Label, int], after: Mapping[Label, int], stage: str) -> None:
    """Refuse a sampling that leaves fewer than two classes, which nothing can be fitted on."""
    if sum(n > 0 for n in after.values()) < 2:
        raise DataContractError(
            f"{stage}: fewer than two classes would be left: {show_counts(after)} of {show_counts(before)}. Keep more "
            "rows."
        )


class RandomSampler:
    """The words of imbalanced-learn's random samplers, on training rows with a key."""

    _kind: ClassVar[Kind]
    _purpose: ClassVar[str]

    def __init__(
        self, *, key: str | Sequence[str], label: str, sampling_strategy: SamplingStrategy = "auto", seed: int
    ) -> None:
        check_seed(seed, type(self).__name__)
        self.key = (key,) if isinstance(key, str) else tuple(key)
        self.label = label
        self.sampling_strategy = sampling_strategy
        self.seed = seed

    def _count(self, train: DataFrame, aggregates: Mapping[str, Column] = MappingProxyType({})) -> Census:
        """One pass: guarded rows and their classes, from which `sampling_strategy_` is learnt."""
        stage = type(self).__name__
        check_key(train, self.key, stage)
        census = count_train(train, self.label, stage, aggregates)
        self.sampling_strategy_ = check_sampling_strategy(self.sampling_strategy, census.counts, self._kind)
        self.counts_before_ = dict(census.counts)
        return census

    def _learn_kept(self, after: Mapping[Label, int]) -> None:
        self.kept_fractions_: dict[Label, float] = {
            label: after[label] / rows for label, rows in self.counts_before_.items()
        }

    def _is_among_lowest(self, census: Census, ranks: Mapping[Label, int], default: int) -> Column:
        """Whether a row is one of its class's `ranks` rows with the lowest hashes; one pass to find the cut-offs.

        Args:
            default: the cut-off of classes that `ranks` does not name: 0 takes none of their rows.
        """
        hashed = key_hash(self.key, self.seed, self._purpose)
        asked = {label: (rank,) for label, rank in ranks.items()}
        with leakage_errors():
            cut_offs = collect_cut_offs(
                census.rows, col(self.label), hashed, counts=census.counts, ranks=asked, stage=type(self).__name__
            )  # fmt: skip
        return hashed < of_class(self.label, {label: cuts[0] for label, cuts in cut_offs.items()}, default)


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
