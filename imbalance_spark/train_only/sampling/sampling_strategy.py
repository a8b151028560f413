"""`sampling_strategy` as imbalanced-learn means it: from class counts to rows per class."""

from collections.abc import Callable, Collection, Mapping
from numbers import Integral
from typing import Literal

from imbalance_spark.core.class_counts import Label, refuse_one_class, show_counts
from imbalance_spark.core.columns import is_number
from imbalance_spark.core.errors import ConfigError, nearest

Kind = Literal["over-sampling", "under-sampling", "clean-sampling"]
Counts = Mapping[Label, int]
SamplingStrategy = str | float | Mapping[Label, int] | Collection[Label] | Callable[[Counts], Mapping[Label, int]]
_WORDS = ("auto", "minority", "majority", "not minority", "not majority", "all")
_AUTO = {"over-sampling": "not majority", "under-sampling": "not minority", "clean-sampling": "not minority"}
_SENSELESS = {"over-sampling": "majority", "under-sampling": "minority", "clean-sampling": "minority"}


def check_sampling_strategy(strategy: SamplingStrategy, counts: Counts, kind: Kind) -> dict[Label, int]:
    """Resolve `sampling_strategy` to rows per sampled class: to generate (over-sampling) or to keep (under-sampling).

    The semantics of imbalanced-learn 0.14 (`imblearn.utils.check_sampling_strategy`), from counts
    instead of rows; `True` as a ratio of 1 and target counts that are not integers are refused here.

    Args:
        strategy: one of "auto", "minority", "majority", "not minority", "not majority", "all"; a
            ratio in (0, 1] of minority to majority rows afterwards (two classes only, no cleaning);
            an absolute target count per class; a list of classes (cleaning only); or a function
            from the class counts to target counts. "auto" is "not majority" for over-sampling and
            "not minority" otherwise.
        counts: rows of each class before sampling. Of equally frequent classes the first in sorted
            order is the minority or majority.
        kind: what the numbers mean; for "clean-sampling" only the classes matter.

    Returns:
        Rows per targeted class, sorted by class; other classes stay as they are.

    Raises:
        ConfigError: the strategy has no known form, names an unknown class, or asks an
            over-sampler to remove rows or an under-sampler to add some.
        DataContractError: fewer than two classes have rows.

    Examples:
        >>> check_sampling_strategy(0.5, {0: 1000, 1: 10}, "over-sampling")
        {1: 490}
        >>> check_sampling_strategy("auto", {"ok": 1000, "late": 30, "fraud": 10}, "under-sampling")
        {'late': 10, 'ok': 10}
    """
    refuse_one_class(counts, kind)
    ordered = dict(sorted(counts.items()))
    return dict(sorted(_resolve(strategy, ordered, kind).items()))


def _resolve(strategy: SamplingStrategy, counts: Counts, kind: Kind) -> dict[Label, int]:
    if isinstance(strategy, str):
        return _by_word(strategy, counts, kind)
    if isinstance(strategy, Mapping):
        return _by_count(strategy, counts, kind)
    if is_number(strategy):
        return _by_ratio(strategy, counts, kind)  # type: ignore[arg-type]  # is_number has seen to it
    if isinstance(strategy, list | tuple | set | frozenset):
        return _by_list(strategy, counts, kind)
    if callable(strategy):
        return _by_count(strategy(counts), counts, kind)
    raise ConfigError(
        f"sampling_strategy must be one of {list(_WORDS)}, a ratio in (0, 1], a count per class or a function, got "
        f"{strategy!r}."
    )


def _by_word(word: str, counts: Counts, kind: Kind) -> dict[Label, int]:
    if word not in _WORDS:
        raise ConfigError(f"sampling_strategy must be one of {list(_WORDS)}, got {word!r}.{nearest([word], _WORDS)}")
    if word == _SENSELESS[kind]:
        raise ConfigError(
            f"sampling_strategy {word!r} is not possible for {kind}. Use 'auto', which is {_AUTO[kind]!r}."
        )
    word = _AUTO[kind] if word == "auto" else word
    majority, minority = max(counts, key=lambda c: counts[c]), min(counts, key=lambda c: counts[c])
    targeted = {
        "all": list(counts),
        "majority": [majority],
        "minority": [minority],
        "not majority": [label for label in counts if label != majority],
        "not minority": [label for label in counts if label != minority],
    }[word]
    if kind == "over-sampling":
        return {label: counts[majority] - counts[label] for label in targeted}
    return dict.fromkeys(targeted, counts[minority])


