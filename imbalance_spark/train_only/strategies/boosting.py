"""Strategies of fitting all rows: as they are, with class weights or cuts of their own, or a parameter of XGBoost."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

from pydantic import Field, field_validator, model_validator

from imbalance_spark.core.class_counts import Label
from imbalance_spark.core.errors import nearest
from imbalance_spark.core.section import Section
from imbalance_spark.train_only.config import BoosterParams, EngineName, LearnerName, Power, TrainingConfig
from imbalance_spark.train_only.learners.cuts import CutKind
from imbalance_spark.train_only.learners.isolation_forest import Isolation
from imbalance_spark.train_only.learners.kinds import LEARNERS
from imbalance_spark.train_only.learners.learner import Learner
from imbalance_spark.train_only.learners.losses import FocalLoss
from imbalance_spark.train_only.learners.xgboost import XGBoost
from imbalance_spark.train_only.search.space import Params
from imbalance_spark.train_only.strategies.base import Strategy
from imbalance_spark.train_only.weights import class_weights, scale_pos_weight

_Class = TypeVar("_Class", bound=int | str)
_Value = TypeVar("_Value", int, float)

_XGBOOSTS_HESSIAN = 2.0  # its softmax has 2 p (1 - p), so that leaves and min_child_weight mean the same

Weights = Literal["balanced"] | dict[int | str, float]


class Boosted(Strategy):
    """A strategy that a learner of one's choice fits.

    Args:
        learner: what is fitted; null is `training.learner`.
        params: parameters that differ from `training.params`, by XGBoost's names, and those that only the learner has:
            of lightgbm `num_leaves`, `min_data_in_leaf`, `cat_smooth`, `cat_l2`; of catboost `random_strength`,
            `leaf_estimation_iterations`; of torch `hidden`, `lr`, `weight_decay`, `batch_rows`, and no others; of
            logistic `reg_param`, `elastic_net_param`, `max_iter`, and no others.
        cuts: of which rows the histogram cuts are quantiles: of all (`plain`), or of a mixture to which each class
            contributes alike (`balanced`), which tells rare rows apart in a thin region. By default `plain`; `balanced`
            where class weights are in a weight column. `training.engine: native`, LightGBM and CatBoost have both for
            every strategy, `xgboost_spark` the default alone.
    """

    learner: LearnerName | None = None
    params: dict[str, Any] = {}
    cuts: CutKind | None = None

    default_cuts: ClassVar[CutKind] = "plain"
    has_choice: ClassVar[bool] = True

    @field_validator("learner", mode="before")
    @classmethod
    def _is_supervised(cls, learner: Any) -> Any:
        if learner == Isolation.name:
            raise ValueError(
                "isolation_forest learns without the labels of rare rows, so that there is nothing for a strategy to "
                "do: write `kind: isolation_forest` for a strategy of its own"
            )
        return learner

    @field_validator("params")
    @classmethod
    def _are_known(cls, params: dict[str, Any]) -> dict[str, Any]:
        sections: list[type[Section]] = [BoosterParams, *[one.own_params for one in LEARNERS.values()]]
        known = {name for section in sections for name in section.model_fields}
        if unknown := sorted(set(params) - known):
            raise ValueError(f"unknown {unknown}.{nearest(unknown, known)} Known: {sorted(known)}")
        for section in sections:
            section.model_validate({name: value for name, value in params.items() if name in section.model_fields})
        return params

    @property
    def fitted_by(self) -> Learner:
        """The one that the config names, or XGBoost."""
        return LEARNERS[self.learner or XGBoost.name]

    def with_learner(self, name: LearnerName) -> Self:
        """The strategy with a learner, where the config names none for it."""
        return self if self.learner or name == XGBoost.name else self.model_copy(update={"learner": name})

    def booster_params(self) -> dict[str, Any]:
        """XGBoost's parameters that differ from `training.params`."""
        return {name: value for name, value in self.params.items() if name in BoosterParams.model_fields}

    def own_params(self) -> dict[str, Any]:
        """Parameters that its learner alone has."""
        return {name: value for name, value in self.params.items() if name not in BoosterParams.model_fields}

    @property
    def has_cuts(self) -> bool:
        """Whether the config asks for cuts of one kind."""
        return self.cuts is not None

    @property
    def searchable(self) -> frozenset[str]:
        """XGBoost's parameters, as far as the learner has them."""
        return frozenset(BoosterParams.model_fields) - self.fitted_by.without_meaning

    def set_params(self) -> frozenset[str]:
        """Those that differ from `training.params`."""
        return frozenset(self.booster_params())

    def params_in(self, training: TrainingConfig) -> Params:
        """XGBoost's parameters, as far as the learner has them."""
        found = {**training.params.model_dump(), **self.booster_params()}
        return {name: value for name, value in found.items() if name not in self.fitted_by.without_meaning}

    def with_params(self, params: Params) -> Self:
        """The strategy with other parameters of XGBoost."""
        return self.model_copy(update={"params": {**self.params, **params}})

    @property
    def cut_kind(self) -> CutKind:
        """Those asked for, or the default."""
        return self.cuts or self.default_cuts

    def problems_with(self, training: TrainingConfig, classes: int = 2) -> Iterator[str]:
        """Cuts that XGBoost's own sketch does not find, and what the learner cannot do."""
        yield from super().problems_with(training, classes)
        if self.fitted_by.has_own_sketch(training.engine) and self.cut_kind != self.default_cuts:
            yield (
                f"strategy {self.name!r}: training.engine xgboost_spark cannot do cuts {self.cuts!r}: leave cuts out, "
                "or use training.engine: native"
            )


