"""Spark's daemon of Python workers with what our tasks import loaded before it forks them.

Each new worker would load it again, for one to three seconds, and a worker that rests for a minute ends.
"""

import contextlib
import gc

from pyspark.daemon import manager

# A test asks what is said of a Python that lacks them.
with contextlib.suppress(ImportError):
    from imbalance_spark.core.imports import without_sklearn

    with without_sklearn():
        import imbalance_spark.scoring.score_orders
        import imbalance_spark.train_only.learners.native  # noqa: F401

if __name__ == "__main__":
    # A worker collects garbage after each task, and would go through all that was loaded here: a tenth of a second.
    gc.freeze()
    manager()
