"""The counts of several classes from Spark, in one pass."""

from collections.abc import Sequence
from functools import reduce

import pandas as pd
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from imbalance_spark.errors import ConfigError
from imbalance_spark.frames import col
from imbalance_spark.metrics.counts import ScoreCounts
from imbalance_spark.metrics.grid import INVALID_LABEL, INVALID_SCORE, INVALID_WEIGHT, LogitGrid
from imbalance_spark.metrics.kernel import DEFAULT_GRID
from imbalance_spark.metrics.multiclass import MulticlassCounts, refuse_invalid
from imbalance_spark.metrics.scan import check_columns, score_counts

_INVALID_CELL = -1


def collect_multiclass_counts(
    scored: DataFrame,
    *,
    scores: Sequence[str],
    label: str,
    weight: str | None = None,
    grid: LogitGrid = DEFAULT_GRID,
) -> MulticlassCounts:
    """Confusion matrix and score counts of each class, from one pass; scores are counted in bins.

    Each row becomes one row a class, and one more for the confusion matrix. At most K x 2 x bins + K x K rows come to
    the driver, and a few that count invalid rows.

    Args:
        scored: one row per order.
        scores: probability columns in [0, 1], one a class, in the order of the class numbers; at least two.
        label: class number, 0 to K - 1, numeric. weight: numeric, finite and not negative.
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

    A label that is no class number is null in all of them, which the counts tell.
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


def _of_table(table: pd.DataFrame, classes: int, grid: LogitGrid) -> MulticlassCounts:
    cells, of_scores = table[table["class"] == classes], table[table["class"] < classes]
    broken = {
        code: int(cells["n"][cells["bin"] == code].sum()) for code in (INVALID_SCORE, INVALID_LABEL, INVALID_WEIGHT)
    }
    refuse_invalid(broken, int(cells["n"].sum()), classes)
    one_vs_rest = [ScoreCounts.from_table(of_scores[of_scores["class"] == k], grid) for k in range(classes)]
    cell, rows, weight = (cells[name].to_numpy() for name in ("cell", "n", "weight"))
    return MulticlassCounts.of_cells(cell, rows, weight, one_vs_rest)