class Plain(Boosted):
    """Boosting on the rows as they are; what every other strategy is compared with."""

    kind: Literal["none"] = "none"
    corrects: ClassVar[bool] = False
    is_plain: ClassVar[bool] = True


class Weighed(Strategy):
    """A strategy with a weight for each class.

    Args:
        weights: 'balanced', n / (K n_k), or a weight above 0 for each class.
    """

    weights: Weights = "balanced"

    @field_validator("weights")
    @classmethod
    def _above_zero(cls, weights: Weights) -> Weights:
        if not isinstance(weights, str) and not min(weights.values(), default=0.0) > 0.0:
            raise ValueError(f"must be above 0, got {weights}")
        return weights

    def problems(self, classes: Sequence[str], numeric: Sequence[str], categorical: Sequence[str]) -> Iterator[str]:
        """Weights that do not name each class."""
        if not isinstance(self.weights, str) and set(map(str, self.weights)) != set(classes):
            yield (
                f"strategy {self.name!r}: weights must name each of the classes {list(classes)}, and no other, got "
                f"{list(self.weights)}"
            )

    def class_weights(self, counts: Mapping[int, int]) -> dict[int, float]:
        """The weight of each class's rows."""
        return _class_weights(counts, self.weights)


class ClassWeight(Weighed, Boosted):
    """Weigh the rows of each class, in the gradient and in the histogram cuts of the features."""

    kind: Literal["class_weight"] = "class_weight"
    default_cuts: ClassVar[CutKind] = "balanced"


class ScalePosWeight(Boosted):
    """Weigh the gradient of rare classes, not the histogram cuts of the features.

    Args:
        scale_pos_weight: 'balanced' (n_neg / n_pos; of more classes n_max / n_k for each), or for two classes a number
            above 0.
    """

    kind: Literal["scale_pos_weight"] = "scale_pos_weight"
    scale_pos_weight: Literal["balanced"] | Annotated[float, Field(gt=0.0)] = "balanced"

    def problems(self, classes: Sequence[str], numeric: Sequence[str], categorical: Sequence[str]) -> Iterator[str]:
        """A number for more classes than two."""
        if len(classes) > 2 and self.scale_pos_weight != "balanced":
            yield (
                f"strategy {self.name!r}: scale_pos_weight {self.scale_pos_weight} weighs the positive one of two "
                f"classes, there are {len(classes)}: use 'balanced', or class_weight with a weight for each class"
            )

    def positive_factor(self, counts: Mapping[int, int]) -> float:
        """n_neg / n_pos, or the number asked for."""
        if len(counts) > 2:
            return 1.0
        return scale_pos_weight(_by_label(counts)) if self.scale_pos_weight == "balanced" else self.scale_pos_weight

    def loss(self, counts: Mapping[int, int]) -> FocalLoss | None:
        """Of more than two classes, cross-entropy in which the classes weigh n_max / n_k."""
        if len(counts) == 2:
            return None
        most = max(counts.values())
        return FocalLoss(weights=tuple(most / counts[k] for k in sorted(counts)), hessian_scale=_XGBOOSTS_HESSIAN)


