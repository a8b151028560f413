"""Nearest neighbours: exact in memory, by cells in memory, and by cells on the cluster."""

from imbalance_spark.train_only.sampling.neighbours.exact import Neighbours, nearest
from imbalance_spark.train_only.sampling.neighbours.index import EXACT_ROWS, NeighbourIndex, index_points, is_exact

__all__ = ["EXACT_ROWS", "NeighbourIndex", "Neighbours", "index_points", "is_exact", "nearest"]
