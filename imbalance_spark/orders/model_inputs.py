"""Orders as a model's inputs: features `x_0, x_1, ...`, label `y`, row weight and amount."""

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from imbalance_spark.core.columns import col, require_columns
from imbalance_spark.core.errors import DataContractError
from imbalance_spark.orders.categories import CategoryEncoding
from imbalance_spark.orders.config import OrdersConfig
from imbalance_spark.orders.labels import LabelEncoding

LABEL = "y"
ROW_WEIGHT = "row_weight"
AMOUNT_VALUE = "amount_value"


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
