"""Precision, recall and cost over all thresholds, the thresholds that objectives choose, and what these decide."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from imbalance_spark.core.arrays import FloatArray
from imbalance_spark.metrics.confusion import ConfusionMatrix, MulticlassConfusion
from imbalance_spark.metrics.curve import Curve
from imbalance_spark.metrics.plots.style import (
    MUTED,
    corners,
    draw_legend,
    draw_line,
    literal,
    logit,
    one_panel,
    plain,
    two_panels,
    use_plain_log_ticks,
    use_probability_ticks,
)

_SHARES = (("precision", "#0072B2", (6, 2)), ("recall", "#D55E00", (2, 1.5)), ("F1", "#000000", ()))
_MARKS = ((6, 2), (2, 1.5), (8, 2, 2, 2))

_LOG_BELOW = 0.1
"""Highest F1 at which a linear axis would show nothing but recall."""

_LABEL_WIDTH, _CHARACTER_WIDTH = 0.012, 0.008
"""Width of a number and of each further character, as shares of the figure's width."""

_RATIOS = 121


def threshold_figure(
    curve: Curve, *, fn: float, fp: float, chosen: Mapping[str, float] | None = None, title: str = "Thresholds"
) -> Figure:
    """Precision, recall and F1, and below them cost, at every threshold on a logit axis.

    Shares are on a log scale when no threshold's F1 reaches 0.1.

    Args:
        curve: of one strategy.
        fn, fp: cost of a false negative and of a false positive.
        chosen: thresholds to mark, by the name of their objective; a number on top leads to the legend.
    Returns:
        The figure, not shown.
    """
    f1 = 2.0 * curve.tp / np.maximum(curve.tp + curve.fp + curve.positives, 1e-300)
    is_log = 0.0 < float(f1.max()) < _LOG_BELOW
    names = ("Share (log scale)" if is_log else "Share", "Cost (log scale)")
    figure, upper, lower = two_panels(title, "Threshold (logit scale)", names)
    logits = logit(curve.threshold[1:])
    for (name, colour, dashes), values in zip(_SHARES, (curve.precision, curve.recall, f1), strict=True):
        upper.plot(logits, values[1:], color=colour, dashes=dashes, linewidth=1.8, label=name)
    cost = fn * (curve.positives - curve.tp) + fp * curve.fp
    lower.plot(logits, cost[1:], color="#009E73", linewidth=1.8, label=f"false negative {fn:g}, positive {fp:g}")
    lower.axhline(fn * curve.positives, color=MUTED, linestyle=":", linewidth=1.2, label="flagging nobody")
    _mark_all((upper, lower), logits, chosen or {})
    upper.set(ylim=(0.0, 1.03))
    if is_log:
        upper.set(yscale="log", ylim=(float(f1.max()) / 1000.0, 1.3))
        use_plain_log_ticks(upper.yaxis)
    upper.set_title(literal(title), pad=20.0 if chosen else 6.0)
    lower.set(yscale="log")
    use_plain_log_ticks(lower.yaxis)
    use_probability_ticks(lower, logits)
    draw_legend(upper)
    draw_legend(lower, "cost")
    return figure


def _mark_all(panels: Sequence[Axes], logits: FloatArray, chosen: Mapping[str, float]) -> None:
    """One numbered line per threshold; lines too close for two numbers share one label."""
    low, high = float(logits.min()), float(logits.max())
    ordered = sorted(chosen.items(), key=lambda entry: entry[1])
    # A threshold beyond all scores is marked at the edge, so that the axis covers the scores only.
    places = [float(np.clip(logit(np.array([value]))[0], low, high)) for _, value in ordered]
    for number, ((name, value), place) in enumerate(zip(ordered, places, strict=True)):
        text = f"{plain(name)}, {value:.3g}" if value <= 1.0 else f"{plain(name)}, flags nobody"
        style: dict[str, Any] = {"color": MUTED, "linewidth": 1.0, "dashes": _MARKS[number % len(_MARKS)]}
        for axes in panels:
            axes.axvline(place, **style)
        panels[0].plot([], [], label=f"{number + 1}: {text}", **style)
    for text, place in _labels(places, max(high - low, 1.0)):
        panels[0].text(place, 1.02, text, transform=panels[0].get_xaxis_transform(), ha="center", fontsize=9)


def _labels(places: Sequence[float], width: float) -> list[tuple[str, float]]:
    """Numbers from 1 with their positions, rising; neighbours whose texts would overlap share one text."""
    groups: list[list[int]] = []
    for number, place in enumerate(places):
        if groups and place - places[groups[-1][-1]] < _room(groups[-1]) * width:
            groups[-1].append(number)
        else:
            groups.append([number])
    return [(_joined(group), sum(places[number] for number in group) / len(group)) for group in groups]


def _room(group: Sequence[int]) -> float:
    return _LABEL_WIDTH + _CHARACTER_WIDTH * (len(_joined(group)) + 1)


def _joined(numbers: Sequence[int]) -> str:
    return ", ".join(str(number + 1) for number in numbers)


