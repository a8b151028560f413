"""Estimates without labels: equal to sums over rows, and as uncertain as many days show."""

import numpy as np
import pytest

from benchmarks.shifted_days import COSTS, KINDS, THRESHOLD, Model, concept_shifted, unshifted
from imbalance_spark.core.arrays import FloatArray, logit, sigmoid
from imbalance_spark.core.errors import DataContractError
from imbalance_spark.metrics.counts import ScoreCounts
from imbalance_spark.monitoring.cells import LabelledCells, ScoreCells
from imbalance_spark.monitoring.expected import METRICS, Estimate, contradiction, drawn_positives, expected, realised


@pytest.fixture(scope="module")
def model() -> Model:
    return Model.fitted(np.random.default_rng(1), 60_000, draws=200)


def _rows(rows: int = 3_000) -> tuple[FloatArray, FloatArray]:
    random = np.random.default_rng(2)
    p = sigmoid(random.normal(-3.0, 2.0, rows))
    return p, (random.random(rows) < p).astype(np.float64)


def test_expected_metrics_are_the_sums_over_rows_of_cbpe(model: Model) -> None:
    p, _ = _rows()
    above = p >= THRESHOLD
    found = expected(ScoreCells.of_rows(p, above), model.reference, COSTS)
    assert found["precision"].value == pytest.approx(p[above].sum() / above.sum(), rel=1e-12)
    assert found["recall"].value == pytest.approx(p[above].sum() / p.sum(), rel=1e-12)
    assert found["positives"].value == pytest.approx(p.sum(), rel=1e-12)
    cost = COSTS.fn * p[~above].sum() + COSTS.fp * (1.0 - p[above]).sum()
    assert found["cost"].value == pytest.approx(cost, rel=1e-12)


def test_realised_metrics_are_those_of_the_curve() -> None:
    p, label = _rows()
    day = LabelledCells.of_rows(label, p, p >= THRESHOLD)
    found = realised(day.cells, day.positives, COSTS)
    matrix = ScoreCounts.from_arrays(label, p).curve().at(THRESHOLD)
    assert (found["precision"], found["recall"]) == pytest.approx((matrix.precision, matrix.recall), rel=1e-12)
    assert found["cost"] == pytest.approx(COSTS.fn * matrix.fn + COSTS.fp * matrix.fp, rel=1e-12)
    in_cells = ScoreCounts.from_arrays(label, np.round(logit(p), 2) / 40 + 0.5).curve()  # as coarse as the cells
    assert found["average_precision"] == pytest.approx(in_cells.average_precision(), abs=2e-3)


def test_drawn_positives_have_the_variance_of_poisson_binomial_counts(model: Model) -> None:
    p, _ = _rows()
    sure = Model.fitted(np.random.default_rng(3), 4_000_000 // 10, draws=2_000).reference
    day = ScoreCells.of_rows(p, p >= THRESHOLD)
    totals = drawn_positives(day, sure, seed=1).sum(axis=1)
    of_labels = float((p * (1.0 - p)).sum())
    assert of_labels < totals.var() < 1.6 * of_labels  # the rest is the calibration's
    unsure = drawn_positives(day, model.reference, seed=1).sum(axis=1)
    assert unsure.var() > 2.0 * totals.var()


def test_a_day_without_alerts_has_no_precision(model: Model) -> None:
    day = ScoreCells.of_rows(np.full(50, 0.001), np.zeros(50, dtype=bool))
    found = expected(day, model.reference, COSTS)
    assert found["precision"] == Estimate(value=None)
    assert found["recall"].value == 0.0


def test_a_day_without_orders_is_refused_in_words() -> None:
    with pytest.raises(DataContractError, match="no scored order to estimate from"):
        ScoreCells.of_rows([], [])


def test_a_reference_of_one_class_is_refused_in_words() -> None:
    with pytest.raises(DataContractError, match="no positive row among the model's validation rows"):
        LabelledCells.of_curve(ScoreCounts.from_arrays([0, 0], [0.1, 0.2]).curve(), 0.5)


def test_cells_of_a_curve_are_those_of_its_rows() -> None:
    p, label = _rows()
    ours = LabelledCells.of_rows(label, p, p >= THRESHOLD)
    theirs = LabelledCells.of_curve(ScoreCounts.from_arrays(label, p).curve(), THRESHOLD)
    np.testing.assert_allclose(theirs.cells.probability, ours.cells.probability, rtol=1e-12)
    np.testing.assert_array_equal(theirs.positives, ours.positives)
    np.testing.assert_array_equal(theirs.cells.flagged, ours.cells.flagged)


@pytest.mark.parametrize("kind", ["none", "covariate"])
def test_intervals_hold_what_the_labels_say_later(kind: str) -> None:
    random, held = np.random.default_rng(5), []
    for _ in range(6):
        model = Model.fitted(random, 60_000, draws=200)
        for seed in range(5):
            day = model.count(KINDS[kind](random, 10_000))
            found = expected(day.cells, model.reference, COSTS, seed=seed)
            labels = realised(day.cells, day.positives, COSTS)
            held += [found[name].holds(labels[name]) for name in METRICS]
    assert np.mean(held) > 0.9  # of 30 days by 6 numbers; `benchmarks monitor` counts 100 days


def test_labels_contradict_the_probabilities_under_concept_shift_alone(model: Model) -> None:
    random = np.random.default_rng(6)
    same, other = (
        [contradiction(model.count(make(random, 20_000)), model.reference) or 0.0 for _ in range(10)]
        for make in (unshifted, concept_shifted)
    )
    assert min(same) > 1e-3
    assert max(other) < 1e-3
