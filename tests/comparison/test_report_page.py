"""The page and the pictures of a comparison that was judged on made-up scores."""

import re
from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import pytest

from imbalance_spark.comparison.compare import Comparison
from imbalance_spark.comparison.evaluate import gains, judge
from imbalance_spark.comparison.report.figures import comparison_figures, strategy_figures
from imbalance_spark.comparison.report.page import html_page
from imbalance_spark.comparison.report.tables import conclusions
from imbalance_spark.core.columns import TEST, VALIDATION
from imbalance_spark.metrics import ScoreCounts
from imbalance_spark.metrics.buckets import BUCKETS, BucketCounts
from imbalance_spark.metrics.evaluate import majority_baseline, matrix_metrics
from imbalance_spark.orders.diagnosis import diagnose
from imbalance_spark.scoring.held_out_counts import TargetCounts
from imbalance_spark.threshold.objectives import MaxFBeta, MinCost

OBJECTIVES = (MinCost(fn=10, fp=1), MaxFBeta(beta=1.0))
ODD_NAME = "<script>alert(1)</script>"


@dataclass(frozen=True)
class Rows:
    label: np.ndarray
    score: np.ndarray
    bucket: np.ndarray

    def counts(self, chosen: np.ndarray) -> ScoreCounts:
        return ScoreCounts.from_arrays(self.label[chosen], self.score[chosen], exact_limit=0)

    def buckets(self) -> BucketCounts:
        return BucketCounts.from_arrays(self.bucket, self.label, self.score)


def rows(seed: int, noise: float, size: int = 6000) -> Rows:
    draw = np.random.default_rng(seed)
    logit = draw.normal(-5, 2, size)
    label = draw.random(size) < 1 / (1 + np.exp(-logit))
    bucket = draw.integers(0, BUCKETS, size)
    score = 1 / (1 + np.exp(-logit - noise * draw.normal(size=size)))
    return Rows(label, score, bucket)


def held_out(noise: float) -> TargetCounts:
    validation, test = rows(1, noise), rows(2, noise)
    return TargetCounts(
        calibrate=validation.counts(validation.bucket % 2 == 0),
        choose=validation.counts(validation.bucket % 2 == 1),
        test=test.counts(test.bucket >= 0),
        buckets={VALIDATION: validation.buckets(), TEST: test.buckets()},
        segments={},
    )


def comparison_of(noises: dict[str, float]) -> Comparison:
    neighbours = {"1": {"sentence": f"40 rows made for {ODD_NAME}"}}
    fitted = {
        name: SimpleNamespace(config=SimpleNamespace(name=name, kind="none"), neighbours=neighbours) for name in noises
    }
    serve = OBJECTIVES[0].name
    results = [judge(fitted[name], held_out(noise), OBJECTIVES, serve) for name, noise in noises.items()]
    objectives = [{"name": "min_cost", "fn": 10, "fp": 1}]
    prepared = SimpleNamespace(
        run=SimpleNamespace(run_id="run"), diagnosis=diagnose({0: 990, 1: 10}), warnings=(f"odd {ODD_NAME}",)
    )
    gate = SimpleNamespace(metric="average_precision")
    plain = next(result for result in results if result.name == "none")
    return Comparison(
        config=SimpleNamespace(
            name=ODD_NAME,
            serve_objective=serve,
            gate=gate,
            objectives=objectives,
            orders=SimpleNamespace(time=None),
            training=SimpleNamespace(early_stopping_metric="log_loss"),
        ),
        prepared=prepared,
        results=tuple(sorted(results, key=lambda result: -result.metrics["validation/average_precision"])),
        plain=plain,
        gains=gains(results, plain, "average_precision"),
        baseline=matrix_metrics(majority_baseline(plain.curves[TEST]), fn=10, fp=1),
    )


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    return comparison_of({"none": 1.0, "class_weight": 2.0, ODD_NAME: 0.5})


@pytest.fixture(scope="module")
def page(comparison: Comparison) -> str:
    return html_page(comparison, comparison_figures(comparison))


def test_the_page_answers_first_and_then_says_what_the_answer_rests_on(page: str) -> None:
    sections = re.findall(r'<section[^>]* ?id="([a-z-]+)"', page)
    assert sections == ["answer", "strategies", "operating-point", "curves", "probabilities", "imbalance", "thresholds"]
    answer = page[page.index('id="answer"') : page.index('id="strategies"')]
    assert "At threshold" in answer
    assert "cost" in answer


def test_no_name_is_read_as_markup(page: str) -> None:
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;: run" in page


def test_average_precision_stands_beside_its_interval_and_its_certified_bracket(
    comparison: Comparison, page: str
) -> None:
    for result in comparison.results:
        bracket = result.curves[TEST].average_precision_bracket()
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
    assert "certified" in html_page(alone, figures)
    own = strategy_figures(alone, alone.best)
    assert set(own) == (set(figures) - {"comparison", "thresholds"}) | {"threshold"}


def test_a_recall_without_positives_is_called_undefined() -> None:
    found = comparison_of({"none": 0.5})
    serving = found.config.serve_objective
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
