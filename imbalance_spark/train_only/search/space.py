"""What a search draws parameters from: ranges and choices by name, and the draw of each trial."""

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from imbalance_spark.core.columns import is_number
from imbalance_spark.core.errors import nearest
from imbalance_spark.train_only.config import BoosterParams, Power

Params = Mapping[str, Any]
"""Numbers by the name of a parameter."""


class SearchableParams(BoosterParams):
    """What a search can set: XGBoost's parameters, and the power of `class_weight_power`."""

    power: Power = 0.5


@dataclass(frozen=True, kw_only=True)
class Range:
    """Numbers from `low` to `high`, both included: uniform, or uniform in the logarithm."""

    low: float
    high: float
    is_log: bool = False
    is_whole: bool = False

    def at(self, share: float) -> float:
        """The number that a share in [0, 1) of all draws lies below."""
        # Half a step on either side, so that each whole number has a width of its own.
        edge = 0.5 if self.is_whole else 0.0
        low, high = self.low - edge, self.high + edge
        value = math.exp(_between(math.log(low), math.log(high), share)) if self.is_log else _between(low, high, share)
        inside = min(max(value, self.low), self.high)
        return round(inside) if self.is_whole else inside

    def holds(self, value: float) -> bool:
        """Whether a number can be drawn."""
        return self.low <= value <= self.high


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One of some numbers, each as probable as the others."""

    values: tuple[float, ...]

    def at(self, share: float) -> float:
        """The number that a share in [0, 1) of all draws lies before."""
        return self.values[int(share * len(self.values))]

    def holds(self, value: float) -> bool:
        """Whether a number can be drawn."""
        return value in self.values


Space = Mapping[str, Range | Choice]


def parse_space(asked: Mapping[str, Any]) -> Space:
    """The space that a config asks for.

    Args:
        asked: by parameter a list of numbers, or `{low:, high:}` with `log: true` for orders of magnitude.
    Raises:
        ValueError: an unknown parameter, an empty range, a number that the parameter cannot be; all of them at once.
    """
    known = SearchableParams.model_fields
    problems, space = [], {}
    for name, form in asked.items():
        if name not in known:
            problems.append(f"unknown parameter {name!r}.{nearest([name], known)} Known: {sorted(known)}")
        elif found := list(_problems(name, form)):
            problems += [f"{name}: {problem}" for problem in found]
        else:
            space[name] = _parsed(name, form)
    if problems:
        raise ValueError("; ".join(problems))
    return space


def draw(space: Space, *, seed: int, number: int) -> dict[str, Any]:
    """The parameters of one trial; each follows from the seed, the number and its own name alone."""
    return {name: one.at(_uniform(seed, number, name)) for name, one in space.items()}


def _problems(name: str, form: Any) -> Iterator[str]:
    if isinstance(form, Mapping):
        yield from _range_problems(name, form)
    elif not isinstance(form, Sequence) or isinstance(form, str) or not form:
        yield f"give a list of numbers, or {{low: , high: }}, got {form!r}"
    else:
        yield from _value_problems(name, form)


def _range_problems(name: str, form: Mapping[str, Any]) -> Iterator[str]:
    if unknown := sorted(map(str, set(form) - {"low", "high", "log"})):
        yield f"a range has low, high and log, got {unknown}"
        return
    low, high, is_log = form.get("low"), form.get("high"), form.get("log", False)
    if not is_number(low) or not is_number(high) or not isinstance(is_log, bool):
        yield f"a range needs numbers for low and high, and true or false for log, got {dict(form)}"
        return
    yield from _value_problems(name, (low, high))
    if not low < high:  # type: ignore[operator]  # both are numbers
        yield f"the range is empty: low {low} is not below high {high}"
    elif is_log and not low > 0:  # type: ignore[operator]
        yield f"with log: true low must be above 0, got {low}"


def _value_problems(name: str, values: Sequence[Any]) -> Iterator[str]:
    for value in values:
        try:
            SearchableParams.model_validate({name: value})
        except ValidationError as error:
            yield f"{error.errors()[0]['msg']}, got {value!r}"


def _parsed(name: str, form: Any) -> Range | Choice:
    if not isinstance(form, Mapping):
        return Choice(values=tuple(form))
    is_whole = SearchableParams.model_fields[name].annotation is int
    return Range(low=form["low"], high=form["high"], is_log=form.get("log", False), is_whole=is_whole)


def _between(low: float, high: float, share: float) -> float:
    return low + share * (high - low)


def _uniform(*parts: object) -> float:
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8]) / 2**64


DEFAULT_SPACE: Space = parse_space(
    {
        "max_depth": {"low": 3, "high": 9},
        "learning_rate": {"low": 0.02, "high": 0.3, "log": True},
        # In sums of p (1 - p), which a leaf of rare rows has little of, and a weighted one much.
        "min_child_weight": {"low": 0.05, "high": 50.0, "log": True},
        # Bounds the step of a leaf of positives alone; 0 is no bound.
        "max_delta_step": (0.0, 1.0, 5.0),
        "reg_lambda": {"low": 0.1, "high": 30.0, "log": True},
        "subsample": {"low": 0.5, "high": 1.0},
        "colsample_bytree": {"low": 0.5, "high": 1.0},
        # Of `class_weight_power`: how much of a balanced class weight is left in the gradient.
        "power": {"low": 0.0, "high": 1.0},
    }
)
"""What is searched where the config gives no space, of each strategy the parameters that it has."""
