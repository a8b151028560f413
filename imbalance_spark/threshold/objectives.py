"""The objectives of a threshold: rates, costs and alert budgets, one class each."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from scipy.stats import norm

from imbalance_spark.core.errors import ConfigError, nearest
from imbalance_spark.core.expression import Line
from imbalance_spark.metrics.confusion import ConfusionMatrix
from imbalance_spark.metrics.curve import Curve
from imbalance_spark.metrics.grid import FloatArray
from imbalance_spark.metrics.intervals import wilson_interval
from imbalance_spark.threshold.objective import SAME, BoolArray, Objective, number_text, require_number
from imbalance_spark.threshold.order_costs import AMOUNT, CELLS, OrderCosts

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
        low, _ = wilson_interval(curve.precision, rows, z=float(norm.ppf(self.confidence)))
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
        needed = design_effect * float(norm.ppf(self.confidence)) ** 2 * self.precision * (1.0 - self.precision)
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


@dataclass(frozen=True, kw_only=True)
class AlertBudget(Objective):
    """Maximize recall among thresholds that flag at most `per_day` orders per day; flagging none always satisfies it.

    Of equal recall the lowest threshold is taken: the budget is filled. Orders are counted, whatever they weigh.

    Args:
        per_day: alerts per day, > 0.
        days: days of orders that the counted rows amount to, > 0, see `count_days`; None leaves it to `with_days`.
    Raises:
        ConfigError: a setting is out of range.

    Examples:
        >>> AlertBudget(per_day=100, days=30).name
        'alert_budget_100_per_day'
    """

    key: ClassVar[str] = "alert_budget"
    fills: ClassVar[bool] = True
    is_promise: ClassVar[bool] = True
    per_day: float
    days: float | None = None

    def __post_init__(self) -> None:
        require_number(f"{self.key}.per_day", self.per_day, above=0.0, hint="It is how many a team can review a day.")
        if self.days is not None:
            require_number(f"{self.key}.days", self.days, above=0.0, hint="It is the days the counted rows amount to.")

    @property
    def name(self) -> str:
        """`alert_budget_100_per_day`."""
        return f"alert_budget_{number_text(self.per_day)}_per_day"

    def with_days(self, days: float) -> Self:
        """The budget for counts that cover `days` (> 0) days, unless the config sets them."""
        return replace(self, days=days) if self.days is None else self

    def values(self, curve: Curve) -> FloatArray:
        """Recall at each threshold."""
        return curve.recall

    def is_allowed(self, curve: Curve) -> BoolArray:
        """Whether the alerts are within the budget.

        Raises:
            ConfigError: `days` is None.
        """
        if self.days is None:
            raise ConfigError(
                f"{self.key}.days is unknown: the number of days that the counted rows amount to. "
                "Name a time column in the orders, or set days in the objective."
            )
        return curve.alerts <= self.per_day * self.days * (1.0 + SAME)

    def warning(self, flagged_rows: int, ledger: "LedgerCheck | None") -> str | None:
        """A warning if the budget is left unused."""
        if flagged_rows > 0:
            return None
        return f"{self.name} flags nobody: more orders share the highest score than the budget allows."

    def on_share(self, share: float) -> Self:
        """The budget of so many fewer days."""
        return self if self.days is None else replace(self, days=self.days * share)


@dataclass(frozen=True, kw_only=True)
class TopEntities(AlertBudget):
    """Maximize recall among thresholds that flag orders of at most `per_day` entities per day, such as cards.

    An entity counts once a day, by its highest score. The jobs count how many orders the top entities of validation
    have, with `scoring.entity`; an entity that was found on an earlier day is still counted here.

    Args:
        per_day: entities per day, > 0.
        days: as of `AlertBudget`.
        orders_per_entity: flagged orders for each flagged entity and day, > 0; None leaves it to the jobs, which log it
            as `validation/entities/orders_per_entity`.
    Raises:
        ConfigError: a setting is out of range.

    Examples:
        >>> TopEntities(per_day=100).name
        'top_entities_100_per_day'
    """

    key: ClassVar[str] = "top_entities"
    orders_per_entity: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.orders_per_entity is not None:
            hint = "It is the number of flagged orders for each flagged entity and day."
            require_number("top_entities.orders_per_entity", self.orders_per_entity, above=0.0, hint=hint)

    @property
    def name(self) -> str:
        """`top_entities_100_per_day`."""
        return f"top_entities_{number_text(self.per_day)}_per_day"

    def is_allowed(self, curve: Curve) -> BoolArray:
        """Whether the orders are not more than the top entities have.

        Raises:
            ConfigError: `days` or `orders_per_entity` is None.
        """
        if self.orders_per_entity is None:
            raise ConfigError(
                "top_entities.orders_per_entity is unknown: how many flagged orders a flagged entity has a day. "
                "Take validation/entities/orders_per_entity of the run."
            )
        return AlertBudget(per_day=self.per_day * self.orders_per_entity, days=self.days).is_allowed(curve)


_KINDS = (MaxFBeta, MaxRecall, MaxPrecision, MinCost, BayesCost, AlertBudget, TopEntities, MaxMCC, MaxKappa, Youden)


OBJECTIVES: dict[str, type[Objective]] = {kind.key: kind for kind in _KINDS}
"""Every objective by its name in a config file."""


NOT_RETUNED = frozenset({"days", "single_threshold"})
"""Settings that retuning does not ask for: days follow from orders a day, and logged counts know thresholds alone."""


def objective_from_config(config: str | Mapping[str, Any]) -> Objective:
    """The objective of a config entry: `max_mcc`, or `{name: min_cost, fn: 10, fp: 1}`.

    Args:
        config: a name, or a mapping with `name` and the objective's settings.
    Returns:
        The objective, with the settings that were left out at their defaults.
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
