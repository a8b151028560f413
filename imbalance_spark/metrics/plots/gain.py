"""What the highest scores hold: cumulative gain and lift by the share of rows that is flagged."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from imbalance_spark.metrics.curve import Curve
from imbalance_spark.metrics.grid import FloatArray
from imbalance_spark.metrics.plots.drawing import MUTED, draw_legend, draw_line, plain, ranked, two_panels, value_text
from imbalance_spark.metrics.top import top_share

_TOP = 0.01
_POINTS = 400


def gain_figure(curves: Mapping[str, Curve], title: str = "Gain and lift") -> Figure:
    """Recall, and below it precision over prevalence, when a share of the rows is flagged, highest scores first.

    The share is on a log scale: nobody looks into half of all orders. Tied rows come in by random order. The legend
    ranks by the recall in the top 1 %.
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
