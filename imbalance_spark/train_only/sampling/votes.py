"""What the neighbours of a row elect: the most frequent category of each feature."""

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from imbalance_spark.frames import col
from imbalance_spark.train_only.sampling.neighbours.space import HASH

VOTERS = "__voters"
"""Column of the hashes of those who vote for a row."""


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
