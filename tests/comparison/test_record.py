"""What a strategy's run is given, of made-up scores: numbers that JSON knows, and no segment of a few rows."""

import json
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
from support.made_up_comparison import comparison_of

from imbalance_spark.calibration import PriorCorrection
from imbalance_spark.comparison.compare import Comparison
from imbalance_spark.comparison.evaluate import StrategyResult
from imbalance_spark.comparison.evidence import strategy_evidence
from imbalance_spark.metrics.buckets import BucketCounts
from imbalance_spark.scoring.held_out_counts import HeldOutCounts, SegmentCounts
from imbalance_spark.tracking.runs import Evidence


def evidence_of(comparison: Comparison, result: StrategyResult) -> Evidence:
    recipe = SimpleNamespace(logged={}, prior_shift=SimpleNamespace(correction=PriorCorrection.identity))
    booster = SimpleNamespace(best_iteration=3, learning_curve={})
    fitted = SimpleNamespace(
        name=result.name, strategy=result.fitted.strategy, recipe=recipe, booster=booster, neighbours={}
    )
    return strategy_evidence(comparison, replace(result, fitted=fitted))


def test_an_interval_without_an_upper_end_is_logged_as_null() -> None:
    comparison = comparison_of({"none": 1.0})
    [result] = comparison.results
    open_above = replace(result.intervals["test/cost"], low=0.0, high=math.inf)
    found = evidence_of(comparison, replace(result, intervals={"test/cost": open_above}))
    logged = json.loads(json.dumps(found.documents["intervals.json"], allow_nan=False))
    assert (logged["test/cost"]["low"], logged["test/cost"]["high"]) == (0.0, None)
    assert found.metrics["test/cost/low"] == 0.0
    assert "test/cost/high" not in found.metrics


def test_a_segment_of_few_rows_is_logged_nowhere_and_the_counts_still_add_up() -> None:
    comparison = comparison_of({"none": 1.0})
    [result] = comparison.results
    target = result.held_out.target
    segments = {}
    for fold, fine in target.by_fold.items():
        label = np.repeat([1, 0], [fine.positives.sum(), fine.negatives.sum()])
        group = np.full(len(label), 2)
        group[:4], group[-20:] = 1, 0  # 4 rows of MT, 20 of AT
        counts = BucketCounts.from_arrays(group, label, np.full(len(label), 0.5), size=3)
        segments[fold] = {"country": SegmentCounts(values=("AT", "MT", "DE"), counts=counts)}
    held_out = HeldOutCounts(targets=(replace(target, segments=segments),))
    documents = evidence_of(comparison, replace(result, scored=replace(result.scored, held_out=held_out))).documents
    assert "MT" not in json.dumps(documents)
    assert list(documents["segments.json"]["country"]) == ["DE", "(other)"]
    again = HeldOutCounts.from_records(documents["counts.json"]).target
    assert again.segments["test"]["country"].rows["(other)"] == 24
    assert sum(again.segments["test"]["country"].rows.values()) == target.buckets["test"].rows.sum()
    assert again.test.to_records() == target.test.to_records()
