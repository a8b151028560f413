"""Samplers of imbalanced-learn that have no faithful parallel form, each with the reason and what to use."""

from typing import NoReturn

_REASONS = {
    "CondensedNearestNeighbour": "it takes rows one after the other, in an order. Use NearMiss or TomekLinks",
    "OneSidedSelection": "it hangs on one random row of each class. Use TomekLinks",
    "SVMSMOTE": "it needs a kernel machine on all rows, whose cost grows with their square. Use BorderlineSMOTE",
    "ClusterCentroids": "it needs as many cluster centres as rows are kept. Use RandomUnderSampler",
    "KMeansSMOTE": "its clusters hang on the order of mini-batches. Use BorderlineSMOTE or ADASYN",
}


def refuse_by_name(name: str, module: str) -> NoReturn:
    """Raise `AttributeError` (an `ImportError` for `from ... import`) that says why a sampler is not here."""
    if name in _REASONS:
        raise AttributeError(f"{name} is not offered on Spark: {_REASONS[name]}.")
    raise AttributeError(f"module {module!r} has no attribute {name!r}")
