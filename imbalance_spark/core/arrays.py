"""Array types, and the logistic functions in forms that neither overflow nor lose digits near 0 and 1."""

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

SMALLEST_PROBABILITY, LARGEST_PROBABILITY = 1e-300, 1.0 - 2.0**-53
"""What probabilities are clipped to where their odds are needed: those of 0 and 1 are not finite."""


def sigmoid(logit: FloatArray) -> FloatArray:
    """1 / (1 + exp(-logit))."""
    return np.asarray(np.exp(log_sigmoid(logit)), dtype=np.float64)


def log_sigmoid(logit: FloatArray) -> FloatArray:
    """ln sigmoid(logit) = -ln(1 + exp(-logit)); ln(1 - sigmoid(logit)) is that of -logit."""
    return np.asarray(-np.logaddexp(0.0, -logit), dtype=np.float64)


def logit(probability: FloatArray) -> FloatArray:
    """ln(p) - ln(1 - p); infinite at 0 and 1."""
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(probability) - np.log1p(-probability), dtype=np.float64)


def log_softmax(margins: FloatArray) -> FloatArray:
    """ln softmax of each row, (rows, K) from (rows, K) margins, with all digits where a class is near certain."""
    shifted, row = margins - margins.max(axis=1, keepdims=True), np.arange(len(margins))
    largest = margins.argmax(axis=1)
    others = np.exp(shifted)
    # The largest term is 1: as log1p of the others, its logarithm keeps its digits.
    others[row, largest] = 0.0
    return np.asarray(shifted - np.log1p(others.sum(axis=1, keepdims=True)), dtype=np.float64)
