"""Strategies with a learner of their own: weighted logistic regression, and the isolation forest."""

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from imbalance_spark.train_only.learners.isolation_forest import Isolation
from imbalance_spark.train_only.learners.learner import Learner
from imbalance_spark.train_only.learners.logistic import Logistic
from imbalance_spark.train_only.strategies.base import Strategy
from imbalance_spark.train_only.strategies.boosting import Weighed


class LogisticClassWeight(Weighed):
    """Logistic regression (of more than two classes multinomial) on scaled features, with class weights.

    `{kind: class_weight, learner: logistic}` is the same.

    Args:
        reg_param: weight of the penalty of slopes.
        elastic_net_param: share of it that is of absolute slopes (lasso), the rest is of squared ones (ridge).
        max_iter: most iterations.
    """

    kind: Literal["logistic_class_weight"] = "logistic_class_weight"
    reg_param: Annotated[float, Field(ge=0.0, le=1e6)] = 1e-4
    elastic_net_param: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    max_iter: Annotated[int, Field(ge=1, le=100_000)] = 100

    @property
    def fitted_by(self) -> Learner:
        """Spark's logistic regression."""
        return Logistic()

    def own_params(self) -> dict[str, Any]:
        """Its settings."""
        return {name: getattr(self, name) for name in Logistic.own_params.model_fields}


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

    @property
    def fitted_by(self) -> Learner:
        """scikit-learn's isolation forest."""
        return Isolation()

    def own_params(self) -> dict[str, Any]:
        """Its settings."""
        return {"trees": self.trees}
