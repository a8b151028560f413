"""Arithmetic on named values, such as `amount * 0.8 + 15`: parsed into a checked tree, never executed as code."""

import ast
import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NoReturn, Self

from imbalance_spark.core.errors import ConfigError

_GRAMMAR = "An expression has numbers, names, + - * / and parentheses."
_OPERATORS: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_LONGEST = 200  # of a text; deep nesting would exhaust the parser's stack


@dataclass(frozen=True)
class Line:
    """slope x value + constant."""

    slope: float
    constant: float


@dataclass(frozen=True)
class Expression:
    """A checked arithmetic expression.

    Args:
        text: as it is written.
        where: the setting that it stands in, for errors.
    Raises:
        ConfigError: the text is no expression of numbers, names, + - * / and parentheses; the error names the position.

    Examples:
        >>> Expression("amount * 0.8 + 15", where="min_cost.fn").line_in("amount")
        Line(slope=0.8, constant=15.0)
    """

    text: str
    where: str

    def __post_init__(self) -> None:
        self._check(self._tree)

    @classmethod
    def of(cls, value: float | str, where: str) -> Self:
        """The expression of a setting that may be a number."""
        return cls(value if isinstance(value, str) else repr(float(value)), where)

    @property
    def names(self) -> tuple[str, ...]:
        """The names that it reads, sorted."""
        return tuple(sorted({node.id for node in ast.walk(self._tree) if isinstance(node, ast.Name)}))

    def line_in(self, name: str) -> Line:
        """The expression as a line in one name.

        Raises:
            ConfigError: it reads another name, or is no line: it divides by the name, or takes its square.
        """
        if others := [other for other in self.names if other != name]:
            raise ConfigError(f"{self.where}: {self.text!r} reads {others}. It may read {name!r} alone.")
        return self._line(self._tree, name)

    @cached_property
    def _tree(self) -> ast.expr:
        if len(self.text) > _LONGEST:
            raise ConfigError(f"{self.where}: {len(self.text)} characters are too long, at most {_LONGEST}. {_GRAMMAR}")
        try:
            return ast.parse(self.text.strip(), mode="eval").body
        except (SyntaxError, ValueError) as error:
            position = getattr(error, "offset", 0) or len(self.text.strip()) + 1
            raise ConfigError(
                f"{self.where}: {self.text!r} is no arithmetic expression, see position {position}. {_GRAMMAR}"
            ) from None

    def _check(self, node: ast.expr) -> None:
        match node:
            case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
                if not math.isfinite(value):
                    self._refuse(node, "is not finite")
            case ast.Name():
                pass
            case ast.UnaryOp(op=ast.UAdd() | ast.USub(), operand=operand):
                self._check(operand)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
                self._check(left)
                self._check(right)
            case _:
                self._refuse(node, "is not allowed")

    def _line(self, node: ast.expr, name: str) -> Line:
        match node:
            case ast.Constant(value=value):
                return Line(0.0, float(value))  # type: ignore[arg-type]
            case ast.Name():
                return Line(1.0, 0.0)
            case ast.UnaryOp(op=op, operand=operand):
                line, sign = self._line(operand, name), -1.0 if isinstance(op, ast.USub) else 1.0
                return Line(sign * line.slope, sign * line.constant)
            case ast.BinOp(left=left, op=ast.Add() | ast.Sub() as op, right=right):
                one, other, does = self._line(left, name), self._line(right, name), _OPERATORS[type(op)]
                return Line(does(one.slope, other.slope), does(one.constant, other.constant))
            case ast.BinOp(left=left, op=op, right=right):
                return self._scaled(node, op, self._line(left, name), self._line(right, name), name)
        raise AssertionError("_check has seen to it")

    def _scaled(self, node: ast.expr, op: ast.operator, one: Line, other: Line, name: str) -> Line:
        """The product or the quotient of two lines, of which one has to be a constant."""
        if isinstance(op, ast.Mult) and one.slope == 0.0:
            one, other = other, one
        if other.slope != 0.0:
            self._refuse(node, f"is no straight line in {name!r}, as costs of an order have to be")
        if isinstance(op, ast.Div) and other.constant == 0.0:
            self._refuse(node, "divides by 0")
        does = _OPERATORS[type(op)]
        return Line(does(one.slope, other.constant), does(one.constant, other.constant))

    def _refuse(self, node: ast.expr, why: str) -> NoReturn:
        part = ast.get_source_segment(self.text.strip(), node) or type(node).__name__
        position = node.col_offset + 1
        raise ConfigError(f"{self.where}: in {self.text!r}, {part!r} at position {position} {why}. {_GRAMMAR}")
