"""A threshold for each segment of the rows, shrunk to the one that all share."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import chdtri

from imbalance_spark.calibration.log_odds import LogOddsCalibration
from imbalance_spark.core.arrays import FloatArray, logit, sigmoid
from imbalance_spark.core.errors import ConfigError
from imbalance_spark.metrics.curve import Curve
from imbalance_spark.metrics.intervals import Interval
from imbalance_spark.threshold.choice import ChosenThreshold, chosen_at, cut_at, sweep
from imbalance_spark.threshold.objective import Objective

_CHANCE = 0.05
"""Of segments that do not differ, the share of samples in which they are taken to."""
_Z = 1.96
_FURTHEST = 30.0  # logits, beyond any shift that counted rows can ask for


@dataclass(frozen=True, kw_only=True)
class SegmentThresholds:
    """A threshold for each segment, their total cost, and that of one threshold for all rows."""

    by_segment: Mapping[str, ChosenThreshold]
    total_cost: float
    pooled: ChosenThreshold
    """The one threshold for all rows."""
    spread: float
    """Standard deviation between segments of what their log-odds are above those of the scores; 0 where they do not
    differ beyond chance, and all take the pooled threshold."""
    gain: Interval
    """What the thresholds save against the pooled one, on the rows they were chosen on, of independent rows."""


@dataclass(frozen=True, kw_only=True)
class _Excess:
    """What a segment's positives are above those that the scores of all segments expect.

    Args:
        score, information: first and second derivative of the log likelihood by a shift of the segment's log-odds.
        variance: of `score`; with weights more than the information.
    """

    logits: FloatArray
    positive: FloatArray
    weight: FloatArray
    score: float
    information: float
    variance: float

    @classmethod
    def of(cls, curve: Curve, calibration: LogOddsCalibration) -> "_Excess":
        p, counts = calibration.apply(curve.score), curve.counts
        weight = counts.positive_weight + counts.negative_weight
        own = weight / np.maximum(counts.positives + counts.negatives, 1)
        return cls(
            logits=logit(np.clip(p, 1e-300, 1.0 - 2.0**-53)),
            positive=counts.positive_weight,
            weight=weight,
            score=float(np.sum(counts.positive_weight - weight * p)),
            information=float(np.sum(weight * p * (1.0 - p))),
            variance=float(np.sum(own * weight * p * (1.0 - p))),
        )

    def shift(self, spread: float) -> float:
        """How far the segment's log-odds are above the scores', drawn to 0 as far as its rows leave it open."""
        if spread == 0.0 or self.variance <= 0.0:
            return 0.0
        from scipy.optimize import brentq  # half a second, which no other import of this room takes

        known = self.information / self.variance

        def slope(shift: float) -> float:
            expected = float(self.weight @ sigmoid(self.logits + shift))
            return (float(self.positive.sum()) - expected) * known - shift / spread**2

        return float(brentq(slope, -_FURTHEST, _FURTHEST))


def sweep_segments(curves: Mapping[str, Curve], objective: Objective) -> SegmentThresholds:
    """One threshold for all segments, such as countries or amount bands, moved in those that differ beyond chance.

    The best threshold of each segment's own rows follows their noise: twenty equal segments would seem to save, and
    lose on other rows. Here a segment's log-odds are those of the scores plus a shift, and shifts are normal around 0
    (empirical Bayes; Efron and Morris, 1975). Their variance is that of the segments' excess of positives over chance
    (method of moments on the score statistics), and 0 unless a chi-squared test finds any at 5 %. The threshold moves
    by the shift, in logits: a segment with more positives than its scores say is flagged from lower ones.

    Args:
        curves: by segment; on the same bins, or all on exact scores.
        objective: a cost (`MinCost`, `BayesCost`), as only costs add up over segments.
    Returns:
        The threshold of each segment, the pooled one, and what both cost.
    Raises:
        ConfigError: the objective is not a cost, there is no segment, or the curves have different bins or only some
            of them amounts.
        DataContractError: the segments together have no positive or no negative row.
    """
    if not objective.is_loss:
        raise ConfigError(f"sweep_segments: {objective.name} is not a cost, and only costs add up. Use min_cost.")
    whole = _pooled(curves)
    pooled, calibration = sweep(whole, objective), LogOddsCalibration.fit_with_prior(whole.counts)
    excess = {name: _Excess.of(curve, calibration) for name, curve in curves.items()}
    spread = _spread(list(excess.values()))
    chosen = {
        name: _moved(curve, pooled, objective, excess[name].shift(spread) / calibration.a)
        for name, curve in curves.items()
    }
    return SegmentThresholds(
        by_segment=chosen,
        total_cost=sum(choice.value for choice in chosen.values()),
        pooled=pooled,
        spread=spread,
        gain=_gain(curves, pooled, chosen, objective),
    )


def _spread(excess: list[_Excess]) -> float:
    """Standard deviation between segments; see `sweep_segments`."""
    informed = [one for one in excess if one.variance > 0.0]
    statistic = sum(one.score**2 / one.variance for one in informed)
    if len(informed) < 2 or statistic <= chdtri(len(informed) - 1, _CHANCE):
        return 0.0
    above = sum(one.score**2 - one.variance for one in informed) / sum(one.information**2 for one in informed)
    return float(np.sqrt(max(above, 0.0)))


def _moved(curve: Curve, pooled: ChosenThreshold, objective: Objective, shift: float) -> ChosenThreshold:
    """The pooled threshold, moved by the shift of one segment, with its result there."""
    threshold = pooled.threshold
    if shift != 0.0 and 0.0 < threshold < 1.0:
        threshold = float(sigmoid(logit(np.array([threshold])) - shift)[0])
    return chosen_at(curve, cut_at(curve, threshold), objective, threshold=threshold)


def _gain(
    curves: Mapping[str, Curve], pooled: ChosenThreshold, chosen: Mapping[str, ChosenThreshold], objective: Objective
) -> Interval:
    saved = variance = 0.0
    for name, curve in curves.items():
        cuts = sorted([cut_at(curve, pooled.threshold), cut_at(curve, chosen[name].threshold)])
        values = objective.values(curve)
        saved += float(values[cut_at(curve, pooled.threshold)] - values[cut_at(curve, chosen[name].threshold)])
        for rows, alone in _by_class(curve):
            changes = np.diff(objective.values(alone))[slice(*cuts)]
            variance += float(np.sum(changes**2 / np.maximum(rows[slice(*cuts)], 1)))
    error = float(np.sqrt(variance))
    positives = sum(int(curve.counts.positives.sum()) for curve in curves.values())
    return Interval(
        value=saved, low=saved - _Z * error, high=saved + _Z * error, level=0.95, standard_error=error,
        positives=positives, warning=None,
    )  # fmt: skip


def _by_class(curve: Curve) -> list[tuple[FloatArray, Curve]]:
    """Rows of each class by entry, and the curve of these rows alone."""
    found = []
    for own, other in (("positive", "negative"), ("negative", "positive")):
        amount = getattr(curve.counts, f"{other}_amount")
        none = np.zeros_like(curve.counts.positives)
        absent: dict[str, Any] = {
            f"{other}s": none,
            f"{other}_weight": none.astype(np.float64),
            f"{other}_amount": None if amount is None else np.zeros_like(amount),
        }
        counts = replace(curve.counts, **absent)
        found.append((getattr(curve.counts, f"{own}s").astype(np.float64), replace(curve, counts=counts)))
    return found


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
