"""Pictures of curves and comparisons, as matplotlib figures that hold no global state."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from imbalance_spark.metrics.confusion import ConfusionMatrix
from imbalance_spark.metrics.curve import Curve
from imbalance_spark.metrics.grid import FloatArray
from imbalance_spark.metrics.palette import look_of

_POSITIVE, _NEGATIVE, _MUTED = "#D55E00", "#0072B2", "#7F7F7F"
_MARKS = ((6, 2), (2, 1.5), (8, 2, 2, 2))
_SIZE = (8.0, 5.0)
_ENDS = (1e-9, 1.0 - 1e-9)  # what is drawn of a logit axis that has no ends


def precision_recall_figure(curves: Mapping[str, Curve], title: str = "Precision and recall") -> Figure:
    """Precision against recall of each strategy, with its average precision; the dotted line is the prevalence."""
    figure, axes = _figure(title, "Recall", "Precision")
    for name, curve, value in _by_value(curves, Curve.average_precision):
        shown = curve.flagged_rows > 0
        label = f"{name}  {_text(value)}"
        _line(axes, name, curve.recall[shown], curve.precision[shown], label=label, drawstyle="steps-pre")
    prevalence = max((curve.prevalence() for curve in curves.values()), default=0.0)
    axes.axhline(prevalence, color=_MUTED, linestyle=":", linewidth=1.0, label=f"prevalence  {prevalence:.2g}")
    axes.set(xlim=(0.0, 1.0), ylim=(0.0, 1.01))
    _legend(axes, "average precision")
    return figure


def roc_figure(curves: Mapping[str, Curve], title: str = "ROC") -> Figure:
    """Recall against the false positive rate of each strategy, with its ROC-AUC.

    The rate is on a log scale: of a rare class, alarms are affordable only far left of where a linear axis shows them.
    """
    figure, axes = _figure(title, "False positive rate (log scale)", "Recall")
    lowest = min((0.5 / max(curve.negatives, 1.0) for curve in curves.values()), default=1e-6)
    for name, curve, value in _by_value(curves, Curve.roc_auc):
        rate = np.maximum(curve.false_positive_rate, lowest)
        _line(axes, name, rate, curve.recall, label=f"{name}  {_text(value)}")
    chance = np.geomspace(lowest, 1.0, 200)
    axes.plot(chance, chance, color=_MUTED, linestyle=":", linewidth=1.0, label="chance  0.5")
    axes.set(xscale="log", xlim=(lowest, 1.0), ylim=(0.0, 1.01))
    _legend(axes, "ROC-AUC")
    return figure


def threshold_figure(
    curve: Curve, *, fn: float, fp: float, chosen: Mapping[str, float] | None = None, title: str = "Thresholds"
) -> Figure:
    """Precision, recall and F1, and below them cost, at every threshold on a logit axis.

    Args:
        curve: of one strategy.
        fn, fp: cost of a missed positive and of a false alarm.
        chosen: thresholds to mark, by the name of their objective; a number on top leads to the legend.
    """
    figure = Figure(figsize=(9.5, 6.5), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    logit = _logit(curve.threshold[1:])
    f1 = 2.0 * curve.tp / np.maximum(curve.tp + curve.fp + curve.positives, 1e-300)
    for name, values, colour, dashes in (
        ("precision", curve.precision, "#0072B2", (6, 2)),
        ("recall", curve.recall, "#D55E00", (2, 1.5)),
        ("F1", f1, "#000000", ()),
    ):
        upper.plot(logit, values[1:], color=colour, dashes=dashes, linewidth=1.8, label=name)
    cost = fn * (curve.positives - curve.tp) + fp * curve.fp
    nobody = fn * curve.positives
    lower.plot(logit, cost[1:], color="#009E73", linewidth=1.8, label=f"cost, miss {fn:g}, false alarm {fp:g}")
    lower.axhline(nobody, color=_MUTED, linestyle=":", linewidth=1.2, label="cost of flagging nobody")
    for number, (name, value) in enumerate(sorted((chosen or {}).items(), key=lambda entry: entry[1])):
        # A threshold beyond every score is marked at the edge: the axis stays with the scores.
        place = float(np.clip(_logit(np.array([value]))[0], logit.min(), logit.max()))
        _mark((upper, lower), place, number, f"{name}, {value:.3g}" if value <= 1.0 else f"{name}, flags nobody")
    upper.set(ylim=(0.0, 1.03), ylabel="Share")
    upper.set_title(title, pad=34.0 if chosen else 6.0)
    lower.set(yscale="log", ylabel="Cost (log scale)", xlabel="Threshold (logit scale)")
    _probability_axis(lower, logit)
    for axes in (upper, lower):
        axes.grid(alpha=0.25)
    upper.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    lower.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    return figure


def reliability_figure(curves: Mapping[str, Curve], title: str = "Reliability") -> Figure:
    """Observed rate against mean probability of each strategy, on log scales; bars are two standard errors."""
    figure, axes = _figure(title, "Mean probability (log scale)", "Observed rate (log scale)")
    everything: list[float] = []
    for name, curve in curves.items():
        table, look = curve.reliability(), look_of(name)
        seen = table.positives > 0.0
        mean, rate = table.mean_score[seen], table.observed_rate[seen]
        error = 2.0 * rate * np.sqrt((1.0 - rate) / table.positives[seen])
        bars = np.vstack([np.minimum(error, 0.9 * rate), error])
        axes.errorbar(mean, rate, yerr=bars, color=look.colour, fmt="none", linewidth=0.8, alpha=0.5)
        _line(axes, name, mean, rate, label=name, marker="o", markersize=4)
        everything += [*mean.tolist(), *rate.tolist()]
    low = max(min(everything, default=1e-6) / 2.0, 1e-12)
    high = min(max(everything, default=1.0) * 2.0, 1.0)
    axes.plot((low, high), (low, high), color=_MUTED, linestyle=":", linewidth=1.0, label="calibrated")
    axes.set(xscale="log", yscale="log", xlim=(low, high), ylim=(low, high))
    _legend(axes, "")
    return figure


def comparison_figure(
    validation: Mapping[str, float], test: Mapping[str, float], title: str = "Average precision of the strategies"
) -> Figure:
    """One pair of bars a strategy, best validation value on top: validation filled, test hatched."""
    figure = Figure(figsize=(8.0, max(3.0, 1.2 + 0.55 * len(validation))), layout="constrained")
    axes = figure.subplots()
    names = sorted(validation, key=lambda name: validation[name])
    for place, name in enumerate(names):
        colour = look_of(name).colour
        held = test.get(name, np.nan)
        axes.barh(place + 0.2, validation[name], height=0.36, color=colour)
        axes.barh(place - 0.2, held, height=0.36, color="white", edgecolor=colour, hatch="////")
        for offset, value in ((0.2, validation[name]), (-0.2, held)):
            if np.isfinite(value):
                axes.text(value, place + offset, f" {value:.4f}", va="center", fontsize=8)
    axes.barh(0, 0, color=_MUTED, label="validation")
    axes.barh(0, 0, color="white", edgecolor=_MUTED, hatch="////", label="test")
    axes.set_yticks(range(len(names)), names)
    axes.set(title=title, xlabel="Average precision")
    axes.margins(x=0.12)
    axes.legend(loc="lower left", bbox_to_anchor=(1.01, 0.0), frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def confusion_figure(matrix: ConfusionMatrix, title: str = "Confusion matrix") -> Figure:
    """Counts and shares of the true class; shading is the share, so that the rare class is as visible as the other."""
    figure = Figure(figsize=(5.0, 4.2), layout="constrained")
    axes = figure.subplots()
    counts = np.array([[matrix.tp, matrix.fn], [matrix.fp, matrix.tn]])
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1e-300)
    axes.imshow(share, cmap="Blues", vmin=0.0, vmax=1.0)
    for (row, column), count in np.ndenumerate(counts):
        colour = "white" if share[row, column] > 0.55 else "black"
        text = f"{count:,.0f}\n{100.0 * share[row, column]:.3g} %"
        axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=12)
    axes.set_xticks((0, 1), ("flagged", "not flagged"))
    axes.set_yticks((0, 1), ("positive", "negative"), rotation=90, va="center")
    axes.set(xlabel="Predicted", ylabel="True class")
    axes.set_title(f"{title}\nprecision {matrix.precision:.4g}, recall {matrix.recall:.4g}", fontsize=11)
    return figure


def score_histogram_figure(curve: Curve, title: str = "Scores by class") -> Figure:
    """Rows of each class by score: a logit axis across, a log scale up, so that 1 in 10,000 can be seen."""
    figure, axes = _figure(title, "Score (logit scale)", "Rows (log scale)")
    logit = _logit(curve.score)
    edges = np.linspace(logit.min() - 0.1, logit.max() + 0.1, 61)
    for name, weight, colour, filled in (
        ("negative", curve.counts.negative_weight, _NEGATIVE, True),
        ("positive", curve.counts.positive_weight, _POSITIVE, False),
    ):
        rows, _ = np.histogram(logit, edges, weights=weight)
        label = f"{name}  {weight.sum():,.0f}"
        axes.stairs(rows, edges, fill=filled, alpha=0.35 if filled else 1.0, color=colour, linewidth=2.0, label=label)
    axes.set(yscale="log", ylim=(0.5, None))
    _probability_axis(axes, logit)
    _legend(axes, "rows")
    return figure


def _figure(title: str, across: str, up: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=_SIZE, layout="constrained")
    axes = figure.subplots()
    axes.set(title=title, xlabel=across, ylabel=up)
    axes.grid(alpha=0.25)
    return figure, axes


def _by_value(
    curves: Mapping[str, Curve], metric: Callable[[Curve], float | None]
) -> list[tuple[str, Curve, float | None]]:
    """Best first, so that the legend reads as a ranking."""
    valued = [(name, curve, metric(curve)) for name, curve in curves.items()]
    return sorted(valued, key=lambda entry: -1.0 if entry[2] is None else entry[2], reverse=True)


def _line(axes: Axes, strategy: str, x: FloatArray, y: FloatArray, **settings: Any) -> None:
    look = look_of(strategy)
    axes.plot(x, y, color=look.colour, dashes=look.dashes, linewidth=1.8, **settings)


def _mark(panels: Sequence[Axes], logit: float, number: int, text: str) -> None:
    label = f"{number + 1}: {text}"
    for axes in panels:
        axes.axvline(logit, color=_MUTED, linewidth=1.0, dashes=_MARKS[number % len(_MARKS)])
    panels[0].plot([], [], color=_MUTED, linewidth=1.0, dashes=_MARKS[number % len(_MARKS)], label=label)
    # Neighbours stand on three levels, since good thresholds lie close together.
    height = 1.02 + 0.05 * (number % 3)
    panels[0].text(logit, height, str(number + 1), transform=panels[0].get_xaxis_transform(), ha="center", fontsize=9)


def _legend(axes: Axes, title: str) -> None:
    # Beside the picture: inside, it would hide some curve of some data.
    legend = axes.legend(title=title, loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, handlelength=3.2)
    legend.set_alignment("left")


def _logit(score: FloatArray) -> FloatArray:
    clipped = np.clip(score, _ENDS[0], _ENDS[1])
    return np.asarray(np.log(clipped / (1.0 - clipped)), dtype=np.float64)


def _probability_axis(axes: Axes, logit: FloatArray) -> None:
    """Ticks at probabilities that people know, on an axis in logits."""
    low, high = float(logit.min()), float(logit.max())
    room = 0.03 * max(high - low, 1.0)
    known = [p for power in range(9, 0, -1) for p in (10.0**-power, 1.0 - 10.0**-power)] + [0.5]
    inside = sorted(p for p in known if low - room <= _logit(np.array([p]))[0] <= high + room)
    axes.set_xticks(_logit(np.array(inside)), [_probability_text(p) for p in inside])
    axes.set_xlim(low - room, high + room)


def _probability_text(p: float) -> str:
    if p < 0.01:
        return f"1e{round(np.log10(p))}"
    return f"{p:.9f}".rstrip("0")


def _text(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4f}"
