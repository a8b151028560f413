import math
import warnings

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from imblearn.metrics import geometric_mean_score, make_index_balanced_accuracy
from sklearn import metrics as sk

from imbalance_spark.metrics import ConfusionMatrix

ROWS = st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(1, 9)), min_size=2, max_size=40)


def matrix_of(label: np.ndarray, predicted: np.ndarray, weight: np.ndarray) -> ConfusionMatrix:
    tn, fp, fn, tp = sk.confusion_matrix(label, predicted, sample_weight=weight, labels=[0, 1]).ravel()
    return ConfusionMatrix(tp=float(tp), fp=float(fp), tn=float(tn), fn=float(fn))


@settings(max_examples=60, deadline=None)
@given(ROWS)
def test_every_number_equals_scikit_learn_and_imbalanced_learn(rows: list[tuple[bool, bool, int]]) -> None:
    label, predicted, weight = (np.array(column).astype(int) for column in zip(*rows, strict=True))
    assume(0 < label.sum() < len(label))
    found = matrix_of(label, predicted, weight)
    given_rows = {"y_true": label, "y_pred": predicted, "sample_weight": weight}
    zero = {**given_rows, "zero_division": 0.0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = {
            "precision": sk.precision_score(**zero),
            "recall": sk.recall_score(**given_rows),
            "specificity": sk.recall_score(**given_rows, pos_label=0),
            "f1": sk.f1_score(**zero),
            "mcc": sk.matthews_corrcoef(**given_rows),
            "balanced_accuracy": sk.balanced_accuracy_score(**given_rows),
            "accuracy": sk.accuracy_score(**given_rows),
            # imbalanced-learn's weighted specificity divides by rows, so its G-mean is asked on repeated rows.
            "g_mean": geometric_mean_score(np.repeat(label, weight), np.repeat(predicted, weight)),
        }
        repeated = (np.repeat(label, weight), np.repeat(predicted, weight))
        iba = make_index_balanced_accuracy(alpha=0.1, squared=True)(geometric_mean_score)(*repeated, average="binary")
        assert found.index_balanced_accuracy() == pytest.approx(iba, abs=1e-12)
        for average in ("macro", "weighted"):
            p, r, f, _ = sk.precision_recall_fscore_support(**zero, average=average)
            ours = getattr(found, average)
            assert (ours.precision, ours.recall, ours.f1) == pytest.approx((p, r, f), abs=1e-12)
        for beta in (0.5, 2.0):
            assert found.f_beta(beta) == pytest.approx(sk.fbeta_score(**zero, beta=beta), abs=1e-12)
        kappa = sk.cohen_kappa_score(label, predicted, sample_weight=weight)
    assert {name: getattr(found, name) for name in wanted} == pytest.approx(wanted, abs=1e-12)
    assert found.kappa == pytest.approx(kappa, abs=1e-12, nan_ok=True)


def test_a_missing_class_gives_nan_and_never_0_or_1() -> None:
    nobody = ConfusionMatrix(tp=0, fp=0, tn=5, fn=0)
    assert all(math.isnan(value) for value in (nobody.recall, nobody.g_mean, nobody.kappa))
    assert math.isnan(ConfusionMatrix(tp=2, fp=0, tn=0, fn=1).specificity)
    assert nobody.balanced_accuracy == nobody.specificity == 1.0


def test_flagging_nobody_has_precision_and_f_0() -> None:
    nobody = ConfusionMatrix(tp=0, fp=0, tn=5, fn=3)
    assert (nobody.precision, nobody.f1, nobody.mcc, nobody.recall) == (0.0, 0.0, 0.0, 0.0)


def test_the_majority_baseline_has_high_accuracy_and_recall_0() -> None:
    baseline = ConfusionMatrix.majority_baseline(positives=1, negatives=999)
    assert (baseline.accuracy, baseline.recall, baseline.balanced_accuracy) == (0.999, 0.0, 0.5)
    assert ConfusionMatrix.majority_baseline(positives=3, negatives=1).recall == 1.0


def test_cost_adds_misses_and_false_alarms() -> None:
    assert ConfusionMatrix(tp=1, fp=3, tn=9, fn=2).cost(fn=10, fp=0.5) == 21.5
