"""The interface of an objective: its value at every threshold, its constraint, and warnings about a choice."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from decimal import Decimal
from numbers import Real
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
import numpy.typing as npt

from imbalance_spark.core.arrays import FloatArray
from imbalance_spark.core.errors import ConfigError
from imbalance_spark.metrics.confusion import ConfusionMatrix
from imbalance_spark.metrics.curve import Curve

if TYPE_CHECKING:
    from imbalance_spark.calibration import LedgerCheck
    from imbalance_spark.threshold.order_costs import OrderCosts

BoolArray = npt.NDArray[np.bool_]

SAME = 1e-12
"""Relative tolerance of ties: sums of weights differ by as much with the order of summation."""


@dataclass(frozen=True)
class Objective(ABC):
    """The goal of a threshold. `values` are maximized, or minimized if `is_loss`, over the allowed thresholds."""

    key: ClassVar[str]
    """Name in a config file."""
    is_loss: ClassVar[bool] = False
    """Whether a value is a cost: minimized, and additive over parts of the rows."""
    fills: ClassVar[bool] = False
    """Whether it takes the lowest of equally good thresholds: an alert that the budget has is not left unused."""
    is_promise: ClassVar[bool] = False
    """Whether it promises something of the rows themselves, which their expectation would not do."""

    @property
    def name(self) -> str:
        """Name that includes the settings, for metric names: `max_f2`, `max_recall_at_precision_0.9`."""
        return self.key

    @property
    def closed_form(self) -> float | None:
        """The threshold that follows from the settings alone; None if it depends on the counts."""
        return None

    @property
    def bayes_threshold(self) -> float | None:
        """The threshold of least expected cost on calibrated probabilities (Elkan, 2001); None if it is no constant."""
        return None

    @property
    def by_order(self) -> "OrderCosts | None":
        """What decisions cost, where the jobs decide by it order by order; None where a threshold decides."""
        return None

    @property
    def reads_amount(self) -> bool:
        """Whether it needs counts with amounts."""
        return False

    @abstractmethod
    def values(self, curve: Curve) -> FloatArray:
        """The objective's value at each threshold of the curve."""

    def is_allowed(self, curve: Curve) -> BoolArray:
        """Which thresholds satisfy the objective's constraint; all if it has none."""
        return np.ones(len(curve.threshold), dtype=bool)

    def is_safe(self, curve: Curve, design_effect: float) -> BoolArray:
        """Which thresholds satisfy the constraint beyond chance; see `design_effect` of `threshold.rule`."""
        return self.is_allowed(curve)

    def out_of_reach(self, curve: Curve, design_effect: float) -> str | None:
        """Why nobody is flagged where no threshold is safe, and what would do; None to take the nearest threshold."""
        return None

    def broken_by(self, decided: ConfusionMatrix) -> str | None:
        """What decisions miss of the constraint, as a clause; None if they keep it."""
        return None

    def closeness(self, curve: Curve) -> FloatArray:
        """What to maximize if no threshold is allowed: how close each one is to the constraint."""
        return self.values(curve)

    def warning(self, flagged_rows: int, ledger: "LedgerCheck | None") -> str | None:
        """A reason not to trust a threshold that satisfies the constraint, or None.

        Args:
            flagged_rows: rows that it flags, without weights.
            ledger: the check of the scores' calibration; None if it was not run.
        """
        if flagged_rows > 0:
            return None
        return (
            f"{self.name} flags nobody: no row that it was chosen on reaches its threshold, so recall is 0 and "
            "precision is undefined. Check its settings, or decide by another objective."
        )

    def on_share(self, share: float) -> Self:
        """The same objective for a share of the rows, in (0, 1]. Only alert budgets depend on how many there are."""
        return self

    def with_days(self, days: float) -> Self:
        """The same objective for counts that cover `days` days; see `count_days`. Only alert budgets need them."""
        return self


def require_number(
    name: str, value: object, *, hint: str, above: float = -math.inf, least: float = -math.inf, most: float = math.inf
) -> None:
    """Raise `ConfigError` unless `value` is a finite number above `above`, not under `least` and not over `most`."""
    is_number = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    if is_number and above < float(value) and least <= float(value) <= most:  # type: ignore[arg-type]
        return
    if above > -math.inf or least > -math.inf:
        low = f"above {above:g}" if above > -math.inf else f"{least:g} or more"
        limit = f" {low} and at most {most:g}" if most < math.inf else f" {low}"
    else:
        limit = ""
    raise ConfigError(f"{name} must be a number{limit}, got {value!r}. {hint}")


def number_text(value: float) -> str:
    """A setting inside a name, to 15 digits and without an exponent: MLflow takes no `+`, as in `1e+06`."""
    return format(Decimal(format(value, ".15g")), "f")
