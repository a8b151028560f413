"""Figures of the ranking: cumulative gain and lift, precision-recall, ROC and DET curves."""

import math
from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from scipy.special import ndtri

from imbalance_spark.core.arrays import FloatArray
from imbalance_spark.metrics.areas import top_share
from imbalance_spark.metrics.curve import Curve
from imbalance_spark.metrics.plots.style import (
    MUTED,
    corners,
    draw_legend,
    draw_line,
    one_panel,
    plain,
    ranked,
    two_panels,
    use_plain_log_ticks,
    value_text,
)

_TOP = 0.01
_POINTS = 400

_LOG_PRECISION_BELOW = 0.2
"""Average precision below which curves are flat on a linear axis."""

_ALARMS = 0.001
"""False positive rate at which the legend of the DET curves gives the miss rate."""

_RATES = (1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 0.001, 0.01, 0.05, 0.2, 0.5, 0.8, 0.95, 0.99, 0.999)

_TICK_ROOM = 0.11
"""Width of a tick label, as a share of its axis."""


def gain_figure(curves: Mapping[str, Curve], title: str = "Gain and lift") -> Figure:
    """Recall, and below it precision over prevalence, when a share of the rows is flagged, highest scores first.

    The share is on a log scale: nobody looks into half of all orders. Tied rows come in by random order. The legend
    ranks by the recall in the top 1 %.

    Args:
        curves: of each strategy, by its name. title: of the figure.
    Returns:
        The figure, not shown.
    """
    figure, upper, lower = two_panels(
        title, "Share of rows flagged (log scale)", ("Gain: share of positives found", "Lift (log scale)")
    )
    fewest = min((1.0 / max(_rows(curve), 2.0) for curve in curves.values()), default=1e-6)
    share = np.geomspace(fewest, 1.0, _POINTS)
    for name, curve, found in ranked(curves, _found_in_top):
        gain = _gain(curve, share)
        draw_line(upper, name, share, gain, label=f"{plain(name)}  {value_text(found)}")
        # Before the first positive row there is no lift to show.
        is_found = gain * curve.positives >= 1.0
        draw_line(lower, name, share[is_found], (gain / share)[is_found])
    prevalence = max((curve.prevalence() for curve in curves.values()), default=0.0)
    for holding, style, label in ((max(prevalence, fewest), "-.", "perfect"), (1.0, ":", "chance")):
        gain = np.minimum(share / holding, 1.0)
        text = f"{label}  {value_text(min(_TOP / holding, 1.0))}"
        upper.plot(share, gain, color=MUTED, linestyle=style, linewidth=1.2, label=text)
        lower.plot(share, gain / share, color=MUTED, linestyle=style, linewidth=1.2)
    upper.set(ylim=(0.0, 1.03))
    lower.set(xscale="log", yscale="log", xlim=(fewest, 1.0))
    use_plain_log_ticks(lower.xaxis, lower.yaxis)
    draw_legend(upper, f"gain of the top {100.0 * _TOP:g} %")
    return figure


def _rows(curve: Curve) -> float:
    return curve.positives + curve.negatives


def _found_in_top(curve: Curve) -> float | None:
    return None if curve.missing_class else top_share(curve, _TOP).recall


def _gain(curve: Curve, share: FloatArray) -> FloatArray:
    """Share of the positives in each share of the rows; NaN without positives."""
    if curve.positives <= 0.0:
        return np.full(len(share), np.nan)
    return np.asarray(np.interp(share * _rows(curve), curve.tp + curve.fp, curve.tp) / curve.positives)


def precision_recall_figure(curves: Mapping[str, Curve], title: str = "Precision and recall") -> Figure:
    """Precision against recall of each strategy, with its average precision; the dotted line is the prevalence.

    Precision is on a log scale when no strategy's average precision reaches 0.2.

    Args:
        curves: of each strategy, by its name. title: of the figure.
    Returns:
        The figure, not shown.
    """
    entries = ranked(curves, Curve.average_precision)
    is_log = all(value is None or value < _LOG_PRECISION_BELOW for _, _, value in entries)
    figure, axes = one_panel(title, "Recall", "Precision (log scale)" if is_log else "Precision")
    for name, curve, value in entries:
        at = corners(curve)
        at = at[curve.tp[at] > 0.0] if is_log else at[curve.flagged_rows[at] > 0]
        label = f"{plain(name)}  {value_text(value)}"
        draw_line(axes, name, curve.recall[at], curve.precision[at], label=label, drawstyle="steps-pre")
    prevalence = max((curve.prevalence() for curve in curves.values()), default=0.0)
    axes.axhline(prevalence, color=MUTED, linestyle=":", linewidth=1.2, label=f"prevalence  {prevalence:.2g}")
    axes.set(xlim=(0.0, 1.0), ylim=(0.0, 1.01))
    if is_log and prevalence > 0.0:
        axes.set(yscale="log", ylim=(prevalence / 2.0, 1.1))
        use_plain_log_ticks(axes.yaxis)
    draw_legend(axes, "average precision")
    return figure


