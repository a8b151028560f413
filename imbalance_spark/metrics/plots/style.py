"""One style per strategy in all figures: colours for colour-blind readers, dashes and markers for grey print."""

import io
import math
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter

from imbalance_spark.core.arrays import FloatArray, IntArray
from imbalance_spark.metrics.curve import Curve

_COLOURS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F")
"""Okabe and Ito (2008), without yellow, which is hard to see on white."""

_DASHES: tuple[tuple[float, ...], ...] = ((), (6, 2), (2, 1.5), (8, 2, 2, 2), (4, 1, 1, 1, 1, 1))
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")

_NAMED = (
    *("none", "undersample", "oversample", "class_weight", "scale_pos_weight", "balanced_sketch", "focal", "smote"),
    *("borderline_smote", "adasyn", "smote_nc", "smote_tomek", "undersample_ensemble", "logistic_class_weight"),
    "isolation_forest",
)

MUTED = "#7F7F7F"
"""Colour of everything that is not a strategy: chance, prevalence, a chosen threshold."""

_SIZE, _TALL = (8.5, 5.0), (9.0, 6.5)
_ENDS = (1e-9, 1.0 - 1e-9)  # the part of a logit axis that is drawn
_KNOWN = (*(10.0**-power for power in range(9, 0, -1)), 0.5, *(1.0 - 10.0**-power for power in range(1, 10)))
_NAME_WIDTH = 30  # characters; longer names would squeeze the figure beside its legend
_TICK_CHARACTER = 0.018  # its width beside a tick's neighbours, as a share of the axis
_SPACING = 0.25  # between the markers on a line, as a share of the figure's diagonal


@dataclass(frozen=True, kw_only=True)
class Look:
    """How a strategy is drawn: a colour, dash lengths in points (none means a solid line), and matplotlib's marker."""

    colour: str
    dashes: tuple[float, ...]
    marker: str


def look_of(strategy: str) -> Look:
    """The strategy's style, which depends on its name alone, whatever else is in the figure."""
    place = _NAMED.index(strategy) if strategy in _NAMED else crc32(strategy.encode())
    # 8 colours, 5 dashes and 7 markers have no common factor: 280 styles before one repeats.
    return Look(
        colour=_COLOURS[place % len(_COLOURS)],
        dashes=_DASHES[place % len(_DASHES)],
        marker=_MARKERS[place % len(_MARKERS)],
    )


def one_panel(title: str, across: str, up: str) -> tuple[Figure, Axes]:
    """A figure with one set of labelled axes."""
    figure = Figure(figsize=_SIZE, layout="constrained")
    axes = figure.subplots()
    axes.set(title=literal(title), xlabel=across, ylabel=up)
    axes.grid(alpha=0.25)
    return figure, axes


