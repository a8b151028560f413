"""A catalogue of cases, each with its number and the tests that hold what the product must do there."""

import ast
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
_LINE = re.compile(r"(\d+) (.+?): (\S.*)")


@dataclass(frozen=True)
class Case:
    """One line: a number, what the case is, and the tests as `file::name`."""

    number: int
    about: str
    tests: tuple[str, ...]


def cases_of(text: str) -> list[Case]:
    """One case for each line, such as `7 one class: orders/test_read::test_one_class_is_refused`."""
    found = []
    for line in text.strip().splitlines():
        match = _LINE.fullmatch(line)
        assert match is not None, line
        found.append(Case(int(match[1]), match[2], tuple(match[3].split(", "))))
    return found


def absent_tests(cases: Sequence[Case]) -> list[tuple[int, str]]:
    """Tests that a case names and no file has."""
    names: dict[str, set[str]] = {}
    for file in {test.partition("::")[0] for case in cases for test in case.tests}:
        path = TESTS / f"{file}.py"
        tree = ast.parse(path.read_text("utf-8")) if path.is_file() else ast.Module([], [])
        names[file] = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    return [
        (case.number, test)
        for case in cases
        for test in case.tests
        if test.partition("::")[2] not in names[test.partition("::")[0]]
    ]