def roc_figure(curves: Mapping[str, Curve], title: str = "ROC") -> Figure:
    """Recall against the false positive rate of each strategy, with its ROC-AUC.

    The false positive rate is on a log scale: for a rare class only very low rates are affordable.

    Args:
        curves: of each strategy, by its name. title: of the figure.
    Returns:
        The figure, not shown.
    """
    figure, axes = one_panel(title, "False positive rate (log scale)", "Recall")
    lowest = min((0.5 / max(curve.negatives, 1.0) for curve in curves.values()), default=1e-6)
    for name, curve, value in ranked(curves, Curve.roc_auc):
        at = corners(curve)
        rate = np.maximum(curve.false_positive_rate[at], lowest)
        draw_line(axes, name, rate, curve.recall[at], label=f"{plain(name)}  {value_text(value)}")
    chance = np.geomspace(lowest, 1.0, 200)
    axes.plot(chance, chance, color=MUTED, linestyle=":", linewidth=1.2, label="chance  0.5")
    axes.set(xscale="log", xlim=(lowest, 1.0), ylim=(0.0, 1.01))
    use_plain_log_ticks(axes.xaxis)
    draw_legend(axes, "ROC-AUC")
    return figure


def det_figure(curves: Mapping[str, Curve], title: str = "Detection error trade-off") -> Figure:
    """Miss rate against the false positive rate, both on normal-deviate axes, where normal scores are straight lines.

    The legend ranks by the miss rate when one negative in a thousand is flagged (Martin et al., 1997).

    Args:
        curves: of each strategy, by its name. title: of the figure.
    Returns:
        The figure, not shown.
    """
    figure, axes = one_panel(title, "False positive rate (normal deviate)", "Miss rate (normal deviate)")
    least_alarms, least_misses = (
        min((0.5 / max(rows, 1.0) for rows in found), default=1e-6)
        for found in ([c.negatives for c in curves.values()], [c.positives for c in curves.values()])
    )
    for name, curve, missed in ranked(curves, _missed_at_few_alarms, is_loss=True):
        at = corners(curve)
        alarms = ndtri(np.clip(curve.false_positive_rate[at], least_alarms, 1.0 - least_alarms))
        misses = ndtri(np.clip(1.0 - curve.recall[at], least_misses, 1.0 - least_misses))
        draw_line(axes, name, alarms, misses, label=f"{plain(name)}  {value_text(missed)}")
    chance = ndtri(np.array([least_alarms, 1.0 - least_alarms]))
    axes.plot(chance, -chance, color=MUTED, linestyle=":", linewidth=1.2, label=f"chance  {1.0 - _ALARMS:.4f}")
    axes.set(xlim=ndtri((min(least_alarms, 0.4), 0.8)), ylim=ndtri((min(least_misses, 0.1), 1.0 - least_misses / 2.0)))
    axes.set_xticks(*_deviates(axes.get_xlim()))
    axes.set_yticks(*_deviates(axes.get_ylim()))
    draw_legend(axes, f"miss rate at\n{100.0 * _ALARMS:g} % false positives")
    return figure


def _missed_at_few_alarms(curve: Curve) -> float | None:
    if curve.missing_class:
        return None
    return 1.0 - float(curve.recall[np.searchsorted(curve.false_positive_rate, _ALARMS, side="right") - 1])


def _deviates(limits: tuple[float, float]) -> tuple[list[float], list[str]]:
    """Positions and texts of the ticks between these limits, commonest rates first, each with room for its text."""
    ticks: list[tuple[float, str]] = []
    for rate in reversed(_RATES):
        place, end = float(ndtri(rate)), ticks[-1][0] if ticks else math.inf
        if limits[0] <= place <= min(limits[1], end - _TICK_ROOM * (limits[1] - limits[0])):
            ticks.append((place, f"{100.0 * rate:.6g} %"))
    return [place for place, _ in ticks], [text for _, text in ticks]
