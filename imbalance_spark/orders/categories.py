"""Categorical features as numbers: a code for each value in the training rows."""

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from imbalance_spark.core.columns import col, require_columns
from imbalance_spark.core.errors import DataContractError

_VALUES_PER_BUCKET = 8


@dataclass(frozen=True, kw_only=True)
class CategoryEncoding:
    """For each categorical feature its values, most frequent first (ties by text).

    A value's code is its index, from 0. A value that is not among the training rows has the code
    `len(values)`; null is a missing value and has none. Values are compared as text: true, 3, abc.
    """

    values: Mapping[str, tuple[str, ...]]

    def encode(self, name: str, stored_in: str | None = None) -> Column:
        """The code of feature `name` (double, >= 0; null where the column is null).

        Args:
            stored_in: the column that has the values, where it is not called as the feature.
        """
        text, values = col(stored_in or name).cast("string"), self.values[name]
        buckets = _buckets(values)
        # One constant that Spark parses once while planning; a lookup searches one short bucket, since
        # Spark searches a map from its beginning.
        tables = F.from_json(F.lit(json.dumps(buckets)), "array<map<string,double>>")
        found = F.element_at(F.get(tables, F.pmod(F.crc32(text), F.lit(len(buckets))).cast("int")), text)
        return F.when(text.isNotNull(), F.coalesce(found, F.lit(float(len(values)))))

    def encode_pandas(self, name: str, column: "pd.Series[Any]") -> npt.NDArray[np.float64]:
        """The same codes for a pandas column; NaN where it is None, NaN or NA."""
        codes = {value: float(code) for code, value in enumerate(self.values[name])}
        unseen = float(len(codes))
        indices, distinct = pd.factorize(column)
        of_distinct = np.array([*[codes.get(_text(value), unseen) for value in distinct], np.nan])
        return of_distinct[indices]  # a missing value has index -1: the NaN at the end

    def to_dict(self) -> dict[str, Any]:
        """The encoding as JSON values."""
        return {"values": {name: list(values) for name, values in self.values.items()}}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Self:
        """The encoding that `to_dict` wrote down."""
        return cls(values={name: tuple(values) for name, values in record["values"].items()})


def fit_categories(train: DataFrame, columns: Sequence[str], max_categories: int) -> CategoryEncoding:
    """Learn each column's values from the training rows, in one pass for all columns.

    At most columns x (`max_categories` + 1) rows are collected. Without columns there is no pass.

    Args:
        train: training rows only: values of other rows would leak their presence.
        columns: string, integer or boolean.
        max_categories: more distinct values than this are taken for an identifier.

    Raises:
        MissingColumnsError: a column is absent.
        DataContractError: a column has more than `max_categories` values; all such columns named.
    """
    require_columns(train, columns, "fit_categories")
    if not columns:
        return CategoryEncoding(values={})
    found: dict[str, list[str]] = {name: [] for name in columns}
    for row in _most_frequent(train, columns, max_categories + 1).collect():
        found[columns[row["number"]]].append(row["value"])
    if too_many := [name for name in columns if len(found[name]) > max_categories]:
        raise DataContractError(
            f"orders.categorical: columns {too_many} have more than {max_categories} distinct values in train. "
            "Remove identifiers, group rare values upstream, or raise orders.max_categories."
        )
    return CategoryEncoding(values={name: tuple(values) for name, values in found.items()})


def _most_frequent(train: DataFrame, columns: Sequence[str], most: int) -> DataFrame:
    cells = [
        F.struct(F.lit(number).alias("number"), col(name).cast("string").alias("value"))
        for number, name in enumerate(columns)
    ]
    per_value = train.select(F.inline(F.array(*cells))).where("value is not null").groupBy("number", "value").count()
    by_frequency = Window.partitionBy("number").orderBy(F.desc("count"), "value")
    ranked = per_value.select("*", F.row_number().over(by_frequency).alias("rank"))
    return ranked.where(F.col("rank") <= most).orderBy("number", "rank")


def _buckets(values: Sequence[str]) -> list[dict[str, float]]:
    buckets: list[dict[str, float]] = [{} for _ in range(len(values) // _VALUES_PER_BUCKET + 1)]
    for code, value in enumerate(values):
        buckets[zlib.crc32(value.encode()) % len(buckets)][value] = float(code)
    return buckets


def _text(value: Any) -> str:
    """The text that Spark's cast gives; pandas turns an integer column with nulls into floats."""
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value)
