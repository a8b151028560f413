"""A loaded bundle that scores matrices and pandas frames."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from imbalance_spark.calibration import MulticlassTemperature
from imbalance_spark.core.arrays import FloatArray, IntArray
from imbalance_spark.core.errors import ConfigError, DataContractError, MissingColumnsError
from imbalance_spark.scoring.boosters import contributions, load_booster, margins_of_matrix, probabilities
from imbalance_spark.scoring.bundle import (
    DECIDED_BY,
    DECISION,
    EXPECTED_COST,
    NO_THRESHOLD,
    SERVED,
    THRESHOLD,
    ModelBundle,
)
from imbalance_spark.threshold.order_costs import OrderRule

if TYPE_CHECKING:
    import pandas as pd


class Scorer:
    """A loaded bundle that scores matrices and pandas frames; the model is parsed once."""

    def __init__(self, bundle: ModelBundle) -> None:
        self.bundle = bundle
        self._booster = load_booster(bundle.model_bytes)

    def probabilities(self, matrix: npt.NDArray[np.float32]) -> FloatArray:
        """Probabilities of each row, corrected to the real class shares and calibrated; at the base rate of now.

        Args:
            matrix: rows by the bundle's features, numeric ones first, categories as codes; NaN is missing.

        Returns:
            Shape (rows, 1), of class 1, for two classes; shape (rows, K) for K classes, where a row sums to 1.

        Raises:
            DataContractError: a numeric feature holds infinities.
        """
        bundle = self.bundle
        _refuse_infinite(bundle.numeric, matrix)
        if bundle.targets > 1:
            return self._of_classes(matrix)
        return bundle.probabilities(probabilities(self._booster, matrix, bundle.correction))[:, np.newaxis]

    def decide(self, probabilities: FloatArray, objective: str = SERVED) -> IntArray:
        """Of K classes, the number of the one that an objective's rule decides on, for each row of `probabilities`.

        Raises:
            ConfigError: there is no such rule.
        """
        rule = self.bundle.rule_of(objective)
        assert not isinstance(rule, OrderRule), "such rules are of two classes"  # noqa: S101  # for the type checker
        return rule.decide(probabilities)

    def contributions(self, matrix: npt.NDArray[np.float32], probabilities: FloatArray) -> FloatArray:
        """What each feature adds to a row's margin, of K classes to that of the class which is decided.

        Args:
            matrix, probabilities: see `probabilities`.
        Returns:
            Rows by features and one more, see `boosters.contributions`.
        """
        decided = self.decide(probabilities) if self.bundle.targets > 1 else None
        return contributions(self._booster, matrix, decided)

    def predict(self, orders: "pd.DataFrame", parameters: Mapping[str, Any]) -> "pd.DataFrame":
        """`score`, with what `parameters` may name: the threshold of two classes, the objective of more."""
        threshold = parameters.get("threshold", NO_THRESHOLD)
        objective = str(parameters.get("objective", SERVED))
        return self.score(orders, objective, None if threshold == NO_THRESHOLD else float(threshold))

    def score(self, orders: "pd.DataFrame", objective: str = SERVED, threshold: float | None = None) -> "pd.DataFrame":
        """Probabilities and decision of each order.

        Args:
            orders: one row per order with the bundle's features, in any column order; others are not read.
                Null and NaN are missing, a category never seen in training has a code of its own.
            objective: decides instead of the bundle's own.
            threshold: of two classes, in [0, 1], instead of the objective's.

        Returns:
            On the index of `orders`. Of two classes `probability` (float64, corrected to the real class shares and
            calibrated), `decision` (int, 1 where probability >= threshold) and `threshold`; decided order by order
            also `expected_cost`, see `decided_by_order`. Of K classes
            a `probability_<class>` (float64; a row sums to 1) for each, `decision` (the class's name) and `decided_by`
            (the objective).

        Raises:
            MissingColumnsError: a feature is absent.
            DataContractError: a numeric feature holds text, or infinities.
            ConfigError: the model has no such objective, or the threshold is not in [0, 1].
        """
        import pandas as pd  # here: the tasks that score a table need none

        cut = None if threshold is None else _valid_threshold(threshold)
        bundle, p = self.bundle, self.probabilities(order_matrix(orders, self.bundle))
        columns: dict[str, Any] = dict(zip(bundle.probability_columns, p.T, strict=True))
        if bundle.targets == 1 and bundle.order_rule is not None and objective == SERVED:
            columns |= decided_by_order(bundle.order_rule, p[:, 0], amounts_of(orders, bundle.order_rule), cut)
        elif bundle.targets == 1:
            at = bundle.threshold_of(objective) if cut is None else cut
            columns |= {DECISION: (p[:, 0] >= at).astype(np.int64), THRESHOLD: at}
        else:
            names = np.array(bundle.classes, dtype=object)
            columns |= {DECISION: names[self.decide(p, objective)], DECIDED_BY: objective or bundle.serve_objective}
        return pd.DataFrame(columns, index=orders.index)

    def _of_classes(self, matrix: npt.NDArray[np.float32]) -> FloatArray:
        # float32, as in the table of margins that thresholds are chosen on: linear models give more digits.
        margins = margins_of_matrix(self._booster, matrix, self.bundle.targets).astype(np.float32)
        logs, calibrator = self.bundle.correction.log_probabilities(margins), self.bundle.calibrator
        # By way of logarithms, which keep the digits of small probabilities; as the counts do.
        if isinstance(calibrator, MulticlassTemperature):
            return np.exp(calibrator.apply_logs(logs))
        return calibrator.apply(np.exp(logs))


def decided_by_order(
    rule: OrderRule, probabilities: FloatArray, amounts: FloatArray, threshold: float | None = None
) -> dict[str, Any]:
    """What an order's amount makes of its probability, by output column.

    `decision`; `threshold`, the order's own; `expected_cost`, of the decision, NaN where the amount is missing.

    Args:
        amounts: NaN where they are missing.
        threshold: decides instead of the rule, for all orders.
    """
    rule = rule if threshold is None else replace(rule, threshold=threshold)
    decided = rule.decide(probabilities, amounts, by_threshold=threshold is not None)
    return {DECISION: decided.flagged, THRESHOLD: decided.threshold, EXPECTED_COST: decided.expected_cost}


def amounts_of(orders: "pd.DataFrame", rule: OrderRule) -> FloatArray:
    """The amount of each order; NaN where it is missing.

    Raises:
        MissingColumnsError: the orders have no such column.
        DataContractError: it holds text.
    """
    if rule.column not in orders:
        raise MissingColumnsError.of("scoring", {rule.column}, [str(name) for name in orders.columns])
    return _numbers(orders[rule.column], rule.column)


def order_matrix(orders: "pd.DataFrame", bundle: ModelBundle) -> npt.NDArray[np.float32]:
    """Orders as rows by features, in the model's order; see `Scorer.score` for what is read and refused."""
    if missing := {*bundle.numeric, *bundle.categorical} - set(orders.columns):
        raise MissingColumnsError.of("scoring", missing, [str(name) for name in orders.columns])
    numeric = [_numbers(orders[name], name) for name in bundle.numeric]
    codes = [bundle.categories.encode_pandas(name, orders[name]) for name in bundle.categorical]
    with np.errstate(over="ignore"):  # what is beyond float32 becomes infinite, and is refused as such
        return np.column_stack([*numeric, *codes]).astype(np.float32)


def _numbers(column: "pd.Series[Any]", name: str) -> npt.NDArray[np.float64]:
    try:
        if column.map(lambda value: isinstance(value, str)).any():
            raise TypeError
        # Cell by cell where a value is there: an object column may hold pandas' NA, which is no float.
        present = column.notna().to_numpy()
        values = np.full(len(column), np.nan)
        values[present] = column[present].astype("float64")
        return values
    except (TypeError, ValueError):
        raise DataContractError(
            f"scoring: column {name!r} holds values that are not numbers (type {column.dtype}). Cast it upstream."
        ) from None


def _refuse_infinite(names: Sequence[str], matrix: npt.NDArray[np.float32]) -> None:
    # Training quarantines these; scored, they would pass for a huge value.
    rows_of = {name: int(np.isinf(matrix[:, number]).sum()) for number, name in enumerate(names)}
    if bad := {name: rows for name, rows in rows_of.items() if rows}:
        raise DataContractError(f"scoring: infinite or beyond float32, rows by column {bad}. Quarantine these rows.")


def _valid_threshold(threshold: float) -> float:
    if not (math.isfinite(threshold) and threshold >= 0.0):
        raise ConfigError(f"threshold must be a number in [0, 1], or above 1 to flag nobody, got {threshold!r}.")
    return float(threshold)
