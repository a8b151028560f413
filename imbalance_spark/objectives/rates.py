"""Objectives that weigh right predictions against wrong ones without costs."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from imbalance_spark.metrics.curve import Curve
from imbalance_spark.metrics.grid import FloatArray
from imbalance_spark.objectives.base import SAME, BoolArray, Objective, require_number

if TYPE_CHECKING:
    from imbalance_spark.calibration import LedgerCheck


@dataclass(frozen=True)
class MaxFBeta(Objective):
    """The highest F-beta: recall counts `beta` (> 0) times as much as precision."""

    key: ClassVar[str] = "max_f_beta"
    beta: float = 1.0

    def __post_init__(self) -> None:
        require_number("max_f_beta.beta", self.beta, above=0.0, hint="1 is F1, 2 favours recall, 0.5 precision.")

    @property
    def name(self) -> str:
        """`max_f1`, `max_f2`, ..."""
        return f"max_f{self.beta:g}"

    def values(self, curve: Curve) -> FloatArray:
        """F-beta at each threshold."""
        square = self.beta * self.beta
        return (1.0 + square) * curve.tp / (curve.tp + curve.fp + square * curve.positives)


@dataclass(frozen=True, kw_only=True)
class MaxRecall(Objective):
    """The highest recall among thresholds whose precision is at least `precision`, in (0, 1].

    A precision reached with fewer than `min_support` (>= 0) flagged rows may be luck: the choice carries a warning.
    """

    key: ClassVar[str] = "max_recall"
    precision: float
    min_support: int = 30

    def __post_init__(self) -> None:
        require_number("max_recall.precision", self.precision, above=0.0, most=1.0, hint="0.9: nine of ten are right.")
        require_number("max_recall.min_support", self.min_support, least=0, hint="It is a number of flagged rows.")

    @property
    def name(self) -> str:
        """`max_recall_at_precision_0.9`."""
        return f"max_recall_at_precision_{self.precision:g}"

    def values(self, curve: Curve) -> FloatArray:
        """Recall at each threshold."""
        return curve.recall

    def is_allowed(self, curve: Curve) -> BoolArray:
        """Enough precision; flagging nobody has none."""
        return curve.precision >= self.precision * (1.0 - SAME)

    def closeness(self, curve: Curve) -> FloatArray:
        """Precision: the best one is nearest to the target."""
        return curve.precision

    def warning(self, flagged_rows: int, ledger: "LedgerCheck | None") -> str | None:
        """Said when the target is reached with few rows."""
        if flagged_rows >= self.min_support:
            return None
        return (
            f"{self.name} is reached with {flagged_rows} flagged rows, fewer than min_support {self.min_support}: "
            "on other rows the precision may be far lower. Choose on more rows, or lower the target."
        )


@dataclass(frozen=True, kw_only=True)
class MaxPrecision(Objective):
    """The highest precision among thresholds whose recall is at least `recall`, in (0, 1]; always within reach."""

    key: ClassVar[str] = "max_precision"
    recall: float

    def __post_init__(self) -> None:
        require_number("max_precision.recall", self.recall, above=0.0, most=1.0, hint="0.8: four of five are found.")

    @property
    def name(self) -> str:
        """`max_precision_at_recall_0.8`."""
        return f"max_precision_at_recall_{self.recall:g}"

    def values(self, curve: Curve) -> FloatArray:
        """Precision at each threshold."""
        return curve.precision

    def is_allowed(self, curve: Curve) -> BoolArray:
        """Enough recall."""
        return curve.recall >= self.recall * (1.0 - SAME)


@dataclass(frozen=True)
class MaxMCC(Objective):
    """The highest Matthews correlation coefficient; it is 0 where all or no rows are flagged."""

    key: ClassVar[str] = "max_mcc"

    def values(self, curve: Curve) -> FloatArray:
        """Matthews coefficient at each threshold."""
        tn, fn = curve.negatives - curve.fp, curve.positives - curve.tp
        scale = np.sqrt(curve.tp + curve.fp) * np.sqrt(tn + fn) * np.sqrt(curve.positives) * np.sqrt(curve.negatives)
        covariance = curve.tp * tn - curve.fp * fn
        # Only where all or no rows are flagged is the scale 0; the covariance is 0 there too.
        return np.asarray(covariance / np.maximum(scale, 1e-300), dtype=np.float64)


@dataclass(frozen=True)
class MaxKappa(Objective):
    """The highest agreement beyond chance (Cohen, 1960); it is 0 where all or no rows are flagged."""

    key: ClassVar[str] = "max_kappa"

    def values(self, curve: Curve) -> FloatArray:
        """Kappa at each threshold."""
        tn, fn = curve.negatives - curve.fp, curve.positives - curve.tp
        by_chance = (curve.tp + curve.fp) * curve.negatives + curve.positives * (fn + tn)
        return np.asarray(2.0 * (curve.tp * tn - curve.fp * fn) / by_chance, dtype=np.float64)


@dataclass(frozen=True)
class Youden(Objective):
    """The highest recall minus false positive rate (Youden, 1950). On rare classes it flags very many rows."""

    key: ClassVar[str] = "youden"

    def values(self, curve: Curve) -> FloatArray:
        """Youden's J at each threshold."""
        return curve.recall - curve.false_positive_rate
