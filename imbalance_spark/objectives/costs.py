"""Objectives that minimize what decisions cost: searched on the counts, or in closed form."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from imbalance_spark.errors import ConfigError
from imbalance_spark.metrics.curve import Curve
from imbalance_spark.metrics.grid import FloatArray
from imbalance_spark.objectives.base import Objective, require_number

if TYPE_CHECKING:
    from imbalance_spark.calibration import LedgerCheck

AMOUNT = "amount"
"""As the cost of a missed positive: the row's own amount."""


@dataclass(frozen=True, kw_only=True)
class MinCost(Objective):
    """The lowest sum of `fn` for each missed positive, or its amount with `fn="amount"`, and `fp` for each false alarm.

    Costs are at least 0 and not both 0; all costs times a constant choose the same threshold.
    """

    key: ClassVar[str] = "min_cost"
    is_loss: ClassVar[bool] = True
    fn: float | str
    fp: float

    def __post_init__(self) -> None:
        if self.fn != AMOUNT:
            require_number("min_cost.fn", self.fn, least=0.0, hint='It is a cost, or "amount" for the order\'s own.')
        require_number("min_cost.fp", self.fp, least=0.0, hint="It is the cost of a false alarm.")
        if self.fn == 0 and self.fp == 0:
            raise ConfigError("min_cost.fn and min_cost.fp are both 0: every threshold is free. Give one a cost.")

    @property
    def name(self) -> str:
        """`min_cost_fn_10_fp_1`."""
        return f"min_cost_fn_{self.fn if isinstance(self.fn, str) else format(self.fn, 'g')}_fp_{self.fp:g}"

    def values(self, curve: Curve) -> FloatArray:
        """Cost at each threshold."""
        if not isinstance(self.fn, str):
            return self.fn * (curve.positives - curve.tp) + self.fp * curve.fp
        if curve.missed_amount is None:
            raise ConfigError('min_cost.fn is "amount", but the counts hold no amounts. Count with an amount column.')
        return curve.missed_amount + self.fp * curve.fp


@dataclass(frozen=True, kw_only=True)
class BayesCost(Objective):
    """The threshold that costs least on calibrated probabilities, whatever the counts say (Elkan, 2001).

    t* = (fp - tn) / (fp - tn + fn - tp), for the costs of a missed positive, a false alarm, and right decisions; a
    gain is a cost below 0. It needs no positives to choose on, so that it is steadier than a search on few of them,
    but it is only right on calibrated scores: the choice carries a warning unless the ledger check passed.
    """

    key: ClassVar[str] = "bayes_cost"
    is_loss: ClassVar[bool] = True
    fn: float
    fp: float
    tp: float = 0.0
    tn: float = 0.0

    def __post_init__(self) -> None:
        for cell in ("fn", "fp", "tp", "tn"):
            require_number(f"bayes_cost.{cell}", getattr(self, cell), hint="It is what such a row costs.")
        if self.fn <= self.tp or self.fp <= self.tn:
            raise ConfigError(
                f"bayes_cost: a wrong decision must cost more than the right one, got fn {self.fn:g} and tp {self.tp:g}"
                f", fp {self.fp:g} and tn {self.tn:g}. Else one class is always the cheaper answer."
            )

    @property
    def name(self) -> str:
        """`bayes_cost_fn_10_fp_1`; right decisions are named where they cost something."""
        cells = ("fn", "fp", *(cell for cell in ("tp", "tn") if getattr(self, cell) != 0.0))
        return "bayes_cost_" + "_".join(f"{cell}_{getattr(self, cell):g}" for cell in cells)

    @property
    def closed_form(self) -> float:
        """t*, in (0, 1)."""
        alarm, miss = self.fp - self.tn, self.fn - self.tp
        return alarm / (alarm + miss)

    def values(self, curve: Curve) -> FloatArray:
        """Cost at each threshold."""
        tn, fn = curve.negatives - curve.fp, curve.positives - curve.tp
        return self.fn * fn + self.fp * curve.fp + self.tp * curve.tp + self.tn * tn

    def warning(self, flagged_rows: int, ledger: "LedgerCheck | None") -> str | None:
        """Said unless the scores are known to be calibrated."""
        if ledger is None:
            return f"{self.name} needs calibrated scores, and nobody checked these. Run calibration.ledger_check."
        if ledger.passed:
            return None
        return f"{self.name} needs calibrated scores, and these failed the ledger check. {ledger.sentence}"


def first_constant_costs(objectives: Sequence[Objective]) -> tuple[float, float] | None:
    """What a miss and a false alarm cost in the first objective that says so in numbers; None without one."""
    for objective in objectives:
        if isinstance(objective, MinCost | BayesCost) and not isinstance(objective.fn, str):
            return float(objective.fn), float(objective.fp)
    return None
