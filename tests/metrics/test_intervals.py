"""Intervals from bucket counts: against bootstraps of rows, under dependence, and for coverage of a known truth."""

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm, t
from sklearn.metrics import average_precision_score, roc_auc_score

from imbalance_spark.core.arrays import logit
from imbalance_spark.core.errors import ConfigError, DataContractError
from imbalance_spark.metrics import FLAG_NOBODY, Curve, LogitGrid, ScoreCounts, evaluate
from imbalance_spark.metrics.bucket_draws import BucketedCurve
from imbalance_spark.metrics.buckets import BUCKETS, BucketCounts
from imbalance_spark.metrics.intervals import (
    CORRELATION,
    COST,
    POSITIVE,
    RATE,
    REAL,
    Interval,
    Scale,
    bucket_intervals,
    event_size,
    jackknife_interval,
    paired_differences,
    scale_of,
    with_unseen_errors,
)
from imbalance_spark.threshold import MinCost, sweep
from imbalance_spark.threshold.choice import threshold_interval
from imbalance_spark.threshold.rule import choose_again

GRID = LogitGrid(bins=4096)
SHARE, NEGATIVE_MEAN, POSITIVE_MEAN, SPREAD = 0.03, -5.0, -2.0, 1.5
THRESHOLD = float(GRID.lower(GRID.bin_of(0.12)))  # an edge of the grid: no rounding against the truth


def numbers(curve: Curve) -> dict[str, float]:
    matrix = curve.at(THRESHOLD)
    return {
        "average_precision": curve.average_precision() or 0.0,
        "roc_auc": curve.roc_auc() or 0.0,
        "recall": matrix.recall,
        "precision": matrix.precision,
        "cost": matrix.cost(fn=10.0, fp=1.0),
    }


def bucketed(labels, scores, buckets, *, exact_limit: int = 0) -> BucketedCurve:
    counts = ScoreCounts.from_arrays(labels, scores, grid=GRID, exact_limit=exact_limit)
    return BucketedCurve(counts.curve(), BucketCounts.from_arrays(buckets, labels, scores))


