"""What a threshold may be chosen for: each objective's value at every cut-off, and its constraint."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from numbers import Real
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from imbalance_spark.errors import ConfigError, nearest
from imbalance_spark.metrics.curve import Curve
from imbalance_spark.metrics.grid import FloatArray

AMOUNT = "amount"
"""As the cost of a missed positive: the row's own amount."""

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Objective(ABC):
    """What a threshold should achieve. `values` are maximized, or minimized where `is_loss`, among the allowed ones."""

    key: ClassVar[str]
    """Name in a config file."""
    is_loss: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """Name with the settings in it, made for metric names: `max_f2`, `max_recall_at_precision_0.9`."""
        return self.key

    @abstractmethod
    def values(self, curve: Curve) -> FloatArray:
        """The objective's value at each threshold of the curve."""

    def is_allowed(self, curve: Curve) -> BoolArray:
        """Which thresholds keep the objective's constraint; all, when it has none."""
        return np.ones(len(curve.threshold), dtype=bool)

    def closeness(self, curve: Curve) -> FloatArray:
        """What to maximize when no threshold is allowed: how near the constraint each one comes."""
        return self.values(curve)


@dataclass(frozen=True)
class MaxFBeta(Objective):
    """The highest F-beta: recall counts `beta` (> 0) times as much as precision."""

    key: ClassVar[str] = "max_f_beta"
    beta: float = 1.0

    def __post_init__(self) -> None:
        _require("max_f_beta.beta", self.beta, above=0.0, hint="1 is F1, 2 favours recall, 0.5 favours precision.")

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
    """The highest recall among thresholds whose precision is at least `precision`, in (0, 1]."""

    key: ClassVar[str] = "max_recall"
    precision: float

    def __post_init__(self) -> None:
        _require("max_recall.precision", self.precision, above=0.0, most=1.0, hint="0.9: nine of ten alerts are right.")

    @property
    def name(self) -> str:
        """`max_recall_at_precision_0.9`."""
        return f"max_recall_at_precision_{self.precision:g}"

    def values(self, curve: Curve) -> FloatArray:
        """Recall at each threshold."""
        return curve.recall

    def is_allowed(self, curve: Curve) -> BoolArray:
        """Enough precision; flagging nobody has none."""
        return curve.precision >= self.precision

    def closeness(self, curve: Curve) -> FloatArray:
        """Precision: the best one is nearest to the target."""
        return curve.precision


@dataclass(frozen=True, kw_only=True)
class MaxPrecision(Objective):
    """The highest precision among thresholds whose recall is at least `recall`, in (0, 1]; always within reach."""

    key: ClassVar[str] = "max_precision"
    recall: float

    def __post_init__(self) -> None:
        _require("max_precision.recall", self.recall, above=0.0, most=1.0, hint="0.8: four of five are found.")

    @property
    def name(self) -> str:
        """`max_precision_at_recall_0.8`."""
        return f"max_precision_at_recall_{self.recall:g}"

    def values(self, curve: Curve) -> FloatArray:
        """Precision at each threshold."""
        return curve.precision

    def is_allowed(self, curve: Curve) -> BoolArray:
        """Enough recall."""
        return curve.recall >= self.recall


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
            _require("min_cost.fn", self.fn, least=0.0, hint='It is a cost, or "amount" for the order\'s own.')
        _require("min_cost.fp", self.fp, least=0.0, hint="It is the cost of a false alarm.")
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
class AlertBudget(Objective):
    """The highest recall among thresholds that flag at most `per_day` rows a day.

    `days` is how many days the counted rows span. Flagging nobody always fits.
    """

    key: ClassVar[str] = "alert_budget"
    per_day: float
    days: float

    def __post_init__(self) -> None:
        _require("alert_budget.per_day", self.per_day, above=0.0, hint="It is how many alerts a team can work off.")
        _require("alert_budget.days", self.days, above=0.0, hint="It is how many days the validation rows span.")

    @property
    def name(self) -> str:
        """`alert_budget_100_per_day`."""
        return f"alert_budget_{self.per_day:g}_per_day"

    def values(self, curve: Curve) -> FloatArray:
        """Recall at each threshold."""
        return curve.recall

    def is_allowed(self, curve: Curve) -> BoolArray:
        """Alerts within the budget."""
        return curve.tp + curve.fp <= self.per_day * self.days


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
class Youden(Objective):
    """The highest recall minus false positive rate (Youden, 1950). On rare classes it flags very many rows."""

    key: ClassVar[str] = "youden"

    def values(self, curve: Curve) -> FloatArray:
        """Youden's J at each threshold."""
        return curve.recall - curve.false_positive_rate


OBJECTIVES: dict[str, type[Objective]] = {
    kind.key: kind for kind in (MaxFBeta, MaxRecall, MaxPrecision, MinCost, AlertBudget, MaxMCC, Youden)
}
"""Every objective by its name in a config file."""


def objective_from_config(config: str | Mapping[str, Any]) -> Objective:
    """The objective of a config entry: `max_mcc`, or `{name: min_cost, fn: 10, fp: 1}`.

    Raises:
        ConfigError: an unknown name or setting (with the nearest known one), a missing one, or a bad value.
    """
    settings = {"name": config} if isinstance(config, str) else dict(config)
    name = settings.pop("name", None)
    kind = OBJECTIVES.get(str(name))
    if kind is None:
        raise ConfigError(f"objective {name!r} is unknown.{nearest([name], OBJECTIVES)} Known: {sorted(OBJECTIVES)}.")
    known = {field.name: field.default is MISSING for field in fields(kind)}
    problems = []
    if unknown := sorted(map(str, set(settings) - set(known))):
        problems.append(f"{name} has no setting {unknown}.{nearest(unknown, known)} It has {sorted(known)}.")
    if missing := sorted(key for key, is_needed in known.items() if is_needed and key not in settings):
        problems.append(f"{name} needs {missing}. Add what is missing to the objective.")
    if problems:
        raise ConfigError.of_all(problems)
    return kind(**settings)


def _require(
    name: str, value: object, *, hint: str, above: float = -math.inf, least: float = -math.inf, most: float = math.inf
) -> None:
    is_number = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    if is_number and above < float(value) and least <= float(value) <= most:  # type: ignore[arg-type]
        return
    low = f"above {above:g}" if above > -math.inf else f"{least:g} or more"
    limit = f"{low} and at most {most:g}" if most < math.inf else low
    raise ConfigError(f"{name} must be a number {limit}, got {value!r}. {hint}")
