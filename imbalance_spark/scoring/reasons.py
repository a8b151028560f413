"""Reason codes: the features that moved an order's margin most, and by how much."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import Column
from pyspark.sql import functions as F
from pyspark.sql import types as T

from imbalance_spark.core.arrays import FloatArray
from imbalance_spark.core.columns import col
from imbalance_spark.core.errors import ConfigError
from imbalance_spark.scoring.boosters import NO_CONTRIBUTIONS
from imbalance_spark.scoring.bundle import ModelBundle
from imbalance_spark.scoring.network import is_network

REASONS = "reasons"
"""Column of scored orders: array of struct of `feature`, `value` (text) and `contribution`, the largest first.

Of two classes flagged orders have them: those are what people look at, and exact contributions take hundreds of times
what a score takes.
"""

_FEATURE, _VALUE, _CONTRIBUTION = "feature", "value", "contribution"
FOUND = T.ArrayType(
    T.StructType([T.StructField(_FEATURE, T.IntegerType()), T.StructField(_CONTRIBUTION, T.DoubleType())])
)
"""The Spark type of what a scoring task says: the feature by its number."""


def check_reasons(number: int, bundle: ModelBundle) -> None:
    """Raise unless the model can give so many reasons.

    Raises:
        ConfigError: it has fewer features, or it is a network; or the number is negative.
    """
    features = (*bundle.numeric, *bundle.categorical)
    if number and is_network(bundle.model_bytes):
        raise ConfigError(NO_CONTRIBUTIONS)
    if not 0 <= number <= len(features):
        raise ConfigError(f"reasons: {number} are asked for, the model has {len(features)} features. Ask for 1 to 5.")


def largest(contribution: FloatArray, number: int, explained: npt.NDArray[np.bool_]) -> pa.Array:
    """For each row the features of the largest contributions in either direction; of equal ones the first.

    Args:
        contribution: as of `boosters.contributions`, of the explained rows. number: of features.
        explained: of all rows, which have reasons.
    Returns:
        A list for each row, of the type `FOUND`; null for rows without.
    """
    of_features = contribution[:, :-1]
    order = np.argsort(-np.abs(of_features), axis=1, kind="stable")[:, :number]
    values = np.take_along_axis(of_features, order, axis=1)
    structs = pa.StructArray.from_arrays(
        [pa.array(order.ravel().astype(np.int32)), pa.array(values.ravel())], names=[_FEATURE, _CONTRIBUTION]
    )
    offsets = pa.array(np.concatenate([[0], np.cumsum(explained * number)]).astype(np.int32))
    return pa.ListArray.from_arrays(offsets, structs, mask=pa.array(~explained))


def named_reasons(found: Column, features: Sequence[str]) -> Column:
    """The reasons with the features' names, and the order's own values as text (null where they are missing).

    Args:
        found: of the type `FOUND`. features: columns of the orders, in the model's order.
    """
    names = F.array(*[F.lit(name) for name in features])
    values = F.array(*[col(name).cast("string") for name in features])

    def named(one: Column) -> Column:
        number = one[_FEATURE] + 1
        return F.struct(
            F.element_at(names, number).alias(_FEATURE),
            F.element_at(values, number).alias(_VALUE),
            one[_CONTRIBUTION].alias(_CONTRIBUTION),
        )

    return F.transform(found, named)
