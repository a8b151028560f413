"""Every picture: drawn without a warning from any data, labelled, and in the palette's looks."""

import itertools
import math
from collections.abc import Callable
from io import BytesIO

import numpy as np
import pytest
from matplotlib.figure import Figure
from scipy.stats import norm
from sklearn.metrics import det_curve

from imbalance_spark.metrics import FLAG_NOBODY, ConfusionMatrix, Curve, ScoreCounts
from imbalance_spark.metrics.intervals import Interval
from imbalance_spark.metrics.plots import (
    comparison_figure,
    confusion_figure,
    cost_figure,
    det_figure,
    difference_figure,
    gain_figure,
    importance_figure,
    precision_recall_figure,
    reliability_figure,
    roc_figure,
    score_histogram_figure,
    threshold_figure,
)
from imbalance_spark.metrics.plots.style import corners, look_of

Curves = dict[str, Curve]

BUILT_IN = (
    *("none", "undersample", "oversample", "class_weight", "scale_pos_weight", "balanced_sketch", "focal", "smote"),
    *("borderline_smote", "adasyn", "smote_nc", "smote_tomek"),
)


def rare(seed: int, rows: int = 20_000) -> Curve:
    draw = np.random.default_rng(seed)
    score = 1 / (1 + np.exp(-draw.normal(-9, 3, rows)))
    return ScoreCounts.from_arrays(draw.random(rows) < score, score).curve()


def exact(labels: list[int], scores: list[float]) -> Curve:
    return ScoreCounts.from_arrays(labels, scores).curve()


def around(value: float | None, low: float = -0.1, high: float = 0.2) -> Interval:
    centre = math.nan if value is None else value
    return Interval(
        value=centre,
        low=centre + low,
        high=centre + high,
        level=0.95,
        standard_error=0.1,
        positives=9,
        warning=None,
    )


def costs(curves: Curves) -> Figure:
    return cost_figure(curves, fn=10, fp=1)


def comparisons(curves: Curves) -> Figure:
    values = {name: around(curve.average_precision()) for name, curve in curves.items()}
    return comparison_figure(values, dict(list(values.items())[1:]), chance=0.01)


OF_STRATEGIES: tuple[Callable[[Curves], Figure], ...] = (
    *(precision_recall_figure, roc_figure, det_figure, gain_figure, costs, reliability_figure),
)
OF_ONE_CURVE: tuple[Callable[[Curve], Figure], ...] = (
    lambda curve: threshold_figure(curve, fn=10, fp=1, chosen={"max_f1": 0.2, "nobody": FLAG_NOBODY}),
    lambda curve: confusion_figure(curve.at(0.2)),
    lambda curve: confusion_figure(curve.at(FLAG_NOBODY)),
    score_histogram_figure,
)


def figures(curves: Curves) -> list[Figure]:
    values = {name: around(curve.average_precision()) for name, curve in curves.items()}
    of_one = [draw(next(iter(curves.values()))) for draw in OF_ONE_CURVE]
    return [
        *(draw(curves) for draw in (*OF_STRATEGIES, comparisons)),
        *of_one,
        comparison_figure(values, {}),
        difference_figure(values, "none"),
        difference_figure({}, "none"),
        importance_figure({"amount": 0.4, "$odd$ name": 0.1}),
    ]


def drawn(figure: Figure) -> bytes:
    target = BytesIO()
    figure.savefig(target, dpi=30)
    return target.getvalue()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "curves",
    [
        {name: rare(seed, 5000) for seed, name in enumerate(BUILT_IN)},
        {"perfect": exact([1, 0], [1.0, 0.0])},
        {"constant": exact([1, 0, 0], [0.1] * 3)},
        {"no positive": exact([0, 0], [0.4, 0.1])},
        {"no negative": exact([1, 1], [0.4, 0.1])},
        {"$a $b": exact([0, 1], [0.4, 0.1])},
    ],
    ids=["twelve strategies", "perfect", "constant", "no positive", "no negative", "dollars"],
)
def test_every_picture_is_drawn_without_a_warning_and_says_what_its_axes_are(curves: Curves) -> None:
    for figure in figures(curves):
        assert drawn(figure).startswith(b"\x89PNG")
        assert all(axes.get_ylabel() for axes in figure.axes)
        assert figure.axes[-1].get_xlabel()
        assert figure.axes[0].get_title()


