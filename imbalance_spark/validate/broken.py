"""How many rows break a rule, and how many are too many."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from imbalance_spark.errors import DataContractError
from imbalance_spark.validate.rules import any_broken


@dataclass(frozen=True, kw_only=True)
class BrokenRows:
    """Rows read, those that break a rule, and rows per broken rule; a row can break several."""

    rows: int
    broken: int = 0
    by_rule: Mapping[str, int] = field(default_factory=dict)

    @property
    def named(self) -> str:
        """Such as `infinite_feature 3, null_key 1`."""
        return ", ".join(f"{name} {n:,}" for name, n in self.by_rule.items())


def count_broken(orders: DataFrame, rules: Mapping[str, Column]) -> BrokenRows:
    """Count rows and broken rules: one pass over the columns that the rules read, one row collected."""
    counts = [F.count_if(is_broken).alias(f"rule {name}") for name, is_broken in rules.items()]
    broken = F.count_if(any_broken(rules)) if rules else F.lit(0)
    [found] = orders.agg(F.count(F.lit(1)).alias("rows"), broken.alias("broken"), *counts).collect()
    by_rule = {name: int(found[f"rule {name}"]) for name in rules}
    return BrokenRows(
        rows=found["rows"], broken=found["broken"], by_rule={name: n for name, n in by_rule.items() if n > 0}
    )


def refuse_too_many(found: BrokenRows, limit: float) -> None:
    """Stop where every row is broken, or a larger share than `limit`.

    Raises:
        DataContractError: how many rows break which rules.
    """
    if found.broken < found.rows and found.broken <= limit * found.rows:
        return
    every = found.broken == found.rows
    how_many = "every row breaks" if every else f"{found.broken} of {found.rows} rows break"
    raise DataContractError(
        f"orders: {how_many} a rule ({found.named}; {found.rows} rows), above orders.max_quarantined {limit:g}. "
        "Mend the rows upstream; raise the limit only if they may be left out."
    )
