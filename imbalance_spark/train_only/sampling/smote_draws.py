"""The draws of SMOTE, each a hash of seed, class and number: no generator's state, no layout."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint64]


@dataclass(frozen=True, kw_only=True)
class SmoteDraws:
    """For each synthetic row its parent, its number among the parent's, its neighbour and its gap.

    Args:
        parents: (n,) in [0, class rows). copies: (n,) from 1. choices: (n,) in [0, k). gaps: (n,) in [0, 1).
    """

    parents: npt.NDArray[np.int64]
    copies: npt.NDArray[np.int64]
    choices: npt.NDArray[np.int64]
    gaps: npt.NDArray[np.float64]


def draw_smote(start: int, wanted: int, class_rows: int, k: int) -> SmoteDraws:
    """Pairs of row and neighbour uniform with replacement, gaps uniform in [0, 1): SMOTE of imbalanced-learn.

    Fewer rows wanted are the first of more. Numbers come from SplitMix64 (Steele, Lea and Flood, 2014).

    Args:
        start: any integer in [0, 2**62), a hash of seed and class.
    """
    numbers = np.arange(wanted, dtype=np.uint64) * np.uint64(3)
    uniform = [_uniform(np.uint64(start), numbers + np.uint64(purpose)) for purpose in range(3)]
    parents = (uniform[0] * class_rows).astype(np.int64)
    choices = (uniform[1] * k).astype(np.int64)
    return SmoteDraws(parents=parents, copies=_occurrence(parents), choices=choices, gaps=uniform[2])


def _uniform(start: np.uint64, numbers: Words) -> npt.NDArray[np.float64]:
    words = (numbers + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15) + start
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    words = words ^ (words >> np.uint64(31))
    return np.asarray((words >> np.uint64(11)) / np.float64(1 << 53), np.float64)


def _occurrence(values: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """1 for the first time that a value is there, 2 for the second ..."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    counts = np.empty(len(values), np.int64)
    counts[order] = np.arange(len(values)) - np.searchsorted(ordered, ordered) + 1
    return counts
