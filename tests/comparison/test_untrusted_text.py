"""Classes that are called like markup, formulas and markers, in every text that a comparison leaves."""

import csv
import io
import itertools

import pandas as pd
import pytest
from support import made_up_comparison

from imbalance_spark.comparison.compare import Comparison
from imbalance_spark.comparison.evidence import _description
from imbalance_spark.comparison.report.figures import comparison_figures
from imbalance_spark.comparison.report.page import html_page
from imbalance_spark.comparison.report.tables import class_table, confusion_table, csv_text, markdown_text
from imbalance_spark.metrics.plots import pngs

HOSTILE = ("=cmd|' /C calc'!A0", "<script>alert(1)</script>", "@SUM($\\frac{$)")


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    with pytest.MonkeyPatch.context() as patch:
        costs = {true: {other: 1.0 for other in HOSTILE if other != true} for true in HOSTILE}
        patch.setattr(made_up_comparison, "CLASSES", HOSTILE)
        patch.setattr(made_up_comparison, "COSTS", costs)
        return made_up_comparison.class_comparison({"none": 0.5, "class_weight": 1.0})


def test_no_cell_of_a_csv_begins_a_formula(comparison: Comparison) -> None:
    texts = [csv_text(class_table(comparison)), csv_text(confusion_table(comparison), index=True)]
    cells = [cell for text in texts for row in csv.reader(io.StringIO(text)) for cell in row]
    assert {f"'{HOSTILE[0]}", f"'{HOSTILE[2]}", HOSTILE[1]} <= set(cells)
    assert [cell for cell in cells if cell.lstrip()[:1] in ("=", "+", "@")] == []


def test_numbers_and_plain_text_of_a_csv_stay_as_they_are() -> None:
    table = pd.DataFrame({"name": ["none", " -x"], "gain": [-0.5, 1.0]}, index=["=a", "b"])
    assert csv_text(table, index=True) == ",name,gain\n'=a,none,-0.5\nb,' -x,1.0\n"


def test_markdown_of_a_name_is_text_alone() -> None:
    assert markdown_text("[a](javascript:b) `c` <img> & d_e 1.5") == (
        "\\[a\\](javascript:b) \\`c\\` &lt;img> &amp; d_e 1.5"
    )


def test_neither_page_nor_note_has_markup_of_a_class(comparison: Comparison) -> None:
    images = dict.fromkeys(comparison_figures(comparison), b"")  # one title would be a formula of TeX, a wrong one
    page = html_page(comparison, images)
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<" not in _description(comparison)


def test_no_title_of_a_plot_is_read_as_a_formula(comparison: Comparison) -> None:
    figures = comparison_figures(comparison)
    titled = {name: figure for name, figure in figures.items() if name in ("precision_recall_2", "reliability_2")}
    assert len(titled) == 2
    assert all(image.startswith(b"\x89PNG") for image in pngs(titled).values())


def test_a_formula_is_found_behind_any_white_space() -> None:
    for space, sign in itertools.product(("", " ", "\t", "\r\n"), "=+-@"):
        [[cell]] = csv.reader(
            io.StringIO(csv_text(pd.DataFrame({"x": [f"{space}{sign}1"]})).split("\n", 1)[1].rstrip("\n"))
        )
        assert cell == f"'{space}{sign}1"
