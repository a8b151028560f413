"""The control sample: orders that are not flagged and are reviewed all the same, so that missed positives are seen."""

from collections.abc import Sequence
from dataclasses import dataclass

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from imbalance_spark.core.columns import col
from imbalance_spark.core.errors import ConfigError
from imbalance_spark.core.hashing import uniform
from imbalance_spark.scoring.bundle import DECISION, ModelBundle

FOR_REVIEW, REVIEW_PROPENSITY = "for_review", "review_propensity"
CONTROL_COLUMNS = (FOR_REVIEW, REVIEW_PROPENSITY)
_SEED = 0


@dataclass(frozen=True, kw_only=True)
class ControlSample:
    """What to review of the orders that are not flagged.

    Args:
        share: of these orders, in (0, 1].
        key: columns that identify an order, at least one.
    """

    share: float
    key: Sequence[str]

    def __post_init__(self) -> None:
        if not 0.0 < self.share <= 1.0:
            raise ConfigError(
                f"control share must be in (0, 1], got {self.share!r}. It is the share of orders that are not flagged "
                "to review all the same: 0.01 reviews one in a hundred."
            )


def mark_for_review(scored: DataFrame, control: ControlSample) -> DataFrame:
    """Mark every flagged order and a repeatable share of the others for review. Lazy, no shuffle.

    Whether an order is in the sample depends on its key alone: not on the model, the partitions or retries. A smaller
    share is a subset of a larger one.

    Args:
        scored: one row per order, with the decision of two classes and a key that `check_key` accepts.

    Returns:
        The rows with `for_review` (boolean) and `review_propensity` (double, in (0, 1]): the probability with which an
        order of this decision is marked, 1 for a flagged one. Its inverse weighs reviewed orders so that they stand for
        all (Horvitz and Thompson, 1952).
    """
    is_flagged = col(DECISION) == 1
    is_drawn = uniform(control.key, _SEED, "control sample") < F.lit(control.share)
    propensity = F.when(is_flagged, F.lit(1.0)).otherwise(F.lit(control.share))
    return scored.select("*", (is_flagged | is_drawn).alias(FOR_REVIEW), propensity.alias(REVIEW_PROPENSITY))


def refuse_classes(bundle: ModelBundle) -> None:
    """Raise for a model of three or more classes: none of its decisions means that an order is not reviewed.

    Raises:
        ConfigError: it has them.
    """
    if bundle.targets > 1:
        raise ConfigError(
            f"control sample: the model decides between {bundle.targets} classes, a control sample is of the orders "
            "that a model of two does not flag. Score without it."
        )
