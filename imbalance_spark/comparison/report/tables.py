"""The comparison as people read it: tables for the terminal and CSV, and what follows from them in sentences."""

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from imbalance_spark.comparison.compare import Comparison
from imbalance_spark.comparison.entities import ENTITIES
from imbalance_spark.comparison.evaluate import AT_SINGLE_THRESHOLD, StrategyResult, chosen_thresholds
from imbalance_spark.comparison.gate import subject
from imbalance_spark.core.columns import HELD_OUT_FOLDS, TEST, VALIDATION
from imbalance_spark.metrics.curve import FLAG_NOBODY
from imbalance_spark.metrics.intervals import Interval
from imbalance_spark.threshold import ChosenThreshold
from imbalance_spark.threshold.decisions import ARGMAX
from imbalance_spark.threshold.order_costs import OrderRule

INTERVAL = "95 % of it"
"""The column of the 95 % confidence interval of the average precision on test, as CSV and JSON call it."""


OF_RATIO = "95 % of the ratio"
"""The column of the interval of mean probability / rate."""


_HEADINGS = {INTERVAL: "95 % CI", OF_RATIO: "95 % CI of it"}
"""How people read a column."""


_AT_THRESHOLD = ("precision", "recall", "f1", "f2", "mcc", "cost")


_FOR_A_TEAM = {
    "value found": "value_detection_rate", "saved": "cost_saved", "alerts a day": "alerts_per_day",
    "false positives a hit": "false_positives_per_hit", "capacity used": "capacity_used",
}  # fmt: skip
"""Columns for those who review alerts; one that no strategy has is left out."""


_AT_DECISION = {
    "macro F1": "macro_f1", "macro recall": "macro_recall", "macro precision": "macro_precision", "mcc": "mcc",
    "cost": "cost",
}  # fmt: skip


_DECIDING = ("strategy", "learner", "AP val", "threshold", "cost", "precision", "recall", "AP test", INTERVAL)


_DECIDING_OF_CLASSES = (
    "strategy",
    "learner",
    "macro AP val",
    "cost",
    "macro recall",
    "macro F1",
    "macro AP test",
    INTERVAL,
)


def comparison_table(comparison: Comparison) -> pd.DataFrame:
    """One row per strategy, best first, then the majority baseline; all on test but for the column that says `val`.

    Where learners were chosen, a column names them.

    The columns after `threshold`, of K classes from `macro F1` on, hold under the serving rule, which was chosen on
    validation.
    """
    row = _row if comparison.is_single else _row_of_classes
    rows = [_named(comparison, result) | row(comparison, result) for result in comparison.results]
    if comparison.is_single:
        last: dict[str, Any] = {"strategy": "majority class", "threshold": None}
        table = pd.DataFrame([*rows, last | {name: comparison.baseline[name] for name in _AT_THRESHOLD}])
        return table.drop(columns=[title for title in _FOR_A_TEAM if table[title].isna().all()])
    last = {"strategy": "largest class"} | {t: comparison.baseline.get(name) for t, name in _AT_DECISION.items()}
    return pd.DataFrame([*rows, last]).dropna(axis="columns", how="all")


def class_table(comparison: Comparison) -> pd.DataFrame:
    """One row per class of K, of the best strategy on test: its rows, threshold, and what the serving rule gives."""
    best, serving, names = comparison.best, comparison.serving, comparison.names
    support = best.held_out.counts(TEST, serving).rows.sum(axis=1)
    rows = []
    for number, name in enumerate(comparison.classes):
        threshold = best.metrics.get(names.of(f"threshold/{serving}", number))
        row: dict[str, Any] = {"class": name, "rows": int(support[number])}
        if serving in best.chosen:
            row["threshold"] = "else" if threshold is not None and threshold >= FLAG_NOBODY else threshold
        precision = names.of(f"{TEST}/average_precision", number)
        row |= {"average precision": best.metrics.get(precision), INTERVAL: range_text(best.intervals.get(precision))}
        row |= {
            metric: best.metrics.get(names.of(f"{TEST}/{metric}", number)) for metric in ("precision", "recall", "f1")
        }
        row["mean p / rate"] = best.metrics.get(names.of("ledger/mean_over_base_rate", number))
        rows.append(row)
    return pd.DataFrame(rows)


