"""Rules that turn probabilities into a class: the cheapest class, or one threshold for each class."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import add, or_
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from imbalance_spark.calibration import fit_of
from imbalance_spark.core.arrays import FloatArray, IntArray
from imbalance_spark.core.errors import ConfigError, DataContractError
from imbalance_spark.metrics.bucket_draws import HalvedCurve
from imbalance_spark.metrics.confusion import MulticlassConfusion
from imbalance_spark.metrics.curve import FLAG_NOBODY, Curve
from imbalance_spark.threshold.choice import ChosenThreshold, sweep
from imbalance_spark.threshold.objective import Objective, require_number
from imbalance_spark.threshold.order_costs import OrderRule
from imbalance_spark.threshold.rule import Fit, choose_threshold

if TYPE_CHECKING:
    from pyspark.sql import Column

    from imbalance_spark.calibration import LedgerCheck

_TINY = 1e-300  # stands for a threshold of 0 in quotients: such a class comes before every other one that has a chance


@dataclass(frozen=True, kw_only=True)
class CostMatrix:
    """Predict the class of the lowest expected cost: argmin_i sum_j p_j cost_ij (Elkan, 2001).

    Right on calibrated probabilities. Equal costs go to the class of the lower number. A constant added to a column,
    or a factor for all costs, changes no decision. With 1 off the diagonal and 0 on it, the most probable class wins.

    Args:
        costs: costs[i][j] is what it costs to predict class i for a row of class j; finite, below 0 for a gain.
    Raises:
        ConfigError: the matrix is not square, has fewer than 2 classes, or holds a value that is not finite.
    """

    costs: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        if len(self.costs) < 2 or any(len(row) != len(self.costs) for row in self.costs):
            shape = [len(row) for row in self.costs]
            raise ConfigError(f"cost matrix: needs as many rows as columns, 2 at least; its rows have {shape} entries.")
        for i, row in enumerate(self.costs):
            for j, cost in enumerate(row):
                hint = f"It is the cost of predicting class {i} for a row of class {j}."
                require_number(f"cost matrix [{i}][{j}]", cost, hint=hint)

    @classmethod
    def argmax(cls, classes: int) -> Self:
        """The rule that takes the most probable of so many classes; of equal ones the lower number."""
        return cls(costs=tuple(tuple(float(i != j) for j in range(classes)) for i in range(classes)))

    @property
    def by_true(self) -> tuple[tuple[float, ...], ...]:
        """The same costs by true class, then decided class."""
        return tuple(zip(*self.costs, strict=True))

    def expected_costs(self, probabilities: npt.ArrayLike) -> FloatArray:
        """Expected cost of predicting each class; shape (rows, classes), as the probabilities."""
        p = _checked(probabilities, len(self.costs))
        # Column by column, not as a matrix product: sums then have the same last bit as in Spark.
        return np.stack([reduce(add, [cost * p[:, j] for j, cost in enumerate(row)]) for row in self.costs], axis=1)

    def decide(self, probabilities: npt.ArrayLike) -> IntArray:
        """The number of the cheapest class for each row of probabilities.

        Args:
            probabilities: shape (rows, classes), in [0, 1].
        Raises:
            DataContractError: another shape, or a value that is not a probability.
        """
        cheapest: IntArray = np.argmin(self.expected_costs(probabilities), axis=1).astype(np.int64)
        return cheapest

    def decision(self, probabilities: "Column") -> "Column":
        """`decide` as an int Column of an array<double>; null where the array or a probability is null or NaN."""
        from pyspark.sql import functions as F  # deciding in memory needs no Spark

        p = [F.get(probabilities, j) for j in range(len(self.costs))]
        costs = [reduce(add, [F.lit(float(cost)) * p[j] for j, cost in enumerate(row)]) for row in self.costs]
        cheapest = _first_position(costs, F.array_min(F.array(*costs)))
        return F.when(~_is_unknown(p), cheapest)


@dataclass(frozen=True, kw_only=True)
class ClassThresholds:
    """Predict, among the classes whose probability p reaches their threshold t, the one of the largest p / t.

    Equal quotients go to the class of the lower number. When no class reaches its threshold, the default class is
    predicted, whatever its own probability.

    Args:
        thresholds: one for each class, in [0, FLAG_NOBODY]; FLAG_NOBODY, just above 1, is never reached.
        default_class: number of a class, from 0; the largest one as a rule.
    Raises:
        ConfigError: a threshold is out of range, there are fewer than 2, or there is no such class.
    """

    thresholds: tuple[float, ...]
    default_class: int

    def __post_init__(self) -> None:
        if len(self.thresholds) < 2:
            raise ConfigError(
                f"class thresholds: needs one for each of 2 classes at least, got {len(self.thresholds)}."
            )
        for k, threshold in enumerate(self.thresholds):
            hint = "It is a probability; FLAG_NOBODY never predicts the class."
            require_number(f"class thresholds [{k}]", threshold, least=0.0, hint=hint)
            if threshold > FLAG_NOBODY:
                raise ConfigError(f"class thresholds [{k}] must be at most FLAG_NOBODY, got {threshold!r}. {hint}")
        if self.default_class not in range(len(self.thresholds)):
            raise ConfigError(
                f"class thresholds: default_class must be 0 to {len(self.thresholds) - 1}, got {self.default_class!r}."
            )

    @classmethod
    def of_threshold(cls, threshold: float) -> Self:
        """The rule of two classes: class 1 where its probability is at least the threshold, else class 0."""
        return cls(thresholds=(FLAG_NOBODY, min(threshold, FLAG_NOBODY)), default_class=0)

    @property
    def threshold(self) -> float:
        """Of two classes the threshold of class 1; see `of_threshold`.

        Raises:
            ConfigError: there are more classes.
        """
        if len(self.thresholds) != 2:
            raise ConfigError(f"class thresholds: there are {len(self.thresholds)}, one for each class.")
        return self.thresholds[1]

    def decide(self, probabilities: npt.ArrayLike) -> IntArray:
        """The number of the predicted class for each row of probabilities.

        Args:
            probabilities: shape (rows, classes), in [0, 1].
        Raises:
            DataContractError: another shape, or a value that is not a probability.
        """
        p, threshold = _checked(probabilities, len(self.thresholds)), np.array(self.thresholds)
        quotient = np.where(p >= threshold, p / np.maximum(threshold, _TINY), -1.0)
        best = np.where(quotient.max(axis=1) >= 0.0, np.argmax(quotient, axis=1), self.default_class)
        return best.astype(np.int64)

    def decision(self, probabilities: "Column") -> "Column":
        """`decide` as an int Column of an array<double>; null where the array or a probability is null or NaN."""
        from pyspark.sql import functions as F  # deciding in memory needs no Spark

        p = [F.get(probabilities, k) for k in range(len(self.thresholds))]
        quotients = [
            F.when(p[k] >= F.lit(float(threshold)), p[k] / F.lit(max(float(threshold), _TINY))).otherwise(F.lit(-1.0))
            for k, threshold in enumerate(self.thresholds)
        ]
        best = F.array_max(F.array(*quotients))
        reached = F.when(best >= 0.0, _first_position(quotients, best)).otherwise(F.lit(self.default_class))
        return F.when(~_is_unknown(p), reached)


ClassRule = CostMatrix | ClassThresholds
"""How probabilities alone become a class."""

Rule = ClassRule | OrderRule
"""How an order's probabilities become a class; of two classes also by what the order is worth."""


