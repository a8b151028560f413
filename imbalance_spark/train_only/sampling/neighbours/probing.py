"""How many cells a search must look at: the fewest that find nearly as near neighbours as all of them."""

from dataclasses import replace

import numpy as np

from imbalance_spark.train_only.sampling.neighbours.nearest_in_cells import CellRows, nearest_in_cells
from imbalance_spark.train_only.sampling.neighbours.partition import Partition, fit_partition
from imbalance_spark.train_only.sampling.neighbours.space import PointArrays, Space

_ENOUGH = 1.005
"""Mean distance over that with all probes, at most."""
_TRIED = (2, 4)
_QUERIES, _K = 512, 5


def fit_searched_partition(sample: PointArrays, space: Space, rows: int, seed: int) -> Partition:
    """As `fit_partition`, with the fewest probes that do, as measured inside the sample."""
    partition = fit_partition(sample, space, rows, seed)
    cells = CellRows.of(partition.cells(sample))
    places = np.arange(min(_QUERIES, len(sample)))

    def distance(probes: int) -> float:
        looked_at = replace(cells, of_point=cells.of_point[:, :probes])
        found = nearest_in_cells(space, sample.values, looked_at, places, _K).distances
        return float(found.mean()) if found.size else 0.0

    limit = _ENOUGH * distance(partition.probes)
    enough = [probes for probes in _TRIED if probes < partition.probes and distance(probes) <= limit]
    return replace(partition, probes=min(enough, default=partition.probes))
