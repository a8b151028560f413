"""Strategies that XGBoost does not fit: weighted logistic regression, and the isolation forest."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field
from pyspark.sql import DataFrame

from imbalance_spark.train_only.config import EngineName
from imbalance_spark.train_only.strategies.base import Strategy
from imbalance_spark.train_only.strategies.boosting import Weighed
from imbalance_spark.train_only.strategies.recipe import Recipe, with_recipe_weight
from imbalance_spark.train_only.strategies.task import FitTask

if TYPE_CHECKING:
    from imbalance_spark.train_only.learners.xgboost import FittedBooster


class LogisticClassWeight(Weighed):
    """Logistic regression (of more than two classes multinomial) on scaled features, with class weights.

    Args:
        reg_param: ridge penalty of Spark's logistic regression.
        max_iter: most iterations.
    """

    kind: Literal["logistic_class_weight"] = "logistic_class_weight"
    reg_param: Annotated[float, Field(ge=0.0, le=1e6)] = 1e-4
    max_iter: Annotated[int, Field(ge=1, le=100_000)] = 100

    def passes(self, features: int, engine: EngineName) -> int:
        """Those of Spark's logistic regression."""
        from imbalance_spark.train_only.learners.logistic import passes_of_fit

        return passes_of_fit(features)

    def fit(self, table: DataFrame, recipe: Recipe, task: FitTask, fit_rows: Mapping[int, int]) -> "FittedBooster":
        """Spark's logistic regression."""
        from imbalance_spark.train_only.learners.logistic import fit_logistic

        return fit_logistic(
            with_recipe_weight(table, recipe),
            features=task.orders.features,
            numeric=len(task.orders.numeric),
            classes=len(task.classes),
            weight_col=recipe.weight_column,
            reg_param=self.reg_param,
            max_iter=self.max_iter,
            strategy=recipe.name,
        )


class IsolationForest(Strategy):
    """Unsupervised: the score is how unlike the rows of class 0 a row is; for two classes.

    Args:
        trees: how many, each on 256 rows.
    """

    kind: Literal["isolation_forest"] = "isolation_forest"
    trees: Annotated[int, Field(ge=1, le=1000)] = 200
    corrects: ClassVar[bool] = False
    is_exact: ClassVar[bool] = False
    is_ranking: ClassVar[bool] = True

    def problems(self, classes: Sequence[str], numeric: Sequence[str], categorical: Sequence[str]) -> Iterator[str]:
        """More classes than two."""
        if len(classes) > 2:
            yield (
                f"strategy {self.name!r}: isolation_forest gives one anomaly score, which cannot tell "
                f"{len(classes) - 1} rare classes apart: use class_weight or balanced_sketch"
            )

    def notes(self) -> dict[str, str]:
        """That scores are ranks."""
        return {"prior_correction": "none: scores are ranks"}

    def fit(self, table: DataFrame, recipe: Recipe, task: FitTask, fit_rows: Mapping[int, int]) -> "FittedBooster":
        """scikit-learn's isolation forest on a bounded sample."""
        from imbalance_spark.train_only.learners.isolation_forest import fit_isolation_forest

        return fit_isolation_forest(
            table,
            features=task.orders.features,
            key=task.orders.key,
            trees=self.trees,
            honest_rows=fit_rows[0],
            prior=math.exp(recipe.start[1]),
            seed=task.training.seed,
        )
