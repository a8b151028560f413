"""The training pool: the training rows that all strategies of a run share, where memory does not hold all of them.

Its bootstraps draw rows by the hash of their group: the same draw in every layout, retry and strategy.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import reduce
from operator import add, and_
from typing import Any, Self

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from scipy.special import pdtr

from imbalance_spark.core.class_counts import of_class
from imbalance_spark.core.columns import IS_EARLY_STOPPING, col
from imbalance_spark.core.hashing import uniform
from imbalance_spark.orders.model_inputs import ROW_WEIGHT
from imbalance_spark.train_only.config import TrainingConfig

_BYTES_A_FEATURE = {"xgboost_spark": 11.0, "native": 4.6, "external_memory": 2.6}
"""Memory of a fit by row and feature: slope of all Python workers from 1 to 4 million rows of 20 features."""
_FOR_FITS = 0.6
"""Share of the free memory that fits may take: the rest is for Spark, and for what a sampler adds."""

MOST_COPIES = 10
"""A larger multiplicity has a probability of 1e-8, and is taken as this one."""


@dataclass(frozen=True, kw_only=True)
class TrainingPool:
    """All training rows of rare classes, and a share of the others by the hash of their key.

    Rows that are left out are accounted for as undersampling is: by design weights, one over the share (Horvitz and
    Thompson, 1952), in the prior correction and on the early-stopping set.

    Args:
        shares: of the rows of each class that are in the pool, in (0, 1], by class number.
        max_rows: rows that the pool was made for.
    """

    shares: tuple[float, ...]
    max_rows: int
    key: tuple[str, ...]
    seed: int

    @property
    def is_all(self) -> bool:
        """Whether every training row is in the pool."""
        return min(self.shares) == 1.0

    def of(self, rows: DataFrame, label: str) -> DataFrame:
        """The rows that are in the pool; lazy, without a shuffle, the same in any layout.

        Args:
            rows: with the key's columns and `label`, the number of a row's class.
        """
        return rows if self.is_all else rows.where(self.holds(label))

    def holds(self, label: str) -> Column:
        """Whether a row is in the pool; never null."""
        share = of_class(label, dict(enumerate(self.shares)), 1.0)
        return uniform(self.key, self.seed, "training pool") < share

    def rows(self, counts: Mapping[int, int]) -> dict[int, int]:
        """How many of so many rows of each class are in the pool, about."""
        return {number: round(n * self.shares[number]) for number, n in counts.items()}

    def sentence(self, classes: tuple[str, ...]) -> str:
        """Which rows are in the pool."""
        if self.is_all:
            return "all training rows"
        parts = [f"{share:.3g} of {name!r}" for name, share in zip(classes, self.shares, strict=True) if share < 1.0]
        return f"a pool of {self.max_rows:,} training rows: by key hash {', '.join(parts)}, all of the other classes"

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Self:
        """What `to_dict` wrote."""
        return cls(**{**record, "shares": tuple(record["shares"]), "key": tuple(record["key"])})


def training_pool(counts: Mapping[int, int], max_rows: int, *, key: tuple[str, ...], seed: int) -> TrainingPool:
    """The pool of at most `max_rows`: no class has more rows in it than another one that was cut.

    Args:
        counts: training rows of each class, by class number.
        max_rows: see `TrainingConfig`; what memory holds, if it says nothing.
        key, seed: of the hash.
    Returns:
        The pool; with at most `max_rows` training rows it is all of them.
    """
    left, most = max_rows, float(max(counts.values()))
    for place, rows in enumerate(sorted(counts.values())):
        if rows > left / (len(counts) - place):
            most = left / (len(counts) - place)
            break
        left -= rows
    shares = tuple(min(1.0, most / max(counts[number], 1)) for number in sorted(counts))
    return TrainingPool(shares=shares, max_rows=min(max_rows, sum(counts.values())), key=key, seed=seed)


def rows_in_memory(free_bytes: int, features: int, training: TrainingConfig) -> int:
    """Training rows that a fit holds in the free memory of all executors together; at least 1.

    Strategies are fitted one after the other, so that each has all of it.
    """
    engine = "external_memory" if training.external_memory and training.engine == "native" else training.engine
    return max(int(_FOR_FITS * free_bytes / (_BYTES_A_FEATURE[engine] * max(features, 1))), 1)


def bootstrapped(train: DataFrame, key: Sequence[str], group: Sequence[str], seed: int) -> DataFrame:
    """A bootstrap sample of the rows to fit on, as weights: rows of a group have one Poisson(1) multiplicity.

    With many groups that is drawing groups with replacement (Hanley and MacGibbon, 2006). The early-stopping set stays
    as it is. Lazy; no shuffle.

    Args:
        train: training rows with `is_early_stopping` and, where orders have a weight, `row_weight`.
        key: what identifies a row.
        group: what rows depend on each other within; a row with a null in it, or without a group, is its own.
        seed: of the draw.
    Returns:
        The rows that were drawn at least once, with `row_weight` (double, above 0) times their multiplicity.
    """
    multiplicity = F.when(col(IS_EARLY_STOPPING), 1.0).otherwise(_poisson(_group_uniform(key, group, seed)))
    weight = col(ROW_WEIGHT) if ROW_WEIGHT in train.columns else F.lit(1.0)
    others = [col(name) for name in train.columns if name != ROW_WEIGHT]
    drawn = train.select(*others, (weight * multiplicity).alias(ROW_WEIGHT))
    return drawn.where(col(ROW_WEIGHT) > 0.0)


def _group_uniform(key: Sequence[str], group: Sequence[str], seed: int) -> Column:
    by_key = uniform(key, seed, "bootstrap")
    if not group:
        return by_key
    has_group = reduce(and_, [col(name).isNotNull() for name in group])
    return F.when(has_group, uniform(group, seed, "bootstrap")).otherwise(by_key)


def _poisson(share: Column) -> Column:
    """The inverse of Poisson(1)'s distribution function, of a uniform number in [0, 1)."""
    return copies_at(share, [F.lit(float(pdtr(k, 1.0))) for k in range(MOST_COPIES)])


def copies_at(share: Column, ends: Iterable[Column]) -> Column:
    """How many values of a distribution function a uniform number in [0, 1) has reached: its inverse, an int.

    Args:
        ends: the function at 0, 1, ..., ascending.
    """
    return reduce(add, [(share >= end).cast("int") for end in ends])
