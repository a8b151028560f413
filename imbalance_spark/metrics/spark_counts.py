"""The counts table from Spark: the only pass over scored rows."""

from collections.abc import Hashable, Sequence

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from imbalance_spark.core.columns import require_columns
from imbalance_spark.core.errors import DataContractError
from imbalance_spark.metrics.binning import DEFAULT_GRID, slotted_rows
from imbalance_spark.metrics.counts import EXACT_LIMIT, ScoreCounts
from imbalance_spark.metrics.grid import LogitGrid
from imbalance_spark.metrics.recount import (
    bin_and_label,
    bins_of_several_scores,
    recount_between_positives,
    recount_scores,
    sums_of,
)

COUNT_COLUMNS = ("bin", "label", "n", "weight", "amount")


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
    check_columns(scored, [score, label, *filter(None, [weight, amount])], by)
    rows = slotted_rows(scored, score=score, label=label, weight=weight, amount=amount, by=by, grid=grid)
    # Bin and label share one integer key: a single-column hash aggregation is the fastest that Spark has.
    per_slot = rows.groupBy(*[f"by_{i}" for i in range(len(by))], "slot").agg(*sums_of(rows))
    groups = [F.col(f"by_{i}").alias(name) for i, name in enumerate(by)]
    return per_slot.select(*groups, *bin_and_label(), "n", "weight", "amount")


def collect_score_counts(
    scored: DataFrame,
    *,
    score: str,
    label: str,
    weight: str | None = None,
    amount: str | None = None,
    grid: LogitGrid = DEFAULT_GRID,
    exact: bool = False,
    exact_limit: int = EXACT_LIMIT,
) -> ScoreCounts:
    """Count scored rows on the driver: exact scores where few rows share a bin with others, else bins.

    One pass counts the bins, with the lowest and highest score of each. If bins of several scores hold at most
    `exact_limit` rows, all scores become exact: from that pass when there are no such bins, else by a second pass over
    the rows of these bins. So `exact_limit` rows or fewer are always exact, and it depends on the rows alone.
    Otherwise the bins stay as they are; with `exact` two more passes read the rows of the bins that decide, so that
    average precision and ROC-AUC are exact, as every recall and false alarm at a positive's score.

    At most 2 x bins + `exact_limit` rows come to the driver; with `exact` 3 x bins + 4 x `exact_limit`. The second pass
    makes the scores anew: persist or write those that take long to make.

    Args:
        exact_limit: most rows that are counted by score, and most positives with `exact`; 0 keeps every bin.
    Raises:
        ConfigError: with `exact`, more positives than `exact_limit` lie in bins that decide.
        DataContractError: scores, labels, weights or amounts break the rules (with the number of rows), no rows, or
            rows that changed between two passes.
    """
    check_columns(scored, [score, label, *filter(None, [weight, amount])])
    rows = slotted_rows(scored, score=score, label=label, weight=weight, amount=amount, by=(), grid=grid)
    lowest, highest = F.min("score").alias("lowest"), F.max("score").alias("highest")
    per_slot = rows.groupBy("slot").agg(*sums_of(rows), lowest, highest)
    per_bin = per_slot.select(*bin_and_label(), "n", "weight", "amount", "lowest", "highest").toArrow().to_pandas()
    binned = ScoreCounts.from_table(per_bin, grid)
    bins = bins_of_several_scores(per_bin)
    if exact_limit > 0 and per_bin["n"][per_bin["bin"].isin(bins)].sum() <= exact_limit:
        return ScoreCounts.from_entries(recount_scores(rows, per_bin, bins), None)
    if not exact:
        return binned
    return ScoreCounts.from_entries(recount_between_positives(rows, per_bin, bins, grid=grid, limit=exact_limit), grid)


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


def check_columns(
    scored: DataFrame, numeric: Sequence[str], by: Sequence[str] = (), *, stage: str = "score_counts"
) -> None:
    """Refuse absent columns, columns to count that are not numbers, and `by` columns that a result would hide.

    Raises:
        MissingColumnsError: a column is absent.
        DataContractError: one is not numeric or boolean, or a `by` column has the name of a result column.
    """
    require_columns(scored, [*numeric, *by], stage)
    types = {name: scored.schema[name].dataType for name in numeric}
    problems = [
        f"{stage}: column {name!r} is {found.simpleString()}, not a number. Cast or encode it upstream."
        for name, found in types.items()
        if not isinstance(found, T.NumericType | T.BooleanType)
    ]
    if taken := sorted(set(by) & set(COUNT_COLUMNS)):
        problems.append(f"{stage}: grouping columns {taken} have names of result columns. Rename them upstream.")
    if problems:
        raise DataContractError.of_all(problems)
