"""The lowest few of many scores."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Positions = npt.NDArray[np.int64]

_BLOCK_BYTES = 1 << 24
"""Size of a block of proposed distances; the search needs about twice that beside its inputs."""

_FEW_ROWS = 4096

_GROUPED = {True: 8, False: 32}
"""Rows represented by their smallest distance in the first selection; for few rows and for many."""

_SPARE = {True: 3, False: 8}
"""Candidates beyond k, so that rounding of the proposal seldom leaves the answer open."""


def lowest(
    scores: npt.NDArray[np.floating], wanted: int, grouped: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.floating]]:
    """Columns and values of the `wanted` lowest scores of each row, in any order; ties are broken arbitrarily.

    The lowest scores are in the groups with the lowest minima, and minima are much cheaper than a selection.

    Args:
        scores: (rows, columns), columns a multiple of `grouped`.
        grouped: number of scores represented by their minimum in the first selection.
    """
    groups = scores.shape[1] // grouped
    if groups <= wanted:
        columns = np.argpartition(scores, wanted - 1, axis=1)[:, :wanted]
        return columns, np.take_along_axis(scores, columns, axis=1)
    minima = scores.reshape(len(scores), grouped, groups).min(axis=1)
    near = np.argpartition(minima, wanted - 1, axis=1)[:, :wanted]
    columns = (near[:, None, :] + groups * np.arange(grouped)[None, :, None]).reshape(len(scores), -1)
    values = np.take_along_axis(scores, columns, axis=1)
    inside = np.argpartition(values, wanted - 1, axis=1)[:, :wanted]
    return np.take_along_axis(columns, inside, axis=1), np.take_along_axis(values, inside, axis=1)


@dataclass(frozen=True, kw_only=True)
class Neighbours:
    """For each query its k nearest rows, nearest first; equally near rows by position.

    Args:
        positions: (queries, k), indices of the searched rows.
        distances: (queries, k), Euclidean, >= 0.
    """

    positions: npt.NDArray[np.signedinteger]
    distances: Floats

    def where(self, queries: Positions) -> "Neighbours":
        """The lists of these queries."""
        return Neighbours(positions=self.positions[queries], distances=self.distances[queries])


def nearest(queries: Floats, rows: Floats, k: int, own: Positions | None = None) -> Neighbours:
    """The k nearest rows of each query, exactly: what sorting all float64 distances would give.

    A candidate set is accepted only where the rounding error of the matrix product cannot have hidden
    a nearer row; other queries are repeated in float64, and those still open are compared with each row.

    Args:
        queries: (q, d), finite. rows: (n, d), finite.
        k: in [1, number of rows other than the query].
        own: (q,), each query's own position among the rows, which is not its neighbour (a duplicate at
            another position is); -1 where it is not among them.

    Returns:
        For each query its k rows, nearest first, and their distances.
    Raises:
        ValueError: k is out of this range.
    """
    if not 1 <= k <= len(rows) - (own is not None and bool((own >= 0).any())):
        raise ValueError(f"nearest: k must be in [1, rows other than the query], got {k} of {len(rows)} rows.")
    own = np.full(len(queries), -1, np.int64) if own is None else own
    positions = np.empty((len(queries), k), np.int64)
    squares = np.empty((len(queries), k), np.float64)
    pending = np.arange(len(queries))
    for dtype in (np.float32, np.float64):
        pending = _search(queries, rows, own, pending, dtype, positions, squares)
    for query in pending:
        positions[query], squares[query] = _against_each(queries[query], rows, own[query], k)
    return Neighbours(positions=positions, distances=np.sqrt(squares))


def _search(
    queries: Floats,
    rows: Floats,
    own: Positions,
    pending: Positions,
    dtype: type,
    positions: Positions,
    squares: Floats,
) -> Positions:
    """Fill in the answers that this precision settles; return the queries that it leaves open."""
    if not len(pending):
        return pending
    proposal = _Proposal.of(rows, dtype)
    size = max(1, _BLOCK_BYTES // (proposal.columns.shape[1] * np.dtype(dtype).itemsize))
    unsettled = []
    for start in range(0, len(pending), size):
        block = pending[start : start + size]
        is_settled, found, found_squares = proposal.settle(queries[block], rows, own[block], positions.shape[1])
        positions[block[is_settled]] = found[is_settled]
        squares[block[is_settled]] = found_squares[is_settled]
        unsettled.append(block[~is_settled])
    return np.concatenate(unsettled)


@dataclass(frozen=True, kw_only=True)
class _Proposal:
    """Rows laid out so that one matrix product gives each squared distance minus the query's squared length."""

    columns: npt.NDArray[np.floating]
    centre: Floats
    unit: float
    longest: float
    rows: int

    @property
    def has_few(self) -> bool:
        """Whether the rows are few, such as those of one cell."""
        return self.rows <= _FEW_ROWS

    @classmethod
    def of(cls, rows: Floats, dtype: type) -> "_Proposal":
        centre = rows.mean(axis=0)
        unit = float(np.abs(rows - centre).max()) or 1.0
        scaled = (rows - centre) / unit
        lengths = np.square(scaled).sum(axis=1)
        grouped = _GROUPED[len(rows) <= _FEW_ROWS]
        width = -(-len(rows) // grouped) * grouped
        columns = np.zeros((rows.shape[1] + 1, width), dtype)
        columns[:-1, : len(rows)] = -2 * scaled.T
        columns[-1] = np.inf
        columns[-1, : len(rows)] = lengths
        return cls(columns=columns, centre=centre, unit=unit, longest=float(np.sqrt(lengths.max())), rows=len(rows))

    def settle(
        self, queries: Floats, rows: Floats, own: Positions, k: int
    ) -> tuple[npt.NDArray[np.bool_], Positions, Floats]:
        scaled = (queries - self.centre) / self.unit
        ones = np.ones((len(queries), 1))
        scores = np.hstack([scaled, ones]).astype(self.columns.dtype) @ self.columns
        has_own = np.flatnonzero(own >= 0)
        scores[has_own, own[has_own]] = np.inf
        wanted = min(k + _SPARE[self.has_few], self.rows)
        candidates, proposed = lowest(scores, wanted, _GROUPED[self.has_few])
        squares = np.square(rows[np.minimum(candidates, self.rows - 1)] - queries[:, None, :]).sum(axis=2)
        squares[(candidates == own[:, None]) | (candidates >= self.rows)] = np.inf
        order = np.lexsort((candidates, squares), axis=1)[:, :k]
        found, found_squares = np.take_along_axis(candidates, order, 1), np.take_along_axis(squares, order, 1)
        return found_squares[:, -1] < self._least_hidden(scaled, proposed.max(axis=1)), found, found_squares

    def _least_hidden(self, scaled: Floats, last: npt.NDArray[np.floating]) -> Floats:
        """A lower bound of the squared distance of every row that is not a candidate, allowing for rounding."""
        lengths = np.square(scaled).sum(axis=1)
        steps = 4 * (scaled.shape[1] + 4) * float(np.finfo(self.columns.dtype).eps)
        error = steps * np.square(np.sqrt(lengths) + self.longest)
        return np.asarray((last.astype(np.float64) + lengths - error) * self.unit**2, np.float64)


def _against_each(query: Floats, rows: Floats, own: int, k: int) -> tuple[Positions, Floats]:
    squares = np.square(rows - query).sum(axis=1)
    if own >= 0:
        squares[own] = np.inf
    near = np.flatnonzero(squares <= np.partition(squares, k - 1)[k - 1])
    positions = near[np.argsort(squares[near], kind="stable")][:k]
    return positions, squares[positions]
