"""`sampling_strategy` against imbalanced-learn itself, values and refusals."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from imblearn.utils import check_sampling_strategy as oracle

from imbalance_spark.core.errors import ConfigError, DataContractError, ImbalanceSparkError
from imbalance_spark.train_only.sampling.sampling_strategy import check_sampling_strategy

KINDS = ("over-sampling", "under-sampling", "clean-sampling")
WORDS = ("auto", "minority", "majority", "not minority", "not majority", "all")
TABLE = {1: 50, 2: 100, 3: 25}  # imbalanced-learn's own test table
BINARY = {0: 900, 1: 100}


def by_imblearn(strategy: Any, counts: dict[Any, int], kind: str) -> dict[Any, int] | None:
    """What imbalanced-learn makes of it, or None where it refuses."""
    y = np.repeat(list(counts), list(counts.values()))
    try:
        return {y.dtype.type(label).item(): int(n) for label, n in oracle(strategy, y, kind).items()}
    except ValueError:
        return None


def by_us(strategy: Any, counts: dict[Any, int], kind: Any) -> dict[Any, int] | None:
    try:
        return check_sampling_strategy(strategy, counts, kind)
    except ImbalanceSparkError:
        return None


@pytest.mark.parametrize("counts", [TABLE, BINARY, {0: 5, 1: 5}, {"a": 3, "b": 7}, {2: 4, 5: 4, 9: 4}])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "strategy",
    [
        *WORDS, "random", 0.1, 0.333, 0.5, 1.0, 0.0, -0.5, 1.1, [1, 3], [2, 4], ["a"],
        {1: 70, 2: 100, 3: 70}, {1: 70, 3: 70}, {1: 70, 2: 90}, {2: 50, 1: 25}, {1: 10, 4: 5}, {1: -1}, {2: 0},
        {0: 900, 1: 300}, {0: 200}, {"a": 7}, {"b": 3},
    ],
)  # fmt: skip
def test_a_strategy_means_what_it_means_to_imbalanced_learn(strategy: Any, kind: str, counts: dict[Any, int]) -> None:
    found, expected = by_us(strategy, counts, kind), by_imblearn(strategy, counts, kind)
    assert found == expected
    assert found is None or expected is None or list(found) == list(expected)


@settings(max_examples=80, deadline=None)
@given(
    st.dictionaries(st.integers(0, 9), st.integers(1, 60), min_size=2, max_size=5),
    st.sampled_from(KINDS),
    st.one_of(
        st.sampled_from(WORDS),
        st.floats(0.01, 1.0),
        st.dictionaries(st.integers(0, 9), st.integers(-1, 80), max_size=3),
    ),
)
def test_any_strategy_agrees_with_imbalanced_learn(counts: dict[Any, int], kind: str, strategy: Any) -> None:
    assert by_us(strategy, counts, kind) == by_imblearn(strategy, counts, kind)


@pytest.mark.parametrize("kind", ["over-sampling", "under-sampling"])
def test_a_function_gives_target_counts(kind: Any) -> None:
    ours = check_sampling_strategy(
        lambda counts: dict.fromkeys(counts, counts[2] if kind[0] == "o" else 25), TABLE, kind
    )
    theirs = by_imblearn(lambda y: dict.fromkeys(Counter(y), 100 if kind[0] == "o" else 25), TABLE, kind)
    assert ours == theirs


def test_labels_come_back_as_the_data_has_them() -> None:
    found = check_sampling_strategy({0: 50}, {False: 90, True: 10}, "under-sampling")
    assert [type(label) for label in found] == [bool]


@pytest.mark.parametrize(
    ("strategy", "kind", "message"),
    [
        ("not majorty", "over-sampling", "Did you mean 'not majority'"),
        (
            "majority",
            "over-sampling",
            "'majority' is not possible for over-sampling. Use 'auto', which is 'not majority'",
        ),
        (0.1, "over-sampling", "is not above the present ratio 0.1111"),
        (0.1, "under-sampling", "is below the present ratio 0.1111"),
        (0.5, "clean-sampling", "Name the classes to clean"),
        (
            {0: 800},
            "over-sampling",
            r"sampling_strategy\[0\] is 800, but 900 rows are there: over-sampling removes none",
        ),
        ({1: 101}, "under-sampling", r"sampling_strategy\[1\] is 101, but only 100 rows are there"),
        ({2: 10, 1: -1}, "under-sampling", r"no class \[2\] in the data: \{0: 900 rows, 1: 100 rows\}.*got -1"),
        ({1: 10.5}, "under-sampling", "must be an integer >= 0, got 10.5"),
        ([1], "under-sampling", "a list of classes is for cleaning methods"),
        ({1: 50}, "clean-sampling", "Give a list of the classes"),
        (True, "over-sampling", "got True"),
        (float("nan"), "over-sampling", "got nan"),
        (None, "over-sampling", "got None"),
        (lambda _: 3, "under-sampling", "the function must give a count per class, it gave int"),
    ],
)
def test_a_refusal_says_what_is_wrong(strategy: Any, kind: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_sampling_strategy(strategy, BINARY, kind)


def test_one_class_cannot_be_balanced() -> None:
    with pytest.raises(DataContractError, match="only one class is present"):
        check_sampling_strategy("auto", {0: 10}, "over-sampling")
