"""Class weights: balance classes without adding or removing rows."""

from collections.abc import Mapping
from typing import Literal

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from imbalance_spark.core.class_counts import Label, as_labels, check_label, refuse_one_class, show_counts
from imbalance_spark.core.columns import CLASS_WEIGHT, col, is_number, refuse_columns
from imbalance_spark.core.errors import ConfigError, DataContractError, nearest
from imbalance_spark.core.spark_errors import CONTRACT_BROKEN
from imbalance_spark.train_only.guard import only_train


def class_weights(
    counts: Mapping[Label, int], weights: Literal["balanced"] | Mapping[Label, float] = "balanced"
) -> dict[Label, float]:
    """The weight of each class: w_k = n / (K n_k) for "balanced", else the given ones, checked.

    Balanced weights give all classes the same total and sum to the number of rows; the formula of
    scikit-learn's `compute_class_weight` (King and Zeng, 2001).

    Args:
        counts: rows of each class.
        weights: "balanced", or a weight > 0 for every class; no class has a default.

    Returns:
        A weight > 0 for each class, in the order of `counts`; with "balanced" only for classes that have rows.

    Raises:
        ConfigError: an unknown scheme; a class without a weight, an unknown class, a weight that is not > 0.
        DataContractError: fewer than two classes have rows.

    Examples:
        >>> class_weights({0: 990, 1: 10})
        {0: 0.5050505050505051, 1: 50.0}
        >>> class_weights({"ok": 980, "late": 15, "fraud": 5}, {"ok": 1, "late": 10, "fraud": 40})
        {'ok': 1.0, 'late': 10.0, 'fraud': 40.0}
    """
    refuse_one_class(counts, "class_weights")
    if isinstance(weights, str):
        if weights != "balanced":
            raise ConfigError(f'class_weights: weights must be "balanced" or a weight for each class, got {weights!r}.')
        present = {label: n for label, n in counts.items() if n > 0}
        return {label: sum(present.values()) / (len(present) * n) for label, n in present.items()}
    if problems := _weight_problems(counts, weights):
        raise ConfigError.of_all(problems)
    return {label: float(weights[label]) for label in counts}


def with_class_weight(
    train: DataFrame, weights: Mapping[Label, float], *, label: str, output_col: str = CLASS_WEIGHT
) -> DataFrame:
    """Add the weight of a row's class as a column. Lazy.

    A row of a class that `weights` does not name fails the job that reads it, instead of silently getting
    a weight of 1 or 0.

    Args:
        train: training rows, with `split`.
        weights: a weight > 0 for each class, for example from `class_weights`.
        label: column of the class; never null.
        output_col: name of the new column.

    Returns:
        The rows with every input column and `output_col` (double, > 0).

    Raises:
        MissingColumnsError: there is no column `label` or `split`.
        ConfigError: no weights, one that is not a number > 0, or a class that the column cannot hold.
        DataContractError: `output_col` exists already.

    Examples:
        >>> train = spark.range(100).selectExpr("id % 20 = 0 AS is_fraud", "'train' AS split")
        >>> weighted = with_class_weight(train, class_weights({False: 95, True: 5}), label="is_fraud")
        >>> weighted.groupBy("is_fraud", "class_weight").count().orderBy("is_fraud").show()
        +--------+------------------+-----+
        |is_fraud|      class_weight|count|
        +--------+------------------+-----+
        |   false|0.5263157894736842|   95|
        |    true|              10.0|    5|
        +--------+------------------+-----+
        <BLANKLINE>
    """
    rows = only_train(train, "with_class_weight")
    check_label(rows, label, "with_class_weight")
    refuse_columns(rows, (output_col,), "with_class_weight")
    if not weights or (problems := _range_problems(weights)):
        raise ConfigError.of_all(
            problems if weights else ["with_class_weight: no weights are given. Give one for each class."]
        )
    message = (
        f"{CONTRACT_BROKEN}with_class_weight: a row's class is not among the weights {dict(weights)!r}. Add its weight."
    )
    weight = F.raise_error(F.lit(message)).cast("double")
    for name, value in as_labels(rows, label, weights, "with_class_weight").items():
        weight = F.when(col(label) == F.lit(name), F.lit(float(value))).otherwise(weight)
    return rows.select("*", weight.alias(output_col))


def scale_pos_weight(counts: Mapping[Label, int]) -> float:
    """XGBoost's `scale_pos_weight` for full balance: n_neg / n_pos, where class 1 is positive.

    The ratio of balanced class weights, but with the total 2 n_neg instead of n, which changes the effect of
    `min_child_weight` and of the penalties.

    Args:
        counts: rows of class 0 and of class 1.

    Raises:
        DataContractError: the classes are not 0 and 1, or one has no rows.

    Examples:
        >>> scale_pos_weight({0: 990, 1: 10})
        99.0
    """
    if set(counts) != {0, 1} or min(counts.values()) < 1:
        raise DataContractError(
            f"scale_pos_weight: classes 0 and 1 with rows are needed, got {show_counts(counts)}. "
            "Encode the label as 0 and 1; for more classes use class_weights."
        )
    return counts[0] / counts[1]


def _weight_problems(counts: Mapping[Label, int], weights: Mapping[Label, float]) -> list[str]:
    problems = _range_problems(weights)
    if missing := [label for label in counts if label not in weights]:
        problems.append(f"class_weights: no weight for class {missing}. Give each class one: there is no default.")
    if unknown := [label for label in weights if label not in counts]:
        problems.append(
            f"class_weights: no class {unknown} in the data: {show_counts(counts)}.{nearest(unknown, counts)}"
        )
    return problems


def _range_problems(weights: Mapping[Label, float]) -> list[str]:
    return [
        f"class_weights[{label!r}] must be a number > 0, got {value!r}."
        for label, value in weights.items()
        if not is_number(value) or value <= 0
    ]
