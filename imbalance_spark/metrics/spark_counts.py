"""Counts of a Spark DataFrame: scores of two and of K classes, and the days that rows amount to."""

from collections.abc import Hashable, Sequence
from functools import reduce
from typing import TYPE_CHECKING

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from imbalance_spark.core.columns import col, require_columns
from imbalance_spark.core.errors import ConfigError, DataContractError
from imbalance_spark.metrics.binning import DEFAULT_GRID, slotted_rows
from imbalance_spark.metrics.counts import EXACT_LIMIT, ScoreCounts
from imbalance_spark.metrics.grid import INVALID_LABEL, INVALID_SCORE, INVALID_WEIGHT, LogitGrid
from imbalance_spark.metrics.multiclass_counts import MulticlassCounts, refuse_invalid
from imbalance_spark.metrics.recount import (
    bin_and_label,
    bins_of_several_scores,
    recount_between_positives,
    recount_scores,
    sums_of,
)

if TYPE_CHECKING:
    import pandas as pd

_INVALID_CELL = -1

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
    """Count rows per score bin and class, for each value of the `by` columns. Lazy; one pass.

    Args:
        scored: one row per order.
        score: probability column, in [0, 1]. label: 0 or 1, numeric or boolean.
        weight, amount: numeric columns, finite and not negative.
        by: columns of few values, such as a strategy or a split; their combinations multiply the result.
    Returns:
        `by` columns, then `bin` (int), `label` (int), `n` (bigint, rows), `weight` (double, sum of weights; equal to
        n without a weight column), `amount` (double, sum of weight times amount; null without an amount column). Rows
        that break a rule are counted under the negative bin of the first rule broken; `ScoreCounts.from_table`
        refuses them.
    Raises:
        MissingColumnsError: a column named here is absent.
        DataContractError: a column is not numeric, or a `by` column has the name of a result column.

    Examples:
        >>> rows = [("a", 0.2, 0), ("a", 0.9, 1), ("b", 0.2, 0)]
        >>> scored = spark.createDataFrame(rows, "model string, p double, y int")
        >>> score_counts(scored, score="p", label="y", by=["model"]).orderBy("model", "bin").show()
        +-----+-----+-----+---+------+------+
        |model|  bin|label|  n|weight|amount|
        +-----+-----+-----+---+------+------+
        |    a|30496|    0|  1|   1.0|  NULL|
        |    a|36367|    1|  1|   1.0|  NULL|
        |    b|30496|    0|  1|   1.0|  NULL|
        +-----+-----+-----+---+------+------+
        <BLANKLINE>
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
    """Count scored rows and collect the counts: by distinct score if few rows share a bin, else by bin.

    One pass counts the bins, with the lowest and highest score of each. If the bins with several scores have at most
    `exact_limit` rows, all scores become exact: from that pass if there are no such bins, else by a second pass over
    the rows of these bins. So `exact_limit` rows or fewer are always exact, which depends on the rows alone.
    Otherwise the bins stay; with `exact` two more passes read the rows of the bins with positives, so that
    average precision and ROC-AUC are exact, as are recall and false positive rate at every positive's score.

    At most 2 x bins + `exact_limit` rows are collected; with `exact` 3 x bins + 4 x `exact_limit`. The second pass
    recomputes the scores: persist or write scores that are expensive.

    Args:
        scored: one row per order.
        score: probability column, in [0, 1]. label: 0 or 1, numeric or boolean.
        weight, amount: numeric columns, finite and not negative.
        grid: the score bins.
        exact: count enough by score to make average precision and ROC-AUC exact.
        exact_limit: most rows that are counted by score, and most positives with `exact`; 0 keeps every bin.
    Returns:
        The counts; `ScoreCounts.curve` has the metrics.
    Raises:
        MissingColumnsError: a column named here is absent.
        ConfigError: with `exact`, bins with several scores have more than `exact_limit` positives.
        DataContractError: scores, labels, weights or amounts break the rules (with the number of rows), no rows, or
            rows that changed between two passes.

    Examples:
        >>> scored = spark.createDataFrame([(0.2, 0), (0.9, 1), (0.4, 0), (0.3, 1)], "p double, y int")
        >>> curve = collect_score_counts(scored, score="p", label="y").curve()
        >>> round(curve.average_precision(), 4), curve.roc_auc()
        (0.8333, 0.75)
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
    """`collect_score_counts` by bins for each combination of the `by` columns, from one job.

    At most 2 x bins x combinations rows are collected: `by` is for columns of few values.

    Args:
        scored: one row per order. by: columns of few values, whose nulls are a value of their own.
        score, label, weight, amount, grid: as in `collect_score_counts`.
    Returns:
        Counts by the values of the `by` columns, in their order.
    """
    per_bin = score_counts(scored, score=score, label=label, weight=weight, amount=amount, by=by, grid=grid)
    return counts_by_group(per_bin.toArrow(), by, grid)


def counts_by_group(
    table: pa.Table, by: Sequence[str], grid: LogitGrid = DEFAULT_GRID
) -> dict[tuple[Hashable, ...], ScoreCounts]:
    """One `ScoreCounts` for each tuple of values of the `by` columns of a counts table, in order.

    Args:
        table: what `score_counts` with `by` gives, collected.
        by: columns that name a group. grid: that the scores were counted on.
    Returns:
        Counts by the values of the `by` columns, in their order.
    """
    groups = table.to_pandas().groupby(list(by), dropna=False)
    return {values: ScoreCounts.from_table(rows[list(COUNT_COLUMNS)], grid) for values, rows in groups}


