"""What samplers share: their parameters, the count of the classes, the weight that undoes the sampling."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
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
    """The rows with `sampling_weight` (double, > 0); an existing one is multiplied.

    Weighted class totals then estimate those before all sampling (Horvitz and Thompson, 1952).
    """
    before = col(SAMPLING_WEIGHT) if SAMPLING_WEIGHT in rows.columns else F.lit(1.0)
    return rows.withColumn(SAMPLING_WEIGHT, before * weight)


@dataclass(frozen=True, kw_only=True)
class CountedRows:
    """Guarded training rows, the number of rows per class, and further sums per class."""

    rows: DataFrame
    counts: Mapping[Label, int]
    sums: Mapping[Label, Row]


def count_train(
    train: DataFrame, label: str, stage: str, aggregates: Mapping[str, Column] = MappingProxyType({})
) -> CountedRows:
    """One pass over the training rows, which computes the named aggregates as well.

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
    return CountedRows(rows=rows, counts=counts, sums=sums)


def refuse_lost_classes(before: Mapping[Label, int], after: Mapping[Label, int], stage: str) -> None:
    """Refuse to sample down to fewer than two classes: no classifier can be fitted on one."""
    if sum(n > 0 for n in after.values()) < 2:
        raise DataContractError(
            f"{stage}: fewer than two classes would be left: {show_counts(after)} of {show_counts(before)}. Keep more "
            "rows."
        )


@dataclass(kw_only=True, eq=False)
class RandomSampler:
    """Parameters as imbalanced-learn names them, for training rows that have a key.

    A parameter's `field` may say what is accepted: `least` is the lowest whole number, `choices` are the only values.
    """

    key: str | Sequence[str]
    label: str
    sampling_strategy: SamplingStrategy = "auto"
    seed: int

    _kind: ClassVar[Kind]
    _purpose: ClassVar[str]

    def __post_init__(self) -> None:
        check_seed(self.seed, self._stage)
        for parameter in fields(self):
            value, rule = getattr(self, parameter.name), parameter.metadata
            if "least" in rule:
                setattr(self, parameter.name, self._whole(parameter.name, value, rule["least"]))
            if value not in rule.get("choices", (value,)):
                accepted = " or ".join(map(repr, rule["choices"]))
                raise ConfigError(
                    f"{self._stage}.{parameter.name} must be {accepted}, got {value!r}{rule.get('hint', '')}."
                )

    def _whole(self, name: str, value: object, least: int) -> int:
        if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
            raise ConfigError(f"{self._stage}.{name} must be an integer >= {least}, got {value!r}.")
        return int(value)

    @property
    def _stage(self) -> str:
        return type(self).__name__

    @property
    def _key(self) -> tuple[str, ...]:
        return (self.key,) if isinstance(self.key, str) else tuple(self.key)

    def _hashed(self) -> Column:
        return key_hash(self._key, self.seed, self._purpose)

    def _count(self, train: DataFrame, aggregates: Mapping[str, Column] = MappingProxyType({})) -> CountedRows:
        """One pass: guarded rows and their classes, from which `sampling_strategy_` is learnt."""
        check_key(train, self._key, self._stage)
        counted = count_train(train, self.label, self._stage, aggregates)
        self.sampling_strategy_ = check_sampling_strategy(self.sampling_strategy, counted.counts, self._kind)
        self.counts_before_ = dict(counted.counts)
        return counted

    def _learn_kept_fractions(self, after: Mapping[Label, int]) -> None:
        self.kept_fractions_: dict[Label, float] = {
            label: after[label] / rows for label, rows in self.counts_before_.items()
        }

    def _is_among_lowest(self, counted: CountedRows, ranks: Mapping[Label, int], default: int) -> Column:
        """Whether a row is one of its class's `ranks` rows with the lowest hashes; one pass to find their bounds.

        Args:
            default: the hash bound of classes that `ranks` does not name: 0 takes none of their rows.
        """
        with leakage_errors():
            bounds = collect_cut_offs(
                counted.rows, col(self.label), self._hashed(), counts=counted.counts,
                ranks={label: (rank,) for label, rank in ranks.items()}, stage=self._stage,
            )  # fmt: skip
        return self._hashed() < of_class(self.label, {label: bound for label, (bound,) in bounds.items()}, default)


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


@dataclass(kw_only=True, eq=False)
class NeighbourSampler(RandomSampler):
    """Features and searches: exact for classes of at most `exact_rows` rows, by k-means cells for larger ones."""

    features: Sequence[str]
    scaling: Scaling = "standard"
    exact_rows: int = field(default=EXACT_ROWS, metadata={"least": 0})

    def __post_init__(self) -> None:
        super().__post_init__()
        self.features = tuple(self.features)

    def _check(self, train: DataFrame, added: Sequence[str] = ()) -> CountedRows:
        refuse_columns(train, (*added, HASH, CODE, NEAR), self._stage)
        check_numeric(train, self.features, self._stage)
        return self._count(train, feature_sums(self.features))

    def _space(self, counted: CountedRows, scale: FeatureScale, name: Label) -> Space:
        """The space in which the neighbours of a class are searched."""
        return Space(numeric=tuple(self.features), scale=scale)

    def _scale(self, counted: CountedRows) -> FeatureScale:
        """The scale of the features, from the sums that were counted; see `fit_feature_scale`."""
        return fit_feature_scale(
            counted.rows, self.features, self.scaling, self._stage, sums=list(counted.sums.values()),
            hashed=self._hashed(),
        )  # fmt: skip

    def _points(self, counted: CountedRows, space: Space) -> Points:
        codes = {name: number for number, name in enumerate(sorted(counted.counts))}
        code = of_class(self.label, codes, -1)
        return Points(
            frame=space.points(counted.rows, self._hashed(), code), space=space, codes=codes, counts=counted.counts
        )

    def _is_exact(self, points: Points, rows: int) -> bool:
        return is_exact(rows, points.space, self.exact_rows)

    def _index(self, points: Points, frame: DataFrame, rows: int) -> NeighbourIndex:
        """An index of some of the points, from one pass over them."""
        return index_points(frame, rows, points.space, exact_rows=self.exact_rows, seed=self.seed, stage=self._stage)

    def _among_all(self, points: Points, names: Sequence[Label], k: int) -> DataFrame:
        """The k nearest training rows of any class for each row of the named ones: `HASH`, `CODE` and `NEAR`."""
        queries = points.frame.where(F.col(CODE).isin([points.codes[name] for name in names]))
        return self._nearest_of(points, queries, sum(points.counts[name] for name in names), k)

    def _nearest_of(self, points: Points, queries: DataFrame, rows: int, k: int) -> DataFrame:
        """The k nearest training rows of any class for each of `rows` points."""
        if self._is_exact(points, rows):
            return search_by_scan(points.frame, collect_points(queries, self._stage), points.space, k)
        lists = self._index(points, points.frame, sum(points.counts.values())).nearest(points.frame.sparkSession, k)
        return lists.join(queries.select(HASH), on=HASH, how="left_semi")

    def _id(self) -> Column:
        return col(self._key[0]) if len(self._key) == 1 else F.struct(*[col(name) for name in self._key])
