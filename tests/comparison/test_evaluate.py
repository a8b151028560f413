"""What decisions cost, what a model gains over another one, and names of metrics for one target and for K."""

from types import SimpleNamespace

import numpy as np
import pytest
from support.made_up_comparison import CLASSES, COSTS, class_comparison, class_counts, comparison_of

from imbalance_spark.comparison import compare
from imbalance_spark.comparison.compare import require_classes_in_folds
from imbalance_spark.comparison.evaluate import chosen_thresholds, decision_metrics
from imbalance_spark.comparison.gains import paired_gain, ranking_of
from imbalance_spark.comparison.report.page import html_page
from imbalance_spark.comparison.report.tables import comparison_table, conclusions
from imbalance_spark.config.run import RunConfig
from imbalance_spark.core.errors import DataContractError
from imbalance_spark.core.progress import Progress
from imbalance_spark.metrics.confusion import MulticlassConfusion
from imbalance_spark.metrics.evaluate import TargetNames
from imbalance_spark.scoring.held_out_counts import HeldOutCounts
from imbalance_spark.train_only.strategies import strategy_from_config


def test_the_yardstick_is_the_first_plain_strategy_of_the_config_not_the_best_one() -> None:
    def result(entry: dict[str, str], metric: float) -> SimpleNamespace:
        strategy = strategy_from_config(entry)
        return SimpleNamespace(name=strategy.name, fitted=SimpleNamespace(strategy=strategy), metric=metric)

    asked = [{"kind": "class_weight"}, {"kind": "none"}, {"kind": "none", "name": "other", "learner": "lightgbm"}]
    results = [result(entry, metric) for entry, metric in zip(asked, (0.3, 0.1, 0.9), strict=True)]
    assert compare.yardstick(results).name == "none"


def test_costs_are_paid_by_true_class_and_decision() -> None:
    confusion = MulticlassConfusion(weight=np.array([[90.0, 5.0, 5.0], [2.0, 6.0, 0.0], [1.0, 0.0, 3.0]]))
    costs = ((0, 1, 8), (5, 0, 8), (80, 80, 0))
    # 5 ok taken for late at 1, 5 for fraud at 8; 2 late for ok at 5; 1 fraud for ok at 80.
    assert decision_metrics(confusion, costs)["cost"] == 5 * 1 + 5 * 8 + 2 * 5 + 80
    assert "cost" not in decision_metrics(confusion, None)


def test_a_model_gains_nothing_over_itself_and_models_of_other_rows_are_refused() -> None:
    _, counts = class_counts(0.5)
    own = ranking_of(counts, "average_precision")
    gain = paired_gain(own, own, is_loss=False, level=0.95)
    assert (gain.value, gain.low, gain.high) == (0.0, 0.0, 0.0)
    other = HeldOutCounts(targets=class_counts(1.0)[1].targets[:2])
    with pytest.raises(DataContractError, match="other classes, or their buckets hold different rows"):
        paired_gain(own, ranking_of(other, "average_precision"), is_loss=False, level=0.95)


def test_metrics_of_one_target_are_bare_those_of_more_name_class_or_macro() -> None:
    one, more = TargetNames(("fraud",)), TargetNames(CLASSES)
    assert (one.of("recall", 0), one.macro("recall")) == ("recall", "recall")
    assert (more.of("recall", 2), more.macro("recall")) == ("recall/fraud", "macro_recall")
    assert more.named("recall", [0.2, float("nan"), 0.4])["macro_recall"] == pytest.approx(0.3)


def test_every_rule_has_its_metrics_and_the_serving_one_its_intervals() -> None:
    of_classes, of_two = class_comparison({"none": 0.5}).best, comparison_of({"none": 0.5}).best
    for fold in ("validation", "test"):
        for rule in ("cost_matrix", "argmax", "max_f1"):
            assert f"{fold}/{rule}/macro_f1" in of_classes.metrics
        assert of_classes.metrics[f"{fold}/cost"] == of_classes.metrics[f"{fold}/cost_matrix/cost"]
        assert of_classes.metrics[f"{fold}/cost"] < of_classes.metrics[f"{fold}/argmax/cost"]
        low, high = (getattr(of_classes.intervals[f"{fold}/cost_matrix/macro_recall"], end) for end in ("low", "high"))
        assert low < of_classes.metrics[f"{fold}/cost_matrix/macro_recall"] < high
        assert of_two.metrics[f"{fold}/recall"] == of_two.metrics[f"{fold}/min_cost_fn_10_fp_1/recall"]
        assert f"{fold}/recall" in of_two.intervals
    assert set(of_two.uncertainty) == {"1"}
    assert of_classes.uncertainty == {}  # no threshold serves


