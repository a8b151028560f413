"""How every sampler begins: through the guard, with the classes counted."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from pyspark.sql import Column, DataFrame, Row

from imbalance_spark.class_counts import Label, collect_per_class, refuse_one_class, show_counts
from imbalance_spark.errors import DataContractError
from imbalance_spark.train_only.guard import leakage_errors, only_train


@dataclass(frozen=True, kw_only=True)
class Census:
    """Guarded training rows, how many of each class there are, and what else was summed up of each class."""

    rows: DataFrame
    counts: Mapping[Label, int]
    sums: Mapping[Label, Row]


def count_train(
    train: DataFrame, label: str, stage: str, aggregates: Mapping[str, Column] = MappingProxyType({})
) -> Census:
    """One pass over the training rows, which takes the named aggregates along.

    Raises:
        LeakageError: a row whose split is not "train".
        MissingColumnsError: there is no column `label` or `split`.
        DataContractError: no rows, null labels, one class only.
    """
    rows = only_train(train, stage)
    with leakage_errors():
        sums = collect_per_class(rows, label, stage, aggregates)
    counts = {found: row["n"] for found, row in sums.items()}
    refuse_one_class(counts, stage)
    return Census(rows=rows, counts=counts, sums=sums)


def refuse_lost_classes(before: Mapping[Label, int], after: Mapping[Label, int], stage: str) -> None:
    """Refuse a sampling that leaves fewer than two classes, which nothing can be fitted on."""
    if sum(n > 0 for n in after.values()) < 2:
        raise DataContractError(
            f"{stage}: fewer than two classes would be left: {show_counts(after)} of {show_counts(before)}. Keep more "
            "rows."
        )
