"""The report's threshold explorer: its numbers are the library's, in its data and in a real browser."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from selenium.webdriver import Chrome
from support import chromium
from support.made_up_comparison import class_comparison, comparison_of

from imbalance_spark.comparison.compare import Comparison
from imbalance_spark.comparison.evaluate import StrategyResult
from imbalance_spark.comparison.report.explorer import explorer_data
from imbalance_spark.comparison.report.page import html_page
from imbalance_spark.core.columns import VALIDATION
from imbalance_spark.metrics.bucket_draws import BucketedCurve, rate_errors
from imbalance_spark.threshold import BayesCost, MinCost
from imbalance_spark.threshold.change import ThresholdOutcome, at_base_rate, change_threshold, outcome_at
from imbalance_spark.threshold.choice import cut_at

SCREENSHOTS = Path(__file__).parents[2] / "build" / "screenshots"
COMMAND = "python jobs/retune.py --run r1 --tracking-uri sqlite:///mlflow.db"

SET = """
const root = document.getElementById("explorer");
for (const [name, value] of arguments[0]) {
  const control = root.querySelector(`[data-id="${name}"]`);
  control.value = value;
  control.dispatchEvent(new Event(name === "strategy" ? "change" : "input"));
}
const found = {command: root.querySelector('[data-id="command"]').textContent};
root.querySelectorAll("[data-value]").forEach((cell) => { found[cell.dataset.id] = cell.dataset.value; });
return found;
"""


@dataclass(frozen=True)
class Asked:
    """Where the explorer stands."""

    strategy: int
    position: int
    fn: float
    fp: float
    rate: float
    per_day: float

    def controls(self) -> list[tuple[str, float]]:
        # The strategy first: it brings its own positions.
        return [
            ("strategy", self.strategy), ("position", self.position), ("fn", self.fn), ("fp", self.fp),
            ("rate", self.rate), ("per-day", self.per_day),
        ]  # fmt: skip


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    return comparison_of({"none": 1.0, "class_weight": 2.0})


@pytest.fixture(scope="module")
def data(comparison: Comparison) -> dict[str, Any]:
    found = explorer_data(comparison, {"none": COMMAND})
    assert found is not None
    return found


@pytest.fixture(scope="module")
def browser(comparison: Comparison, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    page = tmp_path_factory.mktemp("page") / "report.html"
    page.write_text(html_page(comparison, {}, {"none": COMMAND}), "utf-8")
    with chromium.running(*chromium.binaries()) as browser:
        browser.get(page.as_uri())
        yield browser


def _sample(result: StrategyResult) -> BucketedCurve:
    return result.held_out.bucketed(VALIDATION, result.calibration.calibrator.apply)[0]


def test_counts_at_every_listed_threshold_are_those_of_the_curve(comparison: Comparison, data: dict[str, Any]) -> None:
    for result, strategy in zip(comparison.results, data["strategies"], strict=True):
        curve = _sample(result).curve
        matrices = [curve.at(threshold) for threshold in strategy["threshold"]]
        assert [matrix.tp for matrix in matrices] == strategy["tp"]
        assert [matrix.fp for matrix in matrices] == strategy["fp"]
        assert strategy["tp"][0] == strategy["fp"][0] == 0.0
        assert strategy["tp"][-1] == curve.positives
        assert {name: strategy["threshold"][place] for name, place in strategy["chosen"].items()} == {
            name: found.by_target[0].threshold for name, found in result.chosen.items()
        }


def test_rate_errors_are_those_of_leaving_out_each_bucket(comparison: Comparison) -> None:
    sample = _sample(comparison.best)
    cuts = [cut_at(sample.curve, threshold) for threshold in (0.5, 0.1, 0.02)]
    found = rate_errors(sample, cuts)
    left = [(curve.recall[cuts], curve.false_positive_rate[cuts]) for curve in sample.without_each()]
    tpr, fpr = (np.array(rates) for rates in zip(*left, strict=True))
    times = (len(tpr) - 1) ** 2 / len(tpr)
    # The jackknife is the linear error up to terms of 1 / buckets.
    np.testing.assert_allclose(found.tpr_variance, times * tpr.var(axis=0, ddof=1), rtol=0.05)
    np.testing.assert_allclose(found.fpr_variance, times * fpr.var(axis=0, ddof=1), rtol=0.05)
    for number, covariance in enumerate(found.covariance):
        of_both = times * np.cov(tpr[:, number], fpr[:, number])[0, 1]
        scale = np.sqrt(found.tpr_variance[number] * found.fpr_variance[number])
        assert abs(covariance - of_both) < 0.05 * scale


def test_several_classes_have_no_explorer() -> None:
    assert explorer_data(class_comparison({"none": 1.0}), {}) is None


def test_its_numbers_in_a_browser_are_those_of_the_library(
    browser: Chrome, comparison: Comparison, data: dict[str, Any]
) -> None:
    draw = np.random.default_rng(5)
    for _ in range(50):
        strategy = int(draw.integers(len(data["strategies"])))
        asked = Asked(
            strategy=strategy, position=int(draw.integers(len(data["strategies"][strategy]["threshold"]))),
            fn=float(draw.uniform(1, 500)), fp=float(draw.uniform(0.5, 5)), rate=float(draw.uniform(0.001, 0.3)),
            per_day=float(draw.integers(10, 100_000)),
        )  # fmt: skip
        shown = browser.execute_script(SET, asked.controls())
        expected, days = _by_the_library(comparison, data, asked)
        assert float(shown["threshold"]) == expected.threshold
        assert float(shown["recall"]) == pytest.approx(expected.recall, rel=1e-9, abs=1e-12)
        assert (float(shown["precision"]) if shown["precision"] else None) == pytest.approx(
            expected.precision, rel=1e-9
        )
        assert float(shown["alerts"]) == pytest.approx(expected.alerts_per_day, rel=1e-9)
        assert expected.cost is not None
        assert float(shown["cost"]) == pytest.approx(expected.cost / days, rel=1e-9)


def _by_the_library(comparison: Comparison, data: dict[str, Any], asked: Asked) -> tuple[ThresholdOutcome, float]:
    curve = _sample(comparison.results[asked.strategy]).curve
    threshold = data["strategies"][asked.strategy]["threshold"][asked.position]
    days = float(curve.flagged_rows[-1]) / asked.per_day
    moved, costs = at_base_rate(curve, asked.rate), MinCost(fn=asked.fn, fp=asked.fp)
    return outcome_at(threshold, cut_at(curve, threshold), moved, costs, days), days


def test_its_command_retunes_to_the_threshold_where_one_stands(
    browser: Chrome, comparison: Comparison, data: dict[str, Any]
) -> None:
    curve, positions = _sample(comparison.results[0]).curve, data["strategies"][0]["threshold"]
    for position in range(1, len(positions), 40):
        asked = Asked(strategy=0, position=position, fn=10, fp=1, rate=0.02, per_day=500)
        command = browser.execute_script(SET, asked.controls())["command"]
        assert command.startswith(COMMAND if data["strategies"][0]["command"] else "python jobs/retune.py --run RUN_ID")
        options = dict(re.findall(r"--([a-z-]+) (\S+)", command))
        assert options["objective"] == "bayes_cost"
        change = change_threshold(
            curve, BayesCost(fn=float(options["fn"]), fp=float(options["fp"])), old_threshold=0.5,
            base_rate=float(options["base-rate"]),
        )  # fmt: skip
        assert change.after.threshold == pytest.approx(positions[position], rel=1e-9)
        assert change.after.alerts == at_base_rate(curve, 0.02).alerts[cut_at(curve, positions[position])]


def test_intervals_of_recall_widen_where_fewer_positives_are(browser: Chrome, data: dict[str, Any]) -> None:
    """Read off the page: it holds the value, between 0 and 1, and is near the library's jackknife interval."""
    place = data["strategies"][0]["chosen"][data["serving"]]
    browser.execute_script(SET, Asked(0, place, 10, 1, 0.02, 500).controls())
    low, value, high = browser.execute_script(
        "const c = document.querySelector('#explorer [data-id=recall]').dataset;"
        "return [Number(c.low), Number(c.value), Number(c.high)];"
    )
    assert 0.0 < low < value < high < 1.0
    errors = data["strategies"][0]["errors"]
    reach = errors["quantile"] * np.sqrt(errors["tpr_variance"][place]) / (value * (1.0 - value))
    assert np.log(high / (1.0 - high)) == pytest.approx(np.log(value / (1.0 - value)) + reach, rel=1e-9)