def rule_to_dict(rule: Rule) -> dict[str, Any]:
    """As JSON values; `rule_from_dict` reads them back."""
    if isinstance(rule, CostMatrix):
        # 1 and 1.0 are one cost, and must be one text: a bundle is found again by the hash of its files.
        return {"costs": [[float(cost) for cost in row] for row in rule.costs]}
    if isinstance(rule, OrderRule):
        return rule.to_dict()
    return {"thresholds": list(rule.thresholds), "default_class": rule.default_class}


def rule_from_dict(record: Mapping[str, Any]) -> Rule:
    """What `rule_to_dict` wrote."""
    if "order_costs" in record:
        return OrderRule.from_dict(record)
    if "costs" in record:
        return CostMatrix(costs=tuple(tuple(row) for row in record["costs"]))
    return ClassThresholds(thresholds=tuple(record["thresholds"]), default_class=record["default_class"])


@dataclass(frozen=True, kw_only=True)
class ChosenClassThresholds:
    """The rule, and the choice of a threshold for each target: one of two classes, else one for each class."""

    rule: ClassThresholds
    by_target: tuple[ChosenThreshold, ...]

    @property
    def reachable(self) -> bool:
        """Whether the objective's constraint can be kept for every target."""
        return all(chosen.reachable for chosen in self.by_target)


