"""Exact counts by hash rank: how many rows each part gets, and the hash at which it ends."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from pyspark.sql import Column, DataFrame, Row
from pyspark.sql import functions as F

from imbalance_spark.core.class_counts import Label
from imbalance_spark.core.errors import DataContractError
from imbalance_spark.core.hashing import HASH_RANGE

_SIGMAS = 6
"""A rank's hash is farther than this many standard deviations from its expectation once in 5e8 times."""
_MARGIN = 32
"""Rows added to a window, so that it spans a small class as a whole."""


def largest_remainder(total: int, fractions: Sequence[float]) -> tuple[int, ...]:
    """Divide `total` rows by `fractions`: floors first, then one more for each of the largest remainders.

    As scikit-learn's `_approximate_mode`, except that a tie goes to the part named first.

    Args:
        total: rows, >= 0.
        fractions: positive, summing to 1 up to rounding; taken as the decimals they print as.
    """
    exact = [Fraction(repr(float(fraction))) for fraction in fractions]
    quotas = [total * fraction / sum(exact) for fraction in exact]
    counts = [math.floor(quota) for quota in quotas]
    by_remainder = sorted(range(len(quotas)), key=lambda part: counts[part] - quotas[part])
    for part in by_remainder[: total - sum(counts)]:
        counts[part] += 1
    return tuple(counts)


def counts_of_folds(total: int, shares: Sequence[float]) -> tuple[int, ...]:
    """`largest_remainder`, but no fold is empty where there is a row for each: the largest folds give up one."""
    counts = list(largest_remainder(total, shares))
    while 0 in counts and total >= len(counts):
        counts[counts.index(max(counts))] -= 1
        counts[counts.index(0)] += 1
    return tuple(counts)


@dataclass(frozen=True, kw_only=True)
class _Search:
    """The search for the hash below which `rank` of the `rows` rows of a class lie."""

    label: Label
    rank: int
    rows: int
    width: float = 1.0

    def window(self) -> tuple[int, int]:
        share = self.rank / self.rows
        spread = self.width * (_SIGMAS * math.sqrt(self.rows * share * (1 - share)) + _MARGIN) / self.rows
        return max(0, int((share - spread) * HASH_RANGE)), min(HASH_RANGE, int((share + spread) * HASH_RANGE))

    def wider(self) -> "_Search":
        return _Search(label=self.label, rank=self.rank, rows=self.rows, width=self.width * 64)

    def aggregates(self, number: int, label: Column, hashed: Column) -> dict[str, Column]:
        """The hashes right below and at the rank, among the sorted hashes of the window."""
        low, high = self.window()
        is_mine = label == F.lit(self.label)
        below = F.count_if(is_mine & (hashed < low))
        inside = F.sort_array(F.collect_list(F.when(is_mine & (hashed >= low) & (hashed < high), hashed)))
        position = F.lit(self.rank) - below
        return {
            f"last_{number}": F.get(inside, (position - 1).cast("int")),
            f"next_{number}": F.get(inside, position.cast("int")),
        }


class CutOffSearch:
    """The hashes below which exactly given ranks of the rows of a class lie, found by aggregates of one scan or more.

    The hash is uniform, so the hash of a rank is known to about sqrt(n) rows, and only the hashes in that window are
    sorted, on an executor. A window that misses the rank, which takes a hash that is not uniform, is wider in the next
    scan. Two numbers per rank are collected. Rank 0 gives 0 and rank n gives `HASH_RANGE`, without a scan.

    Args:
        label: the class of a row; `hashed`: its hash in [0, HASH_RANGE), distinct inside a class.
        counts: rows of each class; `ranks`: for each class asked, numbers in [0, its rows].
        stage: name for messages.
    """

    def __init__(
        self,
        label: Column,
        hashed: Column,
        *,
        counts: Mapping[Label, int],
        ranks: Mapping[Label, Sequence[int]],
        stage: str,
    ) -> None:
        self._label, self._hashed, self._ranks, self._stage = label, hashed, ranks, stage
        self._found = {(name, rank): _edge(rank, counts[name]) for name, asked in ranks.items() for rank in asked}
        self._pending = [
            _Search(label=name, rank=rank, rows=counts[name])
            for (name, rank), edge in self._found.items()
            if edge is None
        ]

    def aggregates(self) -> dict[str, Column]:
        """What the next scan has to add up, over rows with all of the class of a rank; empty once all are found."""
        columns: dict[str, Column] = {}
        for number, search in enumerate(self._pending):
            columns |= search.aggregates(number, self._label, self._hashed)
        return columns

    def learn(self, row_of: Callable[[Label], Row]) -> None:
        """Take what a scan added up; `row_of` gives it for a class.

        Raises:
            DataContractError: two rows of a class share the hash at a rank, so their key is the same; or the input
                differs between scans.
        """
        for number, search in enumerate(self._pending):
            found = _cut_off(row_of(search.label), number, search, self._stage)
            self._found[search.label, search.rank] = found
        self._pending = [search.wider() for search in self._pending if self._found[search.label, search.rank] is None]

    def finish(self, rows: DataFrame) -> dict[Label, tuple[int, ...]]:
        """Scan rows until all is found; gives for each class its hashes, in the order of its ranks."""
        names = [F.lit(name) for name in self._ranks]
        while aggregates := self.aggregates():
            row = rows.where(self._label.isin(names)).agg(*[c.alias(name) for name, c in aggregates.items()]).first()
            assert row is not None, "an aggregate without groups has one row"  # noqa: S101  # for the type checker
            self.learn(lambda _, row=row: row)  # type: ignore[misc]  # mypy infers no type for a default
        return {name: tuple(self._found[name, rank] or 0 for rank in asked) for name, asked in self._ranks.items()}


def collect_cut_offs(
    rows: DataFrame,
    label: Column,
    hashed: Column,
    *,
    counts: Mapping[Label, int],
    ranks: Mapping[Label, Sequence[int]],
    stage: str,
) -> dict[Label, tuple[int, ...]]:
    """For each class the hashes below which exactly `ranks` of its rows lie: a whole `CutOffSearch` over `rows`.

    One scan, whatever their number; more only where a hash is not uniform.

    Raises:
        DataContractError: see `CutOffSearch.learn`.
    """
    return CutOffSearch(label, hashed, counts=counts, ranks=ranks, stage=stage).finish(rows)


def _edge(rank: int, rows: int) -> int | None:
    if rank == 0:
        return 0
    return HASH_RANGE if rank == rows else None


def _cut_off(row: Row, number: int, search: _Search, stage: str) -> int | None:
    last, following = row[f"last_{number}"], row[f"next_{number}"]
    if last is None or following is None:
        if search.window() == (0, HASH_RANGE):
            raise DataContractError(
                f"{stage}: class {search.label!r} had {search.rows} rows in one scan and fewer in the next. "
                "Write the input to a table first, so that every scan reads the same rows."
            )
        return None
    if last == following:
        raise DataContractError(
            f"{stage}: the key is not unique: two rows of class {search.label!r} share it, so exact counts are "
            "impossible. Remove duplicate keys upstream."
        )
    return int(following)
