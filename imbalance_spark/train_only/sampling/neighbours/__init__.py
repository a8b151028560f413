"""Nearest neighbours, exact, in blocks of bounded memory; searches of parts are merged."""

from imbalance_spark.train_only.sampling.neighbours.exact import Neighbours, merge_nearest, nearest

__all__ = ["Neighbours", "merge_nearest", "nearest"]
