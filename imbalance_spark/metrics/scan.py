"""The counts table from Spark: the only pass over scored rows."""

from collections.abc import Hashable, Sequence

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from imbalance_spark.errors import DataContractError
from imbalance_spark.frames import col, require_columns
from imbalance_spark.metrics.counts import ScoreCounts
from imbalance_spark.metrics.grid import INVALID_AMOUNT, INVALID_LABEL, INVALID_SCORE, INVALID_WEIGHT, LogitGrid
from imbalance_spark.metrics.kernel import DEFAULT_GRID

COUNT_COLUMNS = ("bin", "label", "n", "weight", "amount")
_INFINITY = float("inf")


def score_counts(
    scored: DataFrame,
    *,
    score: str,
    label: str,
    weight: str | None = None,
    amount: str | None = None,
    by: Sequence[str] = (),
    grid: LogitGrid = DEFAULT_GRID,
) -> DataFrame:
    """Rows per score bin and class, for each value of the `by` columns. Lazy; one pass when it runs.

    Args:
        scored: one row per order.
        score: probability column, in [0, 1]. label: 0 or 1, numeric or boolean.
        weight, amount: numeric columns, finite and not negative.
        by: columns of few values, such as a strategy or a split; their values multiply the rows that come out.
    Returns:
        `by` columns, then `bin` (int), `label` (int), `n` (bigint, rows), `weight` (double, sum of weights; equal to
        n without a weight column), `amount` (double, sum of weight times amount; null without an amount column). Rows
        that break a rule are counted under the negative bin of the first rule broken; `ScoreCounts.from_table`
        refuses them.
    Raises:
        MissingColumnsError: a column named here is absent.
        DataContractError: a column is not numeric, or a `by` column has the name of a result column.
    """
    _check_columns(scored, [score, label, *filter(None, [weight, amount])], by)
    weight_value = F.lit(1.0) if weight is None else col(weight).cast("double")
    amount_sum = F.lit(None).cast("double") if amount is None else F.sum(weight_value * col(amount).cast("double"))
    rows = F.count(F.lit(1))
    # Bin and label share one integer key: a single-column hash aggregation is the fastest that Spark has.
    slot = _slot(score, label, weight, amount, grid)
    groups = [col(name) for name in by]
    per_slot = scored.groupBy(*groups, slot.alias("bin")).agg(
        rows.alias("n"),
        (rows.cast("double") if weight is None else F.sum(weight_value)).alias("weight"),
        amount_sum.alias("amount"),
    )
    bin_number = F.shiftright("bin", 1) + F.lit(INVALID_AMOUNT)
    is_positive = F.col("bin").bitwiseAND(1)
    return per_slot.select(*groups, bin_number.alias("bin"), is_positive.alias("label"), "n", "weight", "amount")


def collect_score_counts(
    scored: DataFrame,
    *,
    score: str,
    label: str,
    weight: str | None = None,
    amount: str | None = None,
    grid: LogitGrid = DEFAULT_GRID,
) -> ScoreCounts:
    """`score_counts` brought to the driver: one job, at most 2 x bins rows, whatever the number of scored rows.

    Raises:
        DataContractError: scores, labels, weights or amounts break the rules (with the number of rows), or no rows.
    """
    per_bin = score_counts(scored, score=score, label=label, weight=weight, amount=amount, grid=grid)
    return ScoreCounts.from_table(per_bin.toArrow(), grid)


def collect_score_counts_by(
    scored: DataFrame,
    by: Sequence[str],
    *,
    score: str,
    label: str,
    weight: str | None = None,
    amount: str | None = None,
    grid: LogitGrid = DEFAULT_GRID,
) -> dict[tuple[Hashable, ...], ScoreCounts]:
    """`collect_score_counts` for each combination of the `by` columns, from one job.

    It brings at most 2 x bins x combinations rows to the driver: `by` is for columns of few values.
    """
    per_bin = score_counts(scored, score=score, label=label, weight=weight, amount=amount, by=by, grid=grid)
    return counts_by_group(per_bin.toArrow(), by, grid)


def counts_by_group(
    table: pa.Table, by: Sequence[str], grid: LogitGrid = DEFAULT_GRID
) -> dict[tuple[Hashable, ...], ScoreCounts]:
    """A counts table with `by` columns taken apart: one `ScoreCounts` for each tuple of their values, in order."""
    groups = table.to_pandas().groupby(list(by), dropna=False)
    return {values: ScoreCounts.from_table(rows[list(COUNT_COLUMNS)], grid) for values, rows in groups}


def _slot(score: str, label: str, weight: str | None, amount: str | None, grid: LogitGrid) -> Column:
    """(bin - lowest code) * 2 + label, as an int: never negative, so shift and mask take it apart."""
    is_positive = col(label).cast("double") == 1.0
    is_label = is_positive | (col(label).cast("double") == 0.0)
    in_grid = grid.bin_column(col(score))
    checked = F.when(in_grid == INVALID_SCORE, F.lit(INVALID_SCORE)).when(
        ~F.coalesce(is_label, F.lit(False)), F.lit(INVALID_LABEL)
    )
    for name, code in ((weight, INVALID_WEIGHT), (amount, INVALID_AMOUNT)):
        if name is not None:
            checked = checked.when(~_is_measure(name), F.lit(code))
    bin_number = checked.otherwise(in_grid)
    return (bin_number - F.lit(INVALID_AMOUNT)) * F.lit(2) + F.coalesce(is_positive, F.lit(False)).cast("int")


def _is_measure(name: str) -> Column:
    value = col(name).cast("double")
    return F.coalesce((value >= 0.0) & (value < _INFINITY), F.lit(False))


def _check_columns(scored: DataFrame, numeric: Sequence[str], by: Sequence[str]) -> None:
    require_columns(scored, [*numeric, *by], "score_counts")
    types = {name: scored.schema[name].dataType for name in numeric}
    problems = [
        f"score_counts: column {name!r} is {found.simpleString()}, not a number. Cast or encode it upstream."
        for name, found in types.items()
        if not isinstance(found, T.NumericType | T.BooleanType)
    ]
    if taken := sorted(set(by) & set(COUNT_COLUMNS)):
        problems.append(f"score_counts: grouping columns {taken} have names of result columns. Rename them upstream.")
    if problems:
        raise DataContractError.of_all(problems)
