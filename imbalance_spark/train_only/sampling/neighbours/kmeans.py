"""k-means cells of near rows, fitted on a sample, independent of the table's layout."""

import math
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from imbalance_spark.train_only.sampling.neighbours.exact import lowest
from imbalance_spark.train_only.sampling.neighbours.space import Floats, Numbers, PointArrays, Space

PROBES = 8
"""Most cells that are searched for each row: those of the nearest centres."""

SAMPLE_ROWS = 1 << 18
"""Rows that the centres are fitted on, in the driver's memory."""

Cells = npt.NDArray[np.int32]
_Singles = npt.NDArray[np.float32]
_CENTRES = 1.4
_ROWS_OF_CELL, _SAMPLED_OF_CELL = 128, 32
_ROUNDS = 4
_REACH = 8.0

_EXACT = 1 << 24
"""Up to here float32 represents every integer."""

_CROWDED, _MOST_ROWS = 4, 1 << 15
_CATEGORIES, _DIRECTIONS = 4093, 8
_BLOCK_NUMBERS = 1 << 20
_GROUPED = 8
_NEVER = np.float32(_EXACT)


@dataclass(frozen=True, kw_only=True)
class Partition:
    """Centres as integers, so small that their products are exact in float32 on any hardware.

    Args:
        middle: (coordinates,), subtracted first. step: the unit of the integers, > 0.
        limit: the largest integer. categories: (categorical columns, 4093, 8), a category as a random point.
        centres: (cells, coordinates + 8 x categorical columns).
        probes: number of cells searched for a row.
        parts: number of cells into which the rows of each centre are split by hash; more than 1 where there are too
            many rows.
    """

    middle: Floats
    step: float
    limit: int
    categories: _Singles
    centres: _Singles
    probes: int
    parts: npt.NDArray[np.int64]

    def cells(self, points: PointArrays, threads: int = 1) -> Cells:
        """(points, probes): the cells of the nearest centres, nearest first; a row belongs to the first.

        The cells of a row do not depend on its batch.
        """
        found = _nearest_centres(self._whole(points.values), self.centres, self.probes, threads)
        first = np.cumsum(self.parts) - self.parts
        return (first[found] + points.hashes[:, None] % self.parts[found]).astype(np.int32)

    def _whole(self, values: Numbers) -> _Singles:
        """The points in integer steps from the middle."""
        first = len(self.middle)
        numbers = np.rint((np.asarray(values[:, :first], np.float64) - self.middle) / self.step)
        parts = [np.clip(numbers, -self.limit, self.limit).astype(np.float32)]
        for column, table in enumerate(self.categories):
            parts.append(table[np.abs(values[:, first + column] * 2).astype(np.int64) % _CATEGORIES])
        return np.hstack(parts)