def test_the_interval_of_a_cost_has_room_for_misses_that_were_not_seen(browser: Chrome, data: dict[str, Any]) -> None:
    strategy = data["strategies"][0]
    place = next(number for number, tp in enumerate(strategy["tp"]) if tp == strategy["positives"])
    rate = strategy["positives"] / strategy["rows"]
    browser.execute_script(SET, Asked(0, place, 2000, 1, rate, 500).controls())
    low, value, high = browser.execute_script(
        "const c = document.querySelector('#explorer [data-id=cost]').dataset;"
        "return [Number(c.low), Number(c.value), Number(c.high)];"
    )
    # Rows are independent: up to 3.7 positives, 2,000 each, where none of them was missed.
    days = strategy["rows"] / 500
    assert high - value == pytest.approx(-np.log(0.025) * 2000 / days, rel=0.5)
    assert value - low < 0.1 * (high - value)


def test_the_keyboard_moves_the_threshold(browser: Chrome) -> None:
    slider = browser.find_element("css selector", '[data-id="position"]')
    browser.execute_script(SET, Asked(0, 40, 10, 1, 0.02, 500).controls())
    before = browser.find_element("css selector", '[data-id="threshold"]').get_attribute("data-value")
    slider.send_keys("\ue014")  # the right arrow
    after = browser.find_element("css selector", '[data-id="threshold"]').get_attribute("data-value")
    assert before
    assert after
    assert float(after) < float(before)
    button = browser.find_element("css selector", '[data-id="chosen"] button')
    button.send_keys("\ue007")  # Enter
    assert browser.find_element("css selector", '[data-id="threshold"]').get_attribute("data-value") != after


@pytest.mark.parametrize(("name", "width", "scheme"), [("wide", 1280, "light"), ("phone", 390, "dark")])
def test_the_page_fits_a_screen_and_a_phone(browser: Chrome, name: str, width: int, scheme: str) -> None:
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    size = {"width": width, "height": 1400, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.execute_script("document.getElementById('explorer').scrollIntoView()")
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    assert browser.save_screenshot(str(SCREENSHOTS / f"explorer_{name}.png"))
    wider = browser.execute_script("return document.documentElement.scrollWidth - window.innerWidth")
    assert wider <= 0


def test_the_page_of_six_strategies_stays_light_and_asks_no_other_host() -> None:
    noises = {name: 0.5 + 0.2 * number for number, name in enumerate(("none", "a", "b", "c", "d", "e"))}
    data = explorer_data(comparison_of(noises), {})
    assert len(json.dumps(data)) < 1_000_000  # the figures take about as much again
    page = html_page(comparison_of({"none": 1.0}), {})
    assert re.findall(r"(?:src|href)=\"(?!data:)[^\"]*\"", page) == []
    assert "https://" not in page