def check_columns(
    scored: DataFrame, numeric: Sequence[str], by: Sequence[str] = (), *, stage: str = "score_counts"
) -> None:
    """Refuse absent columns, columns that are not numeric, and `by` columns with names of result columns.

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


def collect_multiclass_counts(
    scored: DataFrame,
    *,
    scores: Sequence[str],
    label: str,
    weight: str | None = None,
    grid: LogitGrid = DEFAULT_GRID,
) -> MulticlassCounts:
    """Confusion matrix and score counts of each class, in one Spark scan; scores are counted in bins.

    Each row becomes one row per class, and one more for the confusion matrix. At most K x 2 x bins + K x K rows come to
    the driver, and a few that count invalid rows.

    Args:
        scored: one row per order.
        scores: probability columns in [0, 1], one a class, in the order of the class numbers; at least two.
        label: class number, 0 to K - 1, numeric. weight: numeric, finite and not negative.
    Returns:
        The confusion matrix of the most probable class, and the counts of each class against the others.
    Raises:
        ConfigError: fewer than two score columns.
        MissingColumnsError: a column named here is absent.
        DataContractError: labels, scores or weights break the rules (with the number of rows), or no rows.
    """
    if len(scores) < 2:
        raise ConfigError(f"collect_multiclass_counts: scores {list(scores)} name fewer than two classes.")
    check_columns(scored, [*scores, label, *([weight] if weight else [])], stage="collect_multiclass_counts")
    weight_column = [] if weight is None else [col(weight).alias("weight")]
    each = scored.select(F.inline(_one_a_class(scores, col(label).cast("double"))), *weight_column)
    counted = score_counts(
        each,
        score="score",
        label="is_class",
        weight=None if weight is None else "weight",
        by=("class", "cell"),
        grid=grid,
    )
    return _of_table(counted.toArrow().to_pandas(), len(scores), grid)


def _one_a_class(scores: Sequence[str], label: Column) -> Column:
    """An array of structs: one of each class's score, and a last one whose cell is (true class, predicted class).

    A label that is not a class number is null in all of them, which the counts tell.
    """
    number = len(scores)
    is_label = label.between(0.0, number - 1.0) & (F.rint(label) == label)
    known = F.when(is_label, label)
    values = [col(name).cast("double") for name in scores]
    # The first of equal ones, as numpy's argmax.
    predicted = F.array_position(F.array(*values), F.greatest(*values)) - F.lit(1)
    cell = F.coalesce((known * F.lit(float(number)) + predicted).cast("int"), F.lit(_INVALID_CELL))
    each = [_struct(F.lit(k), F.lit(0), values[k], (known == F.lit(float(k))).cast("double")) for k in range(number)]
    # One row tells what the row breaks: its score is null unless all are valid, its class null unless the label is.
    score = F.when(reduce(Column.__and__, [value.between(0.0, 1.0) for value in values]), F.lit(0.0))
    return F.array(*each, _struct(F.lit(number), cell, score, known * F.lit(0.0)))


def _struct(number: Column, cell: Column, score: Column, is_class: Column) -> Column:
    return F.struct(number.alias("class"), cell.alias("cell"), score.alias("score"), is_class.alias("is_class"))


def _of_table(table: "pd.DataFrame", classes: int, grid: LogitGrid) -> MulticlassCounts:
    cells, of_scores = table[table["class"] == classes], table[table["class"] < classes]
    broken = {
        code: int(cells["n"][cells["bin"] == code].sum()) for code in (INVALID_SCORE, INVALID_LABEL, INVALID_WEIGHT)
    }
    refuse_invalid(broken, int(cells["n"].sum()), classes)
    one_vs_rest = [ScoreCounts.from_table(of_scores[of_scores["class"] == k], grid) for k in range(classes)]
    cell, rows, weight = (cells[name].to_numpy() for name in ("cell", "n", "weight"))
    return MulticlassCounts.of_cells(cell, rows, weight, one_vs_rest)


def count_days(orders: DataFrame, *, time: str, is_counted: Column) -> float:
    """The number of days of orders that the counted rows amount to: each day counts by its share of counted rows.

    A validation fold of the last 30 days amounts to 30 days; one of 15 % of the rows of 200 days, split by key, also
    to 30. Alerts in the fold / these days are the alerts per day of the whole log. One Spark job; one row is collected.

    Args:
        orders: all orders of the log, counted or not; rows without a time are ignored.
        time: date or timestamp column; days are those of the session's time zone.
        is_counted: boolean; null is false.
    Raises:
        MissingColumnsError: there is no `time` column.
        DataContractError: no counted row has a time.
    """
    require_columns(orders, [time], "count_days")
    counted = F.coalesce(is_counted.cast("boolean"), F.lit(False)).cast("int")
    per_day = orders.where(col(time).isNotNull()).groupBy(F.to_date(col(time)).alias("day"))
    found = per_day.agg(F.avg(counted).alias("share")).agg(F.sum("share")).first()
    days = None if found is None else found[0]
    if not days:
        raise DataContractError(f"count_days: no counted row has a time in {time!r}. Check the column and the fold.")
    return float(days)
