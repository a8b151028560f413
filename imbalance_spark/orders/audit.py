"""What breaks no rule but misleads: duplicate rows across folds, contradictory labels, identifiers, sentinels."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from imbalance_spark.core.columns import SPLIT, TEST, TRAIN, VALIDATION, col, in_scans
from imbalance_spark.core.errors import DataContractError
from imbalance_spark.orders.config import OrdersConfig
from imbalance_spark.orders.model_inputs import LABEL, feature_column

SENTINELS = (-1, -9, -99, -999, -9999, 99, 999, 9999, 99999, 999999, -2208988800)
"""Numbers that logs write for "unknown"; the last is 1900-01-01 in seconds since 1970."""

SAMPLED_ROWS = 10_000_000
_JUMP = 0.01
_WARNED_SHARE = 0.01
_KEY_LIKE = 0.9  # of values that are distinct; approx_count_distinct is 5 % off at most times
_FEWEST_ROWS = 1000


@dataclass(frozen=True, kw_only=True)
class DuplicateRows:
    """Rows with the same features as another row, among the rows that the audit sampled.

    Args:
        rows: rows that were checked; `held_out`: those of validation and test.
        shared: held-out rows with the features of a training row, under another key.
        contradictory: rows with equal features but different classes.
    """

    rows: int
    held_out: int
    shared: int
    contradictory: int


@dataclass(frozen=True, kw_only=True)
class Audit:
    """Findings; `sentinel_shares` is the share of sentinels by fold, for features where it differs between folds."""

    duplicates: DuplicateRows
    sentinel_shares: Mapping[str, Mapping[str, float]]

    def warnings(self) -> Iterator[str]:
        """One sentence for each finding to look at."""
        found = self.duplicates
        if found.shared > _WARNED_SHARE * found.held_out:
            yield (
                f"{found.shared:,} of {found.held_out:,} held-out rows have the same features as a training row under "
                "another key, so results on them are partly memorized. Remove duplicates, or split by what they share."
            )
        if found.contradictory:
            yield (
                f"{found.contradictory:,} of {found.rows:,} rows have duplicates, equal in all features, of another "
                "class: no model can tell them apart."
            )
        for name, shares in self.sentinel_shares.items():
            shown = ", ".join(f"{fold} {share:.1%}" for fold, share in shares.items())
            yield f"feature {name!r}: the share of values such as -1 or 999 jumps between folds ({shown}). Use null."

    def to_dict(self) -> dict[str, Any]:
        """As JSON values; `from_dict` reads it back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Self:
        """What `to_dict` wrote."""
        return cls(duplicates=DuplicateRows(**record["duplicates"]), sentinel_shares=record["sentinel_shares"])


def audit(inputs: DataFrame, config: OrdersConfig, rows: int, *, in_time: bool) -> Audit:
    """Look for what misleads a model.

    Passes: one with a shuffle of the sampled rows (all up to 10 million, then a share by the hash of the features, so
    that duplicates are sampled together); with a split by time one per 200 numeric features: with any other split the
    share of a value cannot differ between folds.

    Args:
        inputs: `split`, `x_0..`, `y` of valid orders. rows: their number.
        in_time: whether the split is by time.
    Raises:
        DataContractError: more duplicate rows across the folds than `max_duplicated`.
    """
    duplicates = _collect_duplicates(inputs, len(config.features), rows)
    if duplicates.shared > config.max_duplicated * duplicates.held_out:
        raise DataContractError(
            f"audit: {duplicates.shared} of {duplicates.held_out} held-out rows have the same features as a training "
            f"row under another key, above orders.max_duplicated {config.max_duplicated:g}. Remove duplicates upstream."
        )
    return Audit(duplicates=duplicates, sentinel_shares=_jumps(inputs, config) if in_time else {})


def _collect_duplicates(inputs: DataFrame, features: int, rows: int) -> DuplicateRows:
    held_out = F.count_if(col(SPLIT).isin(VALIDATION, TEST))
    # Spark's hash skips nulls: (1, null) and (null, 1) would be duplicates.
    values = [F.coalesce(col(feature_column(i)), F.lit(float("nan"))) for i in range(features)]
    vector = F.pmod(F.xxhash64(*values), F.lit(1 << 62))
    sampled = inputs.select(SPLIT, LABEL, vector.alias("vector")).where(
        F.pmod(F.shiftright("vector", 20), F.lit(1 + rows // SAMPLED_ROWS)) == 0
    )
    groups = sampled.groupBy("vector").agg(
        F.count(F.lit(1)).alias("n"),
        held_out.alias("held_out"),
        F.max(col(SPLIT) == TRAIN).alias("in_train"),
        (F.min(LABEL) != F.max(LABEL)).alias("both"),
    )
    found = groups.agg(
        _total("n").alias("rows"),
        _total("held_out").alias("held_out"),
        _total("held_out", F.col("in_train")).alias("shared"),
        _total("n", F.col("both")).alias("contradictory"),
    ).collect()[0]
    return DuplicateRows(**found.asDict())


def _total(name: str, condition: Column | None = None) -> Column:
    value = F.col(name) if condition is None else F.when(condition, F.col(name)).otherwise(0)
    return F.coalesce(F.sum(value), F.lit(0))


def refuse_key_like(inputs: DataFrame, config: OrdersConfig, suspects: Sequence[str]) -> None:
    """Refuse a feature that identifies rows; one pass per 200 suspects, none without.

    Args:
        inputs: `x_0..` as they were read, not yet rounded to float32.
        suspects: names of integer features with values beyond 2^24.
    Raises:
        DataContractError: one of them has nearly as many values as rows.
    """
    columns = {name: feature_column(config.features.index(name)) for name in suspects}
    found: dict[str, tuple[int, int]] = {}
    for part in in_scans(suspects):
        aggregates = [F.approx_count_distinct(columns[name]) for name in part]
        counts = [F.count(columns[name]) for name in part]
        row = inputs.agg(*aggregates, *counts).collect()[0]
        found |= {name: (row[i], row[len(part) + i]) for i, name in enumerate(part)}
    problems = [
        f"orders: integer feature {name!r} has about {distinct} distinct values in {values} rows: it identifies rows, "
        "and beyond 2^24 float32 rounds it. Take it out of the features."
        for name, (distinct, values) in found.items()
        if values >= _FEWEST_ROWS and distinct >= _KEY_LIKE * values
    ]
    if problems:
        raise DataContractError.of_all(problems)


def _jumps(inputs: DataFrame, config: OrdersConfig) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for part in in_scans(config.numeric):
        shares = [F.avg(_is_sentinel(feature_column(config.features.index(name))).cast("int")) for name in part]
        folds = inputs.where(col(SPLIT).isin(TRAIN, VALIDATION, TEST)).groupBy(SPLIT).agg(*shares).collect()
        for i, name in enumerate(part, start=1):
            found[name] = {row[SPLIT]: row[i] or 0.0 for row in sorted(folds, key=lambda row: str(row[SPLIT]))}
    return {name: by_fold for name, by_fold in found.items() if max(by_fold.values()) - min(by_fold.values()) > _JUMP}


def _is_sentinel(name: str) -> Column:
    # As float32, too: the largest of them is rounded.
    return col(name).cast("float").isin(*[F.lit(value).cast("float") for value in SENTINELS])
