"""The report of a day, made in memory: alarms, the threshold that retune would choose, and a page that escapes."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from support.made_up_comparison import ODD_NAME, target_counts
from support.orders_to_score import bundle

from benchmarks.shifted_days import BASE_RATE, COSTS, THRESHOLD, Model, Orders, label_shifted, raw_scores, unshifted
from imbalance_spark.comparison.retune import retune
from imbalance_spark.core.arrays import sigmoid
from imbalance_spark.core.columns import TEST, VALIDATION
from imbalance_spark.core.errors import ConfigError
from imbalance_spark.core.page_style import page_style
from imbalance_spark.metrics.buckets import BUCKETS
from imbalance_spark.monitoring.cells import GRID
from imbalance_spark.monitoring.config import AlarmsConfig, MonitoringConfig
from imbalance_spark.monitoring.expected import Estimate, expected
from imbalance_spark.monitoring.label_shift import estimate_shift
from imbalance_spark.monitoring.models import MonitoredModel, load_models, retune_command
from imbalance_spark.monitoring.page import monitor_page
from imbalance_spark.monitoring.report import (
    MonitorReport,
    VersionReport,
    alarms_of,
    drift_report,
    labelled_report,
    score_cells,
)
from imbalance_spark.scoring.bundle import ModelBundle
from imbalance_spark.scoring.held_out_counts import HeldOutCounts
from imbalance_spark.threshold.class_rules import ClassThresholds
from imbalance_spark.threshold.cost_objectives import MinCost
from imbalance_spark.threshold.order_costs import OrderRule
from imbalance_spark.tracking.config import TrackingConfig

OBJECTIVE = MinCost(fn=COSTS.fn, fp=COSTS.fp)
DAYS = [date(2024, 5, 6) + timedelta(days=number) for number in range(7)]
CONFIG = MonitoringConfig(scored="scored", output="counts", budget=50.0)


@pytest.fixture(scope="module")
def scores() -> Model:
    return Model.fitted(np.random.default_rng(1), 60_000, draws=50)


@pytest.fixture(scope="module")
def model(scores: Model) -> MonitoredModel:
    random, folds = np.random.default_rng(2), {}
    for fold in (VALIDATION, TEST):
        sample = unshifted(random, 60_000)
        folds[fold] = (sample.label, raw_scores(sample), random.integers(0, BUCKETS, 60_000))
    rules = {OBJECTIVE.name: ClassThresholds.of_threshold(THRESHOLD)}
    served = replace(bundle(), calibrator=scores.calibration, rules=rules, serve_objective=OBJECTIVE.name)
    return MonitoredModel(
        version="3", aliases=("champion",), run_id="abc", bundle=served, target=target_counts(folds),
        contributions={"country": 0.3, "amount": 0.9},
    )  # fmt: skip


def _counts(scores: Model, sample: Orders, country: Sequence[str] = ("DE", "FR")) -> pd.DataFrame:
    """As `counts.collect_cells` has them."""
    p = scores.score(sample)
    rows = pd.DataFrame({"bin": GRID.bin_of(p), "flagged": p >= THRESHOLD, "p": p, "variance": p * (1 - p), "n": 1})
    of_score = rows.assign(kind="score", name="", value="")
    of_country = rows.assign(kind="feature", name="country", value=np.resize(country, len(p)), bin=None)
    keys = ["kind", "name", "value", "bin", "flagged"]
    return pd.concat([of_score, of_country]).groupby(keys, dropna=False, as_index=False)[["n", "p", "variance"]].sum()


def _version(model: MonitoredModel, counts: pd.DataFrame) -> VersionReport:
    day = score_cells(counts[counts["kind"] == "score"])
    shift = estimate_shift(day, model.reference)
    return VersionReport(
        label=model.label, version=model.version, is_served=True, threshold=THRESHOLD, orders=day.total,
        alerts=day.alerts, shift=shift, verdict=shift.verdict(), unmoved=expected(day, model.reference, COSTS),
        moved=expected(day, model.reference, COSTS, move=shift.move),
    )  # fmt: skip


def _report(version: VersionReport, **changed: object) -> MonitorReport:
    report = MonitorReport(
        name=ODD_NAME, days=DAYS, versions=[version], drift=[], alerts=[(DAYS[-1], 70.0)], forecast=[], budget=50.0
    )  # fmt: skip
    return replace(report, **changed)  # type: ignore[arg-type]


def test_a_quiet_day_raises_no_alarm(scores: Model, model: MonitoredModel) -> None:
    counts = _counts(scores, unshifted(np.random.default_rng(3), 20_000))
    report = _report(_version(model, counts), drift=drift_report(counts, counts, model))
    assert alarms_of(report, CONFIG) == []
    assert next(report.conclusions()) == "No alarm fires."


def test_each_limit_that_is_crossed_is_an_alarm(scores: Model, model: MonitoredModel) -> None:
    before = _counts(scores, unshifted(np.random.default_rng(4), 20_000))
    after = _counts(
        scores, label_shifted(np.random.default_rng(5), 20_000, 4.0 * BASE_RATE), ("DE", "DE", "DE", ODD_NAME)
    )
    limits = AlarmsConfig(min_precision=0.9, min_recall=0.95, over_budget=1.2)
    report = _report(_version(model, after), drift=drift_report(before, after, model))
    found = [alarm.name for alarm in alarms_of(report, CONFIG.model_copy(update={"alarms": limits}))]
    assert found == ["min_precision", "min_recall", "base_rate", "max_psi", "over_budget"]
    alarmed = replace(report, alarms=alarms_of(report, CONFIG))
    assert sum(report.served.sentence in line for line in alarmed.conclusions()) == 1  # not once more after its alarm


def test_an_alarm_that_is_switched_off_is_silent(scores: Model, model: MonitoredModel) -> None:
    after = _counts(scores, label_shifted(np.random.default_rng(5), 20_000, 4.0 * BASE_RATE))
    off = CONFIG.model_copy(update={"alarms": AlarmsConfig(base_rate=False, unexplained=False, max_psi=None)})
    assert alarms_of(_report(_version(model, after)), off) == []


def test_labels_that_contradict_the_probabilities_are_an_alarm(scores: Model, model: MonitoredModel) -> None:
    day = scores.count(unshifted(np.random.default_rng(6), 20_000))
    columns = {"n": day.cells.rows, "p": day.cells.rows * day.cells.probability, "variance": day.cells.variance}
    cells = pd.DataFrame(
        {**columns, "flagged": day.cells.flagged, "positives": day.positives, "weight": 1.0, "is_labelled": True}
    )
    version = _version(model, _counts(scores, unshifted(np.random.default_rng(7), 20_000)))
    for positives, names in ((day.positives, []), (day.positives[::-1] * 0.0 + cells["n"] * BASE_RATE, ["labels"])):
        labelled = labelled_report(cells.assign(positives=positives), model, COSTS, DAYS)
        report = _report(replace(version, labelled=labelled))
        assert [alarm.name for alarm in alarms_of(report, CONFIG)] == names
    assert labelled_report(cells.iloc[:0], model, COSTS, DAYS) is None


def test_reviewed_orders_of_a_control_sample_stand_for_all(scores: Model, model: MonitoredModel) -> None:
    random = np.random.default_rng(11)
    orders = unshifted(random, 40_000)
    p = scores.score(orders)
    rows = pd.DataFrame({"bin": GRID.bin_of(p), "flagged": p >= THRESHOLD, "p": p, "variance": p * (1 - p), "n": 1})
    rows["is_labelled"] = rows["flagged"] | (random.random(len(p)) < 0.1)
    rows["weight"] = np.where(rows["flagged"], 1.0, np.where(rows["is_labelled"], 10.0, 0.0))
    rows["positives"] = np.where(rows["is_labelled"], orders.label, 0.0)
    keys = ["bin", "flagged", "weight", "is_labelled"]
    cells = rows.groupby(keys, as_index=False)[["n", "p", "variance", "positives"]].sum()
    labelled = labelled_report(cells, model, COSTS, DAYS)
    assert labelled is not None

    caught, found = rows["positives"] @ rows["flagged"], rows["positives"] @ rows["weight"]
    assert labelled.found["recall"] == pytest.approx(caught / found)
    assert labelled.control["recall"].value == pytest.approx(caught / found)
    assert labelled.found["precision"] == pytest.approx(caught / rows["flagged"].sum())
    true_recall = orders.label @ rows["flagged"] / orders.label.sum()
    assert labelled.control["recall"].holds(true_recall)
    assert labelled.unmoved["positives"].value == pytest.approx(p.sum())
    assert labelled.p_unmoved is not None
    assert labelled.p_unmoved > 0.01
    assert labelled.control_orders == np.sum(rows["is_labelled"] & ~rows["flagged"])

    report = _report(replace(_version(model, _counts(scores, orders)), labelled=labelled))
    limits = CONFIG.model_copy(update={"alarms": AlarmsConfig(min_recall=0.99)})
    assert "reviewed_recall" in [alarm.name for alarm in alarms_of(report, limits)]
    page = monitor_page(report)
    assert f"{labelled.control_orders:,.0f} not flagged" in page
    assert "ranges are what the choice of the control\nsample leaves open" in page
    assert report.metrics()["version_3/reviewed/recall_low"] == labelled.control["recall"].low


@pytest.mark.parametrize("shifted", [False, True])
def test_the_new_threshold_is_that_of_retune(model: MonitoredModel, shifted: bool) -> None:
    counts = HeldOutCounts(targets=(model.target,))
    if shifted:
        model = replace(model, bundle=retune(model.bundle, counts, OBJECTIVE, base_rate=0.01).bundle)
    theirs = retune(model.bundle, counts, OBJECTIVE, base_rate=0.02, orders_per_day=500.0)
    assert theirs.change is not None
    ours = model.retuned(OBJECTIVE, 0.02, 500.0)
    assert ours.chosen.threshold == theirs.bundle.threshold
    assert ours.after == theirs.change.after


def test_a_model_moved_to_a_base_rate_expects_it(model: MonitoredModel) -> None:
    counts = HeldOutCounts(targets=(model.target,))
    moved = replace(model, bundle=retune(model.bundle, counts, OBJECTIVE, base_rate=0.02).bundle)
    assert moved.reference.labelled.base_rate == pytest.approx(0.02)
    assert moved.reference.labelled.cells.mean == pytest.approx(0.02, rel=0.1)  # calibrated on other rows


def test_the_error_of_an_estimated_base_rate_is_in_the_intervals_of_the_moved_model(
    model: MonitoredModel, tmp_path: Path
) -> None:
    def moved(interval: tuple[float, float] | None) -> MonitoredModel:
        counts = HeldOutCounts(targets=(model.target,))
        result = retune(model.bundle, counts, OBJECTIVE, base_rate=0.02, base_rate_interval=interval)
        return replace(model, bundle=result.bundle)

    estimated, exact = moved((0.01, 0.04)), moved(None)
    cells = exact.reference.labelled.cells
    day = replace(cells, rows=np.round(100.0 * cells.rows))  # orders, where validation has weights
    of_exact, of_estimated = (expected(day, one.reference, COSTS)["base_rate"] for one in (exact, estimated))
    assert of_exact.value == of_estimated.value
    assert of_exact.low is not None
    assert of_exact.low > 0.017
    # Labels and calibration are sure of this many orders: what is left is the error of the logits that all moved by.
    moves = np.array([[-1.0], [1.0]]) * 1.96 * estimated.bundle.base_rate_error
    limits = (sigmoid(day.log_odds + moves) @ day.rows) / day.total
    assert (of_estimated.low, of_estimated.high) == pytest.approx(tuple(limits), rel=0.1)
    assert estimated.bundle.base_rate_error == pytest.approx(0.36, abs=0.01)  # (logit .04 - logit .01) / 3.92
    estimated.bundle.save(str(tmp_path / "bundle"))
    assert ModelBundle.load(str(tmp_path / "bundle")).base_rate_error == pytest.approx(estimated.bundle.base_rate_error)


@pytest.mark.parametrize(("rate", "interval"), [(0.02, (0.03, 0.04)), (0.02, (0.0, 0.04)), (None, (0.01, 0.04))])
def test_an_interval_that_is_not_around_a_base_rate_is_refused(
    model: MonitoredModel, rate: float | None, interval: tuple[float, float]
) -> None:
    counts = HeldOutCounts(targets=(model.target,))
    with pytest.raises(ConfigError, match=r"base.rate.interval"):
        retune(model.bundle, counts, OBJECTIVE, base_rate=rate, base_rate_interval=interval)


def test_the_command_names_every_setting_but_defaults_and_no_secret(model: MonitoredModel) -> None:
    tracking = TrackingConfig(uri="https://user:secret@mlflow.internal", registered_model="orders")
    estimated = Estimate(value=0.0123456, low=0.01, high=0.015)
    assert retune_command(model, OBJECTIVE, estimated, 812.0, tracking) == (
        "python jobs/retune.py --run abc --objective min_cost --fn 20.0 --fp 1.0 --base-rate 0.0123456 "
        "--base-rate-interval 0.01 0.015 --orders-per-day 812 --tracking-uri https://***@mlflow.internal "
        "--register orders --alias champion"
    )
    costs, none_found = MinCost(fn=20, fp=1, tp=-2.5, single_threshold=True), Estimate(value=0.01, low=0.0, high=0.02)
    gained = retune_command(model, costs, none_found, 812.0, tracking)
    assert "--objective min_cost --fn 20 --fp 1 --tp -2.5 --base-rate 0.01 --orders-per-day" in gained


def test_a_model_that_decides_order_by_order_is_refused(model: MonitoredModel, monkeypatch: pytest.MonkeyPatch) -> None:
    rule = OrderRule(costs=MinCost(fn="amount", fp=1).costs, column="amount", threshold=0.1)
    by_order = replace(model.bundle, rules={"by_amount": rule}, serve_objective="by_amount")
    found = SimpleNamespace(bundle=by_order, label="orders/3")
    monkeypatch.setattr("imbalance_spark.monitoring.models.load_registered_model", lambda *_: found)
    with pytest.raises(ConfigError, match="orders/3 decides order by order"):
        load_models(TrackingConfig(registered_model="orders"), ["3"])


def test_importance_is_the_share_of_contributions(model: MonitoredModel) -> None:
    assert model.importance == pytest.approx({"country": 0.25, "amount": 0.75})
    assert replace(model, contributions={}).importance == {}  # of a version from before they were logged


def test_the_picture_shows_drift_by_what_it_may_do_to_the_scores(scores: Model, model: MonitoredModel) -> None:
    before = _counts(scores, unshifted(np.random.default_rng(8), 20_000))
    after = _counts(scores, unshifted(np.random.default_rng(9), 20_000), ("DE", "DE", "DE", "FR"))
    [drift] = [drift for drift in drift_report(before, after, model) if drift.kind == "feature"]
    assert drift.weight == drift.psi * 0.25 > 0.05
    loud = monitor_page(_report(_version(model, after), drift=[drift]))
    assert (
        f'<th scope="row">country</th><td><span style="width: 100.0%"></span></td><td>{drift.psi:.4g} x 25.0%' in loud
    )
    quiet = monitor_page(_report(_version(model, after), drift=[replace(drift, psi=0.05)]))
    assert '<span style="width: 25.0%">' in quiet  # of a bar for 0.05: on a quiet day none is full
    assert '<table class="bars">' not in monitor_page(
        _report(_version(model, after), drift=[replace(drift, importance=None)])
    )


def test_the_page_is_one_file_in_which_names_are_escaped(scores: Model, model: MonitoredModel) -> None:
    before = _counts(scores, unshifted(np.random.default_rng(8), 20_000))
    after = _counts(scores, unshifted(np.random.default_rng(9), 20_000), ("DE", ODD_NAME))
    page = monitor_page(_report(_version(model, after), drift=drift_report(before, after, model)))
    assert ODD_NAME not in page
    assert "&lt;script&gt;" in page
    assert "src=" not in page
    assert "3 (champion)" in page
    assert f"<style>{page_style()}</style>" in page
