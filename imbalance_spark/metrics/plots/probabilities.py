"""Scores as probabilities: their calibration, the distribution of each class, and the features that move them."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from imbalance_spark.core.arrays import FloatArray
from imbalance_spark.metrics.curve import Curve
from imbalance_spark.metrics.intervals import wilson_interval
from imbalance_spark.metrics.logistic import Reliability
from imbalance_spark.metrics.plots.style import (
    MUTED,
    draw_legend,
    draw_line,
    literal,
    logit,
    look_of,
    one_panel,
    plain,
    two_panels,
    use_plain_log_ticks,
    use_probability_ticks,
)
from imbalance_spark.metrics.probability import reliability_band

_MOST_FEATURES = 20
_POSITIVE, _NEGATIVE = "#D55E00", "#0072B2"


def reliability_figure(
    curves: Mapping[str, Curve], title: str = "Reliability", *, band_of: str | None = None
) -> Figure:
    """Observed rate against mean probability on log scales, and below it the number of positives of each point.

    Points are groups of neighbouring scores that each predict as many positives. Bars are Wilson's 95 % intervals, of
    rows without weights. A group without positives, whose rate a log scale cannot show, hangs as a triangle from the
    upper end of its interval. The grey band is where the rising curve of one model would lie in 90 % of samples if its
    probabilities were right (consistency band; Bröcker and Smith, 2007; Dimitriadis and others, 2021).

    Args:
        curves: of each strategy, by its name. title: of the figure.
        band_of: the strategy whose band is drawn; none by default.
    Returns:
        The figure, not shown.
    """
    figure, upper, lower = two_panels(
        title, "Mean probability (log scale)", ("Observed rate (log scale)", "Positives (log scale)")
    )
    shown: list[float] = []
    for name, curve in curves.items():
        table = curve.reliability()
        seen = table.positives > 0.0
        mean, rate = table.mean_score[seen], table.observed_rate[seen]
        low, high = wilson_interval(table.observed_rate, table.weight)
        _draw_ranges(upper, name, table, low, high)
        style = {"markevery": None, "markerfacecolor": look_of(name).colour}
        draw_line(upper, name, mean, rate, label=plain(name), **style)
        draw_line(lower, name, mean, table.positives[seen], **style)
        shown += [*table.mean_score.tolist(), *rate.tolist(), *high.tolist(), *low[seen].tolist()]
    least = max(min((value for value in shown if value > 0.0), default=1e-6) / 1.5, 1e-12)
    most = min(max(shown, default=1.0) * 1.5, 1.0)
    upper.plot((least, most), (least, most), color=MUTED, linestyle=":", linewidth=1.2, label="calibrated")
    upper.set(xscale="log", yscale="log", xlim=(least, most), ylim=(least, most))
    if band_of is not None and (band := reliability_band(curves[band_of])) is not None:
        label = f"90 % by chance, {plain(band_of)}"
        upper.fill_between(band.score, band.low, band.high, color=MUTED, alpha=0.2, linewidth=0, label=label)
    lower.set(yscale="log")
    lower.set_ylim(bottom=0.7)
    use_plain_log_ticks(upper.xaxis, upper.yaxis, lower.yaxis)
    draw_legend(upper)
    return figure


def score_histogram_figure(curve: Curve, title: str = "Scores by class") -> Figure:
    """Rows of each class by score: a logit axis across, a log scale up, so that 1 in 10,000 can be seen.

    Args:
        curve: of one strategy. title: of the figure.
    Returns:
        The figure, not shown.
    """
    figure, axes = one_panel(title, "Score (logit scale)", "Rows (log scale)")
    logits = logit(curve.score)
    edges = np.linspace(logits.min() - 0.1, logits.max() + 0.1, 61)
    for name, weight, colour, filled in (
        ("negative", curve.counts.negative_weight, _NEGATIVE, True),
        ("positive", curve.counts.positive_weight, _POSITIVE, False),
    ):
        rows, _ = np.histogram(logits, edges, weights=weight)
        label = f"{name}  {weight.sum():,.0f}"
        axes.stairs(rows, edges, fill=filled, alpha=0.35 if filled else 1.0, color=colour, linewidth=2.0, label=label)
    axes.set(yscale="log", ylim=(0.5, None))
    use_plain_log_ticks(axes.yaxis)
    use_probability_ticks(axes, logits)
    draw_legend(axes, "rows")
    return figure


def importance_figure(importance: Mapping[str, float], title: str = "What moves the scores") -> Figure:
    """Features by their mean absolute contribution to the log-odds, the largest on top; at most 20 of them.

    Args:
        importance: contribution by feature, at least 0; at least one.
    Returns:
        The figure, not shown.
    """
    shown = sorted(importance.items(), key=lambda entry: entry[1])[-_MOST_FEATURES:]
    figure = Figure(figsize=(8.5, 1.4 + 0.3 * len(shown)), layout="constrained")
    axes = figure.subplots()
    bars = axes.barh([plain(name) for name, _ in shown], [value for _, value in shown], color=_NEGATIVE)
    axes.bar_label(bars, fmt="%.3g", padding=4, fontsize=9)
    axes.set(title=literal(title), xlabel="Mean absolute contribution to the log-odds", ylabel="Feature")
    axes.grid(axis="x", alpha=0.25)
    axes.margins(x=0.1)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _draw_ranges(axes: Axes, name: str, table: Reliability, low: FloatArray, high: FloatArray) -> None:
    seen, colour = table.positives > 0.0, look_of(name).colour
    axes.vlines(table.mean_score[seen], low[seen], high[seen], color=colour, linewidth=1.0, alpha=0.5)
    axes.plot(table.mean_score[~seen], high[~seen], color=colour, marker=7, markersize=7, linestyle="none")
