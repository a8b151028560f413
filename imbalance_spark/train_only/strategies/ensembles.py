"""Ensembles: models that each are fitted on a sample of their own, in which the classes are balanced, as one."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator
from pyspark.sql import DataFrame

from imbalance_spark.core.class_counts import Label
from imbalance_spark.orders.model_inputs import LABEL
from imbalance_spark.train_only.config import TrainingConfig
from imbalance_spark.train_only.learners.xgboost import XGBoost
from imbalance_spark.train_only.sampling import check_sampling_strategy
from imbalance_spark.train_only.sampling.member_samples import (
    MemberDraw,
    boosting_sample,
    bootstrap_sample,
    independent_sample,
    self_paced_sample,
    with_boosting_weight,
    with_hardness,
)
from imbalance_spark.train_only.sampling.random_samplers import disjoint_target, disjoint_undersample
from imbalance_spark.train_only.strategies.base import Precision, Tell
from imbalance_spark.train_only.strategies.recipe import FitTask, Recipe, Roles
from imbalance_spark.train_only.strategies.resampling import Resampled

if TYPE_CHECKING:
    from imbalance_spark.train_only.learners.xgboost import FittedBooster

_FOREST = {"learning_rate": 1.0, "max_depth": 12, "subsample": 0.632, "colsample_bynode": 0.3, "reg_lambda": 0.0}
"""XGBoost's parameters that make a round a random forest; 0.632 of the rows are the distinct ones of a bootstrap."""


class Ensemble(Resampled):
    """The mean of models, each on its own sample; or their sum, where each learns what those before it lack.

    Args:
        members: how many models.
    """

    members: Annotated[int, Field(ge=2, le=100)] = 5

    def fits(self) -> tuple[Self, ...]:
        """Each member under a name of its own."""
        # A config's names have no "~".
        return tuple(self.model_copy(update={"name": f"{self.name}~{n}"}) for n in range(self.members))

    @property
    def precision(self) -> Precision:
        """On average: rows are drawn."""
        return "on average"

    def planned_rows(self, counts: Mapping[Label, int]) -> dict[Label, int]:
        """The target rows of the sampled classes, for one member."""
        return {**counts, **check_sampling_strategy(self.sampling_strategy, counts, "under-sampling")}

    def _draw(self, roles: Roles, seed: int, member: int) -> MemberDraw:
        return MemberDraw(
            key=roles.key, label=LABEL, sampling_strategy=self.sampling_strategy, seed=seed, member=member,
            stage=self.kind,
        )  # fmt: skip


class UndersampleEnsemble(Ensemble):
    """EasyEnsemble: each member has all rows of the rare classes, and no two share a row of a class that is sampled.

    Liu, Wu and Zhou, Exploratory undersampling for class-imbalance learning (2009).
    """

    kind: Literal["undersample_ensemble"] = "undersample_ensemble"

    def planned_rows(self, counts: Mapping[Label, int]) -> dict[Label, int]:
        """The target rows of the sampled classes, for one member."""
        return {**counts, **disjoint_target(counts, self.sampling_strategy, self.members)}

    def sample(self, to_fit: DataFrame, roles: Roles, seed: int, *, member: int = 0, tell: Tell = dict) -> DataFrame:
        """One member's rows."""
        return disjoint_undersample(
            to_fit, key=roles.key, label=LABEL, sampling_strategy=self.sampling_strategy, seed=seed, member=member,
            members=self.members,
        )  # fmt: skip


class BalancedBagging(Ensemble):
    """Bagging of balanced samples: each member has a bootstrap of all classes, of the frequent ones with fewer rows.

    Breiman (1996), with the undersampling of imbalanced-learn's `BalancedBaggingClassifier`.
    """

    kind: Literal["balanced_bagging"] = "balanced_bagging"
    members: Annotated[int, Field(ge=2, le=100)] = 10

    def sample(self, to_fit: DataFrame, roles: Roles, seed: int, *, member: int = 0, tell: Tell = dict) -> DataFrame:
        """One member's rows, a row as often as it was drawn."""
        return bootstrap_sample(to_fit, self._draw(roles, seed, member))


