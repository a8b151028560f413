"""Choose the threshold that an objective wants, exactly, over every cut-off that the scores allow."""

from dataclasses import dataclass

import numpy as np

from imbalance_spark.errors import DataContractError
from imbalance_spark.metrics.confusion import ConfusionMatrix
from imbalance_spark.metrics.curve import Curve
from imbalance_spark.objectives import (
    OBJECTIVES,
    AlertBudget,
    MaxFBeta,
    MaxMCC,
    MaxPrecision,
    MaxRecall,
    MinCost,
    Objective,
    Youden,
    objective_from_config,
)

__all__ = [
    "OBJECTIVES",
    "AlertBudget",
    "ChosenThreshold",
    "MaxFBeta",
    "MaxMCC",
    "MaxPrecision",
    "MaxRecall",
    "MinCost",
    "Objective",
    "Youden",
    "objective_from_config",
    "sweep",
]

_SAME = 1e-12  # relative: sums of weights differ by this much with the order of summation, so it decides nothing


@dataclass(frozen=True, kw_only=True)
class ChosenThreshold:
    """A threshold, what it achieves on the rows it was chosen on, and whether the objective's constraint is kept."""

    threshold: float
    """Predict positive if score >= threshold. FLAG_NOBODY, just above 1, flags no row."""
    objective: str
    value: float
    """The objective's value at the threshold: a score, or a cost."""
    reachable: bool
    """False: no threshold keeps the constraint, and this one comes nearest."""
    sentence: str
    matrix: ConfusionMatrix
    support: int
    """Flagged rows, without weights: how many rows the value rests on."""


def sweep(curve: Curve, objective: Objective) -> ChosenThreshold:
    """The best of all distinct cut-offs, flagging nobody included; among equals the highest threshold.

    Values within a relative 1e-12 of each other are equal.

    Raises:
        DataContractError: the counts have no positive or no negative row.
        ConfigError: the objective needs amounts that the counts do not hold.
    """
    if curve.missing_class:
        raise DataContractError(
            f"threshold {objective.name}: {curve.missing_class} to choose on. Choose on a fold that has both classes."
        )
    values, allowed = objective.values(curve), objective.is_allowed(curve)
    reachable = bool(allowed.any())
    signed = -values if objective.is_loss else values
    gain = np.where(allowed, signed, -np.inf) if reachable else objective.closeness(curve)
    best = gain.max()
    cut = int(np.argmax(gain >= best - _SAME * abs(best)))
    matrix = curve.matrix(cut)
    return ChosenThreshold(
        threshold=float(curve.threshold[cut]),
        objective=objective.name,
        value=float(values[cut]),
        reachable=reachable,
        sentence=_sentence(objective.name, float(values[cut]), float(curve.threshold[cut]), matrix, reachable),
        matrix=matrix,
        support=int(curve.flagged_rows[cut]),
    )


def _sentence(name: str, value: float, threshold: float, matrix: ConfusionMatrix, reachable: bool) -> str:
    outcome = (
        f"threshold {threshold:.6g} flags {matrix.flagged:.6g} of {matrix.total:.6g} rows "
        f"with precision {matrix.precision:.4g} and recall {matrix.recall:.4g}"
    )
    if reachable:
        return f"{name} is {value:.6g}: {outcome}."
    return f"{name} is out of reach: the nearest {outcome}."
