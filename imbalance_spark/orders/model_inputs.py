"""Orders as a model's inputs: features `x_0, x_1, ...`, label `y`, row weight and amount.

A category is a number: its code among the values in the training rows.
"""

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from imbalance_spark.core.columns import col, require_columns
from imbalance_spark.core.errors import DataContractError
from imbalance_spark.orders.config import OrdersConfig
from imbalance_spark.orders.labels import LabelEncoding

if TYPE_CHECKING:
    import pandas as pd

_VALUES_PER_BUCKET = 8

LABEL = "y"
ROW_WEIGHT = "row_weight"
AMOUNT_VALUE = "amount_value"


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
        import pandas as pd  # here: workers of a fit import this room, and need no pandas

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


def feature_column(number: int) -> str:
    """The internal name of feature `number` (from 0) among `OrdersConfig.features`."""
    return f"x_{number}"


def category_column(number: int) -> str:
    """The internal name of the values of categorical feature `number` (from 0), as text."""
    return f"category_{number}"


def model_inputs(
    orders: DataFrame,
    config: OrdersConfig,
    label: LabelEncoding,
    categories: CategoryEncoding,
    *,
    keep: Sequence[str],
    with_values: bool = False,
) -> DataFrame:
    """The model's inputs, under names that clash with no learner's own; one select, lazy.

    Args:
        orders: valid orders.
        config: the columns' roles.
        label: from `learn_label`.
        categories: from `fit_categories`, on training rows.
        keep: columns that stay as they are, such as key, split and time.
        with_values: whether models with other codes are going to read these inputs, too.

    Returns:
        The kept columns, then `x_0`, `x_1` ... (double; the features in the order of
        `config.features`; null where the feature is null or NaN), `y` (int, class number),
        `row_weight` (double, where `orders.weight` is set), `amount_value` (double, where
        `orders.amount` is set), and with values `category_0` ... (string).

    Raises:
        MissingColumnsError: a column is absent.
        DataContractError: a kept column has one of the names above.
    """
    inputs = {feature_column(i): _as_double(name) for i, name in enumerate(config.numeric)}
    first = len(inputs)
    inputs |= {feature_column(first + i): categories.encode(name) for i, name in enumerate(config.categorical)}
    inputs[LABEL] = label.encode(col(config.label))
    if config.weight is not None:
        inputs[ROW_WEIGHT] = col(config.weight).cast("double")
    if config.amount is not None:
        inputs[AMOUNT_VALUE] = col(config.amount).cast("double")
    if with_values:
        inputs |= {category_column(i): col(name).cast("string") for i, name in enumerate(config.categorical)}
    require_columns(orders, (*config.features, config.label, *keep), "model_inputs")
    if taken := [name for name in keep if name.lower() in inputs]:
        raise DataContractError(f"orders: columns {taken} have names of the model's inputs. Rename them upstream.")
    return orders.select(*[col(name) for name in keep], *[value.alias(name) for name, value in inputs.items()])


def _as_double(name: str) -> Column:
    # Some learners distinguish null from NaN; here both are missing values.
    return F.nanvl(col(name).cast("double"), F.lit(None).cast("double"))
