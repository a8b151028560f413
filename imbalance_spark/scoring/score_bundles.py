"""Orders to scored orders, with a model of two classes or of more."""

from datetime import datetime

from pyspark.sql import DataFrame

from imbalance_spark.multiclass.model import ClassBundle
from imbalance_spark.multiclass.score import score_class_orders
from imbalance_spark.scoring.bundles import Bundle
from imbalance_spark.scoring.score_orders import SCORE_COLUMNS, score_orders


def added_columns(bundle: Bundle) -> tuple[str, ...]:
    """What scoring adds to the orders."""
    if isinstance(bundle, ClassBundle):
        return (*bundle.output_columns, "model_version", "scored_at")
    return SCORE_COLUMNS


def score_with(orders: DataFrame, bundle: Bundle, *, model_version: str, scored_at: datetime) -> DataFrame:
    """The orders with what the model says of each; see `score_orders` and `score_class_orders`."""
    if isinstance(bundle, ClassBundle):
        return score_class_orders(orders, bundle, model_version=model_version, scored_at=scored_at)
    return score_orders(orders, bundle, model_version=model_version, scored_at=scored_at)
