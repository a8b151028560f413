"""How serious an imbalance is, and what to do about it: from class counts alone."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from imbalance_spark.core.errors import DataContractError

Severity = Literal["balanced", "mild", "serious", "extreme"]

_LEVELS: tuple[Severity, ...] = ("balanced", "mild", "serious", "extreme")
_LEVEL_FROM_RATIO = (3.0, 100.0, 1000.0)
_MANY_RARE_ROWS = 100_000
_FEW_RARE_ROWS = 100
_RECKLESS_BELOW = 10_000

_TWO_CLASSES = ("class 0", "class 1")
_ALL = "all"


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """The imbalance of two or more classes.

    Args:
        classes: their names, in the order of their numbers.
        counts: rows of each class, by number.
        by_split: the same for each split; may be empty.
        severities: of each class, by how many rows of all others there are for one of it, then by how many rows it
            has; the largest class is balanced. See `diagnose`.
        severity_by_ratio: of the rarest class, by `ratio` alone.
        advice: what to do, in sentences.
    """

    classes: tuple[str, ...]
    counts: Mapping[int, int]
    by_split: Mapping[str, Mapping[int, int]]
    severities: Mapping[str, Severity]
    severity_by_ratio: Severity
    advice: tuple[str, ...]

    @property
    def severity(self) -> Severity:
        """That of the class where it is worst."""
        return max(self.severities.values(), key=_LEVELS.index)

    @property
    def ratio(self) -> float:
        """Rows of all other classes for one row of the rarest."""
        rare = min(self.counts.values())
        return (sum(self.counts.values()) - rare) / rare

    @property
    def prevalence(self) -> float:
        """Share of class 1 (0 to 1)."""
        return self.counts[1] / sum(self.counts.values())

    @property
    def majority_accuracy(self) -> float:
        """Share of right answers (0 to 1) of always naming the largest class."""
        return max(self.counts.values()) / sum(self.counts.values())

    @property
    def majority_recall(self) -> float:
        """What the majority answer finds of every other class: nothing."""
        return 0.0

    def lines(self) -> list[str]:
        """The diagnosis for a terminal: a table per split and class, then sentences."""
        table = _table if self._has_two else _table_of_classes
        found = table(self.classes, {**self.by_split, _ALL: self.counts})
        return [*found, "", self._summary(), self._baseline(), *[f"- {sentence}" for sentence in self.advice]]

    def to_dict(self) -> dict[str, Any]:
        """The diagnosis as JSON values; of two classes without their names, but with ratio and prevalence."""
        record: dict[str, Any] = {
            "counts": dict(self.counts),
            "by_split": {split: dict(per_class) for split, per_class in self.by_split.items()},
            "severity": self.severity,
            "majority_accuracy": self.majority_accuracy,
            "advice": list(self.advice),
        }
        if not self._has_two:
            return record | {"classes": list(self.classes), "severities": dict(self.severities)}
        names = ("ratio", "prevalence", "severity_by_ratio", "majority_recall")
        return record | {name: getattr(self, name) for name in names}

    @property
    def _has_two(self) -> bool:
        return len(self.classes) == 2

    def _summary(self) -> str:
        if not self._has_two:
            return f"Severity: {self.severity}; {', '.join(f'{name} {one}' for name, one in self.severities.items())}."
        rare = min(self.counts.values())
        moved = "" if self.severity == self.severity_by_ratio else f" ({self.severity_by_ratio} by ratio alone)"
        return f"Severity: {self.severity}{moved}: 1 to {self.ratio:,.1f}, {rare:,} rows in the rarer class."

    def _baseline(self) -> str:
        larger, others = ("larger", "") if self._has_two else ("largest", " for every other")
        recall = f"{self.majority_recall:g}"
        return (
            f"Always naming the {larger} class: accuracy {self.majority_accuracy:.4%}, recall {recall}{others}. "
            "Accuracy says nothing here."
        )


def diagnose(
    counts: Mapping[int, int],
    by_split: Mapping[str, Mapping[int, int]] | None = None,
    classes: Sequence[str] = _TWO_CLASSES,
) -> Diagnosis:
    """Severity, majority baseline and advice; no Spark, no pass over data.

    Severity by ratio: balanced below 1:3, mild from there, serious from 1:100, extreme from 1:1000.
    What limits a model is how many rare rows it has seen, more than the ratio. So with 100,000 of
    them or more the severity is one step lower, but not below mild (the threshold still has to
    move); with fewer than 100 it is one step higher: every estimate of recall is then worse than
    +-10 percentage points.

    Args:
        counts: rows of each class, by number.
        by_split: the same per split, for the table; advice on training rows uses `train` where given.
        classes: names of the classes in the order of their numbers; two are called by their numbers.

    Raises:
        DataContractError: a class without rows, or a number that no class has.
    """
    names = _TWO_CLASSES if len(classes) == 2 else tuple(classes)
    _require_rows(counts, names)
    rows, largest = sum(counts.values()), max(counts, key=lambda number: counts[number])
    by_ratio = {number: _level((rows - n) / n) for number, n in counts.items()}
    severities: dict[str, Severity] = {
        name: "balanced" if number == largest else _LEVELS[_moderated(by_ratio[number], counts[number])]
        for number, name in enumerate(names)
    }
    rarest = min(counts, key=lambda number: (counts[number], number == largest))
    train = (by_split or {}).get("train", counts)
    return Diagnosis(
        classes=names,
        counts=dict(counts),
        by_split={split: dict(per_class) for split, per_class in (by_split or {}).items()},
        severities=severities,
        severity_by_ratio=_LEVELS[by_ratio[rarest]],
        advice=tuple(_advice(max(severities.values(), key=_LEVELS.index), train, names)),
    )


def _require_rows(counts: Mapping[int, int], names: Sequence[str]) -> None:
    empty = [name for number, name in enumerate(names) if counts.get(number, 0) < 1]
    if not empty and set(counts) == set(range(len(names))):
        return
    if len(names) == 2:
        raise DataContractError(f"diagnose: needs rows of class 0 and of class 1, got rows per class {dict(counts)}.")
    raise DataContractError(f"diagnose: classes {empty} have no rows. Name the classes that there are.")


def _level(ratio: float) -> int:
    return sum(ratio >= start for start in _LEVEL_FROM_RATIO)


def _moderated(level: int, rare: int) -> int:
    if rare >= _MANY_RARE_ROWS:
        return max(level - 1, min(level, 1))
    return min(level + 1, len(_LEVELS) - 1) if rare < _FEW_RARE_ROWS else level


def _advice(severity: Severity, train: Mapping[int, int], names: Sequence[str]) -> Iterator[str]:
    has_two, rows = len(names) == 2, sum(train.values())
    rare = min(train.get(number, 0) for number in range(len(names)))
    if severity == "balanced":
        how = "choose the threshold for your costs" if has_two else "decide by what errors cost you"
        yield f"No resampling is needed: fit on all rows and {how}."
        return
    yield _how_to_decide(has_two)
    if rare > 0:
        weights = [f"{rows / (len(names) * train[k]):.4g} for {name}" for k, name in enumerate(names)]
        listed = " and ".join(weights) if has_two else ", ".join(weights)
        yield f"Then try class weights first: they drop no row and invent none. Balanced: {listed}."
        yield _undersampling(rows, len(names) * rare, has_two)
    yield "SMOTE is a tool, not a default: compare it, keep it only if it wins on real validation rows."
    if has_two:
        few = [f"The rarer class has {rare:,}"] if rare < _FEW_RARE_ROWS else []
    else:
        few = [f"Class {n!r} has {train.get(k, 0):,}" for k, n in enumerate(names) if train.get(k, 0) < _FEW_RARE_ROWS]
    yield from (f"{subject} training rows: no method replaces collecting more of them." for subject in few)
    if has_two and severity == "extreme":
        yield "So rare a class can also be seen as an anomaly: compare an isolation forest, which needs no labels."


def _how_to_decide(has_two: bool) -> str:
    if has_two:
        return (
            "Move the threshold, always: choose it on held-out rows for your own costs. "
            "Plain boosting with a chosen threshold (strategy none) is hard to beat."
        )
    return (
        "Do not decide by argmax: give what each error costs (objective cost_matrix), or choose a threshold for each "
        "class. Plain boosting with such a decision (strategy none) is hard to beat."
    )


def _undersampling(rows: int, kept: int, has_two: bool) -> str:
    share = f"{'at 1:1' if has_two else 'down to the rarest class'} it keeps {kept:,} of {rows:,} training rows"
    if kept < _RECKLESS_BELOW:
        share += f", fewer than {_RECKLESS_BELOW:,}, and throws the rest away"
        return f"Undersampling is reckless here: {share}." + ("" if has_two else " Give rows per class instead.")
    return f"Undersampling is fine here to save time: {share}. Correct the probabilities after it."


def _table(_: Sequence[str], by_split: Mapping[str, Mapping[int, int]]) -> Iterator[str]:
    """Of two classes, with prevalence and ratio."""
    yield f"{'split':<12}{'rows':>16}{'class 0':>16}{'class 1':>14}{'prevalence':>13}{'ratio':>12}"
    for split, per_class in by_split.items():
        zeros, ones = per_class.get(0, 0), per_class.get(1, 0)
        rows = zeros + ones
        ratio = f"1:{max(zeros, ones) / min(zeros, ones):,.1f}" if min(zeros, ones) else "-"
        prevalence = f"{ones / rows:.4%}" if rows else "-"
        yield f"{split:<12}{rows:>16,}{zeros:>16,}{ones:>14,}{prevalence:>13}{ratio:>12}"


def _table_of_classes(names: Sequence[str], by_split: Mapping[str, Mapping[int, int]]) -> Iterator[str]:
    yield f"{'split':<12}{'rows':>16}" + "".join(f"{name[:18]:>20}" for name in names)
    for split, per_class in by_split.items():
        rows = sum(per_class.values())
        cells = (_cell(per_class.get(number, 0), rows) for number in range(len(names)))
        yield f"{split:<12}{rows:>16,}" + "".join(f"{cell:>20}" for cell in cells)


def _cell(rows: int, total: int) -> str:
    return f"{rows:,} ({rows / total:.3%})" if total else "-"
