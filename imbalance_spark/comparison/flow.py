"""The main job for two classes and for more: the same stages by other rooms."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from imbalance_spark.comparison import compare as compare
from imbalance_spark.comparison.compare import compare_prepared, objectives_of, prepare_to_compare, steps
from imbalance_spark.comparison.gate import decide_promotion, gate_problems
from imbalance_spark.comparison.gate_decision import GateDecision
from imbalance_spark.comparison.record import log_comparison
from imbalance_spark.comparison.record_run import Recorded
from imbalance_spark.comparison.report.tables import comparison_table, terminal_text
from imbalance_spark.config.run import RunConfig
from imbalance_spark.multiclass.compare import class_steps, compare_classes, prepare_classes
from imbalance_spark.multiclass.gate import class_gate_problems, decide_class_promotion
from imbalance_spark.multiclass.record import log_class_comparison
from imbalance_spark.multiclass.report import class_table, class_terminal_text
from imbalance_spark.threshold.decisions import decisions_of


@dataclass(frozen=True, kw_only=True)
class Flow:
    """The stages of `jobs/train.py`; what one gives, the next one of the same flow takes."""

    check: Callable[[RunConfig], object]
    """Of the objectives; nothing else is looked at."""
    steps: Callable[[RunConfig], int]
    prepare: Callable[..., Any]
    compare: Callable[..., Any]
    decide: Callable[[Any], GateDecision]
    problems: Callable[[Any], list[str]]
    log: Callable[[Any, str, GateDecision], Recorded]
    text: Callable[[Any], str]
    table: Callable[[Any], Any]


TWO_CLASSES = Flow(
    check=objectives_of,
    steps=steps,
    prepare=prepare_to_compare,
    compare=compare_prepared,
    decide=decide_promotion,
    problems=gate_problems,
    log=log_comparison,
    text=terminal_text,
    table=comparison_table,
)


SEVERAL_CLASSES = Flow(
    check=lambda config: decisions_of(config.objectives, config.serve_objective, config.orders.class_names),
    steps=class_steps,
    prepare=prepare_classes,
    compare=compare_classes,
    decide=decide_class_promotion,
    problems=class_gate_problems,
    log=log_class_comparison,
    text=class_terminal_text,
    table=class_table,
)


def flow_of(config: RunConfig) -> Flow:
    """The flow for as many classes as the config names."""
    return SEVERAL_CLASSES if config.orders.classes else TWO_CLASSES
