"""How serious an imbalance is, and what to do about it: from class counts alone."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from imbalance_spark.core.errors import DataContractError

Severity = Literal["balanced", "mild", "serious", "extreme"]


_LEVELS: tuple[Severity, ...] = ("balanced", "mild", "serious", "extreme")


_LEVEL_FROM_RATIO = (3.0, 100.0, 1000.0)


_MANY_RARE_ROWS = 100_000


_FEW_RARE_ROWS = 100


_RECKLESS_BELOW = 10_000


ALL = "all"


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """The imbalance of two classes.

    Args:
        counts: rows of class 0 and of class 1.
        by_split: the same for each split; may be empty.
        ratio: rows of the larger class for one row of the rarer.
        prevalence: share of class 1 (0 to 1).
        severity: by `ratio`, then by how many rows the rarer class has; see `diagnose`.
        severity_by_ratio: by `ratio` alone.
        majority_accuracy: share of right answers (0 to 1) of always naming the larger class.
        advice: what to do, in sentences.
    """

    counts: Mapping[int, int]
    by_split: Mapping[str, Mapping[int, int]] = field(default_factory=dict)
    ratio: float
    prevalence: float
    severity: Severity
    severity_by_ratio: Severity
    majority_accuracy: float
    advice: tuple[str, ...]

    @property
    def majority_recall(self) -> float:
        """What the majority answer finds of the rarer class: nothing."""
        return 0.0

    def lines(self) -> list[str]:
        """The diagnosis for a terminal: a table per split and class, then sentences."""
        return [*_table(self.counts, self.by_split), "", self._summary(), self._baseline(), *_bullets(self.advice)]

    def to_dict(self) -> dict[str, Any]:
        """The diagnosis as JSON values."""
        return asdict(self) | {"majority_recall": self.majority_recall}

    def _summary(self) -> str:
        rare = min(self.counts.values())
        moved = "" if self.severity == self.severity_by_ratio else f" ({self.severity_by_ratio} by ratio alone)"
        return f"Severity: {self.severity}{moved}: 1 to {self.ratio:,.1f}, {rare:,} rows in the rarer class."

    def _baseline(self) -> str:
        accuracy, recall = f"{self.majority_accuracy:.4%}", f"{self.majority_recall:g}"
        return f"Always naming the larger class: accuracy {accuracy}, recall {recall}. Accuracy says nothing here."


def diagnose(counts: Mapping[int, int], by_split: Mapping[str, Mapping[int, int]] | None = None) -> Diagnosis:
    """Severity, majority baseline and advice; no Spark, no pass over data.

    Severity by ratio: balanced below 1:3, mild from there, serious from 1:100, extreme from 1:1000.
    What limits a model is how many rare rows it has seen, more than the ratio. So with 100,000 of
    them or more the severity is one step lower, but not below mild (the threshold still has to
    move); with fewer than 100 it is one step higher: every estimate of recall is then worse than
    +-10 percentage points.

    Args:
        counts: rows of class 0 and of class 1.
        by_split: the same per split, for the table; advice on training rows uses `train` where given.

    Raises:
        DataContractError: not exactly the classes 0 and 1, or one without rows.
    """
    if set(counts) != {0, 1} or min(counts.values()) <= 0:
        raise DataContractError(f"diagnose: needs rows of class 0 and of class 1, got rows per class {dict(counts)}.")
    rare, rows = min(counts.values()), sum(counts.values())
    ratio = (rows - rare) / rare
    by_ratio = sum(ratio >= start for start in _LEVEL_FROM_RATIO)
    severity = _LEVELS[_moderated(by_ratio, rare)]
    train = (by_split or {}).get("train", counts)
    return Diagnosis(
        counts=dict(counts),
        by_split={split: dict(per_class) for split, per_class in (by_split or {}).items()},
        ratio=ratio,
        prevalence=counts[1] / rows,
        severity=severity,
        severity_by_ratio=_LEVELS[by_ratio],
        majority_accuracy=(rows - rare) / rows,
        advice=tuple(_advice(severity, train)),
    )


def _moderated(level: int, rare: int) -> int:
    if rare >= _MANY_RARE_ROWS:
        return max(level - 1, min(level, 1))
    return min(level + 1, len(_LEVELS) - 1) if rare < _FEW_RARE_ROWS else level


def _advice(severity: Severity, train: Mapping[int, int]) -> Iterator[str]:
    rows, rare = sum(train.values()), min(train.values())
    if severity == "balanced":
        yield "No resampling is needed: fit on all rows and choose the threshold for your costs."
        return
    yield (
        "Move the threshold, always: choose it on held-out rows for your own costs. "
        "Plain boosting with a chosen threshold (strategy none) is hard to beat."
    )
    if rare > 0:
        weights = " and ".join(f"{rows / (2 * n):.4g} for class {name}" for name, n in sorted(train.items()))
        yield f"Then try class weights first: they drop no row and invent none. Balanced: {weights}."
        yield _undersampling(rows, rare)
    yield "SMOTE is a tool, not a default: compare it, keep it only if it wins on real validation rows."
    if rare < _FEW_RARE_ROWS:
        yield f"The rarer class has {rare:,} training rows: no method replaces collecting more of them."
    if severity == "extreme":
        yield "So rare a class can also be seen as an anomaly: compare an isolation forest, which needs no labels."


def _undersampling(rows: int, rare: int) -> str:
    kept = 2 * rare
    share = f"at 1:1 it keeps {kept:,} of {rows:,} training rows"
    if kept < _RECKLESS_BELOW:
        return f"Undersampling is reckless here: {share}, fewer than {_RECKLESS_BELOW:,}, and throws the rest away."
    return f"Undersampling is fine here to save time: {share}. Correct the probabilities after it."


def _table(counts: Mapping[int, int], by_split: Mapping[str, Mapping[int, int]]) -> Iterator[str]:
    yield f"{'split':<12}{'rows':>16}{'class 0':>16}{'class 1':>14}{'prevalence':>13}{'ratio':>12}"
    for split, per_class in {**by_split, ALL: counts}.items():
        zeros, ones = per_class.get(0, 0), per_class.get(1, 0)
        rows = zeros + ones
        ratio = f"1:{max(zeros, ones) / min(zeros, ones):,.1f}" if min(zeros, ones) else "-"
        prevalence = f"{ones / rows:.4%}" if rows else "-"
        yield f"{split:<12}{rows:>16,}{zeros:>16,}{ones:>14,}{prevalence:>13}{ratio:>12}"


def _bullets(sentences: tuple[str, ...]) -> list[str]:
    return [f"- {sentence}" for sentence in sentences]


_ORDER: tuple[Severity, ...] = ("balanced", "mild", "serious", "extreme")


_FEW_ROWS = 100


@dataclass(frozen=True, kw_only=True)
class ClassDiagnosis:
    """The imbalance of several classes.

    Args:
        classes: their names, in the order of their numbers.
        counts: rows of each class. by_split: the same for each split; may be empty.
        severities: of each class, by how many rows of all others there are for one of it, and by how many rows it
            has; the largest class is balanced. See `diagnose`.
        majority_accuracy: share of right answers (0 to 1) of always naming the largest class.
        advice: what to do, in sentences.
    """

    classes: tuple[str, ...]
    counts: Mapping[int, int]
    by_split: Mapping[str, Mapping[int, int]]
    severities: Mapping[str, Severity]
    majority_accuracy: float
    advice: tuple[str, ...]

    @property
    def severity(self) -> Severity:
        """That of the class where it is worst."""
        return max(self.severities.values(), key=_ORDER.index)

    def lines(self) -> list[str]:
        """The diagnosis for a terminal: a table per split and class, then sentences."""
        accuracy = f"{self.majority_accuracy:.4%}"
        return [
            *self._table(),
            "",
            f"Severity: {self.severity}; {', '.join(f'{name} {found}' for name, found in self.severities.items())}.",
            f"Always naming the largest class: accuracy {accuracy}, recall 0 for every other. Accuracy says nothing "
            "here.",
            *[f"- {sentence}" for sentence in self.advice],
        ]

    def to_dict(self) -> dict[str, Any]:
        """The diagnosis as JSON values."""
        return asdict(self) | {"severity": self.severity}

    def _table(self) -> Iterator[str]:
        yield f"{'split':<12}{'rows':>16}" + "".join(f"{name[:18]:>20}" for name in self.classes)
        for split, per_class in {**self.by_split, ALL: self.counts}.items():
            rows = sum(per_class.values())
            cells = (_cell(per_class.get(number, 0), rows) for number in range(len(self.classes)))
            yield f"{split:<12}{rows:>16,}" + "".join(f"{cell:>20}" for cell in cells)


def diagnose_classes(
    counts: Mapping[int, int], by_split: Mapping[str, Mapping[int, int]], classes: Sequence[str]
) -> ClassDiagnosis:
    """Severity of each class, majority baseline and advice; no Spark, no pass over data.

    Raises:
        DataContractError: a class has no rows.
    """
    empty = [name for number, name in enumerate(classes) if counts.get(number, 0) < 1]
    if empty:
        raise DataContractError(f"diagnose: classes {empty} have no rows. Name the classes that there are.")
    total, largest = sum(counts.values()), max(counts, key=lambda number: counts[number])
    severities: dict[str, Severity] = {}
    for number, name in enumerate(classes):
        against_rest = diagnose({0: total - counts[number], 1: counts[number]})
        severities[name] = "balanced" if number == largest else against_rest.severity
    return ClassDiagnosis(
        classes=tuple(classes),
        counts=dict(counts),
        by_split={split: dict(per_class) for split, per_class in by_split.items()},
        severities=severities,
        majority_accuracy=counts[largest] / total,
        advice=tuple(_class_advice(severities, by_split.get("train", counts), classes)),
    )


def diagnosis_of(
    counts: Mapping[int, int], by_split: Mapping[str, Mapping[int, int]], classes: Sequence[str]
) -> Diagnosis | ClassDiagnosis:
    """The diagnosis for as many classes as there are."""
    return diagnose(counts, by_split) if len(classes) == 2 else diagnose_classes(counts, by_split, classes)


def _cell(rows: int, total: int) -> str:
    return f"{rows:,} ({rows / total:.3%})" if total else "-"


def _class_advice(
    severities: Mapping[str, Severity], train: Mapping[int, int], classes: Sequence[str]
) -> Iterator[str]:
    if set(severities.values()) == {"balanced"}:
        yield "No resampling is needed: fit on all rows and decide by what errors cost you."
        return
    yield (
        "Do not decide by the likeliest class: give what each error costs (objective cost_matrix), or a threshold for "
        "each class. Plain boosting with such a decision (strategy none) is hard to beat."
    )
    rows, smallest = sum(train.values()), min(train.values())
    if smallest > 0:
        weights = ", ".join(f"{rows / (len(classes) * train[k]):.4g} for {name}" for k, name in enumerate(classes))
        yield f"Then try class weights: they drop no row and invent none. Balanced: {weights}."
        kept = len(classes) * smallest
        if kept < _RECKLESS_BELOW:
            yield (
                f"Undersampling all classes to the rarest is reckless here: it keeps {kept:,} of {rows:,} training "
                "rows. Give rows per class instead."
            )
    for number, name in enumerate(classes):
        if train.get(number, 0) < _FEW_ROWS:
            yield f"Class {name!r} has {train.get(number, 0):,} training rows: no method replaces collecting more."
