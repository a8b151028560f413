"""Objectives of rates and scores: F-beta, recall at a precision, precision at a recall, MCC, kappa, Youden."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from scipy.special import ndtri

from imbalance_spark.metrics.confusion import ConfusionMatrix
from imbalance_spark.metrics.curve import Curve
from imbalance_spark.metrics.grid import FloatArray
from imbalance_spark.metrics.intervals import wilson_interval
from imbalance_spark.threshold.objective import SAME, BoolArray, Objective, number_text, require_number

if TYPE_CHECKING:
    from imbalance_spark.calibration import LedgerCheck


@dataclass(frozen=True)
class MaxFBeta(Objective):
    """Maximize F-beta: recall counts `beta` (> 0) times as much as precision.

    Args:
        beta: > 0; 1 is F1, 2 favours recall, 0.5 precision.
    Raises:
        ConfigError: `beta` is not above 0.

    Examples:
        >>> MaxFBeta(beta=2).name
        'max_f2'
    """

    key: ClassVar[str] = "max_f_beta"
    beta: float = 1.0

    def __post_init__(self) -> None:
        require_number("max_f_beta.beta", self.beta, above=0.0, hint="1 is F1, 2 favours recall, 0.5 precision.")

    @property
    def name(self) -> str:
        """`max_f1`, `max_f2`, ..."""
        return f"max_f{number_text(self.beta)}"

    def values(self, curve: Curve) -> FloatArray:
        """F-beta at each threshold."""
        square = self.beta * self.beta
        return (1.0 + square) * curve.tp / (curve.tp + curve.fp + square * curve.positives)


@dataclass(frozen=True, kw_only=True)
class MaxRecall(Objective):
    """Maximize recall among thresholds whose precision is at least `precision`.

    Args:
        precision: in (0, 1].
        min_support: >= 0; a choice that flags fewer rows has a warning, since its precision may be luck.
        confidence: in [0.5, 1); the jobs ask that the lower one-sided bound of the precision at this level reaches
            `precision` (Wilson, 1927). 0.5 is the precision as counted. `sweep` takes it as counted.
    Raises:
        ConfigError: a setting is out of range.

    Examples:
        >>> from imbalance_spark.metrics import ScoreCounts
        >>> from imbalance_spark.threshold import sweep
        >>> curve = ScoreCounts.from_arrays([0, 0, 1, 0, 1], [0.1, 0.3, 0.35, 0.6, 0.9]).curve()
        >>> chosen = sweep(curve, MaxRecall(precision=0.9))
        >>> chosen.threshold, chosen.value, chosen.support
        (0.9, 0.5, 1)
    """

    key: ClassVar[str] = "max_recall"
    is_promise: ClassVar[bool] = True
    precision: float
    min_support: int = 30
    confidence: float = 0.9

    def __post_init__(self) -> None:
        require_number("max_recall.precision", self.precision, above=0.0, most=1.0, hint="0.9: nine of ten are right.")
        require_number("max_recall.min_support", self.min_support, least=0, hint="It is a number of flagged rows.")
        hint = "0.9 is missed in one of ten samples, 0.5 takes the precision as it is counted."
        require_number("max_recall.confidence", self.confidence, least=0.5, most=1.0 - 1e-12, hint=hint)

    @property
    def name(self) -> str:
        """`max_recall_at_precision_0.9`."""
        return f"max_recall_at_precision_{number_text(self.precision)}"

    def values(self, curve: Curve) -> FloatArray:
        """Recall at each threshold."""
        return curve.recall

    def is_allowed(self, curve: Curve) -> BoolArray:
        """Whether the precision is reached; flagging no row has precision 0."""
        return curve.precision >= self.precision * (1.0 - SAME)

    def is_safe(self, curve: Curve, design_effect: float) -> BoolArray:
        """Whether the lower bound of the precision reaches it."""
        return self.lower_bound(curve, design_effect) >= self.precision * (1.0 - SAME)

    def lower_bound(self, curve: Curve, design_effect: float = 1.0) -> FloatArray:
        """Lower one-sided bound of the precision at each threshold (Wilson, 1927); 0 where nothing is flagged.

        Args:
            design_effect: by how much dependent or weighted rows widen the variance of the precision.
        """
        rows = np.maximum(curve.flagged_rows / design_effect, 1e-9)
        low, _ = wilson_interval(curve.precision, rows, z=float(ndtri(self.confidence)))
        return np.where(curve.flagged_rows > 0, low, 0.0)

    def out_of_reach(self, curve: Curve, design_effect: float) -> str:
        """The nearest threshold, and how many positive rows would do if the precision there is what it seems."""
        bound = self.lower_bound(curve, design_effect)
        nearest = int(np.argmax(bound))
        precision, flagged, positives = (
            float(curve.precision[nearest]), int(curve.flagged_rows[nearest]), int(curve.counts.positives.sum()),
        )  # fmt: skip
        said = (
            f"{self.name} is out of reach, and nobody is flagged: the nearest threshold, "
            f"{curve.threshold[nearest]:.6g}, has a precision of {precision:.4g} on {flagged} flagged rows, with "
            f"{self.confidence:.0%} confidence at least {bound[nearest]:.4g}."
        )
        if precision <= self.precision:
            return f"{said} More rows would not change that. Lower the target."
        needed = design_effect * float(ndtri(self.confidence)) ** 2 * self.precision * (1.0 - self.precision)
        more = max(needed / (precision - self.precision) ** 2 / flagged, 1.0)
        would_do = math.ceil(positives * more)
        return f"{said} If that is its precision, some {would_do} positive rows would show it; there are {positives}."

    def broken_by(self, decided: ConfusionMatrix) -> str | None:
        """The precision, where it is below the target; of no decision there is none."""
        if decided.flagged <= 0.0 or decided.precision >= self.precision * (1.0 - SAME):
            return None
        return f"precision is {decided.precision:.4g}, below {self.precision:g}"

    def closeness(self, curve: Curve) -> FloatArray:
        """Precision: the highest is closest to the target."""
        return curve.precision

    def warning(self, flagged_rows: int, ledger: "LedgerCheck | None") -> str | None:
        """A warning if the target is reached with few rows."""
        if flagged_rows >= self.min_support:
            return None
        return (
            f"{self.name} is reached with {flagged_rows} flagged rows, fewer than min_support {self.min_support}: "
            "on other rows the precision may be far lower. Choose on more rows, or lower the target."
        )


@dataclass(frozen=True, kw_only=True)
class MaxPrecision(Objective):
    """Maximize precision among thresholds whose recall is at least `recall`, which is always reachable.

    Args:
        recall: in (0, 1].
    Raises:
        ConfigError: `recall` is out of range.
    """

    key: ClassVar[str] = "max_precision"
    recall: float

    def __post_init__(self) -> None:
        require_number("max_precision.recall", self.recall, above=0.0, most=1.0, hint="0.8: four of five are found.")

    @property
    def name(self) -> str:
        """`max_precision_at_recall_0.8`."""
        return f"max_precision_at_recall_{number_text(self.recall)}"

    def values(self, curve: Curve) -> FloatArray:
        """Precision at each threshold."""
        return curve.precision

    def is_allowed(self, curve: Curve) -> BoolArray:
        """Whether the recall is reached."""
        return curve.recall >= self.recall * (1.0 - SAME)

    def broken_by(self, decided: ConfusionMatrix) -> str | None:
        """The recall, where it is below the target."""
        if decided.recall >= self.recall * (1.0 - SAME):
            return None
        return f"recall is {decided.recall:.4g}, below {self.recall:g}"


@dataclass(frozen=True)
class MaxMCC(Objective):
    """Maximize the Matthews correlation coefficient; it is 0 if all or no rows are flagged."""

    key: ClassVar[str] = "max_mcc"

    def values(self, curve: Curve) -> FloatArray:
        """Matthews coefficient at each threshold."""
        tn, fn = curve.negatives - curve.fp, curve.positives - curve.tp
        scale = np.sqrt(curve.tp + curve.fp) * np.sqrt(tn + fn) * np.sqrt(curve.positives) * np.sqrt(curve.negatives)
        covariance = curve.tp * tn - curve.fp * fn
        # The scale is 0 only if all or no rows are flagged; then the covariance is 0 too.
        return np.asarray(covariance / np.maximum(scale, 1e-300), dtype=np.float64)


@dataclass(frozen=True)
class MaxKappa(Objective):
    """Maximize Cohen's kappa, the agreement beyond chance (Cohen, 1960); it is 0 if all or no rows are flagged."""

    key: ClassVar[str] = "max_kappa"

    def values(self, curve: Curve) -> FloatArray:
        """Kappa at each threshold."""
        tn, fn = curve.negatives - curve.fp, curve.positives - curve.tp
        by_chance = (curve.tp + curve.fp) * curve.negatives + curve.positives * (fn + tn)
        return np.asarray(2.0 * (curve.tp * tn - curve.fp * fn) / by_chance, dtype=np.float64)


@dataclass(frozen=True)
class Youden(Objective):
    """Maximize recall minus false positive rate (Youden, 1950). For rare classes it flags very many rows."""

    key: ClassVar[str] = "youden"

    def values(self, curve: Curve) -> FloatArray:
        """Youden's J at each threshold."""
        return curve.recall - curve.false_positive_rate