@pytest.mark.parametrize("draw", OF_STRATEGIES)
def test_each_strategy_has_one_legend_entry_in_its_own_look(draw: Callable[[Curves], Figure]) -> None:
    legend = draw({name: rare(seed, 2000) for seed, name in enumerate(BUILT_IN)}).axes[0].get_legend()
    entries = zip(legend.get_texts(), legend.legend_handles, strict=True)
    looks = {text.get_text().split("  ")[0]: handle for text, handle in entries}
    for name in BUILT_IN:
        assert (looks[name].get_color(), looks[name].get_marker()) == (look_of(name).colour, look_of(name).marker)


def test_looks_differ_in_colour_dashes_or_mark_and_follow_from_the_name_alone() -> None:
    assert len({look_of(name) for name in BUILT_IN}) == len(BUILT_IN)
    # In grey the colours go, so dashes and marks alone tell the strategies apart.
    assert len({(look_of(name).dashes, look_of(name).marker) for name in BUILT_IN}) == len(BUILT_IN)
    assert look_of("my_own") == look_of("my_own")


def test_the_legend_ranks_strategies_by_their_value() -> None:
    curves = {"none": rare(1), "undersample": exact([1, 0], [0.9, 0.1])}
    labels = [text.get_text() for text in precision_recall_figure(curves).axes[0].get_legend().get_texts()]
    assert labels[0] == "undersample  1.0000"
    assert labels[-1].startswith("prevalence")


def test_a_long_name_does_not_squeeze_the_picture() -> None:
    for draw in (precision_recall_figure, comparisons):
        figure = draw({"a_name_of_many_words_" * 3: rare(1, 2000)})
        drawn(figure)
        assert figure.axes[0].get_position().width > 0.5


def test_precision_is_on_a_log_scale_where_a_linear_one_would_be_empty() -> None:
    assert precision_recall_figure({"none": rare(1)}).axes[0].get_yscale() == "linear"
    noise = np.random.default_rng(1).random((2, 5000))
    hopeless = ScoreCounts.from_arrays(noise[0] < 0.01, noise[1]).curve()
    figure = precision_recall_figure({"none": hopeless})
    assert (figure.axes[0].get_yscale(), figure.axes[0].get_ylabel()) == ("log", "Precision (log scale)")


def test_log_scales_have_plain_numbers_at_their_ticks() -> None:
    found: list[str] = []
    for figure in figures({"none": rare(1)}):
        drawn(figure)
        axes = [axis for one in figure.axes for axis in (one.xaxis, one.yaxis) if axis.get_scale() == "log"]
        found += [text for axis in axes for tick in axis.get_ticklabels(which="both") if (text := tick.get_text())]
    assert {"0.001", "0.01", "0.1", "1", "10", "100"} <= set(found)
    assert all(float(text) > 0.0 for text in found)


def test_corners_are_all_that_straight_lines_between_cut_offs_need() -> None:
    curve = rare(3, 3000)
    at = corners(curve)
    assert len(at) < len(curve.tp) / 10
    place, kept = curve.tp + curve.fp, (curve.tp + curve.fp)[at]
    np.testing.assert_allclose(np.interp(place, kept, curve.tp[at]), curve.tp, atol=1e-9)


def test_the_detection_error_trade_off_has_the_points_of_scikit_learn() -> None:
    draw = np.random.default_rng(3)
    label = draw.random(2000) < 0.2
    score = 1 / (1 + np.exp(-draw.normal(2.0 * label, 1.0)))
    figure = det_figure({"none": ScoreCounts.from_arrays(label, score).curve()})
    x, y = (np.asarray(values) for values in figure.axes[0].lines[0].get_data())
    alarms, misses, _ = det_curve(label, score)
    expected = set(zip(norm.ppf(alarms).round(6), norm.ppf(misses).round(6), strict=True))
    inside = (np.abs(x) < 2.5) & (np.abs(y) < 2.5)
    assert inside.sum() > 100
    assert set(zip(x[inside].round(6), y[inside].round(6), strict=True)) <= expected


