"""The advice: its verdicts on made intervals, and on made counts of scores whose quality is known."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
from support.made_up_comparison import class_comparison, comparison_of

from imbalance_spark.comparison.advice import Advice
from imbalance_spark.comparison.compare import asked_decisions
from imbalance_spark.comparison.gains import (
    COST,
    gains_over,
    joint_level,
    of_strategy,
    positives_to_decide,
    verdict_of,
)
from imbalance_spark.comparison.report.tables import conclusions
from imbalance_spark.config.run import GateConfig, RunConfig
from imbalance_spark.core.columns import VALIDATION
from imbalance_spark.core.errors import ConfigError
from imbalance_spark.metrics.buckets import BUCKETS, BucketCounts
from imbalance_spark.metrics.counts import ScoreCounts
from imbalance_spark.metrics.intervals import Interval
from imbalance_spark.scoring.held_out_counts import HeldOutCounts, TargetCounts

METRIC = "average_precision"
PLAIN = "plain boosting with a tuned threshold (none)"


def gain(value: float, low: float, high: float, positives: int = 200) -> Interval:
    return Interval(value=value, low=low, high=high, level=0.95, standard_error=0.01, positives=positives, warning=None)


def advice(gains_: dict[str, tuple[float, float, float]], margin: float = 0.005) -> Advice:
    gains = {name: gain(*three) for name, three in gains_.items()}
    return Advice(plain="none", words=METRIC, gains=gains, margin=margin, share=0.01)


def test_a_strategy_better_beyond_chance_is_advised_and_the_others_named() -> None:
    found = advice({
        "c": (0.02, 0.001, 0.039), "b": (0.03, 0.005, 0.055), "a": (0.04, 0.01, 0.07), "d": (-0.1, -0.2, -0.01),
        "e": (0.0, -0.004, 0.004),
    })  # fmt: skip
    assert (found.use, found.better, found.reason) == ("a", ("a", "b", "c"), "better")
    gained = "+0.0400 in average_precision on validation, joint 95 % interval +0.0100 to +0.0700"
    assert found.lines() == [
        f"Use a: against {PLAIN} it gains {gained}. So do b and c.",
        "Equivalent to none within 1 %: e.",
        "Below none beyond chance: d.",
    ]


def test_a_sure_gain_precedes_a_higher_one_that_is_undecided() -> None:
    found = advice({"a": (0.05, -0.01, 0.11), "b": (0.03, 0.01, 0.05)})
    assert found.use == "b"
    assert found.lines()[0].startswith(f"Use b: against {PLAIN} it gains +0.0300")
    assert found.lines()[1].startswith("Undecided: a gains +0.0500")


def test_what_is_not_significant_is_undecided_and_says_what_would_decide() -> None:
    found = advice({"a": (0.01, -0.02, 0.04)})
    assert (found.use, found.reason) == ("none", "undecided")
    gained = "+0.0100 in average_precision on validation, 95 % interval -0.0200 to +0.0400"
    # A reach of .03 must shrink to .01: 9 times the positives.
    assert found.lines() == [
        f"Undecided: a gains {gained} over {PLAIN}. About 1,800 positive rows in validation would decide it if the "
        "gain stays as it is; there are 200. Use none until then."
    ]


def test_no_resampling_is_needed_only_where_no_gain_can_exceed_the_margin() -> None:
    found = advice({"a": (0.001, -0.002, 0.004), "b": (-0.03, -0.07, 0.003)})
    assert (found.use, found.reason) == ("none", "equivalent")
    assert found.lines() == [
        f"No resampling needed: no other strategy gains more in average_precision than the margin of 1 % over {PLAIN}. "
        "Use none.",
        "Equivalent to none within 1 %: a.",
    ]


def test_an_interval_without_ends_tells_nothing() -> None:
    found = advice({"a": (0.3, -math.inf, math.inf)})
    assert (found.use, found.reason) == ("none", "undecided")
    assert "these are too few to say how many. Use none until then." in found.lines()[0]


def test_below_ten_positives_no_strategy_is_advised_over_plain_boosting() -> None:
    few = Advice(plain="none", words=METRIC, gains={"a": gain(0.3, 0.2, 0.4, positives=5)}, margin=0.01, share=0.01)
    assert (few.use, few.reason) == ("none", "undecided")
    assert few.lines()[0].startswith("Undecided: validation has 5 positive rows, and below 10 no strategy can be")


def test_plain_boosting_alone_was_compared_with_nothing() -> None:
    [said] = advice({}).lines()
    assert said == f"Only {PLAIN} was fitted: name other strategies to learn whether one of them is better."


@pytest.mark.parametrize(("interval", "verdict"), [
    ((0.02, 0.01, 0.03), "better"), ((-0.02, -0.03, -0.01), "worse"), ((0.0, -0.005, 0.005), "equivalent"),
    ((0.001, -0.004, 0.006), "undecided"), ((-0.001, -0.006, 0.004), "undecided"),
])  # fmt: skip
def test_a_verdict_is_read_from_the_printed_interval_alone(interval: tuple[float, float, float], verdict: str) -> None:
    assert verdict_of(gain(*interval), 0.005) == verdict


def test_the_wanted_positives_are_those_of_the_nearer_of_two_decisions() -> None:
    # A gain of .001 is sooner within a margin of .005 (reach .004) than beyond 0 (reach .001).
    assert positives_to_decide(gain(0.001, -0.007, 0.009), 0.005) == 800
    assert positives_to_decide(gain(0.01, -0.01, 0.03), 0.0) == 800
    assert positives_to_decide(gain(0.0, -0.01, 0.01), 0.0) is None


@pytest.mark.parametrize(("comparisons", "level"), [(0, 0.95), (1, 0.95), (5, 0.99), (50, 0.999)])
def test_intervals_widen_with_the_number_of_comparisons(comparisons: int, level: float) -> None:
    assert joint_level(comparisons) == pytest.approx(level)


def test_the_cost_of_what_is_served_decides_and_one_joint_interval_is_shown() -> None:
    found = comparison_of({"none": 2.0, "better": 0.2, "same": 2.0})
    assert (found.deciding, found.deciding_words) == (COST, "cost saved")
    costs = {result.name: result.metrics["validation/cost"] for result in found.results}
    saved = found.savings["better"]
    assert saved.value == pytest.approx(costs["none"] - costs["better"])
    assert saved.level == pytest.approx(0.975)
    assert found.advice.gains is found.savings
    assert found.advice.use == found.best.name == "better"
    said = conclusions(found)
    assert said[0].startswith("Advised: better. At threshold")
    assert f"joint 95 % interval {saved.low:+,.0f} to {saved.high:+,.0f}" in said[1]


def test_an_objective_without_costs_leaves_the_ranking_metric_to_decide() -> None:
    by_f1 = comparison_of({"none": 2.0, "better": 0.2}, [{"name": "max_f_beta"}], "max_f1")
    assert (by_f1.deciding, by_f1.savings) == (METRIC, {})
    assert by_f1.advice.gains is by_f1.gains
    asked = comparison_of({"none": 2.0, "better": 0.2}, gate=GateConfig(decide_by="roc_auc"))
    assert asked.advice.words == "roc_auc"
    assert asked.advice.gains["better"].value == pytest.approx(
        np.subtract(*[one.curves[VALIDATION][0].roc_auc() for one in asked.results])
    )


def test_a_cost_that_no_objective_has_cannot_decide() -> None:
    orders = {"key": ("order_id",), "label": "is_fraud", "numeric": ("amount",)}
    config = RunConfig(
        name="a", output="out", orders=orders, strategies=("none",), objectives=("max_mcc",), serve_objective="max_mcc",
        gate={"decide_by": "cost"},
    )  # fmt: skip
    with pytest.raises(ConfigError, match=r"gate\.decide_by is cost, but no objective says what errors cost"):
        asked_decisions(config)


def test_three_classes_are_decided_by_their_cost_matrix() -> None:
    found = class_comparison({"none": 3.0, "better": 0.1})
    costs = {result.name: result.metrics["validation/cost"] for result in found.results}
    assert found.deciding == COST
    assert found.savings["better"].value == pytest.approx(costs["none"] - costs["better"])
    assert found.savings["better"].low < costs["none"] - costs["better"] < found.savings["better"].high
    assert found.advice.use == "better"


@pytest.mark.parametrize(("register", "registered"), [("advised", "none"), ("highest", "same")])
def test_what_is_registered_is_what_is_advised_unless_the_highest_is_asked_for(register: str, registered: str) -> None:
    found = comparison_of({"none": 1.0, "same": 0.999}, gate=GateConfig(register=register))
    assert [result.name for result in found.results] == ["same", "none"]
    assert (found.advice.use, found.best.name) == ("none", registered)
    begins = {"advised": "Advised: none.", "highest": "Highest on validation: same."}
    assert conclusions(found)[0].startswith(begins[register])


def scored(seed: int, noises: dict[str, float], intercept: float, size: int) -> dict[str, HeldOutCounts]:
    """Counts of several models of the same rows; a model's margin is the true one and noise of its own."""
    draw = np.random.default_rng(seed)
    logit = draw.normal(intercept, 3.0, size)
    label, bucket = draw.random(size) < 1 / (1 + np.exp(-logit)), draw.integers(0, BUCKETS, size)

    def counts(noise: float) -> HeldOutCounts:
        score = 1 / (1 + np.exp(-logit - noise * draw.normal(size=size)))
        halves = [bucket % 2 == number for number in (0, 1)]
        half = [ScoreCounts.from_arrays(label[mine], score[mine], exact_limit=0) for mine in halves]
        buckets = {VALIDATION: BucketCounts.from_arrays(bucket, label, score)}
        target = TargetCounts(calibrate=half[0], choose=half[1], test=half[1], buckets=buckets, segments={})
        return HeldOutCounts(targets=(target,))

    return {name: counts(noise) for name, noise in noises.items()}


