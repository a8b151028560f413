"""The nearest points inside the cells that a query probes: exact within them, in blocks of one cell."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import numpy.typing as npt

from imbalance_spark.train_only.sampling.neighbours.exact import Neighbours
from imbalance_spark.train_only.sampling.neighbours.kmeans import Cells, Partition, driver_threads, fit_partition
from imbalance_spark.train_only.sampling.neighbours.lists import nearest_in
from imbalance_spark.train_only.sampling.neighbours.space import Floats, Numbers, PointArrays, Space, Words

_BLOCK_NUMBERS = 1 << 21
_GROUPED = 8
_CROWD = 4
_FEW = 4

_NEARLY = 1.02
"""Most that the mean distance found by few probes may exceed that of all probes, as a ratio."""

_QUERIES, _K = 256, 5


@dataclass(frozen=True, kw_only=True)
class CellRows:
    """The cells that each point probes, (points, probes), and the points in the order of their own cells."""

    of_point: Cells
    order: npt.NDArray[np.int32]
    starts: Words

    @classmethod
    def of(cls, cells: Cells) -> Self:
        """From `Partition.cells`."""
        home = cells[:, 0]
        order = np.argsort(home, kind="stable").astype(np.int32)
        last = int(home.max()) if len(home) else -1
        return cls(of_point=cells, order=order, starts=np.searchsorted(home[order], np.arange(last + 2)))

    @property
    def compared(self) -> int:
        """Average number of points that a query is compared with."""
        sizes = np.diff(self.starts).astype(np.float64)
        # On average, each of the probes sends as many queries to a cell as it has points.
        return int(self.of_point.shape[1] * np.square(sizes).sum() / max(1.0, sizes.sum()))

    def members(self, cell: int) -> Words:
        """The points of a cell, ascending."""
        if cell + 1 >= len(self.starts):
            return np.empty(0, np.int64)
        return self.order[self.starts[cell] : self.starts[cell + 1]].astype(np.int64)


@dataclass(frozen=True, kw_only=True)
class _Hits:
    """Pairs of a query and a point, with their squared distance."""

    query: Words
    position: Words
    square: Floats

    @classmethod
    def joined(cls, parts: list["_Hits"]) -> "_Hits":
        return cls(
            query=np.concatenate([part.query for part in parts]),
            position=np.concatenate([part.position for part in parts]),
            square=np.concatenate([part.square for part in parts]),
        )

    def lowest(self, k: int) -> "_Hits":
        """The k nearest of each query, in the order of queries; equally near ones by position."""
        order = np.lexsort((self.position, self.square, self.query))
        query = self.query[order]
        is_first = np.append(True, query[1:] != query[:-1])
        starts = np.flatnonzero(is_first)
        rank = np.arange(len(query)) - starts[np.cumsum(is_first) - 1]
        nearest = order[rank < k]
        return _Hits(query=self.query[nearest], position=self.position[nearest], square=self.square[nearest])


def nearest_in_cells(space: Space, values: Numbers, cells: CellRows, queries: Words, k: int) -> Neighbours:
    """The k nearest points in the cells that each query probes, without the query itself; (queries, k).

    Cells are searched from the nearest one on. Pairs that a matrix product in float32 cannot rule out are computed in
    float64, so that the result depends on the points alone: equally near ones are ordered by position. Missing
    neighbours are at infinity.

    Args:
        values: (points, coordinates). queries: positions among the points.
    """
    positions = np.full((len(queries), k), -1, np.int64)
    squares = np.full(positions.shape, np.inf)
    probes = cells.of_point[queries]
    for first, last in _steps(probes.shape[1]):
        limits = squares[:, -1]
        parts = [
            hits
            for numbers, cell in _by_cell(probes[:, first:last])
            for hits in _hits(space, values, queries, numbers, cells.members(cell), limits, k)
        ]
        if parts:
            _take(_Hits.joined(parts), positions, squares)
    return Neighbours(positions=positions, distances=np.sqrt(squares))


def _steps(probes: int) -> Iterator[tuple[int, int]]:
    """The first cell, the second, then twice as many each: when many are searched, most neighbours are known."""
    first, last = 0, 1
    while first < probes:
        yield first, min(last, probes)
        first, last = last, max(2, 2 * last)


def _by_cell(probes: Cells) -> Iterator[tuple[Words, int]]:
    """Each cell of these probes, with the numbers of the queries that probe it."""
    flat = probes.ravel()
    order = np.argsort(flat, kind="stable")
    cells, starts = np.unique(flat[order], return_index=True)
    for cell, part in zip(cells, np.split(order, starts[1:]), strict=True):
        yield part // probes.shape[1], int(cell)


def _hits(
    space: Space, values: Numbers, queries: Words, numbers: Words, members: Words, limits: Floats, k: int
) -> Iterator[_Hits]:
    """Pairs that can be among the k nearest of a query; none that is among them is left out."""
    size = max(1, _BLOCK_NUMBERS // max(1, len(members)))
    for start in range(0, len(numbers) if len(members) else 0, size):
        block = numbers[start : start + size]
        if not space.is_euclidean:
            yield _compared(space, values, queries, block, members, k)
            continue
        asked, searched = space.vectors(values[queries[block]], values[members])
        query, member = _near(asked, searched, queries[block], members, limits[block], k)
        square = np.square(asked[query] - searched[member]).sum(axis=1)
        found = _Hits(query=block[query], position=members[member], square=square)
        yield found.lowest(k) if len(query) > _CROWD * k * len(block) else found


def _compared(space: Space, values: Numbers, queries: Words, block: Words, members: Words, k: int) -> _Hits:
    """The k nearest of these queries in one cell, in a distance that is not a matrix product."""
    at = np.minimum(np.searchsorted(members, queries[block]), len(members) - 1)
    own = np.where(members[at] == queries[block], at, -1)
    found = nearest_in(space, values[queries[block]], values[members], k, own)
    query, column = np.nonzero(np.isfinite(found.distances))
    return _Hits(
        query=block[query],
        position=members[found.positions[query, column]],
        square=np.square(found.distances[query, column]),
    )


def _near(
    asked: Floats, searched: Floats, own: Words, members: Words, limits: Floats, k: int
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Rows and columns of the pairs that are not certainly farther than the limit, or than k others."""
    centre = searched.mean(axis=0)
    left, right = asked - centre, searched - centre
    unit = float(max(np.abs(left).max(), np.abs(right).max())) or 1.0
    left, right = (left / unit).astype(np.float32), (right / unit).astype(np.float32)
    lengths, rights = np.square(left).sum(axis=1), np.square(right).sum(axis=1)
    columns = np.vstack([-2 * right.T, rights[None, :]])
    scores = np.hstack([left, np.ones((len(left), 1), np.float32)]) @ columns
    at = np.minimum(np.searchsorted(members, own), len(members) - 1)
    has_own = np.flatnonzero(members[at] == own)
    scores[has_own, at[has_own]] = np.inf
    steps = 8 * (left.shape[1] + 4) * float(np.finfo(np.float32).eps)
    error = steps * np.square(np.sqrt(lengths) + np.sqrt(rights.max()))
    bound = limits / unit**2 - lengths
    if np.isinf(bound).any():
        bound = np.minimum(bound, _bound_of_k(scores, k) + error)
    bound += error
    hit = np.flatnonzero((scores <= bound[:, None].astype(np.float32)).ravel())
    query, member = np.divmod(hit, len(members))
    is_other = members[member] != own[query]
    return query[is_other], member[is_other]