def entity_table(comparison: Comparison) -> pd.DataFrame:
    """One row per strategy: what flagging the top entities of each day gives, on validation and on test."""
    spoken = {"precision": "precision", "recall": "recall", "caught": "caught", "days_until_caught": "days until"}
    return pd.DataFrame(
        {
            "strategy": result.name,
            **{
                f"{heading}, {fold}": result.metrics.get(f"{fold}/{ENTITIES}/{name}")
                for fold in HELD_OUT_FOLDS
                for name, heading in spoken.items()
            },
        }
        for result in comparison.results
    )


def confusion_table(comparison: Comparison) -> pd.DataFrame:
    """Rows of test by true class (down) and by what the best strategy's serving rule decides (across)."""
    counts = comparison.best.held_out.counts(TEST, comparison.serving)
    names = list(comparison.classes)
    return pd.DataFrame(counts.rows, index=pd.Index(names, name="true"), columns=[f"as {name}" for name in names])


def markdown_table(comparison: Comparison) -> str:
    """What decides, one row per strategy, best first, then the majority baseline: for the page of an MLflow run."""
    table, deciding = comparison_table(comparison), _DECIDING if comparison.is_single else _DECIDING_OF_CLASSES
    table = for_people(table[[name for name in deciding if name in table]])
    rows = [[short_text(value) for value in row] for row in table.itertuples(index=False)]
    # MLflow shows cells without a margin: spaces that do not break keep them apart.
    head, *body = [[f"\u00a0{text}\u00a0" for text in line] for line in (list(table.columns), *rows)]
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def csv_text(table: pd.DataFrame, *, index: bool = False) -> str:
    """The table as CSV; text that a spreadsheet would take for a formula begins with an apostrophe."""
    safe = table.map(_no_formula).rename(columns=_no_formula, index=_no_formula)
    return safe.to_csv(index=index)


def _no_formula(cell: Any) -> Any:
    is_formula = isinstance(cell, str) and cell.lstrip().startswith(("=", "+", "-", "@"))
    return f"'{cell}" if is_formula else cell


def markdown_text(text: str) -> str:
    """Text for a page of Markdown, in which no name becomes markup, a link or code."""
    return re.sub(r"[\\`\[\]]", r"\\\g<0>", text.replace("&", "&amp;").replace("<", "&lt;"))


def terminal_text(comparison: Comparison) -> str:
    """The tables, and what follows from them."""
    table = comparison_table(comparison)
    lines = ["", *(_in_two(table) if comparison.is_single else [_aligned(table), ""])]
    if not comparison.is_single:
        thousands = {f"as {name}": "{:,}".format for name in comparison.classes}
        lines += [f"{comparison.best.name} on test, decided by {comparison.serving}:"]
        lines += [_aligned(class_table(comparison)), ""]
        confusion = confusion_table(comparison).reset_index()
        lines += [confusion.to_string(index=False, formatters=thousands), ""]
    if comparison.config.scoring.entity is not None:
        lines += [f"Flagging the {entity_words(comparison)}:", _aligned(entity_table(comparison)), ""]
    if comparison.backtest is not None:
        lines += [_aligned(comparison.backtest.table()), ""]
    return "\n".join([*lines, *conclusions(comparison), ""])


def entity_words(comparison: Comparison) -> str:
    """Which entities are flagged."""
    scoring = comparison.config.scoring
    return f"top {scoring.top_entities:,} by {scoring.entity} of each day"


