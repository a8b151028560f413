"""A fitted split: the fold of a row follows from its key, group or time alone."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from imbalance_spark.core.class_counts import Label, of_class
from imbalance_spark.core.columns import GAP, SPLIT, refuse_columns, require_columns
from imbalance_spark.core.instants import DAY_US, time_us
from imbalance_spark.split.rules import SplitRules


@dataclass(frozen=True, kw_only=True)
class SplitPlan:
    """A fitted split: assigns the rows it was fitted on, and later rows by the same rules.

    Args:
        rules: the settings.
        hash_bounds: for each class with exact counts, the hashes at which its folds end.
        moved_groups: fold of each group hash whose fold is not the nominal one, for exact counts.
        boundaries_us: first instant of the second and later folds, in microseconds since 1970 UTC.
        counts: rows per fold and class of the rows that the plan was fitted on.

    Examples:
        >>> from imbalance_spark.split import fit_split
        >>> orders = spark.range(1000).selectExpr("id AS order_id", "id % 20 = 0 AS is_fraud")
        >>> plan = fit_split(orders, key="order_id", label="is_fraud", seed=7)
        >>> plan.counts["test"]
        {False: 142, True: 7}
        >>> plan.assign(orders).where("split = 'test'").count()
        149
        >>> SplitPlan.from_dict(plan.to_dict()) == plan
        True
    """

    rules: SplitRules
    hash_bounds: Mapping[Label, tuple[int, ...]] = field(default_factory=dict)
    moved_groups: Mapping[int, str] = field(default_factory=dict)
    boundaries_us: tuple[int, ...] = ()
    counts: Mapping[str, Mapping[Label, int]] = field(default_factory=dict)

    def assign(self, orders: DataFrame) -> DataFrame:
        """Add the fold of each row as a column; a lazy expression without a shuffle.

        Args:
            orders: any rows with the columns of the rules, also later ones than those of the fit.

        Returns:
            The orders with every column and `split` (string; null only where the time is null).

        Raises:
            MissingColumnsError: a column of the rules is absent.
            DataContractError: there is a column `split` already.
        """
        require_columns(orders, self.rules.columns, "split")
        refuse_columns(orders, (SPLIT,), "split")
        return orders.select("*", self.fold(orders).alias(SPLIT))

    def fold(self, orders: DataFrame) -> Column:
        """The fold's name; "gap" between time folds; null only where the time is null."""
        if self.rules.time is not None:
            return self._fold_by_time(time_us(orders, self.rules.time, self.rules.purpose))
        hashed = self.rules.hash()
        nominal = self.rules.nominal()
        ends = [
            of_class(self.rules.label, {name: bounds[number] for name, bounds in self.hash_bounds.items()}, end)
            for number, end in enumerate(nominal)
        ]
        by_hash = self._name_of(fold_number(hashed, ends))
        for fold in self.rules.folds:
            if moved := [found for found, name in self.moved_groups.items() if name == fold]:
                by_hash = F.when(hashed.isin(moved), fold).otherwise(by_hash)
        return by_hash

    def _fold_by_time(self, instant: Column) -> Column:
        gap_us = round(self.rules.gap_days * DAY_US)
        named = self._name_of(fold_number(instant, [F.lit(start) for start in self.boundaries_us]))
        if gap_us == 0:
            return named
        in_gap = F.lit(False)
        for start in self.boundaries_us:
            in_gap = in_gap | ((instant >= start - gap_us) & (instant < start))
        return F.when(in_gap, GAP).otherwise(named)

    def _name_of(self, number: Column) -> Column:
        return F.get(F.array(*[F.lit(name) for name in self.rules.folds]), number)

    def to_dict(self) -> dict[str, Any]:
        """The plan as JSON values, for a record; `from_dict` reads it back."""
        return {
            "rules": {
                name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self.rules).items()
            },
            # Pairs, since JSON objects would turn every class into a string.
            "cut_offs": [[name, list(bounds)] for name, bounds in self.hash_bounds.items()],
            "moved_groups": [[found, fold] for found, fold in self.moved_groups.items()],
            "boundaries_us": list(self.boundaries_us),
            "counts": [[fold, [[name, n] for name, n in per_class.items()]] for fold, per_class in self.counts.items()],
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Self:
        """The plan that `to_dict` wrote, also after a round trip through JSON."""
        rules = dict(record["rules"])
        rules |= {"key": tuple(rules["key"]), "group": tuple(rules["group"])}
        rules["fractions"] = tuple((name, share) for name, share in rules["fractions"])
        return cls(
            rules=SplitRules(**rules),
            hash_bounds={name: tuple(bounds) for name, bounds in record["cut_offs"]},
            moved_groups=dict(record["moved_groups"]),
            boundaries_us=tuple(record["boundaries_us"]),
            counts={fold: dict(per_class) for fold, per_class in record["counts"]},
        )


def fold_number(value: Column, ends: Sequence[Column]) -> Column:
    """The number of ascending `ends` that a value has reached: 0 for the first fold."""
    # A sum, not a chain of WHENs: Spark then evaluates the hash once per row.
    return sum(((value >= end).cast("int") for end in ends), start=F.lit(0))
