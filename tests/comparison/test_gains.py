"""Paired gains: their intervals, and what repeated fits add to them."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import t
from support.made_up_comparison import class_comparison, comparison_of

from imbalance_spark.comparison.compare import Comparison
from imbalance_spark.comparison.gains import (
    Jackknifed,
    gains_over,
    of_strategy,
    paired_gain,
    repeated_gain,
    training_spread,
    verdict_of,
)
from imbalance_spark.comparison.scored_strategy import ScoredStrategy
from imbalance_spark.metrics.intervals import degrees_of_freedom

COST, AP = "cost", "average_precision"


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    return comparison_of({"none": 1.5, "other": 1.0})


def again(fits: Comparison, name: str) -> ScoredStrategy:
    """A strategy of another comparison as a further fit."""
    return next(one.scored for one in fits.results if one.name == name)


def numbers(value: float, like: Jackknifed, seed: int) -> Jackknifed:
    return replace(like, value=value, without=value + 0.001 * np.random.default_rng(seed).normal(size=64))


def test_the_cost_of_a_fit_is_additive_over_its_buckets(comparison: Comparison) -> None:
    saved = comparison.savings["other"]
    assert saved.value == pytest.approx(
        np.subtract(*[r.metrics["validation/cost"] for r in sorted(comparison.results, key=lambda r: r.name)])
    )
    assert saved.low < saved.value < saved.high
    assert saved.high - saved.value == pytest.approx(saved.value - saved.low)


def test_a_further_fit_is_paired_with_that_of_plain_boosting(comparison: Comparison) -> None:
    second = comparison_of({"none": 1.6, "other": 0.9})
    results = [replace(one, repeats=(again(second, one.name),)) for one in comparison.results]
    plain = next(one for one in results if one.name == "none")
    for metric, firsts in ((AP, comparison.gains), (COST, comparison.savings)):
        found = gains_over(results, plain, metric, comparison.decisions)["other"]
        seconds = second.gains if metric == AP else second.savings
        assert found.value == pytest.approx((firsts["other"].value + seconds["other"].value) / 2)
        assert training_spread(comparison.plain, metric, comparison.decisions) is None
        spread = training_spread(plain, metric, comparison.decisions)
        assert spread is not None
        assert spread > 0.0


def test_the_spread_of_training_widens_the_interval_by_its_own_degrees_of_freedom(comparison: Comparison) -> None:
    like = of_strategy(comparison.plain.scored, AP, comparison.decisions)
    ones = [numbers(value, like, 1) for value in (0.50, 0.56, 0.53)]
    others = [numbers(value, like, 2) for value in (0.49, 0.50, 0.48)]
    alone = paired_gain(ones[0], others[0], is_loss=False, level=0.95)
    found = repeated_gain(ones, others, is_loss=False, level=0.95)
    # Gains of .01, .06 and .05: their mean is .04, its variance .0007 / 3.
    of_fits, of_rows = 0.0007 / 3.0, alone.standard_error**2
    rows_df = degrees_of_freedom(ones[0].without - others[0].without)
    df = (of_fits + of_rows) ** 2 / (of_fits**2 / 2.0 + of_rows**2 / rows_df)
    assert found.value == pytest.approx(0.04)
    assert found.standard_error == pytest.approx(math.sqrt(of_fits + of_rows))
    assert found.high - found.value == pytest.approx(t.ppf(0.975, df) * found.standard_error)
    assert repeated_gain(ones[:1], others[:1], is_loss=False, level=0.95) == alone


def test_a_saving_smaller_than_a_few_unseen_misses_is_undecided(comparison: Comparison) -> None:
    # The one flags 1,000 honest orders fewer, and misses nothing in this sample; a miss costs 2,000.
    like = of_strategy(comparison.plain.scored, COST, comparison.decisions)
    one, other = (numbers(value, like, seed) for value, seed in ((4_000.0, 1), (5_000.0, 2)))
    for of_one_error, wanted in ((0.0, "better"), (2_000.0, "undecided"), (20.0, "better")):
        pair = [replace(fit, of_one_error=of_one_error) for fit in (one, other)]
        gain = paired_gain(*pair, is_loss=True, level=0.95)
        assert verdict_of(gain, 10.0) == wanted
        again = [replace(fit, value=fit.value + 1.0) for fit in pair]
        repeated = repeated_gain((pair[0], again[0]), (pair[1], again[1]), is_loss=True, level=0.95)
        assert verdict_of(repeated, 10.0) == wanted


def test_the_cost_of_one_error_is_that_of_the_class_of_largest_costs(comparison: Comparison) -> None:
    of_binary = of_strategy(comparison.plain.scored, COST, comparison.decisions).of_one_error
    assert of_binary == pytest.approx(10.0, rel=0.5)
    assert of_strategy(comparison.plain.scored, AP, comparison.decisions).of_one_error == 0.0
    by_class = class_comparison({"none": 1.0})
    assert of_strategy(by_class.plain.scored, COST, by_class.decisions).of_one_error == pytest.approx(80.0, rel=0.5)
