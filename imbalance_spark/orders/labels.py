"""The classes of the label: their texts, numbers and the positive one."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from pyspark.sql import Column
from pyspark.sql import functions as F

from imbalance_spark.core.class_counts import show_counts
from imbalance_spark.core.errors import DataContractError, nearest
from imbalance_spark.core.masking import LONGEST_NAME, is_plain
from imbalance_spark.orders.config import OrdersConfig

_PLAIN_CLASSES = (("0", "1"), ("false", "true"))
_LONGEST_CLASS = 30


def label_text(label: Column) -> Column:
    """The text that names a label's class: `1`, `1.0`, `1.00` are "1", `-0.0` is "0", null is null."""
    whole = F.regexp_replace(label.cast("string"), r"^(-?\d+)\.0+$", "$1")
    return F.when(whole == "-0", "0").otherwise(whole)


@dataclass(frozen=True, kw_only=True)
class LabelEncoding:
    """The number of each class.

    Args:
        classes: the labels' texts (see `label_text`) in the order of their numbers; for two: negative, positive.
    """

    classes: tuple[str, ...]

    @property
    def positive(self) -> str:
        """The text of class 1 of two classes."""
        return self.classes[1]

    @property
    def sentence(self) -> str:
        """The classes in words."""
        if len(self.classes) == 2:
            return f"Class 1 is {self.positive!r}, class 0 is {self.classes[0]!r}."
        return f"Classes: {', '.join(f'{number} is {name!r}' for number, name in enumerate(self.classes))}."

    def encode(self, label: Column) -> Column:
        """The class number (int, from 0); null for a null label and for an unknown one."""
        text, number = label_text(label), F.lit(None).cast("int")
        for code, name in enumerate(self.classes):
            number = F.when(text == name, code).otherwise(number)
        return number

    def to_dict(self) -> dict[str, Any]:
        """The encoding as JSON values."""
        return {"classes": list(self.classes)}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Self:
        """The encoding that `to_dict` wrote down."""
        return cls(classes=tuple(record["classes"]))


def learn_label(class_counts: Mapping[str, int], config: OrdersConfig, *, is_text: bool) -> LabelEncoding:
    """Which of two classes is the positive one; for more, the order of `orders.classes`.

    The labels 0 and 1 (also 0.0, -0.0, decimals) and booleans need no setting. Everything else,
    such as -1/+1, 1/2, yes/no and the texts '0'/'1', needs `orders.positive_label`.

    Args:
        class_counts: rows per label text, without null labels.
        config: names the label and its positive value.
        is_text: whether the label column is a string.

    Raises:
        DataContractError: one class only, more than two, two that differ only in spaces or letter case,
            no `positive_label` where one is needed, or one that is not among the labels; a class of
            `orders.classes` without rows, or rows of a class that it does not name.
    """
    found = {name: n for name, n in class_counts.items() if n > 0}
    where = f"orders.label: column {config.label!r}"
    if alike := _look_alikes(found):
        raise DataContractError(f"{where} has labels that look alike: {alike}. Give each class one spelling upstream.")
    if hidden := [name for name in found if not is_plain(name)]:
        raise DataContractError(
            f"{where} has {len(hidden)} labels longer than {LONGEST_NAME:,} characters, or with control characters or "
            "marks of direction. Map them upstream."
        )
    if config.classes:
        return _named_classes(found, config.class_names, where)
    if len(found) != 2:
        raise DataContractError(f"{where} {_wrong_number(found)}")
    positive = _positive(found, config, where, is_text)
    negative = next(name for name in found if name != positive)
    return LabelEncoding(classes=(negative, positive))


def _positive(found: Mapping[str, int], config: OrdersConfig, where: str, is_text: bool) -> str:
    asked = config.positive_label
    if asked is None:
        if not is_text and tuple(sorted(found)) in _PLAIN_CLASSES:
            return max(found)
        raise DataContractError(
            f"{where} has classes {_shown(found)}, and it is not clear which one is the rare event. "
            "Set orders.positive_label to one of them."
        )
    text = str(asked).lower() if isinstance(asked, bool) else str(asked)
    if text not in found:
        raise DataContractError(
            f"orders.positive_label {asked!r} is not a value of column {config.label!r}, which has {_shown(found)}."
            f"{nearest([text], found)} Set it to one of them."
        )
    return text


def _named_classes(found: Mapping[str, int], names: tuple[str, ...], where: str) -> LabelEncoding:
    problems = []
    if absent := [name for name in names if name not in found]:
        problems.append(
            f"{where} has no valid row of {absent}, which orders.classes names; it has {_shown(found)}."
            f"{nearest(absent, found)} Take more orders, or name only classes that have rows."
        )
    if unknown := sorted(set(found) - set(names)):
        problems.append(
            f"{where} has {_shown({name: found[name] for name in unknown})}, which orders.classes {list(names)} does "
            "not name. Name them there, or map them upstream."
        )
    if problems:
        raise DataContractError.of_all(problems)
    return LabelEncoding(classes=names)


def _wrong_number(found: Mapping[str, int]) -> str:
    if not found:
        return "has no class: every label is null. Check the label column."
    if len(found) == 1:
        return f"has only one class, {_shown(found)}: there is nothing to separate. Check the label and the filters."
    return (
        f"has {len(found)} classes, {_shown(found)}; two are expected. "
        "Name all of them under orders.classes, or map them to two."
    )


def _look_alikes(found: Mapping[str, int]) -> list[list[str]]:
    same: dict[str, list[str]] = {}
    for name in sorted(found):
        same.setdefault(" ".join(name.split()).casefold(), []).append(name[:_LONGEST_CLASS])
    return [names for names in same.values() if len(names) > 1][:10]


def _shown(found: Mapping[str, int]) -> str:
    return show_counts({name[:_LONGEST_CLASS]: n for name, n in sorted(found.items())})
