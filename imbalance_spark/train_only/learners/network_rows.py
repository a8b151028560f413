"""What a network learns from on one worker: inputs scaled over all workers, and the batches of each epoch."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from imbalance_spark.core.arrays import FloatArray, IntArray
from imbalance_spark.scoring.network import Layer, NetworkInputs, NetworkModel
from imbalance_spark.train_only.learners.spill import SpilledRows, Values, hashes_of

Hashes = npt.NDArray[np.uint64]

MOST_ENTRIES = 10_000
"""Of a table: codes are by frequency, and the rare ones behind these share the entry of unseen ones."""
_LARGEST_SIZE = 50
_TABLE_SPREAD = 0.05  # Keras' default, with which the paper on entity embeddings worked
_ROUND = 1 << 64


@dataclass(frozen=True, kw_only=True)
class LearnedRows:
    """Rows on local disk, read by number; `values` has features, label and, where rows are weighed, weight."""

    values: Values
    features: int

    @classmethod
    def of(cls, rows: SpilledRows) -> "LearnedRows":
        """A map of the file: the system keeps in memory what fits."""
        rows.file.flush()
        width = rows.features + 1 + rows.is_weighed
        empty = np.empty((0, width), dtype=np.float32)
        mapped = np.memmap(rows.file, np.float32, "r", shape=(rows.rows, width)) if rows.rows else empty
        return cls(values=mapped, features=rows.features)

    def data(self, chosen: slice | IntArray) -> Values:
        """Features of rows."""
        return np.asarray(self.values[chosen, : self.features])

    def labels(self, chosen: slice | IntArray) -> IntArray:
        """Class numbers of rows."""
        return self.values[chosen, self.features].astype(np.int64)

    def weights(self, chosen: slice | IntArray) -> FloatArray:
        """Weights of rows, 1 where they have none."""
        found = self.values[chosen, self.features + 1 :].astype(np.float64)
        return found[:, 0] if found.shape[1] else np.ones(len(found))

    def chunks(self, most: int) -> Iterator[slice]:
        """All rows, so many at a time."""
        for start in range(0, len(self.values), most):
            yield slice(start, min(start + most, len(self.values)))


def collect_inputs(rows: LearnedRows, numeric: int, most: int) -> NetworkInputs:
    """Mean and standard deviation of each number, and entries of each category, over the rows of all workers.

    Up to the rounding of sums they do not depend on which worker has which row.

    Args:
        numeric: how many features are numbers; they come first.
        most: rows in memory at a time.
    """
    sums, codes = np.zeros((2, numeric)), np.full(rows.features - numeric, -1.0)
    for chunk in rows.chunks(most):
        data = rows.data(chunk)
        numbers = data[:, :numeric].astype(np.float64)
        sums += np.stack([np.nansum(numbers, axis=0), (~np.isnan(numbers)).sum(axis=0)])
        codes = np.fmax(codes, np.fmax.reduce(data[:, numeric:], axis=0, initial=-1.0))
    total, present = over_workers(sums)
    centres = total / np.maximum(present, 1.0)
    squares = np.zeros(numeric)
    for chunk in rows.chunks(most):
        squares += np.nansum((rows.data(chunk)[:, :numeric].astype(np.float64) - centres) ** 2, axis=0)
    widths = np.sqrt(over_workers(squares) / np.maximum(present, 1.0))
    entries = np.minimum(over_workers(codes, "MAX") + 1.0, MOST_ENTRIES)
    return NetworkInputs(
        centres=centres,
        widths=np.where(widths > 0.0, widths, 1.0),
        # One more, for missing and unseen codes.
        entries=tuple(int(count) + 1 for count in entries),
    )


def table_size(entries: int) -> int:
    """How many numbers stand for a category: half the entries, at most 50 (fastai 0.7, Howard and others, 2018)."""
    return min(_LARGEST_SIZE, (entries + 1) // 2)


def initial_network(inputs: NetworkInputs, hidden: Sequence[int], start: Sequence[float], seed: int) -> NetworkModel:
    """A network whose margins are `start`, whatever the row, with weights to learn from.

    Layers by He and others (2015). Indicators weigh nothing until a missing value was learnt from; nor does the entry
    of missing and unseen codes.
    """
    draw, numbers = np.random.default_rng(seed), len(inputs.centres)
    tables = [draw.uniform(-_TABLE_SPREAD, _TABLE_SPREAD, (count, table_size(count))) for count in inputs.entries]
    for table in tables:
        table[-1] = 0.0
    given = 2 * numbers + sum(table.shape[1] for table in tables)
    layers: list[Layer] = []
    for outputs in hidden:
        weights = draw.normal(0.0, np.sqrt(2.0 / given), (outputs, given))
        if not layers:
            weights[:, numbers : 2 * numbers] = 0.0
        layers.append((weights.astype(np.float32), np.zeros(outputs, dtype=np.float32)))
        given = outputs
    layers.append((np.zeros((len(start), given), dtype=np.float32), np.array(start, dtype=np.float32)))
    return NetworkModel(
        centres=inputs.centres,
        widths=inputs.widths,
        tables=tuple(table.astype(np.float32) for table in tables),
        layers=tuple(layers),
    )


class Batches:
    """Which of this worker's rows are in each batch of an epoch.

    A row's batch and its place there follow from its values, the epoch and the seed: on any number of workers, in any
    layout, a batch holds the same rows. Equal rows, such as copies of an oversampled one, differ by their
    number. Sizes differ by chance, as those of a row's independent draws do.

    Args:
        hashes: of this worker's rows.
        total: rows of all workers.
        batch_rows: rows of a batch, of all workers together, on average.
    """

    def __init__(self, hashes: Hashes, total: int, batch_rows: int, seed: int) -> None:
        self._hashes, self._seed = _mixed(hashes + _number_among_equals(hashes)), seed
        self.number = max(1, round(total / batch_rows))

    def of_epoch(self, epoch: int) -> Iterator[IntArray]:
        """The rows of each batch by number; some batches may have none of this worker."""
        key = _mixed(self._hashes ^ _mixed(np.array([self._seed << 32 | epoch], dtype=np.uint64)))
        order = np.argsort(key, kind="stable")
        bounds = np.array([_ROUND * k // self.number for k in range(1, self.number)], dtype=np.uint64)
        yield from np.split(order, np.searchsorted(key[order], bounds))


def batches_of(rows: LearnedRows, batch_rows: int, seed: int, most: int) -> Batches:
    """The batches of a worker's rows, `most` of them in memory at a time."""
    hashes = [hashes_of(np.ascontiguousarray(rows.values[chunk])) for chunk in rows.chunks(most)]
    total = int(over_workers(np.array([float(len(rows.values))]))[0])
    return Batches(np.concatenate([np.empty(0, np.uint64), *hashes]), total, batch_rows, seed)


def over_workers(values: FloatArray, operation: str = "SUM") -> FloatArray:
    """The sum, or `MAX`, of each number over all workers; of this one alone outside a communicator."""
    from xgboost import collective  # importing this package needs no xgboost

    return np.asarray(collective.allreduce(values, collective.Op[operation])).reshape(values.shape)


def _mixed(values: Hashes) -> Hashes:
    """Each bit depends on all bits (splitmix64; Steele, Lea and Flood, 2014)."""
    # Arrays of integers wrap around.
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _number_among_equals(hashes: Hashes) -> Hashes:
    """0 for the first row of its values, 1 for the second, and so on."""
    order = np.argsort(hashes, kind="stable")
    place = np.arange(len(hashes), dtype=np.uint64)
    is_first = np.diff(hashes[order], prepend=hashes[order][:1] + np.uint64(1)) != 0
    number = np.empty_like(place)
    number[order] = place - np.maximum.accumulate(np.where(is_first, place, np.uint64(0)))
    return number
