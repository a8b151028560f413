"""Confusion matrices as figures."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from imbalance_spark.core.arrays import FloatArray
from imbalance_spark.metrics.confusion import ConfusionMatrix, MulticlassConfusion
from imbalance_spark.metrics.plots.style import literal, plain


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
