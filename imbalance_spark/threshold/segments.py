"""One threshold for each segment of the rows, which costs at most as much as one for all."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from imbalance_spark.core.arrays import FloatArray
from imbalance_spark.core.errors import ConfigError
from imbalance_spark.metrics.curve import Curve
from imbalance_spark.threshold.choice import ChosenThreshold, cut_at, sweep
from imbalance_spark.threshold.objective import Objective


@dataclass(frozen=True, kw_only=True)
class SegmentThresholds:
    """A threshold for each segment, their total cost, and the cost of one threshold for all rows."""

    by_segment: Mapping[str, ChosenThreshold]
    total_cost: float
    pooled: ChosenThreshold
    """The one threshold for all rows; never cheaper than `total_cost` on the rows it was chosen on."""
    too_small: tuple[str, ...]
    """Segments with too few positives, or no negative, to choose on; they use the pooled threshold."""


def sweep_segments(curves: Mapping[str, Curve], objective: Objective, *, min_positives: int = 30) -> SegmentThresholds:
    """The cheapest threshold of each segment, such as a country or an amount band.

    A segment with fewer than `min_positives` positive rows uses the pooled threshold: its own would be noise.

    Args:
        curves: by segment; on the same bins, or all on exact scores.
        objective: a cost (`MinCost`, `BayesCost`), as only costs add up over segments.
        min_positives: rows without weights, at least 1.
    Returns:
        The threshold of each segment, the pooled one, and what both cost.
    Raises:
        ConfigError: the objective is not a cost, there is no segment, or the curves have different bins or only some
            of them amounts.
        DataContractError: the segments together have no positive or no negative row.
    """
    if not objective.is_loss:
        raise ConfigError(f"sweep_segments: {objective.name} is not a cost, and only costs add up. Use min_cost.")
    if min_positives < 1:
        raise ConfigError(
            f"sweep_segments: min_positives must be 1 or more, got {min_positives!r}. 30 is a good start."
        )
    pooled = sweep(_pooled(curves), objective)
    too_small = tuple(name for name, curve in curves.items() if _is_small(curve, min_positives))
    chosen = {
        name: _with_pooled(pooled, curve, objective) if name in too_small else sweep(curve, objective)
        for name, curve in curves.items()
    }
    total = sum(choice.value for choice in chosen.values())
    return SegmentThresholds(by_segment=chosen, total_cost=total, pooled=pooled, too_small=too_small)


def _is_small(curve: Curve, min_positives: int) -> bool:
    return curve.missing_class is not None or int(curve.counts.positives.sum()) < min_positives


def _with_pooled(pooled: ChosenThreshold, curve: Curve, objective: Objective) -> ChosenThreshold:
    """The pooled threshold with its result on one segment."""
    cut, positives = cut_at(curve, pooled.threshold), int(curve.counts.positives.sum())
    matrix, value = curve.matrix(cut), float(objective.values(curve)[cut])
    return ChosenThreshold(
        threshold=pooled.threshold,
        objective=objective.name,
        value=value,
        reachable=True,
        sentence=f"{objective.name} is {value:.6g} at the threshold of all segments together, {pooled.threshold:.6g}.",
        matrix=matrix,
        support=int(curve.flagged_rows[cut]),
        warning=f"The segment has {positives} positive and {int(curve.counts.negatives.sum())} negative rows: "
        "too few to choose a threshold of its own, so it uses the one of all segments.",
    )


def _pooled(curves: Mapping[str, Curve]) -> Curve:
    """The curve of all segments' rows together."""
    parts = list(curves.values())
    if not parts:
        raise ConfigError("sweep_segments: there is no segment. Give one curve for each.")
    if len({part.counts.grid for part in parts}) > 1:
        raise ConfigError("sweep_segments: the segments were counted on different bins. Count them in one scan.")
    if len({part.counts.positive_amount is None for part in parts}) > 1:
        raise ConfigError("sweep_segments: only some segments have amounts. Count them in one scan.")
    # Negated thresholds as sort keys: np.unique then lists the highest one first.
    key, first, entry = np.unique(
        np.concatenate([-part.threshold[1:] for part in parts]), return_index=True, return_inverse=True
    )

    def total(name: str) -> FloatArray:
        values = np.concatenate([getattr(part.counts, name) for part in parts])
        return np.bincount(entry, values, minlength=len(key)).astype(np.float64)

    has_amounts = parts[0].counts.positive_amount is not None
    counts = replace(
        parts[0].counts,
        score=np.concatenate([part.score for part in parts])[first],
        threshold=-key,
        positives=total("positives").astype(np.int64),
        negatives=total("negatives").astype(np.int64),
        positive_weight=total("positive_weight"),
        negative_weight=total("negative_weight"),
        positive_amount=total("positive_amount") if has_amounts else None,
        negative_amount=total("negative_amount") if has_amounts else None,
    )
    return Curve.of(counts)
