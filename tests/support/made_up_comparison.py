"""Comparisons of strategies that were evaluated on made-up scores: of two classes, and of three."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from imbalance_spark.calibration.temperature import ChosenTemperature
from imbalance_spark.comparison.compare import Comparison
from imbalance_spark.comparison.cross_fit import Evaluation
from imbalance_spark.comparison.evaluate import baseline, evaluate_strategy
from imbalance_spark.comparison.score_strategies import calibrate_and_choose
from imbalance_spark.comparison.scored_strategy import ScoredStrategy
from imbalance_spark.config.run import GateConfig
from imbalance_spark.core.columns import TEST, VALIDATION
from imbalance_spark.metrics import ScoreCounts
from imbalance_spark.metrics.buckets import BUCKETS, BucketCounts
from imbalance_spark.metrics.evaluate import TargetNames
from imbalance_spark.orders.diagnosis import diagnose
from imbalance_spark.scoring.held_out_counts import Confusions, HeldOutCounts, TargetCounts
from imbalance_spark.threshold.class_rules import choose_thresholds
from imbalance_spark.threshold.decisions import Decisions, decisions_of
from imbalance_spark.train_only.strategies.boosting import Plain

ODD_NAME = "<script>alert(1)</script>"
CLASSES = ("ok", "late", "fraud")
NO_GATE = GateConfig()
OBJECTIVES = ({"name": "min_cost", "fn": 10, "fp": 1}, {"name": "max_f_beta", "beta": 1.0})
COSTS = {"ok": {"late": 1, "fraud": 8}, "late": {"ok": 5, "fraud": 8}, "fraud": {"ok": 80, "late": 80}}


def target_counts(folds: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]) -> TargetCounts:
    """Counts of label, score and bucket of the rows of each fold."""

    def counts(fold: str, keep: np.ndarray) -> ScoreCounts:
        label, score, _ = folds[fold]
        return ScoreCounts.from_arrays(label[keep], score[keep], exact_limit=0)

    halves = folds[VALIDATION][2] % 2
    return TargetCounts(
        calibrate=counts(VALIDATION, halves == 0),
        choose=counts(VALIDATION, halves == 1),
        test=counts(TEST, folds[TEST][2] >= 0),
        buckets={
            fold: BucketCounts.from_arrays(bucket, label, score) for fold, (label, score, bucket) in folds.items()
        },
        segments={},
    )


def _rows(seed: int, noise: float, size: int = 6000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    logit = draw.normal(-5, 2, size)
    label = draw.random(size) < 1 / (1 + np.exp(-logit))
    bucket = draw.integers(0, BUCKETS, size)
    return label, 1 / (1 + np.exp(-logit - noise * draw.normal(size=size))), bucket


def comparison_of(
    noises: dict[str, float],
    objectives: Sequence[Any] = OBJECTIVES,
    serving: str = "min_cost_fn_10_fp_1",
    gate: GateConfig = NO_GATE,
) -> Comparison:
    """Of two classes; a strategy's scores are the true ones and noise of its own."""
    decisions = decisions_of(objectives, serving)
    scored = {}
    for name, noise in noises.items():
        folds = {VALIDATION: _rows(1, noise), TEST: _rows(2, noise)}
        counts = HeldOutCounts(targets=(target_counts(folds),), importance={"amount": 0.4, ODD_NAME: 0.1})
        scored[name] = calibrate_and_choose(counts, decisions)
    return _comparison(scored, decisions, ("0", "1"), gate)


def class_comparison(noises: dict[str, float], gate: GateConfig = NO_GATE) -> Comparison:
    """Of three classes, decided by a cost matrix, by a threshold for each class, or by argmax."""
    objectives = [{"name": "cost_matrix", "costs": COSTS}, {"name": "max_f_beta", "beta": 1.0}]
    decisions = decisions_of(objectives, "cost_matrix", CLASSES)
    scored = {name: _scored_classes(noise, decisions) for name, noise in noises.items()}
    return _comparison(scored, decisions, CLASSES, gate)


def class_counts(noise: float) -> tuple[dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]], HeldOutCounts]:
    """Labels, probabilities and buckets of each fold, and their counts without a decision."""
    folds = {fold: _class_rows(seed, noise) for seed, fold in enumerate((VALIDATION, TEST), start=1)}
    targets = tuple(
        target_counts({fold: (label == k, p[:, k], bucket) for fold, (label, p, bucket) in folds.items()})
        for k in range(len(CLASSES))
    )
    return folds, HeldOutCounts(targets=targets)


def _scored_classes(noise: float, decisions: Decisions) -> ScoredStrategy:
    folds, counts = class_counts(noise)
    samples = [target.halved for target in counts.targets]
    chosen = {name: choose_thresholds(objective, samples) for name, objective in decisions.swept.items()}
    rules = {**decisions.fixed, **{name: found.rule for name, found in chosen.items()}}
    confusions = {}
    for name, rule in rules.items():
        cells = [
            ((number * BUCKETS + bucket) * 3 + label) * 3 + rule.decide(p)
            for number, (label, p, bucket) in enumerate(folds.values())
        ]
        cell = np.concatenate(cells)
        confusions[name] = Confusions.of_cells(cell, np.ones(len(cell)), np.ones(len(cell)), 3)
    calibration = ChosenTemperature(temperature=1.0, log_loss=0.1, log_loss_before=0.1, sentence="Not calibrated.")
    return ScoredStrategy(
        held_out=counts.with_confusions(confusions),
        calibration=calibration,
        rules=rules,
        chosen=chosen,
        objectives=decisions.swept,
    )


def _class_rows(seed: int, noise: float, size: int = 4000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    logits = draw.normal(0, 2, (size, 3)) + np.log([0.9, 0.07, 0.03])
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    label = (draw.random(size)[:, None] > p.cumsum(axis=1)).sum(axis=1)
    moved = np.exp(logits + noise * draw.normal(size=(size, 3)))
    return label, moved / moved.sum(axis=1, keepdims=True), draw.integers(0, BUCKETS, size)


def _comparison(
    scored: dict[str, ScoredStrategy], decisions: Decisions, classes: tuple[str, ...], gate: GateConfig
) -> Comparison:
    names = TargetNames.of_classes(classes)
    neighbours = {"1": {"sentence": f"40 rows made for {ODD_NAME}"}}
    results = [
        evaluate_strategy(
            SimpleNamespace(name=name, strategy=Plain(), neighbours=neighbours), found, decisions, names
        )
        for name, found in scored.items()
    ]  # fmt: skip
    metric = f"validation/{names.macro('average_precision')}"
    results.sort(key=lambda result: -result.metrics[metric])
    plain = next(result for result in results if result.name == "none")
    counts = {0: 990, 1: 10} if len(classes) == 2 else {0: 900, 1: 70, 2: 30}
    prepared = SimpleNamespace(
        run=SimpleNamespace(run_id="run"), classes=classes, diagnosis=diagnose(counts, None, classes),
        warnings=(f"odd {ODD_NAME}",), report=SimpleNamespace(rows=12_000, quarantined=0, days=30),
        evaluation=Evaluation(method="holdout", rarest=200),
    )  # fmt: skip
    return Comparison(
        config=SimpleNamespace(
            name=ODD_NAME,
            gate=gate,
            scoring=SimpleNamespace(entity=None, top_entities=100),
        ),
        prepared=prepared,
        decisions=decisions,
        results=tuple(results),
        plain=plain,
        baseline=baseline(scored[results[0].name], TEST, decisions),
    )
