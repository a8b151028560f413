"""Objectives of costs: those of errors and gains, by order or in sum, and the closed form for constant ones."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

from imbalance_spark.core.errors import ConfigError
from imbalance_spark.core.expression import Line
from imbalance_spark.metrics.curve import Curve
from imbalance_spark.metrics.grid import FloatArray
from imbalance_spark.threshold.objective import Objective, number_text, require_number
from imbalance_spark.threshold.order_costs import AMOUNT, CELLS, OrderCosts

if TYPE_CHECKING:
    from imbalance_spark.calibration import LedgerCheck


@dataclass(frozen=True, kw_only=True)
class MinCost(Objective):
    """Minimize the total cost of decisions.

    A cost is a number, or an expression of the order's amount: `amount`, `amount * 0.8 + 15`. The jobs decide two
    classes by such costs order by order, see `OrderRule`; where one threshold decides, it is the best one for all.

    Args:
        fn: cost of a false negative, >= 0, or an expression such as "amount" for the row's own amount.
        fp: cost of a false positive, >= 0, or an expression.
        tp, tn: cost of a correct decision, or an expression; a gain is negative.
        single_threshold: whether one threshold decides although costs depend on the amount.
    Raises:
        ConfigError: a cost is out of range, no line in the amount, or no error costs more than the correct decision.

    Examples:
        >>> MinCost(fn=10, fp=1).name, MinCost(fn="amount * 0.8 + 15", fp=5).name
        ('min_cost_fn_10_fp_1', 'min_cost_fn_0.8_amount_plus_15_fp_5')
    """

    key: ClassVar[str] = "min_cost"
    is_loss: ClassVar[bool] = True
    fn: float | str
    fp: float | str
    tp: float | str = 0.0
    tn: float | str = 0.0
    single_threshold: bool = False

    def __post_init__(self) -> None:
        for cell in CELLS:
            value, least = getattr(self, cell), 0.0 if cell in ("fn", "fp") else -math.inf
            if not isinstance(value, str):
                hint = 'It is a cost, or an expression of the order\'s amount, such as "amount" or "amount * 0.8 + 15".'
                require_number(f"min_cost.{cell}", value, least=least, hint=hint)
        if not isinstance(self.single_threshold, bool):
            raise ConfigError(f"min_cost.single_threshold must be true or false, got {self.single_threshold!r}.")
        costs = self.costs
        if costs.depend_on_amount:
            return
        if costs.fn == costs.tp and costs.fp == costs.tn:
            raise ConfigError(
                "min_cost.fn and min_cost.fp are both 0, or what the correct decision costs, so every threshold costs "
                "the same. Set at least one."
            )
        if costs.fn.constant < costs.tp.constant or costs.fp.constant < costs.tn.constant:
            raise ConfigError(
                f"min_cost: an error must not cost less than the correct decision, got fn {self.fn} and tp {self.tp}, "
                f"fp {self.fp} and tn {self.tn}. Otherwise one class is always the cheaper decision."
            )

    @cached_property
    def costs(self) -> OrderCosts:
        """The four costs as lines in the amount."""
        return OrderCosts.of({cell: getattr(self, cell) for cell in CELLS}, "min_cost")

    @property
    def by_order(self) -> OrderCosts | None:
        """The costs, where they decide order by order."""
        return self.costs if self.costs.depend_on_amount and not self.single_threshold else None

    @property
    def reads_amount(self) -> bool:
        """Whether its costs depend on the amount."""
        return self.costs.depend_on_amount

    @property
    def name(self) -> str:
        """`min_cost_fn_10_fp_1`; correct decisions are named if they cost something."""
        lines = {cell: getattr(self.costs, cell) for cell in CELLS}
        told = [f"{cell}_{_line_text(line)}" for cell, line in lines.items() if cell in ("fn", "fp") or line != _FREE]
        return "_".join(["min_cost", *told, *(["single_threshold"] if self.single_threshold else [])])

    @property
    def bayes_threshold(self) -> float | None:
        """(fp - tn) / (fp - tn + fn - tp); None where a cost depends on the row."""
        return None if self.costs.depend_on_amount else self.costs.threshold

    def values(self, curve: Curve) -> FloatArray:
        """Cost at each threshold."""
        return self.costs.totals(curve)


_FREE = Line(0.0, 0.0)


def _line_text(line: Line) -> str:
    """A cost inside a name: `10`, `amount`, `0.8_amount_plus_15`."""
    if line.slope == 0.0:
        return number_text(line.constant)
    amount = AMOUNT if line.slope == 1.0 else f"{number_text(line.slope)}_{AMOUNT}"
    if line.constant == 0.0:
        return amount
    return f"{amount}_{'plus' if line.constant > 0.0 else 'minus'}_{number_text(abs(line.constant))}"


@dataclass(frozen=True, kw_only=True)
class BayesCost(Objective):
    """The cost-optimal threshold of calibrated probabilities in closed form (Elkan, 2001).

    t* = (fp - tn) / (fp - tn + fn - tp), independent of the counts. It needs no positives to choose on, so it varies
    less than a search over few positives, but it is only right for calibrated scores: the choice has a warning unless
    they passed the check of calibration in the large.

    Args:
        fn, fp: cost of a false negative and of a false positive.
        tp, tn: cost of a correct decision; a gain is negative.
    Raises:
        ConfigError: a cost is not a number, or an error costs no more than the correct decision.

    Examples:
        >>> round(BayesCost(fn=10, fp=1).closed_form, 4)
        0.0909
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
                f"bayes_cost: an error must cost more than the correct decision, got fn {self.fn:g} and tp {self.tp:g}"
                f", fp {self.fp:g} and tn {self.tn:g}. Otherwise one class is always the cheaper decision."
            )

    @property
    def name(self) -> str:
        """`bayes_cost_fn_10_fp_1`; correct decisions are named if they cost something."""
        cells = ("fn", "fp", *(cell for cell in ("tp", "tn") if getattr(self, cell) != 0.0))
        return "bayes_cost_" + "_".join(f"{cell}_{number_text(getattr(self, cell))}" for cell in cells)

    @property
    def bayes_threshold(self) -> float:
        """t*, in (0, 1)."""
        return self.closed_form

    @property
    def closed_form(self) -> float:
        """t*, in (0, 1)."""
        return self.costs.threshold

    @property
    def costs(self) -> OrderCosts:
        """The four costs."""
        return OrderCosts.of({cell: getattr(self, cell) for cell in CELLS}, "bayes_cost")

    def values(self, curve: Curve) -> FloatArray:
        """Cost at each threshold."""
        return self.costs.totals(curve)

    def warning(self, flagged_rows: int, ledger: "LedgerCheck | None") -> str | None:
        """A warning if it flags nobody, and unless the scores are calibrated in the large."""
        doubt = None
        if ledger is None:
            doubt = f"{self.name} needs calibrated scores, and these were not checked. Run calibration.ledger_check."
        elif not ledger.passed:
            doubt = f"{self.name} needs calibrated scores, and these are not calibrated in the large. {ledger.sentence}"
        return " ".join(filter(None, [super().warning(flagged_rows, ledger), doubt])) or None


def first_constant_costs(objectives: Sequence[Objective]) -> tuple[float, float] | None:
    """What errors cost, (fn, fp), of the first objective whose costs are constant; None if there is none.

    Above the correct decision: costs of tp and tn are taken off, which changes no decision (Elkan, 2001).
    """
    for objective in objectives:
        if isinstance(objective, MinCost | BayesCost) and not objective.costs.depend_on_amount:
            costs = objective.costs
            return costs.fn.constant - costs.tp.constant, costs.fp.constant - costs.tn.constant
    return None