def sweep_classes(
    curves: Sequence[Curve], objective: Objective, *, default_class: int | None = None
) -> ChosenClassThresholds:
    """For each class, the threshold that the objective wants of "this class against all others".

    Each class is chosen for on its own: a row that reaches several thresholds counts for each of them in the values,
    but gets one label.

    Args:
        curves: one for each class in the order of their numbers, of rows of the class (positive) against all others.
        default_class: predicted when no class reaches its threshold; by default the class of the largest weight, on a
            tie the lower number.
    Raises:
        ConfigError: fewer than 2 curves, or there is no such class.
        DataContractError: a class has no row, or all of them.
    """
    largest = int(np.argmax([curve.positives for curve in curves])) if curves else 0
    by_class = tuple(sweep(curve, objective) for curve in curves)
    return _of_classes(by_class, largest if default_class is None else default_class)


def choose_thresholds(
    objective: Objective, samples: Sequence[HalvedCurve], fit: Fit | None = None, *, ledger: "LedgerCheck | None" = None
) -> ChosenClassThresholds:
    """The rule that an objective asks for: one threshold for two classes, with K one for each class but the largest.

    The largest of K classes is predicted where no other one reaches its threshold. A threshold of its own would take
    rows from the rare classes that they have reached.

    Args:
        samples: one for each target, on validation: of scores before calibration, of K classes calibrated ones.
        fit: how the scores of a single target are calibrated, see `choose_threshold`.
        ledger: the calibration check of a single target, for objectives that need calibrated scores.
    Raises:
        DataContractError: a target has no positive or no negative row.
        ConfigError: the objective needs amounts or days that it was not given.
    """
    if len(samples) == 1:
        chosen = choose_threshold(samples[0], objective, fit, ledger=ledger)
        return ChosenClassThresholds(rule=ClassThresholds.of_threshold(chosen.threshold), by_target=(chosen,))
    by_class = tuple(choose_threshold(sample, objective, fit_of("identity")) for sample in samples)
    largest = int(np.argmax([sample.whole.curve.positives for sample in samples]))
    each = _of_classes(by_class, largest)
    thresholds = tuple(FLAG_NOBODY if k == largest else value for k, value in enumerate(each.rule.thresholds))
    return replace(each, rule=replace(each.rule, thresholds=thresholds))


def checked_on_decisions(
    chosen: ChosenClassThresholds, objective: Objective, decided: MulticlassConfusion
) -> ChosenClassThresholds:
    """The choice, with what the served decision between all classes misses of the objective's constraint.

    Each threshold was chosen for its class against the rest. A row that reaches several gets one label, so that a
    constraint that holds for each class alone may not hold for what is served.

    Args:
        decided: rows of validation by true class and by what the rule decides.
    """

    def checked(number: int, one: ChosenThreshold) -> ChosenThreshold:
        broken = None if number == chosen.rule.default_class else objective.broken_by(decided.per_class[number])
        if broken is None:
            return one
        sentence = (
            f"{one.objective} is not kept by the decision between all classes: on validation its {broken}. Rows that "
            "reach several thresholds get one label."
        )
        return replace(one, reachable=False, sentence=sentence, warning=None)

    return replace(chosen, by_target=tuple(checked(number, one) for number, one in enumerate(chosen.by_target)))


def _of_classes(by_class: tuple[ChosenThreshold, ...], default_class: int) -> ChosenClassThresholds:
    thresholds = tuple(min(chosen.threshold, FLAG_NOBODY) for chosen in by_class)
    return ChosenClassThresholds(
        rule=ClassThresholds(thresholds=thresholds, default_class=default_class), by_target=by_class
    )


def _checked(probabilities: npt.ArrayLike, classes: int) -> FloatArray:
    p = np.asarray(probabilities, dtype=np.float64)
    if p.ndim != 2 or p.shape[1] != classes:
        raise DataContractError(f"multi-class decision: needs shape (rows, {classes}), got {p.shape}.")
    if broken := int(np.count_nonzero(~((p >= 0.0) & (p <= 1.0)).all(axis=1))):
        raise DataContractError(
            f"multi-class decision: {broken} of {len(p)} rows hold a value outside [0, 1] or NaN. Check the model."
        )
    return p


def _first_position(values: "Sequence[Column]", wanted: "Column") -> "Column":
    from pyspark.sql import functions as F

    return (F.array_position(F.array(*values), wanted) - F.lit(1)).cast("int")


def _is_unknown(p: "Sequence[Column]") -> "Column":
    from pyspark.sql import functions as F

    return reduce(or_, [column.isNull() | F.isnan(column) for column in p])
