"""What each strategy would cost, whatever a miss costs beside a false alarm."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from imbalance_spark.metrics.curve import Curve
from imbalance_spark.metrics.grid import FloatArray
from imbalance_spark.metrics.plots.drawing import MUTED, corners, draw_legend, draw_line, one_panel, plain

_RATIOS = 121


def cost_figure(curves: Mapping[str, Curve], *, fn: float, fp: float, title: str = "Cost") -> Figure:
    """Lowest cost over that of the better of flagging nobody and everybody, against the ratio of the two costs.

    1 means that the model is of no use at these costs, 0 that it makes no mistake (Drummond and Holte, 2006, whose
    axis is in probability cost). The lowest cost is that of the best threshold on these very rows: it compares
    strategies, it is no promise. Of one strategy alone a second line shows the cost at fp / (fp + fn), the best
    threshold if its probabilities are right: a gap between the two is what calibration costs.

    Args:
        fn, fp: cost of a missed positive and of a false alarm as configured, whose ratio is marked.
    """
    figure, axes = one_panel(title, "Cost of a miss in false alarms (log scale)", "Cost / cost without a model")
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
    """NaN where rows of one class make a model needless."""
    trivial = np.minimum(ratios * curve.positives, curve.negatives)
    relative = np.full(len(ratios), np.nan)
    np.divide(cost, trivial, out=relative, where=trivial > 0.0)
    return relative
