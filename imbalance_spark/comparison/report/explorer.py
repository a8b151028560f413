"""What the threshold explorer of the report computes from: counts of validation at some hundred thresholds."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.special import stdtrit

from imbalance_spark.comparison.compare import Comparison
from imbalance_spark.comparison.evaluate import StrategyResult, error_costs
from imbalance_spark.core.arrays import FloatArray, IntArray, logit
from imbalance_spark.core.columns import VALIDATION
from imbalance_spark.metrics.bucket_draws import BucketedCurve, rate_errors
from imbalance_spark.metrics.curve import Curve
from imbalance_spark.metrics.intervals import event_size, unseen_events
from imbalance_spark.scoring.held_out_counts import SMALLEST_CELL, TargetCounts
from imbalance_spark.threshold.choice import cut_at

_POSITIONS = 400
"""Thresholds of a strategy, evenly spaced in log-odds: more make the page heavy, and a step is below 0.1 already."""
_LEVEL = 0.95
_SEGMENTS = 20
"""Values of segment columns, the largest first: a reader compares no more."""


def explorer_data(comparison: Comparison, commands: Mapping[str, str]) -> dict[str, Any] | None:
    """Everything that the explorer shows, as JSON values; None for K classes, whose decisions no one threshold makes.

    Counts are those of validation, on which thresholds are chosen, with calibrated probabilities. They hold at the
    listed thresholds exactly.

    Args:
        commands: by strategy, the command of `jobs/retune.py` that addresses its run.
    """
    if not comparison.is_single:
        return None
    costs, report = error_costs(comparison.decisions), comparison.prepared.report
    return {
        "strategies": [_strategy(result, commands.get(result.name, "")) for result in comparison.results],
        "serving": comparison.serving,
        "costs": costs,
        "orders_per_day": (report.rows - report.quarantined) / report.days if report.days else 1000.0,
    }


def _strategy(result: StrategyResult, command: str) -> dict[str, Any]:
    sample = result.held_out.bucketed(VALIDATION, result.calibration.calibrator.apply)[0]
    chosen = {name: found.by_target[0].threshold for name, found in result.chosen.items()}
    thresholds, cuts = _positions(sample.curve, chosen)
    place = {threshold: number for number, threshold in enumerate(thresholds.tolist())}
    merged = result.held_out.target.with_small_segments_merged(SMALLEST_CELL)
    return {
        "name": result.name,
        "command": command,
        "chosen": {name: place[threshold] for name, threshold in chosen.items()},
        "threshold": thresholds.tolist(),
        **_counts(sample.curve, cuts),
        "errors": _errors(sample, cuts),
        "segments": _segments(merged, result, cuts),
    }


def _positions(curve: Curve, chosen: Mapping[str, float]) -> tuple[FloatArray, IntArray]:
    """Thresholds from the highest to the lowest, the chosen ones among them, and the curve's entry of each."""
    reached = curve.threshold[1:]
    on_scale = logit(np.clip(reached, 1e-12, 1.0 - 1e-12))
    wanted = np.linspace(on_scale[0], on_scale[-1], _POSITIONS)
    nearest = np.unique(np.searchsorted(-on_scale, -wanted, side="left").clip(0, len(reached) - 1))
    thresholds = np.unique([curve.threshold[0], *reached[nearest], *chosen.values()])[::-1]
    return thresholds, np.array([cut_at(curve, threshold) for threshold in thresholds])


def _counts(curve: Curve, cuts: IntArray) -> dict[str, Any]:
    rows = [np.concatenate([[0], np.cumsum(n)]) for n in (curve.counts.positives, curve.counts.negatives)]
    missed = curve.missed_amount
    return {
        "tp": curve.tp[cuts].tolist(),
        "fp": curve.fp[cuts].tolist(),
        "positives": curve.positives,
        "negatives": curve.negatives,
        "positive_rows": rows[0][cuts].tolist(),
        "negative_rows": rows[1][cuts].tolist(),
        "rows": int(curve.flagged_rows[-1]),
        "missed_amount": None if missed is None else missed[cuts].tolist(),
    }


def _errors(sample: BucketedCurve, cuts: IntArray) -> dict[str, Any] | None:
    """Errors of both rates, and the quantile of Student's t that a 95 % interval takes; None of a single bucket.

    The share of each class that may be decided wrongly although no such row was seen goes with them.
    """
    occupied = int(sample.occupied.sum())
    if occupied < 2:
        return None
    found = rate_errors(sample, cuts.tolist())
    of_class = sample.buckets.weight[sample.occupied].sum(axis=1).T
    unseen = [unseen_events(_LEVEL) * event_size(weight) / weight.sum() for weight in of_class]
    return {
        "tpr_variance": found.tpr_variance.tolist(),
        "fpr_variance": found.fpr_variance.tolist(),
        "covariance": found.covariance.tolist(),
        "quantile": float(stdtrit(occupied - 1, 0.5 + _LEVEL / 2.0)),
        "unseen_share": dict(zip(("negatives", "positives"), unseen, strict=True)),
    }


def _segments(target: TargetCounts, result: StrategyResult, cuts: IntArray) -> Sequence[dict[str, Any]]:
    """The largest segments, at the same thresholds; rows inside a coarse bin lie as all rows of their class do."""
    through = result.calibration.calibrator.apply
    curves = [
        (column, "(null)" if value is None else str(value), counts.curve(through))
        for column in target.segments.get(VALIDATION, {})
        for value, counts in target.by_segment(VALIDATION, column).items()
        if int(counts.positives.sum() + counts.negatives.sum()) >= SMALLEST_CELL
    ]
    curves.sort(key=lambda found: -found[2].flagged_rows[-1])
    return [
        {
            "column": column,
            "value": value,
            "tp": np.round(curve.tp[cuts], 3).tolist(),
            "fp": np.round(curve.fp[cuts], 3).tolist(),
            "positives": curve.positives,
            "negatives": curve.negatives,
        }
        for column, value, curve in curves[:_SEGMENTS]
    ]
