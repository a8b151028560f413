"""What every strategy of a run is fitted to, and which columns its training tables have."""

from dataclasses import dataclass

from imbalance_spark.orders.config import OrdersConfig
from imbalance_spark.orders.model_inputs import feature_column
from imbalance_spark.split.config import SplitConfig
from imbalance_spark.train_only.config import TrainingConfig
from imbalance_spark.train_only.learners.stopping import Costs

TWO_CLASSES = ("0", "1")
"""What two classes are called, by number: class 1 is the positive one."""


@dataclass(frozen=True, kw_only=True)
class Roles:
    """Which columns of a training table a sampler may look at: the key's, and those of the features."""

    key: tuple[str, ...]
    numeric: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class FitTask:
    """What all strategies of a run are fitted to.

    Args:
        costs: where `training.early_stopping_metric` is `expected_cost`, see `StoppingMetric`.
    """

    orders: OrdersConfig
    training: TrainingConfig
    split: SplitConfig
    costs: Costs | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        """Names in the order of their numbers; "0" and "1" for two classes."""
        return self.orders.class_names or TWO_CLASSES

    @property
    def roles(self) -> Roles:
        """Columns of the training tables by role."""
        inputs = tuple(feature_column(i) for i in range(len(self.orders.features)))
        numbers = len(self.orders.numeric)
        return Roles(key=self.orders.key, numeric=inputs[:numbers], categorical=inputs[numbers:])