def conclusions(comparison: Comparison) -> list[str]:
    """Sentences: what the registered strategy's decisions give; which one to use, and whether resampling is needed."""
    said = _of_single if comparison.is_single else _of_classes
    best_line, *others = said(comparison)
    lines = [best_line, *comparison.advice.lines(), *_repeats(comparison), *others]
    lines += _out_of_reach(comparison)
    lines += [
        f"{subject(comparison, result, target)}: {check.sentence}"
        for result in comparison.results
        for target, check in result.ledger.items()
        if not check.passed
    ]
    lines += [
        f"{result.name}: its scores are ranks. Read its average precision and ROC-AUC; its probabilities are the "
        "calibration's alone."
        for result in comparison.results
        if result.fitted.strategy.is_ranking
    ]
    searches = [f"Search of {name}: {search.sentence}." for name, search in comparison.searches.items()]
    over_time = [] if comparison.backtest is None else comparison.backtest.lines()
    evaluated = comparison.prepared.evaluation.sentence
    return [*lines, *searches, *over_time, *([evaluated] if evaluated else []), *_doubts(comparison)]


def for_people(table: pd.DataFrame) -> pd.DataFrame:
    """The table with the headings that people read."""
    return table.rename(columns=_HEADINGS)


def short_text(value: Any) -> str:
    """A cell of a table: four digits of a number, whole ones from 100 up, "-" for nothing."""
    if isinstance(value, str):
        return value
    if value is None or pd.isna(value):
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.4g}"


def range_text(interval: Interval | None) -> str:
    """A confidence interval in a cell."""
    return "-" if interval is None else f"{interval.low:.3f} to {interval.high:.3f}"


def furthest_ratio(result: StrategyResult) -> float | None:
    """Of the ratios of mean probability and rate of each target, the one furthest from 1."""
    ratios = [check.ratio for check in result.ledger.values() if check.ratio > 0.0]
    return max(ratios, key=lambda ratio: abs(math.log(ratio)), default=None)


def threshold_cell(result: StrategyResult, rule: str) -> float | str:
    """The threshold of a rule of a single target; in words where each order has its own."""
    by_order = isinstance(result.rules[rule], OrderRule)
    return "by order" if by_order else result.chosen[rule].by_target[0].threshold


def _named(comparison: Comparison, result: StrategyResult) -> dict[str, str]:
    """The strategy, and its learner where strategies of a choice have not all the same."""
    strategies = [one.fitted.strategy for one in comparison.results]
    is_chosen = len({strategy.fitted_by.name for strategy in strategies if strategy.has_choice}) > 1
    return {"strategy": result.name, **({"learner": result.fitted.strategy.fitted_by.name} if is_chosen else {})}


def _row(comparison: Comparison, result: StrategyResult) -> dict[str, Any]:
    metrics, serving = result.metrics, comparison.serving
    return {
        "AP val": metrics.get(f"{VALIDATION}/average_precision"),
        **_spread(comparison, result),
        "AP test": metrics.get(f"{TEST}/average_precision"),
        INTERVAL: range_text(result.intervals.get(f"{TEST}/average_precision")),
        "ROC-AUC": metrics.get(f"{TEST}/roc_auc"),
        "Brier": metrics.get(f"{TEST}/brier"),
        "log loss": metrics.get(f"{TEST}/log_loss"),
        "mean p / rate": metrics.get("ledger/mean_over_base_rate"),
        OF_RATIO: range_text(result.intervals.get("ledger/mean_over_base_rate")),
        "threshold": threshold_cell(result, serving),
        **{name: metrics.get(f"{TEST}/{serving}/{name}") for name in _AT_THRESHOLD},
        **{title: metrics.get(f"{TEST}/{serving}/{name}") for title, name in _FOR_A_TEAM.items()},
    }