def fit_partition(sample: PointArrays, space: Space, rows: int, seed: int) -> Partition:
    """Fit the cells of `rows` rows on a sample of them, by four rounds of k-means.

    About 1.4 sqrt(rows) centres, so that finding the nearest centres costs about as much as searching their cells; one
    centre where there are few rows.
    """
    draws = np.random.default_rng([seed, rows])
    plain = _without_centres(sample, space, draws)
    number = min(round(_CENTRES * math.sqrt(rows)), rows // _ROWS_OF_CELL, len(sample) // 4)
    number = number if number > PROBES else 1
    chosen = draws.permutation(len(sample))[: number * _SAMPLED_OF_CELL]
    whole = plain._whole(sample.values[chosen])
    centres = whole[:number].copy()
    for _ in range(_ROUNDS):
        centres = _moved(whole, centres)
    sampled = np.bincount(_nearest_centres(whole, centres, 1, driver_threads())[:, 0], minlength=number)
    sizes = sampled * (rows / len(whole))
    most = min(_CROWDED * rows / number, _MOST_ROWS)
    parts = np.maximum(1, np.ceil(sizes / most)).astype(np.int64)
    return Partition(
        middle=plain.middle, step=plain.step, limit=plain.limit, categories=plain.categories, centres=centres,
        probes=min(PROBES, number), parts=parts,
    )  # fmt: skip


def _without_centres(sample: PointArrays, space: Space, draws: np.random.Generator) -> Partition:
    first, words = len(space.numeric), len(space.categorical)
    numbers = np.asarray(sample.values[:, :first], np.float64)
    width = first + _DIRECTIONS * words
    # |c|^2 - 2 xc and all its partial sums stay below 2^24.
    limit = int(math.sqrt(_EXACT / (3 * width)))
    spread = float(numbers.std(axis=0).max()) if len(numbers) else 0.0
    step = _REACH * (spread or space.penalty or 1.0) / limit
    # On average, two different categories are at the distance that the space defines.
    share = space.penalty / math.sqrt(2 * _DIRECTIONS) / step
    drawn = np.rint(draws.normal(0, share, (words, _CATEGORIES, _DIRECTIONS)))
    return Partition(
        middle=numbers.mean(axis=0) if len(numbers) else np.zeros(first),
        step=step,
        limit=limit,
        categories=np.clip(drawn, -limit, limit).astype(np.float32),
        centres=np.zeros((1, width), np.float32),
        probes=1,
        parts=np.ones(1, np.int64),
    )


def _moved(whole: _Singles, centres: _Singles) -> _Singles:
    """Move each centre to the rounded mean of its rows; one without rows stays. Sums of integers are exact."""
    nearest = _nearest_centres(whole, centres, 1, driver_threads())[:, 0]
    order = np.argsort(nearest, kind="stable")
    present, starts, counts = np.unique(nearest[order], return_index=True, return_counts=True)
    sums = np.add.reduceat(whole[order].astype(np.float64), starts, axis=0)
    moved = centres.copy()
    moved[present] = np.rint(sums / counts[:, None])
    return moved


def _nearest_centres(whole: _Singles, centres: _Singles, wanted: int, threads: int) -> npt.NDArray[np.int64]:
    """The numbers of the nearest centres, nearest first; equally near ones by number."""
    width = -(-len(centres) // _GROUPED) * _GROUPED
    columns = np.zeros((centres.shape[1] + 1, width), np.float32)
    columns[:-1, : len(centres)] = -2 * centres.T
    columns[-1] = _NEVER
    columns[-1, : len(centres)] = np.square(centres).sum(axis=1)
    size = max(1, _BLOCK_NUMBERS // width)
    found = np.empty((len(whole), wanted), np.int64)

    def fill(start: int) -> None:
        block = whole[start : start + size]
        scores = np.hstack([block, np.ones((len(block), 1), np.float32)]) @ columns
        found[start : start + size] = _lowest(scores, wanted)

    # NumPy releases the GIL in the product and in the selection.
    with ThreadPoolExecutor(max_workers=threads) as pool:
        list(pool.map(fill, range(0, len(whole), size)))
    return found


def driver_threads() -> int:
    """Threads for the driver's own computations; a Spark task has one."""
    return os.cpu_count() or 1


def _lowest(scores: _Singles, wanted: int) -> npt.NDArray[np.int64]:
    """Columns of the lowest scores of each row, ascending; equally low ones by number."""
    if wanted == 1:
        return np.asarray(scores.argmin(axis=1)[:, None], np.int64)
    chosen, values = lowest(scores, wanted, _GROUPED)
    # Ties are broken differently on other processors: rows with ties at the limit are sorted.
    is_open = np.count_nonzero(scores <= values.max(axis=1, keepdims=True), axis=1) > wanted
    chosen[is_open] = np.argsort(scores[is_open], axis=1, kind="stable")[:, :wanted]
    order = np.lexsort((chosen, np.take_along_axis(scores, chosen, axis=1)), axis=1)
    return np.take_along_axis(chosen, order, axis=1)