def cost_figure(curves: Mapping[str, Curve], *, fn: float, fp: float, title: str = "Cost") -> Figure:
    """Lowest cost over that of the better of flagging nobody and everybody, against the ratio of the two costs.

    1 means that the model is of no use at these costs, 0 that it makes no mistake (Drummond and Holte, 2006, whose
    axis is in probability cost). The lowest cost is that of the best threshold on these very rows: it compares
    strategies, it is no promise. Of one strategy alone a second line shows the cost at fp / (fp + fn), the best
    threshold if its probabilities are right: a gap between the two is what calibration costs.

    Args:
        fn, fp: configured cost of a false negative and of a false positive, whose ratio is marked.
    Returns:
        The figure, not shown.
    """
    figure, axes = one_panel(
        title, "Cost of a false negative / false positive (log scale)", "Cost / cost without a model"
    )
    asked = fn / fp if fn > 0.0 and fp > 0.0 else None
    ratios = _ratios(max((curve.prevalence() for curve in curves.values()), default=0.5), asked)
    for name, curve in curves.items():
        draw_line(axes, name, ratios, _over_trivial(curve, ratios, _lowest(curve, ratios)), label=plain(name))
    if len(curves) == 1:
        (curve,) = curves.values()
        cost = _over_trivial(curve, ratios, _at_own_probabilities(curve, ratios))
        axes.plot(ratios, cost, color=MUTED, linewidth=1.2, label="at the threshold that\nits probabilities give")
    axes.axhline(1.0, color=MUTED, linestyle=":", linewidth=1.2, label="no model")
    if asked is not None:
        axes.axvline(asked, color=MUTED, linestyle="--", linewidth=1.2, label=f"configured: {asked:g}")
    axes.set(xscale="log", xlim=(ratios[0], ratios[-1]), ylim=(0.0, 1.3 if len(curves) == 1 else 1.04))
    use_plain_log_ticks(axes.xaxis)
    draw_legend(axes, "lowest cost")
    return figure


def _ratios(prevalence: float, asked: float | None) -> FloatArray:
    """From equal costs to ten times the odds, beyond which flagging everybody is the cheaper answer."""
    wanted = 1.0 if asked is None else asked
    most = max(10.0 / max(prevalence, 1e-9), 10.0 * wanted, 100.0)
    return np.geomspace(min(1.0, wanted / 2.0), most, _RATIOS)


def _lowest(curve: Curve, ratios: FloatArray) -> FloatArray:
    at = corners(curve)
    missed, alarms = (curve.positives - curve.tp)[at], curve.fp[at]
    return np.array([np.min(ratio * missed + alarms) for ratio in ratios])


def _at_own_probabilities(curve: Curve, ratios: FloatArray) -> FloatArray:
    matrices = [curve.at(1.0 / (1.0 + ratio)) for ratio in ratios.tolist()]
    return np.array([matrix.cost(fn=ratio, fp=1.0) for matrix, ratio in zip(matrices, ratios, strict=True)])


def _over_trivial(curve: Curve, ratios: FloatArray, cost: FloatArray) -> FloatArray:
    """NaN if all rows are of one class, which needs no model."""
    trivial = np.minimum(ratios * curve.positives, curve.negatives)
    relative = np.full(len(ratios), np.nan)
    np.divide(cost, trivial, out=relative, where=trivial > 0.0)
    return relative


def confusion_figure(matrix: ConfusionMatrix, title: str = "Confusion matrix") -> Figure:
    """Counts and shares of the true class; shading is the share.

    Args:
        matrix: rows, or their weight, by true class and decision. title: of the figure.
    Returns:
        The figure, not shown.
    """
    counts = np.array([[matrix.tp, matrix.fn], [matrix.fp, matrix.tn]])
    figure = _figure(counts, (5.0, 4.2), fontsize=12)
    [axes] = figure.axes
    axes.set_xticks((0, 1), ("flagged", "not flagged"))
    axes.set_yticks((0, 1), ("positive", "negative"), rotation=90, va="center")
    axes.set(xlabel="Predicted", ylabel="True class")
    precision = f"{matrix.precision:.4g}" if matrix.flagged > 0.0 else "undefined"
    axes.set_title(f"{literal(title)}\nprecision {precision}, recall {matrix.recall:.4g}", fontsize=11)
    return figure


def class_confusion_figure(confusion: MulticlassConfusion, classes: Sequence[str], title: str) -> Figure:
    """Counts and shares of the true class; shading is the share.

    Args:
        confusion: rows, or their weight, by true class and decision.
        classes: their names, in the order of their numbers. title: of the figure.
    Returns:
        The figure, not shown.
    """
    size = len(classes)
    figure = _figure(confusion.weight, (2.4 + 1.2 * size, 1.6 + 0.9 * size), fontsize=10)
    [axes] = figure.axes
    names = [plain(name) for name in classes]
    axes.set_xticks(range(size), names)
    axes.set_yticks(range(size), names)
    axes.set(xlabel="Decided", ylabel="True class")
    axes.set_title(f"{plain(title)}\nmacro recall {confusion.macro.recall:.4g}, MCC {confusion.mcc:.4g}", fontsize=11)
    return figure


def _figure(counts: FloatArray, inches: tuple[float, float], *, fontsize: int) -> Figure:
    """The cells alone: rows by true class."""
    figure = Figure(figsize=inches, layout="constrained")
    axes = figure.subplots()
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1e-300)
    axes.imshow(share, cmap="Blues", vmin=0.0, vmax=1.0, aspect="auto")
    for (row, column), count in np.ndenumerate(counts):
        colour = "white" if share[row, column] > 0.55 else "black"
        text = f"{count:,.0f}\n{100.0 * share[row, column]:.3g} %"
        axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=fontsize)
    return figure