def two_panels(title: str, across: str, up: tuple[str, str]) -> tuple[Figure, Axes, Axes]:
    """A figure with a larger panel above a smaller one, on one axis across."""
    figure = Figure(figsize=_TALL, layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    upper.set(title=literal(title), ylabel=up[0])
    lower.set(xlabel=across, ylabel=up[1])
    for axes in (upper, lower):
        axes.grid(alpha=0.25)
    return figure, upper, lower


def pngs(figures: Mapping[str, Figure]) -> dict[str, bytes]:
    """Each figure as the bytes of a PNG.

    Args:
        figures: by name.
    Returns:
        Their PNG files by the same names.
    """
    return {name: _png(figure) for name, figure in figures.items()}


def _png(figure: Figure) -> bytes:
    buffer, layout = io.BytesIO(), figure.get_layout_engine()
    # Left to itself, matplotlib draws a figure once more to lay it out, and `savefig` a third time.
    if layout is not None:
        layout.execute(figure)
        figure.set_layout_engine("none")
    try:
        FigureCanvasAgg(figure).print_png(buffer)  # type: ignore[no-untyped-call]
    finally:
        figure.set_layout_engine(layout)
    return buffer.getvalue()


def ranked(
    curves: Mapping[str, Curve], metric: Callable[[Curve], float | None], *, is_loss: bool = False
) -> list[tuple[str, Curve, float | None]]:
    """Best first, so that the legend reads as a ranking; where the metric is undefined, last."""

    def place(entry: tuple[str, Curve, float | None]) -> float:
        return math.inf if entry[2] is None else entry[2] if is_loss else -entry[2]

    valued = [(name, curve, _defined(metric(curve))) for name, curve in curves.items()]
    return sorted(valued, key=place)


def draw_line(axes: Axes, strategy: str, x: FloatArray, y: FloatArray, **settings: Any) -> None:
    """A strategy's curve in its colour and dashes; its marker repeats along the line, for grey print."""
    look = look_of(strategy)
    # Lines on top of each other show their markers at different positions.
    start = _SPACING * (len(axes.lines) % 5) / 5.0
    finite = np.isfinite(x) & np.isfinite(y)
    style: dict[str, Any] = {"marker": look.marker, "markersize": 5.0, "markerfacecolor": "white"}
    style["markevery"] = (start, _SPACING) if finite.any() else None
    axes.plot(x[finite], y[finite], color=look.colour, dashes=look.dashes, linewidth=1.7, **(style | settings))


def draw_legend(axes: Axes, title: str = "") -> None:
    """Beside the figure: inside, it could hide a curve."""
    legend = axes.legend(title=title, loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, handlelength=4.0)
    legend.set_alignment("left")


def corners(curve: Curve) -> IntArray:
    """Entries of the curve's thresholds at which tp over fp bends; in between it is vertical or horizontal.

    A figure of these looks the same; for millions of scores with a rare class it is drawn a hundred times faster.
    """
    up, across = np.diff(curve.tp) > 0.0, np.diff(curve.fp) > 0.0
    is_same = (up[1:] == up[:-1]) & (across[1:] == across[:-1]) & (up[1:] != across[1:])
    return np.flatnonzero(np.concatenate([[True], ~is_same, [True]]))


def logit(score: FloatArray) -> FloatArray:
    """Scores on a logit axis, which has as much room for 1 in 10,000 as for 1 in 2; 0 and 1 are drawn at its ends."""
    clipped = np.clip(score, *_ENDS)
    return np.asarray(np.log(clipped / (1.0 - clipped)), dtype=np.float64)


class _PlainPowers(LogFormatter):
    """0.001 and 1e-05 where matplotlib sets formulas, which takes a fifth of all the time of drawing."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        return f"{x:g}" if super().__call__(x, pos) else ""


def use_plain_log_ticks(*axes: Axis) -> None:
    """Plain numbers at the ticks of axes whose scale is logarithmic already."""
    for axis in axes:
        axis.set_major_formatter(_PlainPowers())
        axis.set_minor_formatter(_PlainPowers())


def use_probability_ticks(axes: Axes, logits: FloatArray) -> None:
    """Ticks at common probabilities on a logit axis, which ends at the outermost needed."""
    low, high = float(logits.min()), float(logits.max())
    room = 0.03 * max(high - low, 1.0)
    places = dict(zip(_KNOWN, logit(np.array(_KNOWN)).tolist(), strict=True))
    shown: list[float] = []
    for p, place in places.items():
        width = _TICK_CHARACTER * (high - low + 2.0 * room) * len(probability_text(p))
        if low - room <= place <= high + room and (not shown or place - places[shown[-1]] >= width):
            shown.append(p)
    axes.set_xticks([places[p] for p in shown], [probability_text(p) for p in shown])
    axes.set_xlim(low - room, high + room)


def probability_text(p: float) -> str:
    """0.5, 0.99, 1e-5: short at both ends."""
    if 0.0 < p < 0.001:
        return f"1e{round(math.log10(p))}"
    return f"{p:.9f}".rstrip("0").rstrip(".")


def value_text(value: float | None) -> str:
    """Four digits after the point, or a word if the metric is undefined on these rows."""
    return "undefined" if value is None or math.isnan(value) else f"{value:.4f}"


def plain(name: str) -> str:
    """The name with dollar signs escaped, which matplotlib takes for formulas; a long one on several lines."""
    return literal("\n".join(textwrap.wrap(name, _NAME_WIDTH)))


def literal(text: str) -> str:
    """The text with dollar signs escaped: a class may be called like a formula, even like a wrong one."""
    return text.replace("$", r"\$")


def _defined(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value
