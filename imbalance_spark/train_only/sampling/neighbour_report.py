"""Whether SMOTE is worth its search: recall of the neighbours, and how far synthetic samples are from copies."""

import time
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from imbalance_spark.train_only.sampling.neighbours import NeighbourIndex
from imbalance_spark.train_only.sampling.neighbours.lists import NEAR, nearest_lists
from imbalance_spark.train_only.sampling.neighbours.space import HASH, PointArrays, Space

QUERIES = 256
"""Rows of the hash sample that are searched by brute force."""

_COPIES_BELOW = 0.1
_SPREAD_ROWS = 4096


@dataclass(frozen=True, kw_only=True)
class NeighbourReport:
    """Quality of a class's neighbours, measured on a hash sample before any synthetic row is drawn.

    Args:
        engine: "exact", or "cells" of k-means.
        class_rows: rows searched. rows_to_make: synthetic rows requested.
        recall: share of the k nearest that the engine finds, in [0, 1]; 1 for "exact".
        distance_ratio: mean distance of the neighbours found / of the true nearest, >= 1.
        novelty_ratio: mean distance to the k nearest / root mean square distance of two rows of the class.
        expected_seconds: of the search alone on this cluster, from a measured sample.
        task_bytes: approximate peak of points and distances in one task, in bytes.
    """

    engine: str
    k: int
    class_rows: int
    rows_to_make: int
    recall: float
    distance_ratio: float
    novelty_ratio: float
    expected_seconds: float
    task_bytes: int

    @property
    def sentence(self) -> str:
        """The report in words, with the advice that follows from it."""
        how = f"{self.rows_to_make:,} rows from {self.class_rows:,} by {self.engine} {self.k} neighbours"
        found = f"recall {self.recall:.2f}, novelty {self.novelty_ratio:.2f} class spreads"
        return f"{how}: {found}, about {self.expected_seconds:.0f} s of search. {self.advice}"

    @property
    def advice(self) -> str:
        """Whether copies or weights would do as well."""
        if self.novelty_ratio < _COPIES_BELOW:
            return (
                "Nearest neighbours are so close that interpolated rows are near-duplicates; "
                "oversample or class_weight will do as well."
            )
        return "Interpolated rows differ from copies; the comparison on validation shows whether they help."


def report_neighbours(index: NeighbourIndex, k: int, *, wanted: int, slots: int, stage: str) -> NeighbourReport:
    """Search a hash sample by brute force and by the index; three passes if its points are on the cluster.

    Args:
        wanted: synthetic rows requested. slots: tasks that run at the same time.
    """
    sample = index.sample(_SPREAD_ROWS, stage)
    queries = sample.where(np.arange(len(sample)) < QUERIES)
    exact = _listed(index.brute_force(queries, k))
    recall, ratio = 1.0, 1.0
    if index.engine == "cells":
        recall, ratio = _agreement(exact, _listed(index.found(queries, k)))
    distances = np.array([distance for near in exact.values() for distance, _ in near])
    return NeighbourReport(
        engine=index.engine,
        k=k,
        class_rows=index.rows,
        rows_to_make=wanted,
        recall=recall,
        distance_ratio=ratio,
        novelty_ratio=float(distances.mean()) / (index.space.spread(sample.values) or 1.0) if len(distances) else 0.0,
        expected_seconds=_pair_seconds(sample, index.space, k) * index.rows * index.compared / slots,
        task_bytes=index.task_bytes,
    )


def _listed(lists: pa.Table) -> dict[int, list[tuple[float, int]]]:
    return {row[HASH]: [(near["distance"], near["near"]) for near in row[NEAR]] for row in lists.to_pylist()}


def _agreement(
    exact: dict[int, list[tuple[float, int]]], found: dict[int, list[tuple[float, int]]]
) -> tuple[float, float]:
    hits = total = 0
    apart, least = 0.0, 0.0
    for query, near in exact.items():
        mine = found.get(query, [])
        # A row at the same distance as the k-th nearest counts as found.
        limit = near[-1][0] * (1 + 1e-6)
        hits += sum(distance <= limit for distance, _ in mine)
        total += len(near)
        apart += sum(distance for distance, _ in mine)
        least += sum(distance for distance, _ in near[: len(mine)])
    return hits / total if total else 1.0, apart / least if least else 1.0


def _pair_seconds(sample: PointArrays, space: Space, k: int) -> float:
    """Seconds to compare two rows, from the second of two searches inside the sample; the first warms up."""
    for _ in range(2):
        start = time.perf_counter()
        nearest_lists(space, sample.where(np.arange(len(sample)) < QUERIES), sample, k)
        seconds = time.perf_counter() - start
    return seconds / (min(QUERIES, len(sample)) * len(sample))
