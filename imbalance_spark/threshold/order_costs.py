"""Costs of decisions that depend on the order's own amount, and the rule that decides order by order."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from imbalance_spark.core.arrays import FloatArray, IntArray
from imbalance_spark.core.errors import ConfigError
from imbalance_spark.core.expression import Expression, Line
from imbalance_spark.metrics.bucket_draws import BucketedCurve
from imbalance_spark.metrics.curve import FLAG_NOBODY, Curve
from imbalance_spark.metrics.intervals import event_size

AMOUNT = "amount"
"""What expressions of costs call the order's amount, whatever its column is called."""

CELLS = ("fn", "fp", "tp", "tn")
"""The outcomes that have a cost."""


@dataclass(frozen=True, kw_only=True)
class OrderCosts:
    """What each outcome of a decision costs, each as a straight line in the order's amount.

    Args:
        fn, fp: cost of a false negative and of a false positive.
        tp, tn: cost of a correct decision; a gain is negative.
    """

    fn: Line
    fp: Line
    tp: Line
    tn: Line

    @classmethod
    def of(cls, settings: Mapping[str, float | str], where: str) -> Self:
        """The costs of an objective's settings: numbers, or expressions such as `amount * 0.8 + 15`.

        Raises:
            ConfigError: an expression is wrong, or no straight line in the amount.
        """
        return cls(**{cell: Expression.of(settings[cell], f"{where}.{cell}").line_in(AMOUNT) for cell in CELLS})

    @property
    def depend_on_amount(self) -> bool:
        """Whether the amount of an order has a say in any of them."""
        return any(getattr(self, cell).slope != 0.0 for cell in CELLS)

    @property
    def threshold(self) -> float:
        """Of constant costs: the probability from which flagging is cheaper (Elkan, 2001)."""
        of_negative, of_positive = self.fn.constant - self.tp.constant, self.fp.constant - self.tn.constant
        return of_positive / (of_positive + of_negative)

    def of_one_error(self, sample: BucketedCurve) -> float:
        """What one more wrong decision costs, of the class whose errors cost more; see `event_size`.

        Raises:
            ConfigError: costs depend on the amount, and the counts have none.
        """
        buckets = sample.buckets
        weight = buckets.weight.sum(axis=1)[sample.occupied]
        amount = np.zeros_like(weight) if buckets.amount is None else buckets.amount.sum(axis=1)[sample.occupied]

        def size(label: int, wrong: Line, right: Line) -> float:
            constant, slope = wrong.constant - right.constant, wrong.slope - right.slope
            return event_size(constant * weight[:, label] + slope * amount[:, label])

        return max(size(0, self.fp, self.tn), size(1, self.fn, self.tp))

    def totals(self, curve: Curve) -> FloatArray:
        """The cost of all rows at each threshold of a curve.

        Raises:
            ConfigError: costs depend on the amount, and the counts have none.
        """
        tn, fn = curve.negatives - curve.fp, curve.positives - curve.tp
        if not self.depend_on_amount:
            weights = zip(CELLS, (fn, curve.fp, curve.tp, tn), strict=True)
            return np.asarray(sum(getattr(self, cell).constant * weight for cell, weight in weights), dtype=np.float64)
        if curve.missed_amount is None or curve.caught_amount is None or curve.false_alarm_amount is None:
            raise ConfigError(
                "min_cost: its costs depend on the amount, but the counts have no amounts. Count with an amount column."
            )
        passed = curve.false_alarm_amount[-1] - curve.false_alarm_amount
        amounts = (curve.missed_amount, curve.false_alarm_amount, curve.caught_amount, passed)
        cells = zip(CELLS, (fn, curve.fp, curve.tp, tn), amounts, strict=True)
        return np.asarray(
            sum(
                getattr(self, cell).constant * weight + getattr(self, cell).slope * amount
                for cell, weight, amount in cells
            ),
            dtype=np.float64,
        )


@dataclass(frozen=True, kw_only=True)
class OrderRule:
    """Flag an order where that is cheaper in expectation: p (fn - tp) > (1 - p) (fp - tn), at its own amount.

    Right on calibrated probabilities (Elkan, 2001; with costs by example, Bahnsen and others, 2014).

    Args:
        costs: of each outcome.
        column: the orders' column that holds the amount.
        threshold: decides orders whose amount is missing: flag where p reaches it.
    """

    costs: OrderCosts
    column: str
    threshold: float

    def decide(self, probabilities: FloatArray, amounts: FloatArray, *, by_threshold: bool = False) -> "OrderDecisions":
        """Decide each order.

        Args:
            probabilities: of class 1, in [0, 1]. amounts: NaN or infinite where they are missing.
            by_threshold: whether the threshold decides all of them, whatever their amount.
        """
        is_finite = np.isfinite(amounts)
        amount, known = np.where(is_finite, amounts, np.nan), is_finite & (not by_threshold)
        fn, fp, tp, tn = (_at(getattr(self.costs, cell), amount) for cell in CELLS)
        if_flagged = probabilities * tp + (1.0 - probabilities) * fp
        if_passed = probabilities * fn + (1.0 - probabilities) * tn
        of_positive, of_negative = fn - tp, fp - tn
        with np.errstate(divide="ignore", invalid="ignore"):
            threshold = of_negative / (of_negative + of_positive)
        # Where an error costs no more than the right decision, one decision is always the cheaper one.
        threshold = np.where(of_positive <= 0.0, FLAG_NOBODY, np.where(of_negative <= 0.0, 0.0, threshold))
        flagged = np.where(known, if_flagged < if_passed, probabilities >= self.threshold)
        return OrderDecisions(
            flagged=flagged.astype(np.int64),
            threshold=np.where(known, threshold, self.threshold),
            expected_cost=np.where(flagged, if_flagged, if_passed),
        )

    def to_dict(self) -> dict[str, Any]:
        """As JSON values; `from_dict` reads them back."""
        return {"order_costs": asdict(self.costs), "column": self.column, "threshold": self.threshold}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Self:
        """What `to_dict` wrote."""
        costs = OrderCosts(**{cell: Line(**line) for cell, line in record["order_costs"].items()})
        return cls(costs=costs, column=record["column"], threshold=record["threshold"])


@dataclass(frozen=True, kw_only=True)
class OrderDecisions:
    """What `OrderRule` says of each order."""

    flagged: IntArray
    """1 where the order is flagged, else 0."""
    threshold: FloatArray
    """The probability above which the order is flagged; FLAG_NOBODY where none is high enough."""
    expected_cost: FloatArray
    """Of the decision, at the order's probability; NaN where the amount is missing."""


def _at(line: Line, amount: FloatArray) -> FloatArray:
    return line.constant + line.slope * amount
