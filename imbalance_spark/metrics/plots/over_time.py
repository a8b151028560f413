"""Strategies over time: one point for each window of a backtest."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from imbalance_spark.metrics.plots.style import MUTED, draw_legend, draw_line, plain


def over_time_figure(
    windows: Sequence[str], panels: Mapping[str, Mapping[str, Sequence[float]]], title: str, *, target: str = ""
) -> Figure:
    """One panel for each metric, one line for each strategy.

    Args:
        windows: names of the windows, oldest first.
        panels: by the metric's words, for each strategy its values; NaN is left out.
        target: the metric that should be 1, where a line is drawn.
    Returns:
        The figure, not shown.
    """
    figure = Figure(figsize=(9.0, 1.2 + 2.4 * len(panels)), layout="constrained")
    found = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    across = np.arange(len(windows), dtype=np.float64)
    for axes, (metric, values) in zip(found, panels.items(), strict=True):
        for strategy, of_windows in values.items():
            style = {"marker": "o", "markevery": None}
            draw_line(axes, strategy, across, np.asarray(of_windows, dtype=np.float64), label=plain(strategy), **style)
        if metric == target:
            axes.axhline(1.0, color=MUTED, linestyle=":", linewidth=1.2)
        axes.set(ylabel=metric)
        axes.grid(alpha=0.25)
    found[0].set(title=title)
    found[-1].set_xticks(across, list(windows))
    draw_legend(found[0])
    return figure
