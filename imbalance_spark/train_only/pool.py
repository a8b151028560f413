"""The training pool: the training rows that all strategies of a run share, where memory does not hold all of them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from pyspark.sql import Column, DataFrame

from imbalance_spark.core.class_counts import of_class
from imbalance_spark.core.hashing import uniform
from imbalance_spark.train_only.config import TrainingConfig

_BYTES_A_FEATURE = {"xgboost_spark": 11.0, "native": 4.6, "external_memory": 2.6}
"""Memory of a fit by row and feature: slope of all Python workers from 1 to 4 million rows of 20 features."""
_FOR_FITS = 0.6
"""Share of the free memory that fits may take: the rest is for Spark, and for what a sampler adds."""


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
