"""What comparisons of two classes and of several have alike, for the rooms that treat them alike."""

from collections.abc import Mapping, Sequence
from typing import Protocol, TypeVar

from imbalance_spark.comparison.prepare import PreparedOrders
from imbalance_spark.config.run import RunConfig


class Judged(Protocol):
    """A strategy that was judged."""

    @property
    def name(self) -> str:
        """Of the strategy."""

    @property
    def metrics(self) -> Mapping[str, float]:
        """By fold and name."""


Result = TypeVar("Result", bound=Judged)


ResultOf = TypeVar("ResultOf", bound=Judged, covariant=True)


class Compared(Protocol[ResultOf]):
    """A comparison of strategies."""

    @property
    def config(self) -> RunConfig:
        """What was asked for."""

    @property
    def prepared(self) -> PreparedOrders:
        """What was compared on."""

    @property
    def results(self) -> Sequence[ResultOf]:
        """Best first."""

    @property
    def best(self) -> ResultOf:
        """The first of them."""

    @property
    def baseline(self) -> Mapping[str, float]:
        """What the largest class for every order gives."""
