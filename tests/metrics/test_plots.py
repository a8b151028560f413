from io import BytesIO

import numpy as np
import pytest
from matplotlib.figure import Figure

from imbalance_spark.metrics import Curve, ScoreCounts
from imbalance_spark.metrics.palette import look_of
from imbalance_spark.metrics.plots import (
    comparison_figure,
    confusion_figure,
    precision_recall_figure,
    reliability_figure,
    roc_figure,
    score_histogram_figure,
    threshold_figure,
)

BUILT_IN = ("none", "undersample", "oversample", "class_weight", "scale_pos_weight", "balanced_sketch")


def rare(seed: int, rows: int = 20_000) -> Curve:
    draw = np.random.default_rng(seed)
    score = 1 / (1 + np.exp(-draw.normal(-9, 3, rows)))
    return ScoreCounts.from_arrays(draw.random(rows) < score, score).curve()


def figures(curves: dict[str, Curve]) -> list[Figure]:
    first = next(iter(curves.values()))
    values = {name: curve.average_precision() or 0.0 for name, curve in curves.items()}
    return [
        precision_recall_figure(curves),
        roc_figure(curves),
        reliability_figure(curves),
        comparison_figure(values, {}),
        comparison_figure(values, values),
        threshold_figure(first, fn=10, fp=1, chosen={"max_f1": 0.2, "nobody": 1.0000000000000002}),
        confusion_figure(first.at(0.2)),
        score_histogram_figure(first),
    ]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "curves",
    [
        {name: rare(seed) for seed, name in enumerate(BUILT_IN)},
        {"perfect": ScoreCounts.from_arrays([1, 0], [1.0, 0.0]).curve()},
        {"constant": ScoreCounts.from_arrays([1, 0, 0], [0.1] * 3).curve()},
        {"no positive": ScoreCounts.from_arrays([0, 0], [0.4, 0.1]).curve()},
    ],
    ids=["rare", "perfect", "constant", "one class"],
)
def test_every_picture_is_drawn_without_a_warning(curves: dict[str, Curve]) -> None:
    for figure in figures(curves):
        target = BytesIO()
        figure.savefig(target, dpi=30)
        assert target.getvalue().startswith(b"\x89PNG")


def test_a_strategy_looks_the_same_in_every_picture_and_unlike_the_others() -> None:
    looks = {name: look_of(name) for name in BUILT_IN}
    assert len({look.colour for look in looks.values()}) == len(BUILT_IN)
    for names in (["focal"], [*BUILT_IN, "focal"]):
        figure = precision_recall_figure({name: rare(1) for name in names})
        lines = [line for line in figure.axes[0].lines if str(line.get_label()).startswith("focal ")]
        assert [line.get_color() for line in lines] == [look_of("focal").colour]
    assert look_of("my_own") == look_of("my_own")


def test_the_legend_ranks_strategies_by_their_value() -> None:
    curves = {"none": rare(1), "undersample": ScoreCounts.from_arrays([1, 0], [0.9, 0.1]).curve()}
    labels = [text.get_text() for text in precision_recall_figure(curves).axes[0].get_legend().get_texts()]
    assert labels[0] == "undersample  1.0000"
    assert labels[-1].startswith("prevalence")