def _row_of_classes(comparison: Comparison, result: StrategyResult) -> dict[str, Any]:
    metrics, serving = result.metrics, comparison.serving
    return {
        "macro AP val": metrics.get(f"{VALIDATION}/macro_average_precision"),
        **_spread(comparison, result),
        "macro AP test": metrics.get(f"{TEST}/macro_average_precision"),
        INTERVAL: range_text(result.intervals.get(f"{TEST}/macro_average_precision")),
        **{f"AP {name}": metrics.get(f"{TEST}/average_precision/{name}") for name in comparison.classes},
        "log loss": metrics.get(f"{TEST}/log_loss"),
        "worst mean p / rate": furthest_ratio(result),
        **{title: metrics.get(f"{TEST}/{serving}/{name}") for title, name in _AT_DECISION.items()},
    }


def _spread(comparison: Comparison, result: StrategyResult) -> dict[str, float]:
    """The standard deviation over repeated fits of what strategies are ranked by, on validation."""
    spread = comparison.training_spreads(result).get(comparison.names.macro(comparison.config.gate.metric))
    return {} if spread is None else {"sd of training": spread}


def _of_single(comparison: Comparison) -> Iterator[str]:
    """The registered strategy at its threshold; what the advised one costs; the majority baseline."""
    best, serving = comparison.best, comparison.serving
    at = threshold_cell(best, serving)
    decided = f"Decided {at}" if isinstance(at, str) else f"At threshold {at:.6g}"
    test = {name: best.metrics.get(f"{TEST}/{serving}/{name}") for name in ("precision", "recall", "cost")}
    yield (
        f"{_registered(comparison)}. {decided} ({serving}), test precision is "
        f"{_number(test['precision'], '.3f')}, recall {_number(test['recall'], '.3f')}, "
        f"cost {_number(test['cost'], ',.0f')} "
        f"against {comparison.baseline['cost']:,.0f} when nothing is flagged."
    )
    yield from _lost_by_single_threshold(comparison)
    yield from _costs_at_thresholds(comparison)
    yield (
        f"Majority baseline: accuracy {comparison.baseline['accuracy']:.5f}, "
        f"recall {_number(comparison.baseline['recall'], '.0f')}."
    )


def _of_classes(comparison: Comparison) -> Iterator[str]:
    """The registered strategy under its serving rule, against argmax and against the majority baseline."""
    serving, metrics = comparison.serving, comparison.best.metrics
    recalls = [f"{name} {_number(metrics.get(f'{TEST}/recall/{name}'), '.3f')}" for name in comparison.classes]
    yield (
        f"{_registered(comparison)}. Decided by {serving}, test recall is {', '.join(recalls)}"
        f"{_cost_of_rule(comparison)}."
    )
    by_argmax, by_serving = (metrics.get(f"{TEST}/{rule}/macro_recall") for rule in (ARGMAX, serving))
    yield (
        f"Deciding by argmax would give macro recall {_number(by_argmax, '.3f')} against {_number(by_serving, '.3f')}"
        + ("." if serving != ARGMAX else ": it is what serves.")
    )
    yield (
        f"Always naming the largest class: accuracy {comparison.baseline['accuracy']:.5f}, macro recall "
        f"{comparison.baseline['macro_recall']:.3f}."
    )


def _repeats(comparison: Comparison) -> Iterator[str]:
    """What gains mean where each strategy was fitted several times."""
    fits = 1 + len(comparison.plain.repeats)
    if fits > 1:
        yield (
            f"Each strategy was fitted {fits} times, after the first on bootstraps of the training rows: gains are "
            "means over the fits, and their intervals hold the spread of training. The first fit is registered."
        )


def _registered(comparison: Comparison) -> str:
    """Which strategy the sentences are about, and why it."""
    asked = comparison.config.gate.register
    return f"{'Advised' if asked == 'advised' else 'Highest on validation'}: {comparison.best.name}"


