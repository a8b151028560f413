"""Strategies side by side, each number with its confidence interval."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from imbalance_spark.metrics.intervals import Interval
from imbalance_spark.metrics.plots.style import MUTED, draw_legend, draw_line, look_of, plain, value_text

_VALIDATION, _TEST = 0.17, -0.17
"""Vertical positions of a strategy's two folds, in rows of the figure."""


def comparison_figure(
    validation: Mapping[str, Interval],
    test: Mapping[str, Interval],
    metric: str = "average precision",
    *,
    chance: float | None = None,
) -> Figure:
    """A metric of each strategy with its interval, best on validation on top: validation filled, test hollow.

    Args:
        validation, test: by strategy; one that is absent or NaN is shown as undefined.
        chance: the metric of random scores, to mark.
    Returns:
        The figure, not shown.
    """
    names = _worst_first(validation, [*validation, *(name for name in test if name not in validation)])
    figure, axes = _rows(names, f"{metric} of the strategies", f"{metric}, with its {_level(validation)} interval")
    for row, name in enumerate(names):
        for offset, found, is_filled in ((_VALIDATION, validation.get(name), True), (_TEST, test.get(name), False)):
            value = _draw_interval(axes, name, row + offset, found, is_filled=is_filled)
            _write_beside(axes, row + offset, value_text(value))
    for label, face in (("validation, which decides", MUTED), ("test", "white")):
        axes.plot([], [], color=MUTED, marker="o", markerfacecolor=face, linewidth=1.5, label=label)
    if chance is not None:
        axes.axvline(chance, color=MUTED, linestyle=":", linewidth=1.2, label=f"chance  {chance:.2g}")
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    return figure


def difference_figure(gains: Mapping[str, Interval], against: str, metric: str = "average precision") -> Figure:
    """The difference of a metric between each strategy and `against`, with the paired interval; right of 0 is better.

    Filled where the interval leaves 0 out, hollow where chance may be all.

    Args:
        gains: the metric of each strategy less that of `against`, by the strategy's name.
        against: name of the strategy that they are compared with. metric: its name, for the axis.
    Returns:
        The figure, not shown.
    """
    names = _worst_first(gains, list(gains))
    title = f"gain over {plain(against)} on the same rows of validation"
    figure, axes = _rows(names, title, f"difference in {metric}, with its paired {_level(gains)} interval")
    axes.axvline(0.0, color="black", linewidth=1.0)
    for row, name in enumerate(names):
        found = gains[name]
        value = _draw_interval(axes, name, row, found, is_filled=found.low > 0.0 or found.high < 0.0)
        _write_beside(axes, row, "undefined" if value is None else f"{value:+.4f}")
    return figure


def _worst_first(intervals: Mapping[str, Interval], names: Sequence[str]) -> list[str]:
    """In order from the bottom of the figure; undefined values come first."""
    values = {name: found.value for name, found in intervals.items() if math.isfinite(found.value)}
    return sorted(names, key=lambda name: values.get(name, -math.inf))


def _rows(names: Sequence[str], title: str, across: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(8.5, max(3.0, 1.6 + 0.5 * len(names))), layout="constrained")
    axes = figure.subplots()
    axes.set(title=title[:1].upper() + title[1:], xlabel=across[:1].upper() + across[1:], ylabel="Strategy")
    axes.set_yticks(range(len(names)), [plain(name) for name in names])
    axes.set_ylim(-0.6, max(len(names), 1) - 0.4)
    axes.grid(axis="x", alpha=0.25)
    axes.margins(x=0.05)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _draw_interval(axes: Axes, name: str, height: float, found: Interval | None, *, is_filled: bool) -> float | None:
    """A dot with its interval, and its value; None where there is none. An infinite end is not drawn."""
    if found is None or not math.isfinite(found.value):
        return None
    look, style = look_of(name), "-" if is_filled else (0, (3, 1.5))
    if math.isfinite(found.low) and math.isfinite(found.high):
        axes.plot((found.low, found.high), (height, height), color=look.colour, linewidth=1.8, linestyle=style)
    face = look.colour if is_filled else "white"
    axes.plot(found.value, height, color=look.colour, marker=look.marker, markerfacecolor=face, markersize=7)
    return found.value


def _write_beside(axes: Axes, height: float, text: str) -> None:
    # Right of the axes, where no interval of any length runs into it.
    axes.text(1.01, height, text, transform=axes.get_yaxis_transform(), va="center", fontsize=9)


def _level(intervals: Mapping[str, Interval]) -> str:
    return f"{100.0 * max((interval.level for interval in intervals.values()), default=0.95):.4g} %"


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
