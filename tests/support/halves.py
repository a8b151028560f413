"""Counts of the two halves of validation and of test, from rows in memory."""

import numpy as np
import numpy.typing as npt

from imbalance_spark.core.columns import VALIDATION
from imbalance_spark.metrics.buckets import BUCKETS, BucketCounts
from imbalance_spark.metrics.counts import ScoreCounts
from imbalance_spark.scoring.held_out_counts import TargetCounts

Rows = tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]


def counts_of_halves(calibrate: Rows, choose: Rows, test: Rows) -> TargetCounts:
    """Exact counts of labels and scores; rows of a half are spread over its 32 hash buckets."""
    label, score = together(calibrate, choose)
    odd = np.repeat([0, 1], [len(calibrate[0]), len(choose[0])])
    bucket = 2 * (np.arange(len(label)) % (BUCKETS // 2)) + odd
    return TargetCounts(
        calibrate=ScoreCounts.from_arrays(*calibrate),
        choose=ScoreCounts.from_arrays(*choose),
        test=ScoreCounts.from_arrays(*test),
        buckets={VALIDATION: BucketCounts.from_arrays(bucket, label, score)},
        segments={},
    )


def together(*parts: Rows) -> Rows:
    """The rows of all parts."""
    label, score = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    return label, score