class SelfPacedEnsemble(Ensemble):
    """Each member after the first learns from rows of the frequent classes that are drawn by how hard they are so far.

    Liu and others, Self-paced ensemble for highly imbalanced massive data classification (ICDE 2020). Hardness is
    1 - p of a row's class, by the members before. The first of these draw mostly easy rows, the last as many of each
    bin of hardness. Within a class rows are kept by their features, so that no constant corrects scores exactly.

    A member after the first takes two passes over `train`, in which all members before it score the rows.

    Args:
        bins: of hardness, of equal width.
    """

    kind: Literal["self_paced_ensemble"] = "self_paced_ensemble"
    members: Annotated[int, Field(ge=2, le=100)] = 10
    bins: Annotated[int, Field(ge=2, le=100)] = 5
    is_exact: ClassVar[bool] = False
    is_sequential: ClassVar[bool] = True

    def notes(self) -> dict[str, str]:
        """That the correction is that of the kept fractions of whole classes."""
        return {"prior_correction": "approximate"}

    def judged(self, train: DataFrame, earlier: Sequence[bytes], roles: Roles) -> DataFrame:
        """The rows with their hardness."""
        return with_hardness(train, earlier, inputs=roles.inputs, label=LABEL)

    def sample(self, to_fit: DataFrame, roles: Roles, seed: int, *, member: int = 0, tell: Tell = dict) -> DataFrame:
        """One member's rows; those of the first are drawn alike."""
        return self_paced_sample(to_fit, self._draw(roles, seed, member), members=self.members, bins=self.bins)


class RUSBoost(Ensemble):
    """AdaBoost of weak models, each on all rare rows and another sample of the frequent ones.

    Seiffert and others, RUSBoost (2010), with Real AdaBoost (Friedman, Hastie and Tibshirani, 2000; of K classes
    SAMME.R), whose members add up in log-odds: a row weighs what the members before leave to be learnt of it, so that
    the sum of their margins is the log-odds of the sampled classes, and kept fractions correct them. The early-stopping
    set is weighed in the same way.

    A member after the first takes two passes over `train`, in which all members before it score the rows.

    Args:
        rounds: of each member, whatever `training.rounds` says: weak models are what boosting wants.
    """

    kind: Literal["rus_boost"] = "rus_boost"
    members: Annotated[int, Field(ge=2, le=1000)] = 10
    rounds: Annotated[int, Field(ge=1, le=1000)] = 5
    is_sequential: ClassVar[bool] = True
    is_additive: ClassVar[bool] = True

    def judged(self, train: DataFrame, earlier: Sequence[bytes], roles: Roles) -> DataFrame:
        """The rows with their weights."""
        return with_boosting_weight(train, earlier, inputs=roles.inputs, label=LABEL)

    def sample(self, to_fit: DataFrame, roles: Roles, seed: int, *, member: int = 0, tell: Tell = dict) -> DataFrame:
        """One member's rows; those after the first are weighed."""
        draw = self._draw(roles, seed, member)
        return boosting_sample(to_fit, draw) if member else independent_sample(to_fit, draw)

    def fit(self, table: DataFrame, recipe: Recipe, task: FitTask, fit_rows: Mapping[int, int]) -> "FittedBooster":
        """Few rounds, whatever `training.rounds`."""
        return super().fit(table, recipe, _with_rounds(task, self.rounds), fit_rows)


class BalancedRandomForest(Ensemble):
    """Random forests of XGBoost, each on a balanced sample: one round of parallel trees, each on a part of its rows.

    Chen, Liaw and Breiman, Using random forest to learn imbalanced data (2004), with the trees of a member sharing its
    sample. A margin is linear in the mean of the trees' class shares, not their log-odds, so that no constant corrects
    scores exactly.

    Args:
        trees: of each member.
    """

    kind: Literal["balanced_random_forest"] = "balanced_random_forest"
    members: Annotated[int, Field(ge=2, le=100)] = 10
    trees: Annotated[int, Field(ge=1, le=1000)] = 10
    is_exact: ClassVar[bool] = False

    @model_validator(mode="after")
    def _set_once(self) -> Self:
        if "num_parallel_tree" in self.params:
            raise ValueError("num_parallel_tree is what trees says: set trees, beside the kind")
        return self

    def problems_with(self, training: TrainingConfig, classes: int = 2) -> Iterator[str]:
        """A learner that has no forests."""
        if (learner := self.fitted_by.name) != XGBoost.name:
            yield (
                f"strategy {self.name!r}: {self.kind} is forests of XGBoost, which {learner} has none of: use "
                f"balanced_bagging with learner {learner}"
            )
        else:
            yield from super().problems_with(training, classes)

    def notes(self) -> dict[str, str]:
        """That margins are no log-odds."""
        return {"prior_correction": "approximate"}

    def booster_params(self) -> dict[str, Any]:
        """Those of a forest, with the other parameters."""
        return {**_FOREST, **self.params, "num_parallel_tree": self.trees}

    def sample(self, to_fit: DataFrame, roles: Roles, seed: int, *, member: int = 0, tell: Tell = dict) -> DataFrame:
        """One member's rows."""
        return independent_sample(to_fit, self._draw(roles, seed, member))

    def fit(self, table: DataFrame, recipe: Recipe, task: FitTask, fit_rows: Mapping[int, int]) -> "FittedBooster":
        """One round, whatever `training.rounds`."""
        return super().fit(table, recipe, _with_rounds(task, 1), fit_rows)


def _with_rounds(task: FitTask, rounds: int) -> FitTask:
    return replace(task, training=task.training.model_copy(update={"rounds": rounds}))
