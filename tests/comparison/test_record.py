"""What a strategy's run is given, of made-up scores: numbers that JSON knows."""

import json
import math
from dataclasses import replace
from types import SimpleNamespace

from support.made_up_comparison import comparison_of

from imbalance_spark.calibration import PriorCorrection
from imbalance_spark.comparison.compare import Comparison
from imbalance_spark.comparison.evaluate import StrategyResult
from imbalance_spark.comparison.record import strategy_evidence
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
