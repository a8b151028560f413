"""How every sampler begins: through the guard, with the classes counted."""

from collections.abc import Mapping
from dataclasses import dataclass

from pyspark.sql import DataFrame

from imbalance_spark.class_counts import Label, count_classes, refuse_one_class, show_counts
from imbalance_spark.errors import DataContractError
from imbalance_spark.train_only.guard import leakage_errors, only_train


@dataclass(frozen=True, kw_only=True)
class Census:
    """Guarded training rows, and how many of each class there are."""

    rows: DataFrame
    counts: Mapping[Label, int]


def count_train(train: DataFrame, label: str, stage: str) -> Census:
    """One pass over the training rows.

    Raises:
        LeakageError: a row whose split is not "train".
        MissingColumnsError: there is no column `label` or `split`.
        DataContractError: no rows, null labels, one class only.
    """
    rows = only_train(train, stage)
    with leakage_errors():
        counts = count_classes(rows, label, stage)
    refuse_one_class(counts, stage)
    return Census(rows=rows, counts=counts)


def refuse_lost_classes(before: Mapping[Label, int], after: Mapping[Label, int], stage: str) -> None:
    """Refuse a sampling that leaves fewer than two classes, which nothing can be fitted on."""
    if sum(n > 0 for n in after.values()) < 2:
        raise DataContractError(
            f"{stage}: fewer than two classes would be left: {show_counts(after)} of {show_counts(before)}. Keep more "
            "rows."
        )