def _bound_of_k(scores: npt.NDArray[np.float32], k: int) -> Floats:
    """An upper bound of a row's k-th lowest score, from minima over groups of columns; infinite for few columns."""
    groups = scores.shape[1] // _GROUPED
    if groups <= k:
        return np.full(len(scores), np.inf)
    minima = scores[:, : groups * _GROUPED].reshape(len(scores), _GROUPED, groups).min(axis=1)
    return np.asarray(np.partition(minima, k - 1, axis=1)[:, k - 1], np.float64)


def _take(hits: _Hits, positions: Words, squares: Floats) -> None:
    """Merge the hits into the lists, nearest first; entries at infinity have position -1."""
    k = positions.shape[1]
    order = np.argsort(hits.query, kind="stable")
    rows, starts, counts = np.unique(hits.query[order], return_index=True, return_counts=True)
    if counts.max(initial=0) > _CROWD * k:
        return _take(hits.lowest(k), positions, squares)
    row = np.repeat(np.arange(len(rows)), counts)
    column = k + np.arange(len(order)) - np.repeat(starts, counts)
    both = np.full((len(rows), k + counts.max(initial=0)), np.inf)
    found = np.full(both.shape, -1, np.int64)
    both[:, :k], found[:, :k] = squares[rows], positions[rows]
    both[row, column], found[row, column] = hits.square[order], hits.position[order]
    order = np.lexsort((found, both), axis=1)[:, :k]
    squares[rows], positions[rows] = np.take_along_axis(both, order, 1), np.take_along_axis(found, order, 1)
    return None


def fit_searched_partition(sample: PointArrays, space: Space, rows: int, seed: int) -> tuple[Partition, Cells]:
    """As `fit_partition`, with half the probes where the sample shows them to be enough; and the sample's cells."""
    partition = fit_partition(sample, space, rows, seed)
    cells = partition.cells(sample, driver_threads())
    probed = CellRows.of(cells)
    queries = np.arange(min(_QUERIES, len(sample)))

    def distance(probes: int) -> float:
        some = replace(probed, of_point=cells[:, :probes])
        found = nearest_in_cells(space, sample.values, some, queries, _K).distances
        return float(found.mean()) if found.size else 0.0

    few = min(_FEW, partition.probes)
    if distance(few) > _NEARLY * distance(partition.probes):
        return partition, cells
    return replace(partition, probes=few), cells[:, :few]