def test_the_cost_curve_is_the_lowest_cost_over_that_without_a_model() -> None:
    curve = exact([1, 0, 1, 0, 0, 0], [0.9, 0.8, 0.7, 0.3, 0.2, 0.1])
    ratios, cost = cost_figure({"none": curve}, fn=10, fp=1).axes[0].lines[0].get_data()
    misses_and_alarms = [(2, 0), (1, 0), (1, 1), (0, 1), (0, 2), (0, 3), (0, 4)]
    for ratio, found in list(zip(ratios, cost, strict=True))[::20]:
        lowest = min(ratio * misses + alarms for misses, alarms in misses_and_alarms)
        assert found == pytest.approx(lowest / min(2 * ratio, 4))


def test_the_gain_of_everything_is_everything_and_its_lift_is_one() -> None:
    upper, lower = gain_figure({"none": rare(1)}).axes
    assert upper.lines[0].get_ydata()[-1] == pytest.approx(1.0)
    assert lower.lines[0].get_ydata()[-1] == pytest.approx(1.0)
    assert (lower.get_xscale(), lower.get_yscale()) == ("log", "log")


def test_marks_that_stand_too_close_share_one_label() -> None:
    chosen = {"a": 0.2, "b": 0.2001, "c": 0.9}
    upper = threshold_figure(rare(1), fn=10, fp=1, chosen=chosen).axes[0]
    assert [text.get_text() for text in upper.texts] == ["1, 2", "3"]


def test_a_group_without_positives_is_shown_as_an_upper_limit() -> None:
    label = np.zeros(4000, dtype=int)
    label[-20:] = 1
    curve = ScoreCounts.from_arrays(label, np.repeat([0.001, 0.02], 2000)).curve()
    limits = reliability_figure({"none": curve}).axes[0].lines[0]
    # Wilson's upper end of 0 in n rows is z^2 / (n + z^2).
    assert limits.get_ydata().tolist() == pytest.approx([1.96**2 / (2000 + 1.96**2)])


def test_intervals_are_drawn_in_the_look_of_their_strategy() -> None:
    figure = comparison_figure({"focal": around(0.5)}, {"focal": around(0.4)})
    whisker, dot = figure.axes[0].lines[:2]
    assert list(whisker.get_xdata()) == pytest.approx([0.4, 0.7])
    assert (whisker.get_color(), dot.get_marker()) == (look_of("focal").colour, look_of("focal").marker)


def test_the_precision_of_a_threshold_that_flags_nobody_is_told_as_undefined() -> None:
    figure = confusion_figure(ConfusionMatrix(tp=0, fp=0, tn=97, fn=3))
    assert figure.axes[0].get_title().endswith("precision undefined, recall 0")


def test_a_metric_without_a_value_is_told_as_undefined() -> None:
    figure = comparison_figure({"none": around(None), "focal": around(0.5)}, {"focal": around(math.nan)})
    assert [text.get_text() for text in figure.axes[0].texts] == ["undefined", "undefined", "0.5000", "undefined"]


def test_a_gain_is_filled_only_where_its_interval_leaves_zero_out() -> None:
    gains = {"up": around(0.3), "chance": around(0.05), "unknown": around(0.1, -math.inf, math.inf)}
    lines = difference_figure(gains, "none").axes[0].lines
    dots = {round(line.get_xdata()[0], 9): line.get_markerfacecolor() for line in lines if len(line.get_xdata()) == 1}
    assert dots == {0.3: look_of("up").colour, 0.05: "white", 0.1: "white"}


def test_ticks_of_scores_up_to_one_do_not_touch() -> None:
    score = 1 / (1 + np.exp(-np.linspace(-18, 18, 500)))
    curve = exact([*[0] * 300, *[1] * 200], score.tolist())
    for figure in (score_histogram_figure(curve), threshold_figure(curve, fn=10, fp=1)):
        figure.canvas.draw()
        labels = [label.get_window_extent() for label in figure.axes[-1].get_xticklabels()]
        assert len(labels) > 6
        assert all(left.x1 < right.x0 for left, right in itertools.pairwise(labels))