def _by_ratio(ratio: float, counts: Counts, kind: Kind) -> dict[Label, int]:
    if kind == "clean-sampling":
        raise ConfigError(f"sampling_strategy {ratio!r}: cleaning reaches no given ratio. Name the classes to clean.")
    if len(counts) != 2:
        raise ConfigError(
            f"sampling_strategy {ratio!r}: a ratio needs two classes, here are {len(counts)}. Give a count per class."
        )
    if not 0 < ratio <= 1:
        raise ConfigError(
            f"sampling_strategy must be in (0, 1] as a ratio of minority to majority rows, got {ratio!r}."
        )
    present = min(counts.values()) / max(counts.values())
    if kind == "over-sampling":
        majority = max(counts, key=lambda c: counts[c])
        minority = next(label for label in counts if label != majority)
        generate = int(counts[majority] * ratio - counts[minority])
        if generate <= 0:
            raise ConfigError(
                f"sampling_strategy {ratio!r} is not above the present ratio {present:.4g}: nothing to add. Raise it."
            )
        return {minority: generate}
    minority = min(counts, key=lambda c: counts[c])
    majority = next(label for label in counts if label != minority)
    keep = int(counts[minority] / ratio)
    if keep > counts[majority]:
        raise ConfigError(
            f"sampling_strategy {ratio!r} is below the present ratio {present:.4g}: nothing to remove. Raise it."
        )
    return {majority: keep}


def _by_count(asked: Mapping[Label, int], counts: Counts, kind: Kind) -> dict[Label, int]:
    if kind == "clean-sampling":
        raise ConfigError("sampling_strategy: cleaning reaches no given counts. Give a list of the classes to clean.")
    if not isinstance(asked, Mapping):
        raise ConfigError(
            f"sampling_strategy: the function must give a count per class, it gave {type(asked).__name__}."
        )
    problems = _unknown(asked, counts)
    for label, n in asked.items():
        if isinstance(n, bool) or not isinstance(n, Integral) or n < 0:
            problems.append(
                f"sampling_strategy[{label!r}] must be an integer >= 0, got {n!r}. It is the count to reach."
            )
        elif label in counts and kind == "over-sampling" and n < counts[label]:
            problems.append(
                f"sampling_strategy[{label!r}] is {n}, but {counts[label]} rows are there: over-sampling removes none."
            )
        elif label in counts and kind == "under-sampling" and n > counts[label]:
            problems.append(
                f"sampling_strategy[{label!r}] is {n}, but only {counts[label]} rows are there: under-sampling adds "
                "none."
            )
    if problems:
        raise ConfigError.of_all(problems)
    # The counts' own labels, since True == 1: Spark compares a boolean column with booleans only.
    return {
        label: int(asked[label]) - (n if kind == "over-sampling" else 0)
        for label, n in counts.items()
        if label in asked
    }


def _by_list(asked: Collection[Label], counts: Counts, kind: Kind) -> dict[Label, int]:
    if kind != "clean-sampling":
        raise ConfigError(
            f"sampling_strategy: a list of classes is for cleaning methods. Give a count per class for {kind}."
        )
    if problems := _unknown(asked, counts):
        raise ConfigError.of_all(problems)
    return {label: min(counts.values()) for label in counts if label in asked}


def _unknown(asked: Collection[Label], counts: Counts) -> list[str]:
    unknown = [label for label in asked if label not in counts]
    if not unknown:
        return []
    return [f"sampling_strategy: no class {unknown} in the data: {show_counts(counts)}.{nearest(unknown, counts)}"]
