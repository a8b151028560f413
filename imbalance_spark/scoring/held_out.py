"""Held-out data to counts, for models of two classes: scores, and decisions row by row; each in one Spark scan."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame

from imbalance_spark.calibration import Calibrator
from imbalance_spark.core.arrays import FloatArray
from imbalance_spark.core.columns import SPLIT, VALIDATION, col
from imbalance_spark.metrics.buckets import BucketCounts
from imbalance_spark.metrics.counts import ScoreCounts
from imbalance_spark.metrics.grid import LogitGrid
from imbalance_spark.orders.model_inputs import AMOUNT_VALUE
from imbalance_spark.scoring.boosters import (
    Candidate,
    column_of,
    common_features,
    load_booster,
    matrix_of,
    probabilities,
)
from imbalance_spark.scoring.class_margins import log_probabilities
from imbalance_spark.scoring.count_kernel import (
    SUMS_SCHEMA,
    ModelSums,
)
from imbalance_spark.scoring.count_table import counts_by_target, held_out_counts
from imbalance_spark.scoring.held_out_counts import HeldOutCounts
from imbalance_spark.scoring.held_out_rows import (
    BUCKET,
    FOLD,
    Scores,
    added_up,
    collect_sums,
    fit_of,
    held_out_rows,
    measures_of,
    model_sums,
    scan_rows,
    scores_of_features,
)
from imbalance_spark.threshold.class_rules import ClassThresholds, Rule
from imbalance_spark.threshold.order_costs import OrderRule


@dataclass(frozen=True, kw_only=True)
class DecidingModel:
    """A model, and rules whose decisions are counted row by row.

    Args:
        calibrators: of rows of validation in even hash buckets, of those in odd ones, and of test. Each half of
            validation is calibrated by the other, so that its decisions flatter nobody.
        rules: by name.
    """

    candidate: Candidate
    calibrators: tuple[Calibrator, Calibrator, Calibrator]
    rules: Mapping[str, Rule]


@dataclass(frozen=True, kw_only=True)
class FoldCounts:
    """Rows of one fold, scored by the model of their own fit.

    Args:
        targets: of each target its counts by score, and those by hash bucket.
        decided: of two classes what a rule decides order by order, see `scan_decisions`; None without such a rule.
    """

    targets: tuple[tuple[ScoreCounts, BucketCounts], ...]
    decided: ScoreCounts | None

    def to_records(self) -> dict[str, Any]:
        """Everything as JSON-able values."""
        targets = [{"counts": one.to_records(), "buckets": buckets.to_records()} for one, buckets in self.targets]
        return {"targets": targets, "decided": None if self.decided is None else self.decided.to_records()}

    @classmethod
    def from_records(cls, records: Mapping[str, Any]) -> Self:
        """What `to_records` wrote, the same to the last bit."""
        decided = records["decided"]
        return cls(
            targets=tuple(
                (ScoreCounts.from_records(one["counts"]), BucketCounts.from_records(one["buckets"]))
                for one in records["targets"]
            ),
            decided=None if decided is None else ScoreCounts.from_records(decided),
        )


def scan_held_out(
    inputs: DataFrame,
    candidates: Sequence[Candidate],
    *,
    key: Sequence[str],
    group: Sequence[str] = (),
    segments: Sequence[str] = (),
    grid: LogitGrid,
    has_weight: bool,
    has_amount: bool,
) -> dict[str, HeldOutCounts]:
    """Counts of the scores of models of two classes on validation and test, from one Spark scan of these rows.

    Each task adds up counts of its rows; Spark sums them. Collected are at most, for each model, 3 x bins x 2 rows
    of fine counts, and of coarse ones (512 bins) 2 x 512 x 2 for each of the 64 buckets and for each value of a
    segment column; in practice far fewer, since only what occurs is counted. Counts do not depend on the partitioning;
    sums of weights do in the last digits.

    Args:
        inputs: `split`, `x_0..`, `y`; `row_weight` and `amount_value` where the flags say so; the columns named here.
            Rows of other folds are not read. Candidates of a cross-fit need `fit_number` (int): which of their models
            scores the row.
        candidates: of one list of features, with different names.
        key: what identifies a row.
        group: what rows depend on each other within, such as the customer; it decides the hash bucket. A row with a
            null in it stands for itself, by its key.
        segments: columns of at most 50 values each, taken as text.
    Returns:
        By name of the model, counts of one target; scores are corrected probabilities.
    Raises:
        ConfigError: no candidates, equal names, or models with different features.
        MissingColumnsError: an input column is absent.
        DataContractError: a column cannot be a key, test or a half of validation has no row, rows whose label, weight
            or amount cannot be counted, or a segment column with too many values.
    """
    features, measures = common_features(candidates), measures_of(has_weight, has_amount)
    held_out = held_out_rows(inputs, features, key=key, group=group, segments=segments, measures=measures)
    models = inputs.sparkSession.sparkContext.broadcast([c.models for c in candidates])

    def new_sums() -> list[ModelSums]:
        return [ModelSums(targets=1, grid=grid, segments=len(segments), rules={}) for _ in models.value]

    def load() -> Scores:
        return scores_of_features(models.value, len(features))

    try:
        sums = collect_sums(held_out, load, new_sums, measures, len(segments))
    finally:
        models.destroy()
    return {
        candidate.name: held_out_counts(model_sums(sums, number), targets=1, grid=grid, segments=segments)
        for number, candidate in enumerate(candidates)
    }


def scan_folds(
    rows: DataFrame,
    candidates: Sequence[Candidate],
    *,
    key: Sequence[str],
    group: Sequence[str] = (),
    grid: LogitGrid,
    has_weight: bool,
    has_amount: bool,
    rule: OrderRule | None = None,
) -> dict[str, tuple[FoldCounts, ...]]:
    """Counts of each fold's rows by the model of its own fit, from one Spark scan; those of test are not read.

    Collected are at most, for each candidate, fold and target, 2 x bins rows of fine counts and 64 x 512 x 2 of coarse
    ones; in practice far fewer.

    Args:
        rows: see `scan_held_out`, with `fit_number`.
        candidates: each with a model for every fold.
        rule: of two classes; its decisions by corrected probabilities are counted, too.
    Returns:
        By name of the candidate, the counts of each fold; scores are corrected probabilities.
    Raises:
        DataContractError: a fold has no row, or rows that cannot be counted; see also `scan_held_out`.
    """
    features, measures = common_features(candidates), measures_of(has_weight, has_amount)
    validation = rows.where(col(SPLIT) == VALIDATION)
    held_out = held_out_rows(validation, features, key=key, group=group, segments=(), measures=measures)
    of_fold = [(number, model) for c in candidates for number, model in enumerate(c.folds)]
    models = rows.sparkSession.sparkContext.broadcast(of_fold)
    classes = candidates[0].correction.classes
    targets = 1 if classes == 2 else classes
    rules = [] if rule is None else [rule]

    def count(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        loaded = [(number, load_booster(model), correction) for number, (model, correction) in models.value]
        sums = [ModelSums(targets=targets, grid=grid, segments=0, rules={}) for _ in loaded]
        decided = [ModelSums(targets=1, grid=_DECIDED, segments=0, rules={}) for _ in loaded for _ in rules]
        score = probabilities if targets == 1 else log_probabilities
        for batch in batches:
            if not batch.num_rows:
                continue
            matrix, counted, fit = matrix_of(batch, len(features)), scan_rows(batch, measures, ()), fit_of(batch)
            for place, (number, booster, correction) in enumerate(loaded):
                own = np.flatnonzero(fit == number)
                scored, mine = score(booster, matrix[own], correction), counted.only(own)
                sums[place].add(mine, scored)
                for asked in rules:
                    decided[place].add(mine, _decided_scores(asked, scored, _amounts(batch)[own]))
        for number, of_model in enumerate([*sums, *decided]):
            yield from of_model.batches(number, ())

    try:
        found = added_up(held_out.mapInArrow(count, SUMS_SCHEMA))
    finally:
        models.destroy()

    def of_model(number: int) -> FoldCounts:
        counts = counts_by_target(model_sums(found, number), targets=targets, grid=grid)
        decided = [
            counts_by_target(model_sums(found, len(of_fold) + number), targets=1, grid=_DECIDED)[0][0] for _ in rules
        ]
        return FoldCounts(targets=counts, decided=next(iter(decided), None))

    counts = iter([of_model(number) for number in range(len(of_fold))])
    return {c.name: tuple(next(counts) for _ in c.folds) for c in candidates}


def scan_decisions(
    inputs: DataFrame,
    models: Sequence[DecidingModel],
    *,
    key: Sequence[str],
    group: Sequence[str] = (),
    segments: Sequence[str] = (),
    has_weight: bool,
    has_amount: bool,
) -> dict[str, dict[str, HeldOutCounts]]:
    """Counts of decisions, exact also by segment and where they depend on the amount; one Spark scan of held-out rows.

    Flagged orders score 0.75, the others 0.25, so that all that can be said of a threshold on a curve can be said of
    them, too: the threshold is 0.5. Collected are, for each model and rule, at most 4 rows for each part, bucket and
    value of a segment column.

    Args:
        inputs: as for `scan_held_out`; rules that decide order by order need `amount_value`.
        models: of one list of features, with different names and the same names of rules.
    Returns:
        By name of the model, then of the rule, counts of one target.
    Raises:
        as `scan_held_out`.
    """
    features, measures = common_features([model.candidate for model in models]), measures_of(has_weight, has_amount)
    held_out = held_out_rows(inputs, features, key=key, group=group, segments=segments, measures=measures)
    shared = inputs.sparkSession.sparkContext.broadcast(tuple(models))
    counted = [(model.candidate.name, rule) for model in models for rule in model.rules]

    def new_sums() -> list[ModelSums]:
        return [ModelSums(targets=1, grid=_DECIDED, segments=len(segments), rules={}) for _ in counted]

    try:
        sums = collect_sums(
            held_out, lambda: _decisions_of_features(shared.value, len(features)), new_sums, measures, len(segments)
        )
    finally:
        shared.destroy()
    found: dict[str, dict[str, HeldOutCounts]] = {}
    for number, (name, rule) in enumerate(counted):
        counts = held_out_counts(model_sums(sums, number), targets=1, grid=_DECIDED, segments=segments)
        found.setdefault(name, {})[rule] = counts
    return found


_DECIDED = LogitGrid(bins=2)


def _decided_scores(rule: Rule, probabilities: FloatArray, amounts: FloatArray) -> FloatArray:
    """0.75 where the rule flags an order, else 0.25."""
    if isinstance(rule, OrderRule):
        is_flagged = rule.decide(probabilities, amounts).flagged == 1
    else:
        assert isinstance(rule, ClassThresholds), "as of every rule of two classes but those by order"  # noqa: S101
        is_flagged = probabilities >= rule.threshold
    return np.where(is_flagged, 0.75, 0.25)


def _amounts(batch: pa.RecordBatch) -> FloatArray:
    """The amount of each row, NaN where rows have none."""
    return column_of(batch, AMOUNT_VALUE) if AMOUNT_VALUE in batch.schema.names else np.full(batch.num_rows, np.nan)


def _decisions_of_features(models: Sequence[DecidingModel], width: int) -> Scores:
    corrected_by = scores_of_features([model.candidate.models for model in models], width)

    def scores(batch: pa.RecordBatch) -> Iterator[FloatArray]:
        amounts = _amounts(batch)
        part = np.where(column_of(batch, FOLD) == 1, 2, column_of(batch, BUCKET) & 1)
        for model, corrected in zip(models, corrected_by(batch), strict=True):
            calibrated = np.choose(part, [calibrator.apply(corrected) for calibrator in model.calibrators])
            for rule in model.rules.values():
                yield _decided_scores(rule, calibrated, amounts)

    return scores
