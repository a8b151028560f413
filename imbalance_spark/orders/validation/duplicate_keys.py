"""Keys that occur in more than one row."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from operator import and_
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from imbalance_spark.core.columns import col
from imbalance_spark.core.errors import DataContractError
from imbalance_spark.core.hashing import key_hash
from imbalance_spark.orders.config import OrdersConfig
from imbalance_spark.orders.labels import label_text
from imbalance_spark.orders.validation.rules import DUPLICATE_KEY

KEY_HASH = "key_hash"
_MOST_REPEATED_ROWS = 1_000_000
KEYS_PER_SAMPLED = 64


@dataclass(frozen=True, kw_only=True)
class RepeatedKeys:
    """The keys that occur in more than one row, and the number of these rows.

    Args:
        keys: the key's values, one tuple per key; on the driver, so that every scan drops the same rows.
        rows: rows that have such a key.
        else_valid: those of them that break no other rule, by label text.
    """

    keys: tuple[tuple[Any, ...], ...]
    rows: int
    else_valid: Mapping[str | None, int]

    def without(self, orders: DataFrame, key: tuple[str, ...]) -> DataFrame:
        """The orders whose key is not repeated."""
        if not self.keys:
            return orders
        repeated = self._frame(orders, key)
        return orders.join(F.broadcast(repeated), on=_same_key(key), how="left_anti")

    def marked(self, orders: DataFrame, key: tuple[str, ...]) -> tuple[DataFrame, Column]:
        """The orders joined to the repeated keys, and whether a row has one (never null)."""
        if not self.keys:
            return orders, F.lit(False)
        repeated = self._frame(orders, key)
        return orders.join(F.broadcast(repeated), on=_same_key(key), how="left"), F.col(_name(0)).isNotNull()

    def _frame(self, orders: DataFrame, key: tuple[str, ...]) -> DataFrame:
        schema = T.StructType([T.StructField(_name(i), orders.schema[part].dataType) for i, part in enumerate(key)])
        return orders.sparkSession.createDataFrame(self.keys, schema)


NO_KEYS = RepeatedKeys(keys=(), rows=0, else_valid={})


def row_key_hash(key: tuple[str, ...]) -> Column:
    """The hash (bigint) that identifies a quarantined row without a copy of its key."""
    return key_hash(key, 0, "quarantine")


def collect_repeated_keys(orders: DataFrame, config: OrdersConfig, is_broken: Column) -> RepeatedKeys:
    """Find the keys that occur in more than one row; rows with a null in the key are skipped.

    One pass over the key columns, with one shuffle of their hashes; with `check_keys: sampled` of one hash in 64, and
    of all only where one of these occurs twice. Only if a hash occurs twice, another pass compares the keys themselves,
    so that two keys with one hash are distinguished. At most 1,000,000 rows (hashes, then keys) are collected.

    Raises:
        DataContractError: more than 1,000,000 rows share their key's hash.
    """
    keyed = orders.where(reduce(and_, [col(name).isNotNull() for name in config.key]))
    hashed = keyed.select("*", row_key_hash(config.key).alias(_name("hash")))
    if config.check_keys == "sampled":
        sample = hashed.where(F.pmod(F.col(_name("hash")), F.lit(KEYS_PER_SAMPLED)) == 0)
        if _more_than_once(sample).isEmpty():
            return NO_KEYS
    suspects = _more_than_once(hashed).limit(_MOST_REPEATED_ROWS).collect()
    if not suspects:
        return NO_KEYS
    if sum(row["count"] for row in suspects) > _MOST_REPEATED_ROWS:
        raise DataContractError(
            f"orders.key: {DUPLICATE_KEY}: more than {_MOST_REPEATED_ROWS:,} rows share their key {list(config.key)} "
            "with another row. Name the columns that identify a row, or remove repeated rows upstream."
        )
    hashes = orders.sparkSession.createDataFrame([(row[0],) for row in suspects], f"{_name('hash')} bigint")
    same_hash = hashed.join(F.broadcast(hashes), on=_name("hash"), how="left_semi")
    return _compare_keys(same_hash, config, is_broken)


def _more_than_once(hashed: DataFrame) -> DataFrame:
    return hashed.groupBy(_name("hash")).count().where("count > 1")


def _compare_keys(same_hash: DataFrame, config: OrdersConfig, is_broken: Column) -> RepeatedKeys:
    rows = same_hash.select(*[col(name) for name in config.key], label_text(col(config.label)), is_broken).collect()
    per_key = Counter(tuple(row[:-2]) for row in rows)
    repeated = [row for row in rows if per_key[tuple(row[:-2])] > 1]
    return RepeatedKeys(
        keys=tuple(key for key, n in per_key.items() if n > 1),
        rows=len(repeated),
        else_valid=Counter(row[-2] for row in repeated if not row[-1]),
    )


def _same_key(key: tuple[str, ...]) -> Column:
    return reduce(and_, [col(part) == F.col(_name(i)) for i, part in enumerate(key)])


def _name(part: int | str) -> str:
    """A column name that no order log has, since `check_orders` refuses a leading underscore."""
    return f"_repeated_{part}"
