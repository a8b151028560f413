"""How serious an imbalance of several classes is, and what to do about it: from class counts alone."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from imbalance_spark.diagnose import ALL, Diagnosis, Severity, diagnose
from imbalance_spark.errors import DataContractError

_ORDER: tuple[Severity, ...] = ("balanced", "mild", "serious", "extreme")
_FEW_ROWS = 100
_RECKLESS_BELOW = 10_000


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
        advice=tuple(_advice(severities, by_split.get("train", counts), classes)),
    )


def diagnosis_of(
    counts: Mapping[int, int], by_split: Mapping[str, Mapping[int, int]], classes: Sequence[str]
) -> Diagnosis | ClassDiagnosis:
    """The diagnosis for as many classes as there are."""
    return diagnose(counts, by_split) if len(classes) == 2 else diagnose_classes(counts, by_split, classes)


def _cell(rows: int, total: int) -> str:
    return f"{rows:,} ({rows / total:.3%})" if total else "-"


def _advice(severities: Mapping[str, Severity], train: Mapping[int, int], classes: Sequence[str]) -> Iterator[str]:
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
