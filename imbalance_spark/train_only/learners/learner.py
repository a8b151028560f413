"""What is fitted: the interface of all learners, and what each refuses."""

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from imbalance_spark.core.section import Section
from imbalance_spark.train_only.config import BoosterParams, EngineName, TrainingConfig
from imbalance_spark.train_only.learners.engine import FitRequest

if TYPE_CHECKING:
    from imbalance_spark.train_only.learners.xgboost import FittedBooster


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a strategy asks of its learner, as far as a config says it.

    Args:
        strategy, kind: its name, and what it does against the imbalance.
        params: parameters that differ from the defaults, of the strategy and of `training.params`.
        set_params: those of them that the strategy itself sets.
        is_focal: whether its loss is more than weights of the classes, as focal losses are.
        is_by_cuts: whether it works by histogram cuts alone.
        has_cuts: whether `cuts` asks for some.
    """

    strategy: str
    kind: str
    classes: int
    params: Mapping[str, Any]
    set_params: frozenset[str]
    is_focal: bool
    is_by_cuts: bool
    has_cuts: bool
    training: TrainingConfig


class Learner(ABC):
    """What a strategy's rows, weights and loss are fitted with: a class, so that a new learner is one more file."""

    name: ClassVar[str]
    package: ClassVar[str]
    """What it imports on the driver and on executors."""
    extra: ClassVar[str | None] = None
    """Of this package, which installs what the learner needs; None needs nothing more."""
    without_meaning: ClassVar[frozenset[str]] = frozenset()
    """Names of `training.params` that it has nothing for."""
    own_params: ClassVar[type[Section]] = Section
    """Parameters that only this learner has."""
    is_trees: ClassVar[bool] = True
    """Whether the model is trees, fitted round by round with `training.params`."""
    has_external_memory: ClassVar[bool] = False
    """Whether it can keep its bins on disk."""

    @abstractmethod
    def fit(self, request: FitRequest) -> "FittedBooster":
        """Fit on the rows outside the early-stopping set."""

    def has_own_sketch(self, engine: EngineName) -> bool:
        """Whether it finds its histogram cuts itself, instead of being given them."""
        return False

    def passes(self, features: int, engine: EngineName) -> int:
        """Passes over its table that a fit takes, the one for the cuts included."""
        return 2

    def problems(self, asked: Asked) -> Iterator[str]:
        """What has no meaning with this learner, each with what to use instead."""
        given = asked.params.keys() if self.is_trees else asked.set_params
        if useless := sorted(given & self.without_meaning):
            place = "params" if asked.set_params >= set(useless) else "training.params"
            yield f"strategy {asked.strategy!r}: {self.name} has nothing for {useless}: leave them out of {place}"
        known = {*BoosterParams.model_fields, *self.own_params.model_fields}
        if foreign := sorted(asked.set_params - known):
            yield f"strategy {asked.strategy!r}: {self.name} has no {foreign}. It has {sorted(self.searchable)}"
        if asked.training.external_memory and self.is_trees and not self.has_external_memory:
            yield (
                f"strategy {asked.strategy!r}: {self.name} keeps its bins in memory: leave training.external_memory "
                "out, or use learner xgboost"
            )

    @property
    def searchable(self) -> frozenset[str]:
        """Names of the parameters that it has."""
        return frozenset({*BoosterParams.model_fields, *self.own_params.model_fields}) - self.without_meaning

    def missing_package(self) -> str | None:
        """How to install what it needs, where it is not installed on the driver."""
        if self.extra is None or importlib.util.find_spec(self.package) is not None:
            return None
        return (
            f"learner {self.name} needs {self.package}, which is not installed. Run `pip install "
            f"'imbalance_spark[{self.extra}]'` on the driver and on every node, or use another learner."
        )
