"""The page and the pictures of a comparison that was judged on made-up scores."""

import json
import re
from dataclasses import replace

import pytest
from support.made_up_comparison import ODD_NAME, class_comparison, comparison_of

from imbalance_spark.comparison.compare import Comparison
from imbalance_spark.comparison.report.figures import comparison_figures, strategy_figures
from imbalance_spark.comparison.report.page import html_page, page_content
from imbalance_spark.comparison.report.render import render_page
from imbalance_spark.comparison.report.tables import class_table, comparison_table, conclusions, markdown_table
from imbalance_spark.core.columns import TEST
from imbalance_spark.core.errors import DataContractError
from imbalance_spark.metrics.plots import pngs


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    return comparison_of({"none": 1.0, "class_weight": 2.0, ODD_NAME: 0.5})


@pytest.fixture(scope="module")
def page(comparison: Comparison) -> str:
    return html_page(comparison, pngs(comparison_figures(comparison)))


def test_the_page_answers_first_and_then_says_what_the_answer_rests_on(page: str) -> None:
    sections = re.findall(r'<section[^>]* ?id="([a-z-]+)"', page)
    assert sections == [
        *("answer", "strategies", "operating-point", "explorer"),
        *("curves", "probabilities", "features", "imbalance", "thresholds"),
    ]
    answer = page[page.index('id="answer"') : page.index('id="strategies"')]
    assert "At threshold" in answer
    assert "cost" in answer


def test_no_name_is_read_as_markup(page: str) -> None:
    # The explorer's own data and code are the only scripts.
    assert re.findall(r"<script[^>]*>", page) == ['<script type="application/json" id="explorer-data">', "<script>"]
    assert "&lt;script&gt;alert(1)&lt;/script&gt;: run" in page


@pytest.mark.parametrize("kind", ["comparison", "of_classes"])
def test_the_page_is_made_again_from_json_and_pictures(kind: str, request: pytest.FixtureRequest) -> None:
    made_up = request.getfixturevalue(kind)
    images = pngs(comparison_figures(made_up))
    commands = {"none": "python jobs/retune.py --run abc"}
    content = json.loads(json.dumps(page_content(made_up, commands), allow_nan=False))
    assert render_page(content, images) == html_page(made_up, images, commands)
    with pytest.raises(DataContractError, match="layout 0, this version makes pages of layout 1"):
        render_page(content | {"layout": 0}, images)


def test_average_precision_stands_beside_its_interval_and_its_certified_bracket(
    comparison: Comparison, page: str
) -> None:
    for result in comparison.results:
        bracket = result.curves[TEST][0].average_precision_bracket()
        assert bracket is not None
        assert f"certified: {bracket.low:.6f} to {bracket.high:.6f}" in page
        interval = result.intervals["test/average_precision"]
        assert f"95 %: {interval.low:.4g} to {interval.high:.4g}" in page


def test_every_picture_of_the_comparison_is_on_the_page_once(comparison: Comparison, page: str) -> None:
    names = set(comparison_figures(comparison))
    assert names >= {"comparison", "gain_over_plain", "cost", "detection_error_tradeoff", "gain_and_lift", "scores"}
    assert page.count("<img ") == page.count("data:image/png;base64,") == len(names)


def test_one_strategy_has_no_gain_over_itself_but_all_its_own_pictures() -> None:
    alone = comparison_of({"none": 1.0})
    figures = comparison_figures(alone)
    assert "gain_over_plain" not in figures
    assert "certified" in html_page(alone, pngs(figures))
    own = strategy_figures(alone, alone.best)
    assert set(own) == (set(figures) - {"comparison", "thresholds"}) | {"threshold"}


def test_a_recall_without_positives_is_called_undefined() -> None:
    found = comparison_of({"none": 0.5})
    serving = found.serving
    metrics = {name: value for name, value in found.best.metrics.items() if name != f"{TEST}/{serving}/recall"}
    best = replace(found.best, metrics=metrics)
    baseline = {**found.baseline, "recall": float("nan")}
    without = replace(found, results=(best,), plain=best, baseline=baseline)
    said = " ".join(conclusions(without))
    assert "recall undefined, cost" in said
    assert "recall undefined." in said
    assert "nan" not in said


def test_what_is_known_of_neighbours_is_said_for_each_strategy(comparison: Comparison, page: str) -> None:
    assert page.count(", class 1: 40 rows made for &lt;script&gt;") == len(comparison.results)


@pytest.fixture(scope="module")
def of_classes() -> Comparison:
    return class_comparison({"none": 0.5, "oversample": 2.0})


def test_the_page_of_three_classes_has_the_same_sections_and_those_of_classes(of_classes: Comparison) -> None:
    figures = comparison_figures(of_classes)
    page = html_page(of_classes, pngs(figures))
    sections = re.findall(r'<section[^>]* ?id="([a-z-]+)"', page)
    assert sections == [
        "answer", "strategies", "operating-point", "classes", "costs", "curves", "probabilities", "imbalance", "rules",
        "thresholds",
    ]  # fmt: skip
    assert page.count("<img ") == len(figures)
    for said in ("decided by cost_matrix", "What errors cost", "as fraud", "max_f1", "argmax", "certified: "):
        assert said in page
    assert "likeliest" not in page


def test_three_classes_are_ranked_and_advised_by_the_macro_average(of_classes: Comparison) -> None:
    ranked = [result.metrics["validation/macro_average_precision"] for result in of_classes.results]
    assert ranked == sorted(ranked, reverse=True)
    said = " ".join(conclusions(of_classes))
    assert "Deciding by argmax would give macro recall" in said
    assert of_classes.best.name == of_classes.plain.name == "none"
    assert "No resampling needed" in said
    each = [of_classes.best.metrics[f"validation/average_precision/{name}"] for name in of_classes.classes]
    assert ranked[0] == pytest.approx(sum(each) / 3)


def test_the_table_of_classes_has_a_threshold_only_where_one_was_chosen(of_classes: Comparison) -> None:
    assert "threshold" not in class_table(of_classes)  # a cost matrix decides
    by_thresholds = replace(of_classes, decisions=replace(of_classes.decisions, serve_objective="max_f1"))
    thresholds = class_table(by_thresholds)["threshold"].tolist()
    assert thresholds[0] == "else"  # the largest class
    assert all(0.0 < threshold < 1.0 for threshold in thresholds[1:])


def test_people_read_of_a_confidence_interval_where_files_keep_their_column(comparison: Comparison) -> None:
    assert "95 % of it" in comparison_table(comparison)
    assert "95 %\u00a0CI" in markdown_table(comparison) or "95 % CI" in markdown_table(comparison)
