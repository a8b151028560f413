"""The logistic functions: right in the tails, where the plain formulas overflow or lose their digits."""

import math

import numpy as np
import pytest

from imbalance_spark.core.arrays import log_sigmoid, log_softmax, logit, sigmoid


def test_sigmoid_and_logit_undo_each_other_at_both_ends() -> None:
    logits = np.array([-700.0, -36.0, 0.0, 30.0])
    np.testing.assert_allclose(logit(sigmoid(logits)), logits, rtol=1e-3)
    np.testing.assert_array_equal(logit(np.array([0.0, 1.0])), [-math.inf, math.inf])


def test_log_sigmoid_keeps_its_digits_where_the_probability_is_0_or_1() -> None:
    # ln(1 / (1 + e^-z)) is -e^-z for large z and z for very negative z.
    np.testing.assert_allclose(log_sigmoid(np.array([40.0, -1e4])), [-math.exp(-40.0), -1e4], rtol=1e-12)


def test_softmax_of_two_classes_is_the_sigmoid_of_their_difference() -> None:
    z = np.linspace(-50.0, 50.0, 101)
    found = log_softmax(np.column_stack([np.zeros_like(z), z]))
    np.testing.assert_allclose(found, np.column_stack([log_sigmoid(-z), log_sigmoid(z)]), rtol=1e-12)


@pytest.mark.parametrize("shift", [-1e6, 0.0, 1e6])
def test_softmax_does_not_depend_on_a_shift_of_all_margins(shift: float) -> None:
    margins = np.array([[3.0, 1.0, -2.0]]) + shift
    np.testing.assert_allclose(np.exp(log_softmax(margins)).sum(), 1.0)
    np.testing.assert_allclose(log_softmax(margins), log_softmax(margins - shift), rtol=1e-9)
