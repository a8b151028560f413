"""The comparison of several classes as people read it: tables for the terminal, and what follows from them."""

import math
from typing import Any

import pandas as pd

from imbalance_spark.comparison.report.tables import interval_doubts, short_text
from imbalance_spark.core.columns import TEST, VALIDATION
from imbalance_spark.metrics.curve import FLAG_NOBODY
from imbalance_spark.metrics.intervals import Interval
from imbalance_spark.multiclass.compare import ClassComparison
from imbalance_spark.multiclass.judge import ClassResult
from imbalance_spark.threshold.decisions import ARGMAX

_AT_DECISION = (
    ("macro F1", "macro_f1"), ("macro recall", "macro_recall"), ("macro precision", "macro_precision"), ("mcc", "mcc"),
    ("cost", "cost"),
)  # fmt: skip


def class_table(comparison: ClassComparison) -> pd.DataFrame:
    """One row a strategy, best first, then the majority baseline; all on test but for `macro AP val`.

    The columns from `macro F1` on hold under the serving rule, chosen on validation.
    """
    rows = [_row(comparison, result) for result in comparison.results]
    baseline: dict[str, Any] = {"strategy": "largest class"}
    baseline |= {title: comparison.baseline.get(name) for title, name in _AT_DECISION}
    return pd.DataFrame([*rows, baseline]).dropna(axis="columns", how="all")


def class_lines(comparison: ClassComparison) -> pd.DataFrame:
    """One row a class, of the best strategy on test: its rows, threshold, and what the serving rule gives."""
    best, serving = comparison.best, comparison.config.serve_objective
    support = best.held_out.counts(TEST, serving).rows.sum(axis=1)
    rows = []
    for number, name in enumerate(comparison.classes):
        threshold = best.metrics.get(f"threshold/{serving}/{name}")
        row: dict[str, Any] = {"class": name, "rows": int(support[number])}
        if serving in best.chosen:
            row["threshold"] = "else" if threshold is not None and threshold >= FLAG_NOBODY else threshold
        row |= {
            "average precision": best.metrics.get(f"{TEST}/average_precision/{name}"),
            "95 % of it": _range(best.intervals.get(f"{TEST}/average_precision/{name}")),
        }
        row |= {metric: best.metrics.get(f"{TEST}/{metric}/{name}") for metric in ("precision", "recall", "f1")}
        row["mean p / rate"] = best.metrics.get(f"ledger/mean_over_base_rate/{name}")
        rows.append(row)
    return pd.DataFrame(rows)


def confusion_table(comparison: ClassComparison) -> pd.DataFrame:
    """Rows of test by true class (down) and by what the best strategy's serving rule decides (across)."""
    counts = comparison.best.held_out.counts(TEST, comparison.config.serve_objective)
    names = list(comparison.classes)
    return pd.DataFrame(counts.rows, index=pd.Index(names, name="true"), columns=[f"as {name}" for name in names])


def class_terminal_text(comparison: ClassComparison) -> str:
    """The tables, and what follows from them."""
    serving = comparison.config.serve_objective
    return "\n".join(
        [
            "", _shown(class_table(comparison)), "",
            f"{comparison.best.name} on test, decided by {serving}:", _shown(class_lines(comparison)), "",
            confusion_table(comparison).reset_index().to_string(index=False, formatters=_thousands(comparison)), "",
            *class_conclusions(comparison), "",
        ]
    )  # fmt: skip


def class_conclusions(comparison: ClassComparison) -> list[str]:
    """Sentences: which strategy, what its decisions give, and whether resampling was needed."""
    best, serving = comparison.best, comparison.config.serve_objective
    recalls = ", ".join(
        f"{name} {_number(best.metrics.get(f'{TEST}/recall/{name}'), '.3f')}" for name in comparison.classes
    )
    lines = [
        f"Best on validation: {best.name}. Decided by {serving}, test recall is {recalls}"
        f"{_cost(comparison, best, serving)}.",
        *comparison.advice.lines(f"macro {comparison.config.gate.metric}"),
        f"Deciding by the most probable class would give macro recall "
        f"{_number(best.metrics.get(f'{TEST}/{ARGMAX}/macro_recall'), '.3f')} against "
        f"{_number(best.metrics.get(f'{TEST}/{serving}/macro_recall'), '.3f')}"
        + ("." if serving != ARGMAX else ": it is what serves."),
        f"Always naming the largest class: accuracy {comparison.baseline['accuracy']:.5f}, macro recall "
        f"{comparison.baseline['macro_recall']:.3f}.",
    ]
    for rule, found in best.chosen.items():
        lines += [
            f"{best.name}, {rule}, {name}: {chosen.sentence}"
            for name, chosen in zip(comparison.classes, found.by_target, strict=True)
            if not chosen.reachable
        ]
    for result in comparison.results:
        lines += [
            f"{result.name}, {name}: {check.sentence}" for name, check in result.ledger.items() if not check.passed
        ]
    return lines + interval_doubts(f"{best.name}, the rarest class,", best.intervals)


def _cost(comparison: ClassComparison, best: ClassResult, serving: str) -> str:
    cost = best.metrics.get(f"{TEST}/{serving}/cost")
    if cost is None:
        return ""
    argmax = best.metrics.get(f"{TEST}/{ARGMAX}/cost")
    return (
        f", cost {cost:,.0f} against {comparison.baseline['cost']:,.0f} when every order is taken for the largest class"
        + ("" if argmax is None or serving == ARGMAX else f" and {argmax:,.0f} by the most probable class")
    )


def _row(comparison: ClassComparison, result: ClassResult) -> dict[str, Any]:
    serving, metrics = comparison.config.serve_objective, result.metrics
    row: dict[str, Any] = {
        "strategy": result.name,
        "macro AP val": metrics.get(f"{VALIDATION}/macro_average_precision"),
        "macro AP test": metrics.get(f"{TEST}/macro_average_precision"),
        "95 % of it": _range(result.intervals.get(f"{TEST}/macro_average_precision")),
    }
    row |= {f"AP {name}": metrics.get(f"{TEST}/average_precision/{name}") for name in comparison.classes}
    row |= {"log loss": metrics.get(f"{TEST}/log_loss"), "worst mean p / rate": _furthest(result)}
    return row | {title: metrics.get(f"{TEST}/{serving}/{name}") for title, name in _AT_DECISION}


def _furthest(result: ClassResult) -> float | None:
    ratios = [check.ratio for check in result.ledger.values() if check.ratio > 0.0]
    return max(ratios, key=lambda ratio: abs(math.log(ratio)), default=None)


def _shown(table: pd.DataFrame) -> str:
    return table.to_string(index=False, na_rep="-", formatters=dict.fromkeys(table.columns[1:], short_text))


def _thousands(comparison: ClassComparison) -> Any:
    return {f"as {name}": "{:,}".format for name in comparison.classes}


def _number(value: float | None, form: str) -> str:
    return "undefined" if value is None or not math.isfinite(value) else format(value, form)


def _range(interval: Interval | None) -> str:
    return "-" if interval is None else f"{interval.low:.3f} to {interval.high:.3f}"
