"""How serious an imbalance is, and what to do about it: from class counts alone."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from imbalance_spark.errors import DataContractError

__all__ = ["Diagnosis", "Severity", "diagnose"]

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