def _cost_of_rule(comparison: Comparison) -> str:
    metrics, serving = comparison.best.metrics, comparison.serving
    cost = metrics.get(f"{TEST}/{serving}/cost")
    if cost is None:
        return ""
    argmax = metrics.get(f"{TEST}/{ARGMAX}/cost")
    return (
        f", cost {cost:,.0f} against {comparison.baseline['cost']:,.0f} when every order is taken for the largest class"
        + ("" if argmax is None or serving == ARGMAX else f" and {argmax:,.0f} by argmax")
    )


def _lost_by_single_threshold(comparison: Comparison) -> Iterator[str]:
    """What one threshold for all orders would cost on test, where each order is decided by its own amount."""
    best, serving = comparison.best, comparison.serving
    cost, single = (best.metrics.get(f"{TEST}/{serving}/{name}") for name in ("cost", AT_SINGLE_THRESHOLD))
    if cost is None or single is None:
        return
    threshold = best.chosen[serving].by_target[0].threshold
    more = f", {single / cost - 1.0:+.1%}" if cost > 0.0 else ""
    yield (
        f"Each order is decided by its own amount. One threshold for all, {threshold:.6g}, would cost {single:,.0f} "
        f"on test instead of {cost:,.0f}{more}."
    )


def _costs_at_thresholds(comparison: Comparison) -> Iterator[str]:
    """What the advised strategy and plain boosting cost on test, each at its own threshold; it decides nothing."""
    advice, name = comparison.advice, f"{TEST}/{comparison.serving}/cost"
    if advice.use == advice.plain:
        return
    [used] = [result.metrics.get(name) for result in comparison.results if result.name == advice.use]
    plain = comparison.plain.metrics.get(name)
    yield (
        f"On test, each at its own threshold, {advice.use} costs {_number(used, ',.0f')} and {advice.plain} "
        f"{_number(plain, ',.0f')}."
    )


def _out_of_reach(comparison: Comparison) -> list[str]:
    return [f"{about}: {chosen.sentence}" for about, chosen in _choices(comparison) if not chosen.reachable]


def _doubts(comparison: Comparison) -> list[str]:
    """Why the best strategy's numbers are rough, each reason once."""
    best = comparison.best
    about = best.name if comparison.is_single else f"{best.name}, the rarest class,"
    warnings = [f"{about}: {chosen.warning}" for about, chosen in _choices(comparison) if chosen.warning]
    return list(dict.fromkeys([*_interval_doubts(about, best.intervals), *warnings]))


def _choices(comparison: Comparison) -> Iterator[tuple[str, ChosenThreshold]]:
    """Each chosen threshold of the best strategy, and what a sentence about it is about."""
    best = comparison.best
    for rule, found in best.chosen.items():
        for target, chosen in chosen_thresholds(found, comparison.names).items():
            yield best.name if comparison.is_single else f"{best.name}, {rule}, {target}", chosen


def _interval_doubts(about: str, intervals: Mapping[str, Interval]) -> list[str]:
    """Why a strategy's intervals are rough, once for each fold."""
    found = ((metric.partition("/")[0], interval.warning) for metric, interval in intervals.items())
    return [f"{about} on {fold}: {warning}" for fold, warning in dict.fromkeys(found) if warning is not None]


def _in_two(table: pd.DataFrame) -> Iterator[str]:
    """The table of a single target as two that fit a terminal: how strategies rank, and what their decisions give."""
    names = [name for name in ("strategy", "learner") if name in table]
    columns = [name for name in table.columns if name not in names]
    first = columns.index("threshold")
    ranking, decided = columns[:first], columns[first:]
    for part in (table[[*names, *ranking]].dropna(how="all", subset=ranking), table[[*names, *decided]]):
        yield from (_aligned(part), "")


def _aligned(table: pd.DataFrame) -> str:
    shown = for_people(table)
    return shown.to_string(index=False, na_rep="-", formatters=dict.fromkeys(shown.columns[1:], short_text))


def _number(value: float | None, form: str) -> str:
    """A number in a sentence; a recall without positives is undefined."""
    return "undefined" if value is None or not math.isfinite(value) else format(value, form)
