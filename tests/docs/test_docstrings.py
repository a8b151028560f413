"""Examples in docstrings: each runs and prints what it says."""

import doctest
import importlib
import pkgutil
import re
from collections.abc import Iterator

import pytest
from pyspark.sql import SparkSession

import imbalance_spark

_FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
_ROOMS = ("calibration", "metrics", "orders", "split", "threshold", "train_only")
_OF_TORCH = "imbalance_spark.train_only.learners.network_epochs"
"""Needs PyTorch, which is in no lock and takes seconds to import; without examples."""


def _examples() -> Iterator[doctest.DocTest]:
    finder = doctest.DocTestFinder(exclude_empty=True)
    for module in pkgutil.walk_packages(imbalance_spark.__path__, "imbalance_spark."):
        if module.name.split(".")[1] in _ROOMS and module.name != _OF_TORCH:
            yield from (found for found in finder.find(importlib.import_module(module.name)) if found.examples)


EXAMPLES = list(_examples())


def _needs_spark(example: doctest.DocTest) -> bool:
    return any(re.search(r"(?<!\w)spark\b", line.source) for line in example.examples)


def _failures(example: doctest.DocTest, **names: object) -> str:
    said: list[str] = []
    example.globs.update(names)
    doctest.DocTestRunner(optionflags=_FLAGS).run(example, out=said.append)
    return "".join(said)


@pytest.mark.parametrize("example", [e for e in EXAMPLES if not _needs_spark(e)], ids=lambda e: e.name)
def test_an_example_prints_what_it_says(example: doctest.DocTest) -> None:
    assert _failures(example) == ""


@pytest.mark.parametrize("example", [e for e in EXAMPLES if _needs_spark(e)], ids=lambda e: e.name)
def test_an_example_on_spark_prints_what_it_says(example: doctest.DocTest, spark: SparkSession) -> None:
    assert _failures(example, spark=spark) == ""


def test_the_public_functions_of_each_room_have_examples() -> None:
    with_examples = {example.name.rsplit(".", 1)[1] for example in EXAMPLES}
    functions = {
        *("stratified_split", "sample_by_class", "class_weights", "with_class_weight", "scale_pos_weight"),
        *("score_counts", "collect_score_counts", "sweep", "choose_calibrator", "ledger_check", "generate_orders"),
    }
    classes = {"ScoreCounts", "Curve", "ConfusionMatrix", "MinCost", "SMOTE", "RandomUnderSampler", "SplitPlan"}
    assert functions | classes <= with_examples
