"""The advice: its rule on made intervals, and on made counts of scores whose quality is known."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from imbalance_spark.comparison.advice import Advice, advise, joint_level
from imbalance_spark.comparison.evaluate import gains
from imbalance_spark.core.columns import VALIDATION
from imbalance_spark.metrics.buckets import BUCKETS, BucketCounts
from imbalance_spark.metrics.counts import ScoreCounts
from imbalance_spark.metrics.intervals import Interval
from imbalance_spark.scoring.held_out_counts import HeldOutCounts, TargetCounts

METRIC = "average_precision"
PLAIN = "plain boosting with a tuned threshold (none)"


def gain(value: float, low: float, high: float) -> Interval:
    return Interval(value=value, low=low, high=high, level=0.95, standard_error=0.01, positives=200, warning=None)


def advice(ranked: list[str], gains_: dict[str, tuple[float, float, float]], wider: float = 0.0) -> Advice:
    """Joint intervals reach `wider` further on both sides."""
    found = {name: gain(*three) for name, three in gains_.items()}
    joint = {name: gain(value, low - wider, high + wider) for name, (value, low, high) in gains_.items()}
    return advise(ranked, "none", found, joint)


def test_a_strategy_better_beyond_chance_is_advised_and_the_others_named() -> None:
    three = {"a": (0.04, 0.01, 0.07), "b": (0.03, 0.005, 0.055), "c": (0.02, 0.001, 0.039), "d": (-0.1, -0.2, -0.01)}
    found = advice(["a", "b", "c", "none", "d"], three)
    assert (found.use, found.winners) == ("a", ("a", "b", "c"))
    gained = "+0.0400 in average_precision on validation, 95 % interval +0.0100 to +0.0700"
    assert found.lines(METRIC) == [
        f"Use a: against {PLAIN} it gains {gained}. So do b and c.", "Below none beyond chance: d.",
    ]  # fmt: skip


def test_a_sure_gain_goes_before_a_higher_one_that_may_be_chance() -> None:
    found = advice(["a", "b", "none"], {"a": (0.05, -0.01, 0.11), "b": (0.03, 0.01, 0.05)})
    assert found.use == "b"
    assert found.lines(METRIC)[0].startswith(f"Use b: against {PLAIN} it gains +0.0300")
    assert found.lines(METRIC)[1].startswith("a scores higher than b, but may do so by chance: +0.0500")


def test_a_gain_that_chance_gives_needs_no_resampling() -> None:
    found = advice(["a", "none"], {"a": (0.01, -0.02, 0.04)})
    assert found.use == "none"
    gained = "+0.0100 in average_precision on validation, 95 % interval -0.0200 to +0.0400"
    assert found.lines(METRIC) == [
        f"No resampling needed: a gains {gained} over {PLAIN}, no more than chance gives. Use none."
    ]


def test_the_highest_of_many_must_be_beyond_the_chance_of_many() -> None:
    found = advice(["a", "b", "none"], {"a": (0.03, 0.001, 0.059), "b": (0.0, -0.1, 0.1)}, wider=0.005)
    assert found.use == "none"
    assert "which the highest of 2 strategies reaches by chance. Use none." in found.lines(METRIC)[0]


def test_plain_boosting_on_top_needs_no_resampling() -> None:
    found = advice(["none", "a"], {"a": (-0.01, -0.02, 0.01)})
    said = f"No resampling needed: no other strategy scores higher on validation than {PLAIN}."
    assert (found.use, found.lines(METRIC)) == ("none", [said])


def test_an_interval_without_ends_tells_nothing() -> None:
    found = advice(["a", "none"], {"a": (0.3, -math.inf, math.inf)})
    assert found.use == "none"
    assert found.lines(METRIC)[0].startswith(
        f"Undecided: validation has too few positives to compare a with {PLAIN}. Keep none until"
    )


def test_plain_boosting_alone_was_compared_with_nothing() -> None:
    [said] = advice(["none"], {}).lines(METRIC)
    assert said == f"Only {PLAIN} was fitted: name other strategies to learn whether one of them is better."


@pytest.mark.parametrize(("comparisons", "level"), [(0, 0.95), (1, 0.95), (5, 0.99), (50, 0.999)])
def test_intervals_widen_with_the_number_of_comparisons(comparisons: int, level: float) -> None:
    assert joint_level(comparisons) == pytest.approx(level)


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
    results = [SimpleNamespace(name=name, held_out=found) for name, found in held_out.items()]
    results.sort(key=lambda result: -result.held_out.target.validation.curve().average_precision())
    [plain] = [result for result in results if result.name == "none"]
    levels = (0.95, joint_level(len(results) - 1))
    at_level = [gains(results, plain, METRIC, level=level) for level in levels]
    return advise([result.name for result in results], "none", *at_level)


SEVERITIES = {"1:20": (-5.8, 5_000), "1:200": (-9.3, 40_000), "1:1000": (-11.8, 200_000)}
"""Intercept and rows: some 250 positives each."""


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("seed", range(2))
def test_models_of_one_quality_need_no_resampling(seed: int, severity: str) -> None:
    noises = dict.fromkeys(["none", "a", "b"], 1.0)
    assert advised(scored(seed, noises, *SEVERITIES[severity])).use == "none"


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("seed", range(2))
def test_a_model_that_is_truly_better_is_advised_and_a_worse_one_is_not(seed: int, severity: str) -> None:
    noises = {"none": 4.0, "better": 0.3, "worse": 12.0}
    found = advised(scored(seed, noises, *SEVERITIES[severity]))
    assert (found.use, found.winners) == ("better", ("better",))
