"""What each sampler that makes rows promises of their values: integers, missing values, and the segment they lie on."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import DataFrame, SparkSession

from imbalance_spark.train_only.sampling import ADASYN, SMOTE, SMOTEENN, SMOTENC, BorderlineSMOTE, SMOTETomek

ROLES: dict[str, Any] = {
    "key": "order_id",
    "label": "label",
    "features": ["items", "amount"],
    "seed": 7,
    "sampling_strategy": {1: 150},
}
MAKERS: dict[str, Any] = {
    "SMOTE": SMOTE(**ROLES),
    "SMOTE by cells": SMOTE(**ROLES, exact_rows=0),
    "BorderlineSMOTE": BorderlineSMOTE(**ROLES),
    "ADASYN": ADASYN(**ROLES),
    "SMOTENC": SMOTENC(**ROLES, categorical_features=["colour"]),
    "SMOTETomek": SMOTETomek(**ROLES),
    "SMOTEENN": SMOTEENN(**ROLES),
}


@pytest.fixture(scope="module")
def train(spark: SparkSession) -> DataFrame:
    """360 orders, one in twelve rare; one in ten has no amount, one in seven no colour."""
    return spark.range(360).selectExpr(
        "id as order_id",
        "int(id % 12 = 0) as label",
        "int(pmod(xxhash64(id), 100)) as items",
        "if(id % 10 = 4, null, pmod(xxhash64(id, 1), 1000) / 10) as amount",
        "if(id % 7 = 3, null, element_at(array('red', 'green', 'blue'), int(pmod(xxhash64(id, 2), 3)) + 1)) as colour",
        "'train' as split",
    )


@pytest.fixture(scope="module", params=MAKERS)
def made(request: pytest.FixtureRequest, train: DataFrame) -> pd.DataFrame:
    """Each synthetic row beside its two ends."""
    resampled = MAKERS[request.param].fit_resample(train)
    assert resampled.dtypes[: len(train.columns)] == train.dtypes
    ends = train.select("order_id", "items", "amount", "colour", "label").toPandas().set_index("order_id")
    rows = resampled.where("is_synthetic").toPandas()
    assert len(rows) > 0
    rows = rows.join(ends.add_prefix("start_"), on="parent_id")
    return rows.join(ends.add_prefix("end_"), on="neighbour_id")


def test_both_ends_are_of_the_class_and_never_the_same_row(made: pd.DataFrame) -> None:
    assert (made.label == 1).all()
    assert (made.start_label == 1).all()
    assert (made.end_label == 1).all()
    assert (made.parent_id != made.neighbour_id).all()
    assert made.gap.between(0, 1, inclusive="left").all()


def test_integers_are_rounded_half_to_even(made: pd.DataFrame) -> None:
    between = made.start_items + made.gap * (made.end_items - made.start_items)
    assert pd.api.types.is_integer_dtype(made["items"])
    np.testing.assert_array_equal(made["items"], np.rint(between))


def test_a_row_lacks_what_its_parent_lacks_and_keeps_what_its_neighbour_lacks(
    made: pd.DataFrame,
) -> None:
    between = made.start_amount + made.gap * (made.end_amount - made.start_amount)
    expected = between.where(made.end_amount.notna(), made.start_amount)
    np.testing.assert_allclose(made.amount, expected, rtol=1e-12)
    assert made.amount.isna().equals(made.start_amount.isna())


def test_categories_are_those_of_the_class(made: pd.DataFrame, train: DataFrame) -> None:
    known = {row[0] for row in train.where("label = 1").select("colour").distinct().collect()}
    assert set(made.colour.where(made.colour.notna(), None)) <= known