def test_a_fold_without_a_class_is_named_before_anything_is_fitted() -> None:
    full = {0: 90, 1: 7, 2: 1}
    require_classes_in_folds({"train": full, "validation": full, "test": full}, CLASSES, halves_validation=False)
    with pytest.raises(
        DataContractError, match=r"train has no row of \['fraud'\]; test has no row of \['late', 'fraud'\]"
    ):
        require_classes_in_folds(
            {"train": {0: 9, 1: 1}, "validation": full, "test": {0: 9}}, CLASSES, halves_validation=False
        )


def test_one_row_of_a_class_in_validation_is_too_few_for_two_halves() -> None:
    one, two = {0: 90, 1: 1}, {0: 90, 1: 2}
    require_classes_in_folds({"train": one, "validation": two, "test": one}, ("no", "yes"), halves_validation=True)
    with pytest.raises(DataContractError) as caught:
        require_classes_in_folds({"train": two, "validation": one, "test": two}, ("no", "yes"), halves_validation=True)
    said = str(caught.value)
    assert "validation has 1 row of 'yes', which cannot lie in both halves" in said
    assert "split.fractions" in said
    assert "orders.classes" not in said  # two classes are all that there are


@pytest.mark.parametrize(("objectives", "serving", "is_refused"), [
    (("max_mcc",), "max_mcc", True),
    (({"name": "cost_matrix", "costs": COSTS},), "argmax", False),  # no threshold is chosen
])  # fmt: skip
def test_too_few_rows_are_refused_before_anything_is_fitted(
    monkeypatch: pytest.MonkeyPatch, objectives: tuple, serving: str, is_refused: bool
) -> None:
    one, full = {0: 90, 1: 20, 2: 1}, {0: 900, 1: 200, 2: 10}
    by_split = {"train": full, "validation": one, "test": full}
    held_out = SimpleNamespace(is_cross_fit=False)
    prepared = SimpleNamespace(diagnosis=SimpleNamespace(by_split=by_split), classes=CLASSES, evaluation=held_out)
    orders = {"key": ("order_id",), "label": "outcome", "numeric": ("amount",), "classes": CLASSES}
    config = RunConfig(
        name="few", output="output", orders=orders, strategies=("none",), objectives=objectives, serve_objective=serving
    )
    monkeypatch.setattr(compare, "prepare", lambda *_, **__: prepared)
    monkeypatch.setattr(compare, "check_to_compare", lambda *_: 1 << 30)
    progress = Progress(("cluster",), quiet=True)
    if is_refused:
        with pytest.raises(DataContractError, match="validation has 1 row of 'fraud'"):
            compare.prepare_to_compare(None, config, progress)
    else:
        assert compare.prepare_to_compare(None, config, progress) is prepared


def test_a_rule_that_flags_nobody_has_no_precision_under_any_name_and_says_so() -> None:
    flagging_nobody = "bayes_cost_fn_1_fp_1000"
    objectives = [{"name": "bayes_cost", "fn": 1, "fp": 1000}, {"name": "max_f_beta", "beta": 1.0}]
    found = comparison_of({"none": 0.5}, objectives, flagging_nobody)
    metrics, intervals = found.best.metrics, found.best.intervals
    for fold in ("validation", "test"):
        for prefix in (fold, f"{fold}/{flagging_nobody}"):
            assert metrics[f"{prefix}/recall"] == metrics[f"{prefix}/f1"] == 0.0
            assert not {f"{prefix}/precision", f"{prefix}/mcc"} & {*metrics, *intervals}
        assert metrics[f"{fold}/max_f1/precision"] > 0.0
    said = [line for line in conclusions(found) if "flags nobody" in line]
    assert said == [f"none: {found.best.chosen[flagging_nobody].by_target[0].warning}"]
    assert f"{flagging_nobody} flags nobody: " in said[0]


def test_the_largest_class_for_every_row_has_no_precision_in_tables_and_runs() -> None:
    found = comparison_of({"none": 0.5})
    table = comparison_table(found).set_index("strategy")
    assert table.loc["majority class", ["precision", "mcc"]].isna().all()
    assert table.loc["majority class", ["recall", "f1"]].tolist() == [0.0, 0.0]
    assert "nan" not in html_page(found, {})


def test_the_largest_of_three_classes_has_no_threshold() -> None:
    of_classes, of_two = class_comparison({"none": 0.5}), comparison_of({"none": 0.5})
    assert list(chosen_thresholds(of_classes.best.chosen["max_f1"], of_classes.names)) == ["late", "fraud"]
    assert list(chosen_thresholds(of_two.best.chosen["max_f1"], of_two.names)) == ["1"]
