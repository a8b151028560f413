"""Pages that promise something name the test that keeps it, and these tests exist."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SECURITY = (ROOT / "docs/security.md").read_text("utf-8")
FAULTS = (ROOT / "docs/faults.md").read_text("utf-8")
_NAMED = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.name)
def test_a_test_that_a_page_names_exists(page: Path) -> None:
    named = _NAMED.findall(page.read_text("utf-8"))
    assert [f"{file}::{name}" for file, name in named if name not in _tests_in(ROOT / file)] == []


def test_each_line_of_the_security_list_names_its_test_or_says_that_it_has_none() -> None:
    items = re.split(r"^- (?=S\d+ )", SECURITY.split("## The list, with its tests")[1], flags=re.MULTILINE)[1:]
    ids = [number for item in items for number in re.findall(r"\bS(\d+) ", item)]
    assert sorted(map(int, ids)) == list(range(1, 25))
    assert [item for item in items if not _NAMED.search(item) and "no test" not in item] == []


def test_each_fault_names_its_test() -> None:
    items = re.split(r"^- (?=F\d+ )", FAULTS.split("## The faults, with their tests")[1], flags=re.MULTILINE)[1:]
    ids = [number for item in items for number in re.findall(r"\bF(\d+) ", item)]
    assert sorted(map(int, ids)) == list(range(1, 26))
    assert [item for item in items if not _NAMED.search(item)] == []


def _tests_in(file: Path) -> set[str]:
    tree = ast.parse(file.read_text("utf-8")) if file.is_file() else ast.Module([], [])
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
