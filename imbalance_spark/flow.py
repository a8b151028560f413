"""The main job for two classes and for more: the same stages by other rooms."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from imbalance_spark import compare, gate, record, report
from imbalance_spark.config import RunConfig
from imbalance_spark.gate_decision import GateDecision
from imbalance_spark.multiclass import compare as class_compare
from imbalance_spark.multiclass import gate as class_gate
from imbalance_spark.multiclass import record as class_record
from imbalance_spark.multiclass import report as class_report
from imbalance_spark.multiclass.decisions import decisions_of
from imbalance_spark.record_run import Recorded


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
    check=compare.objectives_of,
    steps=compare.steps,
    prepare=compare.prepare_to_compare,
    compare=compare.compare_prepared,
    decide=gate.decide_promotion,
    problems=gate.gate_problems,
    log=record.log_comparison,
    text=report.terminal_text,
    table=report.comparison_table,
)
SEVERAL_CLASSES = Flow(
    check=decisions_of,
    steps=class_compare.class_steps,
    prepare=class_compare.prepare_classes,
    compare=class_compare.compare_classes,
    decide=class_gate.decide_class_promotion,
    problems=class_gate.class_gate_problems,
    log=class_record.log_class_comparison,
    text=class_report.class_terminal_text,
    table=class_report.class_table,
)


def flow_of(config: RunConfig) -> Flow:
    """The flow for as many classes as the config names."""
    return SEVERAL_CLASSES if config.orders.classes else TWO_CLASSES
