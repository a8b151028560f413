"""Keep a fraction of each class: Spark's `sampleBy` without its traps, or by key."""

import logging
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Literal

from pyspark.sql import Column, DataFrame

from imbalance_spark.core.class_counts import Label, of_class, show_counts
from imbalance_spark.core.columns import check_seed, col
from imbalance_spark.core.errors import ConfigError, nearest
from imbalance_spark.core.hash_ranks import collect_cut_offs
from imbalance_spark.core.hashing import HASH_RANGE, check_key, key_hash, quoted
from imbalance_spark.train_only.guard import leakage_errors
from imbalance_spark.train_only.sampling.base import Census, count_train, refuse_lost_classes, with_sampling_weight

logger = logging.getLogger(__name__)

Method = Literal["sample_by", "key_hash", "exact"]
_METHODS = ("sample_by", "key_hash", "exact")
_STAGE = "sample_by_class"


def sample_by_class(
    train: DataFrame,
    *,
    label: str,
    fractions: Mapping[Label, float],
    seed: int,
    method: Method = "sample_by",
    key: str | Sequence[str] | None = None,
) -> DataFrame:
    """The kept rows with every input column and `sampling_weight` (double, >= 1).

    One pass for the class counts, one more for "exact"; the result is lazy. A class that `fractions`
    does not name is kept whole, which is logged.

    Args:
        train: training rows, with `split`.
        label: the class; never null.
        fractions: the share of each class to keep, in [0, 1].
        seed: integer >= 0.
        method: "sample_by" is `DataFrame.sampleBy`, one independent draw a row, which another layout
            of the table draws anew: write the result once and read that. "key_hash" has the same
            law, but the draw is a function of key and seed, and a smaller fraction keeps a subset.
            "exact" keeps the same rows as "key_hash" but for the few that make the counts exact.
        key: columns that identify a row; needed by "key_hash" and "exact".

    Returns:
        `sampling_weight` is what undoes the sampling: 1 / fraction; with "exact" rows before / rows
        kept; 1 for a class kept whole.

    Raises:
        ConfigError: a fraction outside [0, 1] or no number, an unknown class or method, no key.
        LeakageError: a row whose split is not "train".
        DataContractError: no rows, null labels, one class before, or certainly less than two after.
    """
    check_seed(seed, _STAGE)
    _check_settings(fractions, method, key)
    names = (key,) if isinstance(key, str) else tuple(key or ())
    if method != "sample_by":
        check_key(train, names, _STAGE)
    census = count_train(train, label, _STAGE)
    asked = _by_observed_class(fractions, census.counts)
    if method == "sample_by":
        return _sample_by(census, label, asked, seed)
    hashed = key_hash(names, seed, _STAGE)
    if method == "key_hash":
        return _sample_by_hash(census, label, asked, hashed)
    return _sample_exactly(census, label, asked, hashed)


def _check_settings(fractions: Mapping[Label, float], method: str, key: str | Sequence[str] | None) -> None:
    problems = [problem for name, share in fractions.items() if (problem := _fraction_problem(name, share))]
    if method not in _METHODS:
        problems.append(
            f"{_STAGE}.method must be one of {list(_METHODS)}, got {method!r}.{nearest([method], _METHODS)}"
        )
    elif method != "sample_by" and not key:
        problems.append(f"{_STAGE}: method {method!r} needs key=, the columns that identify a row.")
    if problems:
        raise ConfigError.of_all(problems)


def _fraction_problem(name: Label, share: object) -> str | None:
    if isinstance(share, int | float) and not isinstance(share, bool):
        if 0 <= share <= 1:
            return None
        if share > 1:
            return (
                f"{_STAGE}.fractions[{name!r}] is {share!r}: a sample has no more rows than there are. "
                "To replicate rows use RandomOverSampler."
            )
    return (
        f"{_STAGE}.fractions[{name!r}] must be a number in [0, 1], got {share!r}. It is the share of the class to keep."
    )


def _by_observed_class(fractions: Mapping[Label, float], counts: Mapping[Label, int]) -> dict[Label, float]:
    """The fractions by the classes as Spark has them, all of them named.

    `sampleBy` drops a class that its dict lacks, and so every row of a boolean column when the dict
    says 0 and 1. Python looks `False` up as 0, so the classes observed are asked, not the dict's.
    """
    if unknown := [name for name in fractions if name not in counts]:
        kinds = sorted({type(name).__name__ for name in counts})
        raise ConfigError(
            f"{_STAGE}.fractions: no class {unknown} in the data, whose classes ({', '.join(kinds)}) are "
            f"{show_counts(counts)}."
            f"{nearest(unknown, counts)}"
        )
    if whole := {name: n for name, n in counts.items() if name not in fractions}:
        logger.info("%s: fractions does not name %s: kept whole", _STAGE, show_counts(whole))
    asked = {name: float(fractions.get(name, 1.0)) for name in counts}
    refuse_lost_classes(counts, {name: n if asked[name] > 0 else 0 for name, n in counts.items()}, _STAGE)
    return asked


def _sample_by(census: Census, label: str, asked: Mapping[Label, float], seed: int) -> DataFrame:
    kept = census.rows.sampleBy(quoted(label), dict(asked), seed)
    return with_sampling_weight(kept, of_class(label, _inverse(asked), 1.0))


def _sample_by_hash(census: Census, label: str, asked: Mapping[Label, float], hashed: Column) -> DataFrame:
    ends = {name: int(Fraction(repr(share)) * HASH_RANGE) for name, share in asked.items()}
    kept = census.rows.where(hashed < of_class(label, ends, 0))
    return with_sampling_weight(kept, of_class(label, _inverse(asked), 1.0))


def _sample_exactly(census: Census, label: str, asked: Mapping[Label, float], hashed: Column) -> DataFrame:
    keep = {name: round(n * asked[name]) for name, n in census.counts.items()}
    refuse_lost_classes(census.counts, keep, _STAGE)
    ranks = {name: (n,) for name, n in keep.items()}
    with leakage_errors():
        cut_offs = collect_cut_offs(census.rows, col(label), hashed, counts=census.counts, ranks=ranks, stage=_STAGE)
    kept = census.rows.where(hashed < of_class(label, {name: cuts[0] for name, cuts in cut_offs.items()}, 0))
    reached = {name: n / census.counts[name] for name, n in keep.items()}
    return with_sampling_weight(kept, of_class(label, _inverse(reached), 1.0))


def _inverse(fractions: Mapping[Label, float]) -> dict[Label, float]:
    return {name: 1 / share for name, share in fractions.items() if share > 0}
