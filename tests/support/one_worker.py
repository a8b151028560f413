"""A learner's part on one worker, without Spark; and what kills a worker."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from imbalance_spark.train_only.learners.boosting import Progress, Site
from imbalance_spark.train_only.learners.cuts import FeatureCuts, quantile_cuts
from imbalance_spark.train_only.learners.engine import FitRequest
from imbalance_spark.train_only.learners.native import plan_of
from imbalance_spark.train_only.learners.round_reports import RoundReporter
from imbalance_spark.train_only.learners.spill import SpilledRows


def rows_with_categories(rows: int, seed: int) -> pd.DataFrame:
    """Three numbers and a category of 20 codes, of which every third one makes positives likely; some are missing."""
    draw = np.random.default_rng(seed)
    x = draw.normal(size=(rows, 4))
    x[:, 3] = draw.integers(0, 20, rows)
    margin = -2.5 + x[:, 0] + 2.0 * (x[:, 3] % 3 == 1)
    frame = pd.DataFrame({"order_id": np.arange(rows) + 1_000_000 * seed, "split": "train"})
    frame["y"] = (draw.random(rows) < 1 / (1 + np.exp(-margin))).astype(np.int32)
    frame["is_early_stopping"] = draw.random(rows) < 0.2
    x[draw.random(x.shape) < 0.05] = np.nan
    return frame.assign(**{f"x_{i}": x[:, i] for i in range(4)})


def spilled_here(rows: pd.DataFrame, request: FitRequest, file: Path) -> SpilledRows:
    """Rows as a worker keeps them."""
    weights = [] if request.weight_col is None else [request.weight_col]
    found = SpilledRows(file=file.open("wb+"), features=len(request.features), is_weighed=bool(weights))
    found.append(rows[[*request.inputs, "y", *weights]].to_numpy(np.float32))
    return found


def cuts_here(rows: pd.DataFrame, request: FitRequest, spare_bins: int = 0) -> FeatureCuts:
    """Quantiles of the rows to fit on, as `collect_cuts` finds them."""
    to_fit = rows[~rows.is_early_stopping]
    by_class = [part[list(request.inputs)].to_numpy(np.float32) for _, part in to_fit.groupby("y")]
    weights = [1.0 / len(part) if request.cuts == "balanced" else 1.0 for part in by_class]
    most, every = request.params.max_bin - spare_bins - 2, np.concatenate(by_class)
    cuts = [quantile_cuts([part[:, i] for part in by_class], weights, most) for i in range(every.shape[1])]
    return FeatureCuts(tuple(cuts), tuple(float(np.nanmax(column, initial=-1.0)) for column in every.T))


def thin_region(rows: int, seed: int) -> pd.DataFrame:
    """Half of the positives, 1 in 200, lie in a hundredth of one feature, where every other row is positive."""
    draw = np.random.default_rng(seed)
    x = draw.random((rows, 4))
    is_inside = np.abs(x[:, 0] - 0.37) < 0.0025
    frame = pd.DataFrame({"order_id": np.arange(rows) + 1_000_000 * seed, "split": "train"})
    frame["y"] = (draw.random(rows) < np.where(is_inside, 0.5, 0.0025)).astype(np.int32)
    frame["is_early_stopping"] = draw.random(rows) < 0.2
    return frame.assign(**{f"x_{i}": x[:, i] for i in range(4)})


def boosted_here(
    rounds: Callable[..., Any],
    request: FitRequest,
    params_of: Callable[[FitRequest], dict[str, Any]],
    folder: Path,
    *,
    spare_bins: int = 0,
    **fields: Any,
) -> Progress:
    """All rounds of a request whose table is a pandas frame.

    Args:
        rounds: the learner's class for workers.
        fields: of it, beside those that all have.
    """
    rows: Any = request.table
    cuts = cuts_here(rows, request, spare_bins)
    codes = cuts.codes(len(request.features) - request.categorical)
    params = {**params_of(request), **({"max_bin": cuts.max_bin + spare_bins} if spare_bins else {})}
    boosting = rounds(
        plan=plan_of(request, params, cuts, stopping_margin=None), cuts=cuts, codes=codes, margins=request.margins,
        stopping_shift=request.shift, **fields,
    )  # fmt: skip
    told: list[int] = []
    site = Site(threads=1, host="127.0.0.1", scratch=folder, tell=told.append, keep=lambda _: None)
    parts = [
        spilled_here(rows[rows.is_early_stopping == is_stopping], request, folder / f"rows_{is_stopping}")
        for is_stopping in (False, True)
    ]
    done: Progress = boosting.boost(boosting.load(*parts, site), Progress(rows=0), site)
    for part in parts:
        part.file.close()
    assert told == list(range(done.rounds))
    return done


def killer(reporter: RoundReporter, rounds: int) -> RoundReporter:
    """Kills the worker after a round; a class of the function, since workers cannot import this file."""

    class Killer(RoundReporter):
        def tell(self, round_number: int) -> None:
            if round_number == rounds:
                os.kill(os.getpid(), signal.SIGKILL)
            super().tell(round_number)

    return Killer(*reporter._address, reporter._token)