def advised(held_out: dict[str, HeldOutCounts]) -> Advice:
    results = [
        SimpleNamespace(name=name, scored=SimpleNamespace(held_out=found), repeats=())
        for name, found in held_out.items()
    ]
    [plain] = [result for result in results if result.name == "none"]
    gains = gains_over(results, plain, METRIC, None)
    margin = 0.01 * of_strategy(plain.scored, METRIC, None).value
    return Advice(plain="none", words=METRIC, gains=gains, margin=margin, share=0.01)


SEVERITIES = {"1:20": (-5.8, 5_000), "1:200": (-9.3, 40_000), "1:1000": (-11.8, 200_000)}
"""Intercept and rows: some 250 positives each."""


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("seed", range(2))
def test_models_of_one_quality_give_no_reason_to_leave_plain_boosting(seed: int, severity: str) -> None:
    noises = dict.fromkeys(["none", "a", "b"], 1.0)
    found = advised(scored(seed, noises, *SEVERITIES[severity]))
    assert (found.use, found.better) == ("none", ())


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("seed", range(2))
def test_a_model_that_is_truly_better_is_advised_and_a_worse_one_is_not(seed: int, severity: str) -> None:
    noises = {"none": 4.0, "better": 0.3, "worse": 12.0}
    found = advised(scored(seed, noises, *SEVERITIES[severity]))
    assert (found.use, found.better) == ("better", ("better",))