class BalancedSketch(Boosted):
    """Histogram cuts of balanced classes, and plain boosting on them: scores need no correction.

    The `native` engine is given the cuts. XGBoost's own sketch is made to find them: the weight column has balanced
    weights, which the sketch sees, and the gradient divides them out by `scale_pos_weight`, or by the loss of more than
    two classes.
    """

    kind: Literal["balanced_sketch"] = "balanced_sketch"
    default_cuts: ClassVar[CutKind] = "balanced"

    def for_engine(self, engine: EngineName) -> Strategy:
        """Without weights to divide out where cuts can be given."""
        return self if self.fitted_by.has_own_sketch(engine) else _OnGivenCuts(power=self.gradient_power)

    @property
    def is_by_cuts(self) -> bool:
        """Where no weight is left in the gradient."""
        return self.gradient_power == 0.0

    @property
    def gradient_power(self) -> float:
        """Which power of a balanced weight is left in the gradient."""
        return 0.0

    def class_weights(self, counts: Mapping[int, int]) -> dict[int, float]:
        """1 and n_neg / n_pos, or of more classes n / (K n_k)."""
        if len(counts) == 2:
            return {0: 1.0, 1: scale_pos_weight(_by_label(counts))}
        return _class_weights(counts, "balanced")

    def positive_factor(self, counts: Mapping[int, int]) -> float:
        """(n_neg / n_pos)^(power - 1)."""
        return scale_pos_weight(_by_label(counts)) ** (self.gradient_power - 1.0) if len(counts) == 2 else 1.0

    def loss(self, counts: Mapping[int, int]) -> FocalLoss | None:
        """Of more than two classes, cross-entropy in which the classes weigh what is left of their column's weight."""
        if len(counts) == 2:
            return None
        weights = self.class_weights(counts)
        left = tuple(weights[k] ** (self.gradient_power - 1.0) for k in sorted(weights))
        return FocalLoss(weights=left, hessian_scale=_XGBOOSTS_HESSIAN)

    def gradient_weights(self, counts: Mapping[int, int]) -> tuple[float, ...]:
        """With K classes the power itself: a product of a weight and its inverse is 1 only up to rounding."""
        if len(counts) == 2:
            return super().gradient_weights(counts)
        weights = self.class_weights(counts)
        return tuple(weights[k] ** self.gradient_power for k in sorted(weights))


class _OnGivenCuts(Boosted):
    """A power of balanced class weights in the gradient, whatever the cuts."""

    kind: Literal["given_cuts"] = "given_cuts"
    power: float

    def positive_factor(self, counts: Mapping[int, int]) -> float:
        """(n_neg / n_pos)^power."""
        return scale_pos_weight(_by_label(counts)) ** self.power if len(counts) == 2 else 1.0

    def loss(self, counts: Mapping[int, int]) -> FocalLoss | None:
        """Of more than two classes, cross-entropy in which they weigh (n / (K n_k))^power; XGBoost's own for 0."""
        if len(counts) == 2 or self.power == 0.0:
            return None
        weights = _class_weights(counts, "balanced")
        return FocalLoss(
            weights=tuple(weights[k] ** self.power for k in sorted(weights)), hessian_scale=_XGBOOSTS_HESSIAN
        )


class ClassWeightPower(BalancedSketch):
    """Histogram cuts of balanced classes, and in the gradient a power of the balanced class weights.

    Args:
        power: of two classes the positive one weighs (n_neg / n_pos)^power; 0 is `balanced_sketch`.
    """

    kind: Literal["class_weight_power"] = "class_weight_power"  # type: ignore[assignment]
    power: Power = 0.5

    @property
    def gradient_power(self) -> float:
        """The power asked for."""
        return self.power

    @property
    def searchable(self) -> frozenset[str]:
        """XGBoost's parameters, and the power."""
        return super().searchable | {"power"}

    def set_params(self) -> frozenset[str]:
        """The power, too, where the config gives one."""
        return super().set_params() | (self.model_fields_set & {"power"})

    def params_in(self, training: TrainingConfig) -> Params:
        """XGBoost's parameters, and the power."""
        return {**super().params_in(training), "power": self.power}

    def with_params(self, params: Params) -> Self:
        """The strategy with other parameters of XGBoost, or another power."""
        of_xgboost = {name: value for name, value in params.items() if name != "power"}
        return super().with_params(of_xgboost).model_copy(update={"power": params.get("power", self.power)})


class MaxDeltaStep(Boosted):
    """Plain boosting with a bound on a leaf's step, which tames leaves of a rare class alone.

    Args:
        max_delta_step: the bound, above 0.
    """

    kind: Literal["max_delta_step"] = "max_delta_step"
    max_delta_step: Annotated[float, Field(gt=0.0)] = 1.0
    corrects: ClassVar[bool] = False

    @model_validator(mode="after")
    def _set_once(self) -> Self:
        if "max_delta_step" in self.params:
            raise ValueError("max_delta_step stands in params too: set it once, beside the kind")
        return self

    def booster_params(self) -> dict[str, Any]:
        """The bound, with the other parameters."""
        return {**self.params, "max_delta_step": self.max_delta_step}


def _class_weights(counts: Mapping[int, int], weights: Weights) -> dict[int, float]:
    asked = weights if isinstance(weights, str) else _by_label(weights)
    found = class_weights(_by_label(counts), asked)
    return {k: found[k] for k in sorted(counts)}


def _by_label(values: Mapping[_Class, _Value]) -> dict[Label, _Value]:
    """The same, as a mapping by any label: `Mapping` is invariant in its keys."""
    return {label: value for label, value in values.items()}  # noqa: C416  # dict() would keep the key's type
