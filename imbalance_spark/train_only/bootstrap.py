"""Bootstrap of training rows by the hash of their group: the same draw in every layout, retry and strategy."""

from collections.abc import Iterable, Sequence
from functools import reduce
from itertools import accumulate
from operator import add, and_

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from scipy.stats import poisson

from imbalance_spark.core.columns import IS_EARLY_STOPPING, col
from imbalance_spark.core.hashing import uniform
from imbalance_spark.orders.model_inputs import ROW_WEIGHT

MOST_COPIES = 10
"""A larger multiplicity has a probability of 1e-8, and is taken as this one."""


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
    ends = accumulate(float(poisson.pmf(k, 1.0)) for k in range(MOST_COPIES))
    return copies_at(share, map(F.lit, ends))


def copies_at(share: Column, ends: Iterable[Column]) -> Column:
    """How many values of a distribution function a uniform number in [0, 1) has reached: its inverse, an int.

    Args:
        ends: the function at 0, 1, ..., ascending.
    """
    return reduce(add, [(share >= end).cast("int") for end in ends])
