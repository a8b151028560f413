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
from imbalance_spark.train_only.sampling.base import CountedRows, count_train, refuse_lost_classes, with_sampling_weight

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
    """Keep a fraction of each class: `DataFrame.sampleBy` without its traps, or by a hash of the key.

    One pass for the class counts, one more for "exact"; the result is lazy. A class that `fractions`
    does not name is kept whole, which is logged.

    Args:
        train: training rows, with `split`.
        label: the class; never null.
        fractions: the share of each class to keep, in [0, 1].
        seed: integer >= 0.
        method: "sample_by" is `DataFrame.sampleBy`, one independent draw per row, which changes with the layout
            of the table: write the result once and read that. "key_hash" has the same
            distribution, but the draw is a function of key and seed, and a smaller fraction keeps a subset.
            "exact" keeps the same rows as "key_hash", except for the few that make the counts exact.
        key: columns that identify a row; needed by "key_hash" and "exact".

    Returns:
        The kept rows with every input column and `sampling_weight` (double, >= 1), which undoes the sampling:
        1 / fraction; with "exact" rows before / rows kept; 1 for a class kept whole.

    Raises:
        ConfigError: a fraction outside [0, 1] or no number, an unknown class or method, no key.
        LeakageError: a row whose split is not "train".
        DataContractError: no rows, null labels, one class before, or certainly fewer than two after.

    Examples:
        >>> orders = spark.range(1000).selectExpr("id AS order_id", "id % 20 = 0 AS is_fraud", "'train' AS split")
        >>> sampled = sample_by_class(
        ...     orders, label="is_fraud", fractions={False: 0.1}, seed=7, method="exact", key="order_id"
        ... )
        >>> sampled.groupBy("is_fraud", "sampling_weight").count().orderBy("is_fraud").show()
        +--------+---------------+-----+
        |is_fraud|sampling_weight|count|
        +--------+---------------+-----+
        |   false|           10.0|   95|
        |    true|            1.0|   50|
        +--------+---------------+-----+
        <BLANKLINE>
    """
    check_seed(seed, _STAGE)
    _check_settings(fractions, method, key)
    names = (key,) if isinstance(key, str) else tuple(key or ())
    if method != "sample_by":
        check_key(train, names, _STAGE)
    counted = count_train(train, label, _STAGE)
    asked = _by_observed_class(fractions, counted.counts)
    if method == "sample_by":
        return _sample_by(counted, label, asked, seed)
    hashed = key_hash(names, seed, _STAGE)
    if method == "key_hash":
        return _sample_by_hash(counted, label, asked, hashed)
    return _sample_exactly(counted, label, asked, hashed)


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
                f"{_STAGE}.fractions[{name!r}] is {share!r}: a sample cannot have more rows than its class. "
                "To repeat rows use RandomOverSampler."
            )
    return (
        f"{_STAGE}.fractions[{name!r}] must be a number in [0, 1], got {share!r}. It is the share of the class to keep."
    )


def _by_observed_class(fractions: Mapping[Label, float], counts: Mapping[Label, int]) -> dict[Label, float]:
    """The fractions by the classes as Spark has them, all of them named.

    `sampleBy` drops a class that its dict lacks, and so every row of a boolean column when the dict
    says 0 and 1. Python looks `False` up as 0, so the observed classes are the keys, not those of the dict.
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


def _sample_by(counted: CountedRows, label: str, asked: Mapping[Label, float], seed: int) -> DataFrame:
    kept = counted.rows.sampleBy(quoted(label), dict(asked), seed)
    return with_sampling_weight(kept, of_class(label, _inverse(asked), 1.0))


def _sample_by_hash(counted: CountedRows, label: str, asked: Mapping[Label, float], hashed: Column) -> DataFrame:
    ends = {name: int(Fraction(repr(share)) * HASH_RANGE) for name, share in asked.items()}
    kept = counted.rows.where(hashed < of_class(label, ends, 0))
    return with_sampling_weight(kept, of_class(label, _inverse(asked), 1.0))


def _sample_exactly(counted: CountedRows, label: str, asked: Mapping[Label, float], hashed: Column) -> DataFrame:
    keep = {name: round(n * asked[name]) for name, n in counted.counts.items()}
    refuse_lost_classes(counted.counts, keep, _STAGE)
    ranks = {name: (n,) for name, n in keep.items()}
    with leakage_errors():
        bounds = collect_cut_offs(counted.rows, col(label), hashed, counts=counted.counts, ranks=ranks, stage=_STAGE)
    kept = counted.rows.where(hashed < of_class(label, {name: bound for name, (bound,) in bounds.items()}, 0))
    shares = {name: n / counted.counts[name] for name, n in keep.items()}
    return with_sampling_weight(kept, of_class(label, _inverse(shares), 1.0))


def _inverse(fractions: Mapping[Label, float]) -> dict[Label, float]:
    return {name: 1 / share for name, share in fractions.items() if share > 0}
