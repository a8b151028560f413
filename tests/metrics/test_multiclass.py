import math
import warnings

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from imblearn.metrics import geometric_mean_score, specificity_score
from pyspark.sql import SparkSession
from sklearn import metrics as sk

from imbalance_spark.core.errors import ConfigError, DataContractError
from imbalance_spark.metrics import (
    LogitGrid,
    MulticlassConfusion,
    MulticlassCounts,
    collect_multiclass_counts,
    evaluate_multiclass,
    undefined_multiclass,
)

PART = st.sampled_from([0.0, 1.0, 2.0, 5.0])
ROWS = st.lists(st.tuples(st.integers(0, 2), PART, PART, PART, st.integers(1, 4)), min_size=3, max_size=40)


def columns(rows: list[tuple[int, float, float, float, int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    table = np.array(rows)
    label, score, weight = table[:, 0].astype(int), table[:, 1:4] + 0.125, table[:, 4]
    assume(len(set(label)) == 3)
    return label, score / score.sum(axis=1, keepdims=True), weight


@settings(max_examples=60, deadline=None)
@given(ROWS)
def test_numbers_of_the_confusion_matrix_equal_scikit_learn_and_imbalanced_learn(rows: list) -> None:
    label, score, weight = columns(rows)
    counts = MulticlassCounts.from_arrays(label, score, weight)
    predicted, confusion = score.argmax(axis=1), counts.confusion
    given_rows = {"y_true": label, "y_pred": predicted, "sample_weight": weight}
    np.testing.assert_array_equal(confusion.weight, sk.confusion_matrix(**given_rows, labels=[0, 1, 2]))
    np.testing.assert_array_equal(counts.rows, sk.confusion_matrix(label, predicted, labels=[0, 1, 2]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for average in ("macro", "weighted", "micro"):
            p, r, f, _ = sk.precision_recall_fscore_support(**given_rows, average=average, zero_division=0.0)
            found = getattr(confusion, average)
            assert (found.precision, found.recall, found.f1) == pytest.approx((p, r, f), abs=1e-12)
        each = np.array(sk.precision_recall_fscore_support(**given_rows, labels=[0, 1, 2], zero_division=0.0)[:3])
        f2 = sk.fbeta_score(**given_rows, beta=2.0, average="macro", zero_division=0.0)
        kappa = sk.cohen_kappa_score(label, predicted, sample_weight=weight)
        # Imbalanced-learn's weighted specificity divides by rows, so it is asked on repeated rows.
        repeated = (np.repeat(label, weight.astype(int)), np.repeat(predicted, weight.astype(int)))
        specificity = specificity_score(*repeated, average=None, labels=[0, 1, 2])
        g_mean = geometric_mean_score(*repeated)
    ours = np.array([(m.precision, m.recall, m.f1) for m in confusion.per_class]).T
    np.testing.assert_allclose(ours, each, atol=1e-12)
    np.testing.assert_allclose([m.specificity for m in confusion.per_class], specificity, atol=1e-12)
    assert confusion.macro_f_beta(2.0) == pytest.approx(f2, abs=1e-12)
    assert confusion.mcc == pytest.approx(sk.matthews_corrcoef(**given_rows), abs=1e-12)
    assert confusion.kappa == pytest.approx(kappa, abs=1e-12, nan_ok=True)
    assert confusion.balanced_accuracy == pytest.approx(sk.balanced_accuracy_score(**given_rows), abs=1e-12)
    assert confusion.g_mean == pytest.approx(g_mean, abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(ROWS)
def test_areas_of_each_class_against_the_rest_equal_scikit_learn(rows: list) -> None:
    label, score, weight = columns(rows)
    counts = MulticlassCounts.from_arrays(label, score, weight)
    wanted = sk.average_precision_score(np.eye(3)[label], score, sample_weight=weight, average=None)
    np.testing.assert_allclose(counts.average_precision(), wanted, atol=1e-12)
    for average, mean, share in (("macro", counts.macro, np.ones(3)), ("weighted", counts.weighted, weight_of(counts))):
        area = sk.roc_auc_score(label, score, sample_weight=weight, multi_class="ovr", average=average)
        assert mean(counts.roc_auc()) == pytest.approx(area, abs=1e-12)
        assert mean(counts.average_precision()) == pytest.approx(np.average(wanted, weights=share), abs=1e-12)


def weight_of(counts: MulticlassCounts) -> np.ndarray:
    return np.array([one.positive_weight.sum() for one in counts.one_vs_rest])


@settings(max_examples=50, deadline=None)
@given(ROWS)
def test_weights_are_repetition(rows: list) -> None:
    label, score, weight = columns(rows)
    times = weight.astype(int)
    weighted = evaluate_multiclass(MulticlassCounts.from_arrays(label, score, weight))
    repeated = evaluate_multiclass(
        MulticlassCounts.from_arrays(np.repeat(label, times), np.repeat(score, times, axis=0))
    )
    assert weighted == pytest.approx(repeated, rel=1e-9, abs=1e-9)


def test_two_classes_give_the_numbers_of_the_binary_metrics() -> None:
    matrix = MulticlassConfusion(weight=np.array([[50.0, 10.0], [5.0, 35.0]]))
    binary = matrix.per_class[1]
    assert (binary.tp, binary.fp, binary.tn, binary.fn) == (35.0, 10.0, 50.0, 5.0)
    for name in ("mcc", "kappa", "g_mean", "balanced_accuracy", "accuracy"):
        assert getattr(matrix, name) == pytest.approx(getattr(binary, name), abs=1e-12)


def test_a_class_without_rows_counts_in_no_mean_and_has_no_number_of_its_own() -> None:
    score = np.array([[0.6, 0.3, 0.1], [0.2, 0.7, 0.1], [0.1, 0.2, 0.7], [0.1, 0.6, 0.3]])
    counts = MulticlassCounts.from_arrays([0, 1, 0, 1], score)
    found = evaluate_multiclass(counts, ["kept", "sent", "lost"])
    reasons = undefined_multiclass(counts, ["kept", "sent", "lost"])
    assert found["macro_recall"] == found["balanced_accuracy"] == 0.75
    assert found["g_mean"] == pytest.approx(math.sqrt(0.5))
    assert not any(name.endswith("/lost") for name in found if not name.startswith("specificity"))
    assert reasons["recall/lost"] == "there is no row of class lost"
    assert not set(found) & set(reasons)


def test_a_class_that_is_never_predicted_has_no_precision_but_recall_and_f1_of_0() -> None:
    counts = MulticlassCounts.from_arrays([0, 1, 2], [[0.6, 0.3, 0.1], [0.2, 0.7, 0.1], [0.5, 0.3, 0.2]])
    found, reasons = evaluate_multiclass(counts), undefined_multiclass(counts)
    assert found["recall/2"] == found["f1/2"] == 0.0
    assert "precision/2" not in found
    assert reasons["precision/2"] == "no row is predicted as class 2"
    # In the mean it counts as 0, as scikit-learn has it: (1/2 + 1 + 0) / 3.
    assert found["macro_precision"] == pytest.approx(0.5)


def test_equal_probabilities_predict_the_first_class_and_a_lone_class_has_no_areas() -> None:
    counts = MulticlassCounts.from_arrays([0, 0], [[0.5, 0.5], [0.4, 0.4]])
    assert counts.rows.tolist() == [[2, 0], [0, 0]]
    reasons = undefined_multiclass(counts)
    assert reasons["roc_auc/0"] == "all rows are of class 0"
    assert reasons["macro_roc_auc"] == reasons["kappa"] == "all rows are of one class"


BAD = pd.DataFrame(
    {
        "label": [0.0, 3.0, 1.5, 1.0, np.nan],
        "weight": [1.0, 1.0, 1.0, -1.0, 1.0],
        **{f"p{k}": [1.5 if k == 2 else 0.2, 0.2, 0.2, 0.2, 0.2] for k in range(3)},
    }
)
BAD_TEXT = (
    "1 rows have a probability that is null, NaN or outside [0, 1], 3 rows have a label that is not a class number, "
    "0 to 2, 1 rows have a weight that is null, NaN, infinite or negative, of 5 rows."
)
NAMES = ["p0", "p1", "p2"]


def test_spark_counts_equal_numpy_counts_and_refuse_the_same_rows(spark: SparkSession) -> None:
    draw = np.random.default_rng(3)
    grid, label = LogitGrid(bins=256, bound=8.0), draw.choice(3, 3000, p=[0.9, 0.08, 0.02])
    score = draw.dirichlet((1.0, 1.0, 1.0), 3000).round(2)
    rows = pd.DataFrame(
        {"label": label, "weight": draw.choice([0.5, 2.0], 3000), **dict(zip(NAMES, score.T, strict=True))}
    )
    frame = spark.createDataFrame(pa.Table.from_pandas(rows))
    wanted = MulticlassCounts.from_arrays(label, score, rows["weight"], grid=grid, exact_limit=0)
    found = collect_multiclass_counts(frame, scores=NAMES, label="label", weight="weight", grid=grid)
    np.testing.assert_array_equal(found.rows, wanted.rows)
    assert evaluate_multiclass(found) == pytest.approx(evaluate_multiclass(wanted), rel=1e-12)
    bad = spark.createDataFrame(pa.Table.from_pandas(BAD))
    for counted in (
        lambda: collect_multiclass_counts(bad, scores=NAMES, label="label", weight="weight"),
        lambda: MulticlassCounts.from_arrays(BAD["label"], BAD[NAMES], BAD["weight"]),
    ):
        with pytest.raises(DataContractError) as error:
            counted()
        assert BAD_TEXT in str(error.value)


def test_shapes_and_names_that_do_not_fit_are_refused(spark: SparkSession) -> None:
    with pytest.raises(ConfigError, match="3 labels need probabilities n x K, got"):
        MulticlassCounts.from_arrays([0, 1, 1], [[0.5, 0.5]])
    counts = MulticlassCounts.from_arrays([0, 1], [[0.5, 0.5], [0.1, 0.9]])
    with pytest.raises(ConfigError, match="2 classes need as many different names"):
        evaluate_multiclass(counts, ["a", "a"])
    frame = spark.createDataFrame([(0.5, "x")], "p double, label string")
    with pytest.raises(ConfigError, match="fewer than two classes"):
        collect_multiclass_counts(frame, scores=["p"], label="label")
    with pytest.raises(DataContractError, match="'label' is string, not a number"):
        collect_multiclass_counts(frame, scores=["p", "p"], label="label")


def test_mcc_is_0_where_one_class_takes_all_whatever_the_rounding() -> None:
    draws = np.random.default_rng(1)
    for place in range(200):
        weight = np.zeros((4, 4))
        weight[:, place % 4] = draws.random(4)
        assert MulticlassConfusion(weight=weight).mcc == 0.0
        assert MulticlassConfusion(weight=weight.T).mcc == 0.0