def draw_rows(rows: int, seed: int, positive_mean: float = POSITIVE_MEAN) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Label, score and bucket of independent rows: normal logits, so every rate is known."""
    draw = np.random.default_rng(seed)
    label = draw.random(rows) < SHARE
    logit = np.where(label, positive_mean, NEGATIVE_MEAN) + SPREAD * draw.normal(size=rows)
    return label, 1 / (1 + np.exp(-logit)), draw.integers(0, BUCKETS, rows)


def truth(rows: int, positive_mean: float = POSITIVE_MEAN) -> dict[str, float]:
    cut = np.linspace(20, -20, 400_001)
    recall, alarms = norm.sf(cut, positive_mean, SPREAD), norm.sf(cut, NEGATIVE_MEAN, SPREAD)
    precision = SHARE * recall / (SHARE * recall + (1 - SHARE) * alarms + 1e-300)
    at = math.log(THRESHOLD / (1 - THRESHOLD))
    hit, alarm = norm.sf(at, positive_mean, SPREAD), norm.sf(at, NEGATIVE_MEAN, SPREAD)
    return {
        "average_precision": float(np.sum(np.diff(recall) * (precision[1:] + precision[:-1]) / 2)),
        "roc_auc": float(norm.cdf((positive_mean - NEGATIVE_MEAN) / SPREAD / math.sqrt(2))),
        "recall": float(hit),
        "precision": float(SHARE * hit / (SHARE * hit + (1 - SHARE) * alarm)),
        "cost": float(rows * (10 * SHARE * (1 - hit) + (1 - SHARE) * alarm)),
    }


def holds(interval: Interval, value: float) -> bool:
    return interval.low <= value <= interval.high


def test_the_interval_is_around_the_metric_of_all_rows() -> None:
    sample = bucketed(*draw_rows(5000, 1))
    expected = evaluate(sample.curve, THRESHOLD, fn=10.0)
    found = bucket_intervals(sample, lambda curve: evaluate(curve, THRESHOLD, fn=10.0))
    assert set(found) == set(expected)
    for name, interval in found.items():
        assert interval.value == expected[name]
        assert interval.low <= interval.value <= interval.high
        assert interval.standard_error > 0.0
        assert interval.positives == sample.curve.counts.positives.sum()


def test_a_draw_of_every_bucket_once_is_the_curve_itself() -> None:
    for exact_limit in (0, 1 << 20):
        sample = bucketed(*draw_rows(5000, 2), exact_limit=exact_limit)
        again = numbers(sample.draw(np.ones(BUCKETS)))
        assert again == pytest.approx(numbers(sample.curve), rel=1e-12)


def test_twice_every_bucket_is_the_same_number_of_rows() -> None:
    sample = bucketed(*draw_rows(5000, 2))
    assert numbers(sample.draw(np.full(BUCKETS, 2.0))) == pytest.approx(numbers(sample.curve), rel=1e-12)


def test_a_draw_without_a_bucket_is_near_the_curve_of_the_other_rows() -> None:
    label, score, bucket = draw_rows(20_000, 3)
    sample, kept = bucketed(label, score, bucket), bucket != 7
    rest = ScoreCounts.from_arrays(label[kept], score[kept], grid=GRID, exact_limit=0).curve()
    expected, found = numbers(rest), numbers(sample.draw(np.arange(BUCKETS) != 7))
    expected["cost"] *= len(label) / kept.sum()
    deviation = bucket_intervals(sample, numbers)
    for name, value in found.items():
        # Within a coarse bin rows are spread, not counted: a fiftieth of what chance does.
        assert value == pytest.approx(expected[name], abs=deviation[name].standard_error / 50)


def row_bootstrap(metric: Callable, label: np.ndarray, score: np.ndarray, draws: int = 300) -> float:
    draw = np.random.default_rng(0)
    rows = (draw.integers(0, len(label), len(label)) for _ in range(draws))
    return float(np.std([metric(label[chosen], score[chosen]) for chosen in rows], ddof=1))


@pytest.mark.parametrize(
    ("name", "metric"), [("average_precision", average_precision_score), ("roc_auc", roc_auc_score)]
)
def test_independent_rows_deviate_as_a_bootstrap_of_rows_says(name: str, metric: Callable) -> None:
    label, score, bucket = draw_rows(10_000, 4)
    ours = bucket_intervals(bucketed(label, score, bucket), numbers)[name]
    # 64 buckets know a standard deviation to 1 / sqrt(2 * 63) = 9 %; three of those.
    assert ours.standard_error == pytest.approx(row_bootstrap(metric, label, score), rel=0.27)


def test_rows_repeated_within_a_customer_add_no_certainty() -> None:
    label, score, bucket = draw_rows(3000, 5)
    once = bucket_intervals(bucketed(label, score, bucket), numbers)
    repeated = [np.repeat(column, 9) for column in (label, score, bucket)]
    nine_times = bucket_intervals(bucketed(*repeated), numbers)
    for name in ("average_precision", "roc_auc", "recall", "precision"):
        assert nine_times[name].low == pytest.approx(once[name].low, rel=1e-9)
        assert nine_times[name].high == pytest.approx(once[name].high, rel=1e-9)
    by_rows = row_bootstrap(average_precision_score, *repeated[:2], draws=60)
    assert nine_times["average_precision"].standard_error > 2.0 * by_rows


def test_intervals_cover_the_truth_and_so_do_paired_differences() -> None:
    rows, better, worse = 10_000, -1.9, -2.2
    expected = truth(rows, better)
    differences = {name: value - truth(rows, worse)[name] for name, value in expected.items()}
    covered: dict[str, list[bool]] = {}
    for seed in range(200):
        draw = np.random.default_rng(seed)
        label, bucket = draw.random(rows) < SHARE, draw.integers(0, BUCKETS, rows)
        common, own, others_own = draw.normal(size=(3, rows)) * SPREAD * np.sqrt([[0.8], [0.2], [0.2]])

        def scored(positive_mean: float, noise: np.ndarray, label=label, bucket=bucket) -> BucketedCurve:
            logit = np.where(label, positive_mean, NEGATIVE_MEAN) + noise
            return bucketed(label, 1 / (1 + np.exp(-logit)), bucket)

        one, other = scored(better, common + own), scored(worse, common + others_own)
        for name, interval in bucket_intervals(one, numbers).items():
            covered.setdefault(name, []).append(holds(interval, expected[name]))
        for name, interval in paired_differences(one, other, numbers).items():
            covered.setdefault(f"difference of {name}", []).append(holds(interval, differences[name]))
    shares = {name: np.mean(values) for name, values in covered.items()}
    assert len(shares) == 10
    assert all(0.90 <= share <= 0.99 for share in shares.values()), shares


def test_intervals_cover_where_rows_of_a_customer_depend_on_each_other() -> None:
    rows, customers = 9000, 1500
    expected = truth(rows)
    by_customer: list[bool] = []
    by_row: list[bool] = []
    for seed in range(200):
        draw = np.random.default_rng(seed)
        customer = draw.integers(0, customers, rows)
        label = (draw.random(customers) < SHARE)[customer]
        shared, own = draw.normal(size=customers)[customer], draw.normal(size=rows)
        noise = SPREAD * (np.sqrt(0.8) * shared + np.sqrt(0.2) * own)
        score = 1 / (1 + np.exp(-(np.where(label, POSITIVE_MEAN, NEGATIVE_MEAN) + noise)))
        for covered, group in ((by_customer, customer), (by_row, np.arange(rows)))[: 2 if seed < 50 else 1]:
            bucket = draw.permutation(group.max() + 1)[group] % BUCKETS
            found = bucket_intervals(bucketed(label, score, bucket), lambda curve: {"recall": numbers(curve)["recall"]})
            covered.append(holds(found["recall"], expected["recall"]))
    assert 0.90 <= np.mean(by_customer) <= 0.99
    assert np.mean(by_row) < 0.75


def test_thirty_positives_cover_too_and_warn() -> None:
    expected = truth(1000)["average_precision"]
    samples = (bucketed(*draw_rows(1000, 1000 + seed)) for seed in range(200))
    found = [bucket_intervals(sample, numbers)["average_precision"] for sample in samples]
    assert 0.90 <= np.mean([holds(interval, expected) for interval in found]) <= 0.99
    texts = [interval.warning or "" for interval in found]
    assert all("positive rows: intervals are wide and rough below 100" in text for text in texts)


def test_few_positives_give_a_wider_interval() -> None:
    few, many = (bucket_intervals(bucketed(*draw_rows(rows, 6)), numbers)["recall"] for rows in (1000, 30_000))
    assert few.high - few.low > 3 * (many.high - many.low)
    assert many.warning is None


def test_positives_of_few_customers_are_warned_about() -> None:
    label, score, bucket = draw_rows(10_000, 7)
    sample = bucketed(label, score, np.where(label, bucket % 5, bucket))
    warning = bucket_intervals(sample, numbers)["recall"].warning
    assert warning is not None
    assert "in only 5 of 64 buckets" in warning


def test_a_paired_difference_is_narrower_than_two_intervals() -> None:
    label, score, bucket = draw_rows(10_000, 8)
    near = 1 / (1 + (1 - score) / score * np.exp(0.2 * np.random.default_rng(9).normal(size=len(score))))
    one, other = bucketed(label, score, bucket), bucketed(label, near, bucket)
    difference = paired_differences(one, other, numbers)["average_precision"]
    alone = bucket_intervals(one, numbers)["average_precision"]
    assert difference.value == numbers(one.curve)["average_precision"] - numbers(other.curve)["average_precision"]
    assert difference.high - difference.low < (alone.high - alone.low) / 2


def test_a_model_does_not_differ_from_itself() -> None:
    sample = bucketed(*draw_rows(3000, 10))
    for interval in paired_differences(sample, sample, numbers).values():
        assert (interval.low, interval.value, interval.high) == (0.0, 0.0, 0.0)


def test_each_model_of_a_pair_may_have_its_own_threshold() -> None:
    sample = bucketed(*draw_rows(3000, 10))
    found = paired_differences(
        sample, sample, lambda curve: {"recall": curve.at(0.05).recall}, lambda curve: {"recall": curve.at(0.2).recall}
    )
    assert found["recall"].value == sample.curve.at(0.05).recall - sample.curve.at(0.2).recall
    assert found["recall"].low > 0.0


def test_models_counted_on_other_rows_are_no_pair() -> None:
    one, other = bucketed(*draw_rows(3000, 10)), bucketed(*draw_rows(3000, 11))
    with pytest.raises(DataContractError, match="hold different rows"):
        paired_differences(one, other, numbers)


def test_a_curve_and_buckets_of_other_rows_are_refused() -> None:
    sample = bucketed(*draw_rows(3000, 10))
    with pytest.raises(DataContractError, match="the curve counts 3000 rows, the buckets"):
        BucketedCurve(sample.curve, sample.buckets.only(slice(1, None, 2)))


def test_a_recall_of_one_in_every_bucket_is_not_sure() -> None:
    label, _, bucket = draw_rows(10_000, 12)
    found = bucket_intervals(bucketed(label, np.where(label, 0.9, 0.01), bucket), numbers)["recall"]
    # 64 groups all agree with chance 0.025 at a rate of 0.025^(1/64).
    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low == pytest.approx(0.025 ** (1 / 64))
    assert found.warning is not None


def test_a_recall_of_zero_in_every_bucket_is_not_sure() -> None:
    label, _, bucket = draw_rows(10_000, 12)
    found = bucket_intervals(bucketed(label, np.full(len(label), 0.01), bucket), numbers)["recall"]
    assert (found.value, found.low) == (0.0, 0.0)
    assert found.high == pytest.approx(1 - 0.025 ** (1 / 64))


def test_a_metric_that_one_bucket_alone_defines_has_the_whole_range() -> None:
    label, score, bucket = draw_rows(3000, 13)
    sample = bucketed(label, score, np.where(label, 3, bucket))
    found = bucket_intervals(sample, lambda curve: evaluate(curve, THRESHOLD))["recall"]
    assert (found.low, found.high) == (0.0, 1.0)
    assert found.warning is not None
    assert "undefined without one of the buckets" in found.warning


def test_an_undefined_metric_has_no_interval() -> None:
    sample = bucketed(*draw_rows(3000, 13))
    found = bucket_intervals(sample, lambda curve: {"recall": math.nan, "brier": curve.brier()})
    assert set(found) == {"brier"}


def test_a_higher_level_is_wider() -> None:
    sample = bucketed(*draw_rows(5000, 14))
    narrow, wide = (bucket_intervals(sample, numbers, level=level)["recall"] for level in (0.8, 0.99))
    assert wide.low < narrow.low < narrow.high < wide.high


SAMPLE = bucketed(*draw_rows(1000, 18))


def cost_interval(value: float, without: list[float], scale: Scale = COST) -> Interval:
    return jackknife_interval(value, np.array(without), scale, SAMPLE)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_cost_of_one_sign_has_the_interval_of_its_logarithm(sign: float) -> None:
    # Half of the buckets at e^(7 + a), half at e^(7 - a): squared deviations of a^2 each, a kurtosis of 1, so the
    # standard error of the logarithm is sqrt(63 / 64 * 64 a^2), on 63 degrees of freedom.
    a = 0.01
    without = sign * np.exp(7.0 + a * np.tile([1.0, -1.0], 32))
    reach = t.ppf(0.975, 63) * math.sqrt(63.0) * a
    found = cost_interval(sign * math.exp(7.0), without)
    assert sorted([abs(found.low), abs(found.high)]) == pytest.approx([math.exp(7.0 - reach), math.exp(7.0 + reach)])
    assert found.low < found.value < found.high


def test_a_cost_of_either_sign_has_an_interval_around_itself() -> None:
    # Half of the buckets at 9, half at -1: squared deviations of 25 each.
    found = cost_interval(4.0, [9.0, -1.0] * 32)
    reach = t.ppf(0.975, 63) * math.sqrt(63.0) * 5.0
    assert (found.low, found.high) == pytest.approx((4.0 - reach, 4.0 + reach))


def test_a_cost_that_one_bucket_makes_does_not_become_a_gain() -> None:
    found = cost_interval(10.0, [0.0, *[10.2] * 63])
    assert found.low == 0.0
    assert found.high > 20.0


COSTS = st.lists(st.floats(-1e6, 1e6).filter(lambda cost: cost == 0.0 or abs(cost) > 1e-6), min_size=2, max_size=64)


@settings(max_examples=60, deadline=None)
@given(COSTS, st.floats(0.5, 0.99))
def test_the_interval_of_a_gain_is_the_mirrored_interval_of_the_cost(without: list[float], level: float) -> None:
    value = float(np.mean(without))
    cost, gain = (
        jackknife_interval(sign * value, sign * np.array(without), COST, SAMPLE, level=level) for sign in (1.0, -1.0)
    )
    if any(without):
        assert (gain.low, gain.high) == pytest.approx((-cost.high, -cost.low), rel=1e-9)
        assert cost.low <= value <= cost.high
    else:
        assert (cost.low, cost.high) == (gain.low, gain.high) == (0.0, math.inf)


@pytest.mark.parametrize("scale", [COST, POSITIVE])
def test_a_cost_of_zero_in_every_bucket_has_no_upper_end(scale: Scale) -> None:
    found = cost_interval(0.0, [0.0] * 64, scale)
    assert (found.low, found.high) == (0.0, math.inf)
    assert "It is 0 in every bucket: one more row could make it any size." in str(found.warning)


@pytest.mark.parametrize("level", [0.0, 1.0, 95.0])
def test_a_level_is_a_share(level: float) -> None:
    sample = bucketed(*draw_rows(1000, 14))
    with pytest.raises(ConfigError, match=r"level must be in \(0, 1\)"):
        bucket_intervals(sample, numbers, level=level)


@pytest.mark.parametrize(
    ("name", "scale"),
    [
        ("average_precision", RATE),
        ("test/max_f1/precision", RATE),
        ("recall_at_1_percent", RATE),
        ("lift_at_1_percent", POSITIVE),
        ("f0_5", RATE),
        ("test/cost", COST),
        ("expected_cost", COST),
        ("log_loss", POSITIVE),
        ("mcc", CORRELATION),
        ("calibration_slope", REAL),
        ("fraud", REAL),
    ],
)
def test_the_scale_follows_from_the_name(name: str, scale: object) -> None:
    assert scale_of(name) is scale


def chosen(sample: BucketedCurve, fn: float = 10.0, **settings: object):
    objective = MinCost(fn=fn, fp=1.0)
    return threshold_interval(sample, lambda curve: sweep(curve, objective).threshold, objective.values, **settings)


def test_a_chosen_threshold_has_an_interval_and_a_regret() -> None:
    sample = bucketed(*draw_rows(10_000, 15))
    found = chosen(sample, draws=100)
    assert found.threshold.value == sweep(sample.curve, MinCost(fn=10.0, fp=1.0)).threshold
    assert found.threshold.low < found.threshold.value < found.threshold.high
    assert found.regret is not None
    assert 0.0 <= found.regret.low <= found.regret.value <= found.regret.high
    # A threshold of 300 positives loses little of the cost of some 1,700.
    assert found.regret.value < 0.05 * sample.curve.at(found.threshold.value).cost(fn=10.0, fp=1.0)


def test_draws_of_many_scores_are_as_those_of_every_score() -> None:
    sample = bucketed(*draw_rows(40_000, 18), exact_limit=50_000)
    coarse = sample.coarsened(LogitGrid(bins=8192))
    assert len(coarse.curve.score) < 8192 < len(sample.curve.score)
    for name in ("positives", "negatives", "positive_weight"):
        assert getattr(coarse.curve.counts, name).sum() == getattr(sample.curve.counts, name).sum()
    for threshold in coarse.curve.threshold[1::500]:
        assert coarse.curve.at(threshold) == sample.curve.at(threshold)
    choose = partial(choose_again, objective=MinCost(fn=10.0, fp=1.0))
    exact = [choose(curve) for curve in sample.draws(50, 3)]
    found = threshold_interval(sample, choose, draws=50, seed=3).threshold
    low, high = np.quantile(exact, [0.025, 0.975])
    assert logit(np.array([found.low, found.high])) == pytest.approx(logit(np.array([low, high])), abs=0.01)
    assert found.value == choose(sample.curve)


def test_the_same_seed_gives_the_same_interval() -> None:
    sample = bucketed(*draw_rows(3000, 16))
    assert chosen(sample, draws=50, seed=3) == chosen(sample, draws=50, seed=3)
    assert chosen(sample, draws=50, seed=3) != chosen(sample, draws=50, seed=4)


def test_threshold_intervals_cover_the_best_threshold() -> None:
    cut = np.linspace(-8, 4, 120_001)
    miss, alarm = norm.cdf(cut, POSITIVE_MEAN, SPREAD), norm.sf(cut, NEGATIVE_MEAN, SPREAD)
    cost = 10 * SHARE * miss + (1 - SHARE) * alarm
    best = 1 / (1 + math.exp(-cut[cost.argmin()]))
    covered = [holds(chosen(bucketed(*draw_rows(6000, seed)), draws=100).threshold, best) for seed in range(100)]
    assert 0.88 <= np.mean(covered) <= 1.0


def test_a_threshold_that_flags_nobody_has_an_interval() -> None:
    found = chosen(bucketed(*draw_rows(3000, 17)), fn=0.0, draws=50)
    assert found.threshold.low == found.threshold.value == found.threshold.high == FLAG_NOBODY
    assert found.regret is not None
    assert found.regret.high == 0.0


def test_one_positive_row_gives_an_interval_with_a_warning() -> None:
    label = np.zeros(640, dtype=bool)
    label[0] = True
    sample = bucketed(label, np.linspace(0.01, 0.9, 640), np.arange(640) % BUCKETS)
    found = threshold_interval(sample, lambda curve: sweep(curve, MinCost(fn=1.0, fp=1.0)).threshold, draws=100)
    assert found.regret is None
    assert found.threshold.warning is not None
    assert found.threshold.warning.startswith("Only 1 positive rows")


def test_too_few_draws_are_refused() -> None:
    with pytest.raises(ConfigError, match="39 draws are too few for a 95% interval"):
        chosen(bucketed(*draw_rows(3000, 17)), draws=39)


def test_a_cost_leaves_room_for_misses_that_were_not_seen() -> None:
    # Flagged are nearly all rows; of .2 misses a sample, which cost 2,000 each, four samples of five see none.
    rows, miss, held = 2_000, 2000.0, []
    for seed in range(60):
        draw = np.random.default_rng(seed)
        label, is_low = draw.random(rows) < 0.05, draw.random(rows) < 0.5
        label[is_low] = draw.random(is_low.sum()) < 2e-4
        sample = bucketed(label, np.where(is_low, 0.01, 0.9), draw.integers(0, BUCKETS, rows))
        costs = MinCost(fn=miss, fp=1)
        plain = bucket_intervals(sample, lambda curve: {"cost": curve.at(0.5).cost(fn=miss, fp=1.0)})["cost"]
        found = with_unseen_errors(plain, costs.costs.of_one_error(sample), below=False)
        assert found.low == plain.low
        true = 0.5 * rows * (0.95 + 2e-4 * miss)
        held.append((plain.low <= true <= plain.high, found.low <= true <= found.high))
    alone, with_room = np.mean(held, axis=0)
    assert alone < 0.5
    assert with_room >= 0.92


def test_room_for_unseen_errors_is_as_wide_as_the_level_asks() -> None:
    narrow = cost_interval(100.0, [99.0, 101.0] * 32)
    found = with_unseen_errors(narrow, 50.0, below=True)
    # Of a Poisson variable with that mean, nothing is seen with a chance of 2.5 %.
    events = -math.log(0.025)
    assert (found.low, found.high) == pytest.approx((100.0 - 50.0 * events, 100.0 + 50.0 * events))
    assert with_unseen_errors(narrow, 1e-9, below=True) == narrow
    never = cost_interval(5.0, [5.0] * 64)
    assert with_unseen_errors(never, 50.0, below=True) == never


def test_the_size_of_an_event_is_that_of_independent_groups() -> None:
    draw = np.random.default_rng(3)
    sizes = draw.choice([1.0, 4.0], 200_000, p=[0.8, 0.2])
    alone = np.bincount(draw.integers(0, 20_000, len(sizes)), sizes)
    assert event_size(alone) == pytest.approx((sizes**2).sum() / sizes.sum(), rel=0.03)
    in_fives = np.bincount(draw.integers(0, 20_000, len(sizes) // 5), 5.0 * np.ones(len(sizes) // 5))
    assert event_size(in_fives) == pytest.approx(5.0, rel=0.03)
    assert event_size(np.zeros(64)) == event_size(np.ones(1)) == 0.0
