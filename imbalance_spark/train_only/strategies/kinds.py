"""All kinds of strategies as one union, told apart by `kind`: what `strategies` in a config may hold."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, TypeAdapter

from imbalance_spark.train_only.config import LearnerName
from imbalance_spark.train_only.strategies.base import Strategy
from imbalance_spark.train_only.strategies.boosting import (
    BalancedSketch,
    ClassWeight,
    ClassWeightPower,
    MaxDeltaStep,
    Plain,
    ScalePosWeight,
)
from imbalance_spark.train_only.strategies.ensembles import (
    BalancedBagging,
    BalancedRandomForest,
    RUSBoost,
    SelfPacedEnsemble,
    UndersampleEnsemble,
)
from imbalance_spark.train_only.strategies.losses import AsymmetricFocal, ClassBalancedFocal, Focal, LogitAdjusted
from imbalance_spark.train_only.strategies.resampling import (
    Adasyn,
    BorderlineSmote,
    Oversample,
    Smote,
    SmoteEnn,
    SmoteNC,
    SmoteTomek,
    Undersample,
)
from imbalance_spark.train_only.strategies.unboosted import IsolationForest, LogisticClassWeight


def _kind_alone(entry: Any) -> Any:
    return {"kind": entry} if isinstance(entry, str) else entry


AnyStrategy = Annotated[
    Plain
    | Undersample
    | Oversample
    | ClassWeight
    | ScalePosWeight
    | BalancedSketch
    | ClassWeightPower
    | MaxDeltaStep
    | Focal
    | AsymmetricFocal
    | ClassBalancedFocal
    | LogitAdjusted
    | UndersampleEnsemble
    | BalancedBagging
    | SelfPacedEnsemble
    | RUSBoost
    | BalancedRandomForest
    | IsolationForest
    | LogisticClassWeight
    | Smote
    | BorderlineSmote
    | Adasyn
    | SmoteNC
    | SmoteTomek
    | SmoteEnn,
    Field(discriminator="kind"),
    BeforeValidator(_kind_alone),
]
"""A strategy in a config: its settings with their `kind`, or the kind alone."""

_ANY: TypeAdapter[Strategy] = TypeAdapter(AnyStrategy)


def strategy_from_config(entry: str | Mapping[str, Any]) -> Strategy:
    """The strategy that an entry of a config's `strategies` asks for.

    Args:
        entry: the name of a kind, or a mapping with `kind` and its settings.
    Returns:
        The strategy, with the settings that were left out at their defaults.
    Raises:
        pydantic.ValidationError: no such kind, or a setting that the kind does not have.
    """
    return _ANY.validate_python(entry if isinstance(entry, str) else dict(entry))


def strategies_of(configured: Sequence[Strategy], learner: LearnerName = "xgboost") -> tuple[Strategy, ...]:
    """The strategies to compare: plain boosting always runs, first unless it is configured itself.

    Args:
        configured: in the order of the config.
        learner: of those that name none.
    Returns:
        The strategies in the order in which they are fitted; at least one.
    """
    all_ = configured if any(strategy.is_plain for strategy in configured) else (Plain(), *configured)
    return tuple(strategy.with_learner(learner) for strategy in all_)
