"""What a fit is given: the task that all strategies of a run share, and what one of them means for given rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from imbalance_spark.calibration import PriorCorrection
from imbalance_spark.core.class_counts import of_class
from imbalance_spark.core.columns import CLASS_WEIGHT, IS_EARLY_STOPPING, col, require_columns
from imbalance_spark.core.errors import DataContractError
from imbalance_spark.orders.model_inputs import LABEL, ROW_WEIGHT
from imbalance_spark.train_only.config import BoosterParams
from imbalance_spark.train_only.learners.cuts import CutKind
from imbalance_spark.train_only.learners.losses import FocalLoss
from imbalance_spark.train_only.weights import with_class_weight

if TYPE_CHECKING:
    pass

from dataclasses import replace
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

FIT_WEIGHT = "fit_weight"
"""Weight of a row in the fit: its class's times the business's; the business's alone on the early-stopping set."""


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


@dataclass(frozen=True, kw_only=True)
class PriorShift:
    """What a strategy did to the class odds before the model saw them, by class number.

    Args:
        kept_fractions: rows after / rows before, above 0; above 1 where rows were repeated.
        weights: weight in the gradient, above 0.
        gammas: focusing of the loss; () is none.
        is_exact: whether the correction holds in closed form (sampling, weights) or approximately (synthetic samples).
    """

    kept_fractions: tuple[float, ...]
    weights: tuple[float, ...]
    gammas: tuple[float, ...] = ()
    is_exact: bool = True

    def correction(self) -> PriorCorrection:
        """How raw scores map back to probabilities."""
        pairs = zip(self.kept_fractions, self.weights, strict=True)
        return PriorCorrection(factors=tuple(kept * weight for kept, weight in pairs), gammas=self.gammas)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All that a strategy means for a fit on given rows."""

    name: str
    kind: str
    weights: Mapping[int, float] | None
    """Class weights that go into the weight column, by class number; None where the strategy has none."""
    scale_pos_weight: float
    start: tuple[float, ...]
    """The margin of each class that corrects to its share: what the fit starts from."""
    loss: FocalLoss | None
    """None is XGBoost's own."""
    params: BoosterParams
    prior_shift: PriorShift
    cuts: CutKind
    """Of which rows the histogram cuts are quantiles."""
    own_params: Mapping[str, Any]
    """Parameters that its learner alone has."""
    has_row_weight: bool
    """Whether rows have a business weight, which multiplies the class weight."""
    stopping_weights: tuple[float, ...] | None = None
    """What a row of each class stands for on the early-stopping set; None is 1, as of all training rows."""
    logged: Mapping[str, Any] = field(default_factory=dict)
    """Settings by which this strategy differs from the others, for the record."""

    @property
    def weight_column(self) -> str | None:
        """The column that `with_recipe_weight` adds, or None when no row has a weight."""
        is_weighed = self.has_row_weight or self.weights is not None or self.stopping_weights is not None
        return FIT_WEIGHT if is_weighed else None


def with_recipe_weight(table: DataFrame, recipe: Recipe) -> DataFrame:
    """The training table with the recipe's `weight_column` (double, > 0), or as it is without one. Lazy.

    The column is the class weight times the business weight; in the early-stopping set, whose metric must be that of
    real class shares, the business weight alone, or 1, times the training rows that a row of the pool stands for.

    Raises:
        LeakageError: a row whose split is not "train", when the rows are read.
        MissingColumnsError: rows have a business weight, but no column `row_weight`.
    """
    if recipe.weight_column is None:
        return table
    business = F.lit(1.0)
    if recipe.has_row_weight:
        require_columns(table, (ROW_WEIGHT,), f"strategy {recipe.name!r}")
        business = col(ROW_WEIGHT)
    fitted: Column = F.lit(1.0)
    columns = [col(name) for name in table.columns]
    if recipe.weights is not None:
        table = with_class_weight(table, dict(recipe.weights.items()), label=LABEL)
        fitted = col(CLASS_WEIGHT)
    if recipe.weights is not None or recipe.stopping_weights is not None:
        stands_for = of_class(LABEL, dict(enumerate(recipe.stopping_weights or ())), 1.0)
        fitted = F.when(col(IS_EARLY_STOPPING), stands_for).otherwise(fitted)
    return table.select(*columns, (fitted * business).alias(FIT_WEIGHT))


def kept_fractions(
    name: str, classes: Sequence[str], before: Mapping[int, float], after: Mapping[int, float]
) -> dict[int, float]:
    """Rows to fit on of each class in a strategy's table / before it sampled.

    Args:
        name: of the strategy. before, after: classes without rows may be absent.
    Raises:
        DataContractError: a class has no rows, before or after.
    """
    require_rows({k: int(rows) for k, rows in before.items()}, classes, name)
    if lost := [classes[k] for k in range(len(classes)) if not after.get(k, 0) > 0]:
        raise DataContractError(
            f"strategy {name!r}: its sampling left no rows of classes {lost} to fit on, of {dict(before)}. Ask for a "
            "larger sampling_strategy, or for another method."
        )
    return {k: after[k] / before[k] for k in range(len(classes))}


def require_rows(counts: Mapping[int, int], classes: Sequence[str], name: str) -> None:
    """Refuse to fit without rows of each class."""
    if empty := [classes[k] for k in range(len(classes)) if counts.get(k, 0) < 1]:
        raise DataContractError(
            f"strategy {name!r}: classes {empty} have no training rows to fit on, got {dict(counts)}. Take more "
            "orders, a smaller early-stopping set, or leave these classes out of orders.classes."
        )
