"""The house rules that a contract of import-linter cannot say: see `make check` for the others."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted((ROOT / "imbalance_spark").rglob("*.py"))


def test_only_the_session_stands_beside_the_rooms() -> None:
    assert {path.name for path in (ROOT / "imbalance_spark").glob("*.py")} == {"__init__.py", "session.py"}


def test_no_file_imports_the_room_that_it_is_in() -> None:
    # A room's __init__ imports the room's files: the other way round would be a cycle.
    found = []
    for path in FILES:
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        found += [(module, name) for name in _imported(path) if module.startswith(f"{name}.") and "." in name]
    assert found == []


def _imported(path: Path) -> Iterator[str]:
    """The modules that a file imports from; `from package import module` counts as the module."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            folder = ROOT.joinpath(*node.module.split("."))
            names = {alias.name for alias in node.names}
            modules = {name for name in names if (folder / f"{name}.py").is_file() or (folder / name).is_dir()}
            yield from (f"{node.module}.{name}" for name in modules)
            if names - modules:
                yield node.module
