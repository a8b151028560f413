"""What every strategy of a run is fitted to, and which columns its training tables have."""

from dataclasses import dataclass, replace
from typing import Self

from imbalance_spark.core.files import Folder
from imbalance_spark.orders.config import OrdersConfig
from imbalance_spark.orders.model_inputs import feature_column
from imbalance_spark.split.config import SplitConfig
from imbalance_spark.train_only.config import TrainingConfig
from imbalance_spark.train_only.learners.stopping import Costs
from imbalance_spark.train_only.pool import TrainingPool

TWO_CLASSES = ("0", "1")
"""What two classes are called, by number: class 1 is the positive one."""


@dataclass(frozen=True, kw_only=True)
class Roles:
    """Which columns of a training table a sampler may look at: the key's, and those of the features."""

    key: tuple[str, ...]
    numeric: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()

    @property
    def inputs(self) -> tuple[str, ...]:
        """Those of the features, in the models' order."""
        return (*self.numeric, *self.categorical)


@dataclass(frozen=True, kw_only=True)
class FitTask:
    """What all strategies of a run are fitted to.

    Args:
        costs: where `training.early_stopping_metric` is `expected_cost`, see `StoppingMetric`.
        checkpoints: folder in which fits keep their rounds, see `fit_booster`.
        pool: which training rows are fitted on; None is all.
    """

    orders: OrdersConfig
    training: TrainingConfig
    split: SplitConfig
    costs: Costs | None = None
    checkpoints: Folder | None = None
    pool: TrainingPool | None = None

    def repeated(self, number: int) -> Self:
        """The task of a further fit, counted from 1: with other seeds."""
        of_fit, of_rows = ((seed + number) % 2**31 for seed in (self.training.seed, self.split.seed))
        return replace(
            self,
            training=self.training.model_copy(update={"seed": of_fit}),
            split=self.split.model_copy(update={"seed": of_rows}),
        )

    @property
    def classes(self) -> tuple[str, ...]:
        """Names in the order of their numbers; "0" and "1" for two classes."""
        return self.orders.class_names or TWO_CLASSES

    @property
    def pool_shares(self) -> tuple[float, ...]:
        """Of the training rows of each class, those that are fitted on or stopped by."""
        return (1.0,) * len(self.classes) if self.pool is None else self.pool.shares

    @property
    def roles(self) -> Roles:
        """Columns of the training tables by role."""
        inputs = tuple(feature_column(i) for i in range(len(self.orders.features)))
        numbers = len(self.orders.numeric)
        return Roles(key=self.orders.key, numeric=inputs[:numbers], categorical=inputs[numbers:])
