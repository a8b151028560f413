"""How many cells a search must look at: few, if these find nearly as near neighbours as many."""

from dataclasses import replace

import numpy as np

from imbalance_spark.train_only.sampling.neighbours.nearest_in_cells import CellRows, nearest_in_cells
from imbalance_spark.train_only.sampling.neighbours.partition import (
    Cells,
    Partition,
    driver_threads,
    fit_partition,
)
from imbalance_spark.train_only.sampling.neighbours.space import PointArrays, Space

_FEW = 4
_NEARLY = 1.02
"""Mean distance of what few probes find, over that of what all find, at most."""
_QUERIES, _K = 256, 5


def fit_searched_partition(sample: PointArrays, space: Space, rows: int, seed: int) -> tuple[Partition, Cells]:
    """As `fit_partition`, with half the probes where these do, as measured in the sample; and the sample's cells."""
    partition = fit_partition(sample, space, rows, seed)
    cells = partition.cells(sample, driver_threads())
    looked_at = CellRows.of(cells)
    places = np.arange(min(_QUERIES, len(sample)))

    def distance(probes: int) -> float:
        some = replace(looked_at, of_point=cells[:, :probes])
        found = nearest_in_cells(space, sample.values, some, places, _K).distances
        return float(found.mean()) if found.size else 0.0

    few = min(_FEW, partition.probes)
    if distance(few) > _NEARLY * distance(partition.probes):
        return partition, cells
    return replace(partition, probes=few), cells[:, :few]
