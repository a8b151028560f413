"""The field's words: private ones must not come back into docstrings, messages, docs and README.

A word joins by a line in `WORDS`.
"""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "imbalance_spark"

WORDS = {
    r"cut-offs?": "threshold",
    r"hangs? on": "depend on",
    r"\bdear(er)?\b": "expensive",
    r"\bgo(es)? before\b": "overrides, precedes",
    r"\bsome \d": "about",
    r"\bmade rows\b|\brows between (rows|neighbours)\b": "synthetic samples, interpolation",
    r"\btwins?\b": "duplicates",
    r"\blikeliest class\b": "argmax, most probable class",
    r"\bseveral classes\b|\bseveral outcomes\b": "multi-class",
    r"\bfalse alarms?\b(?! as| rate)": "false positive",
    r"\bis told\b|\bare told\b": "report, show",
    r"\banew\b": "again",
    r"\bbegun again\b|\bgoes on from\b": "retried, continues with",
    r"\b(come|comes|came|brings?) to the driver\b|\breach the driver\b": "collected",
    r"\bis no (cost|number|integer|class|probability|neighbour|feature|finite)\b": "is not a",
    r"\bno (row|order|customer)s? that (nobody|none)\b|\bnone of them has seen\b|\bhas not seen\b": "held-out data",
    r"\bone (row|struct|line|column) an? \w+": "per",
    r"\bwhiskers?\b": "confidence interval",
    r"\bpictures?\b": "figure",
    r"\belect(s|ed|orate)?\b|\bballots?\b|\bvotes?\b|\bvoters?\b": "mode, most frequent",
    r"\bdealt\b": "repartitioned, split",
    r"\bcensus\b": "class counts",
    r"\bledger checks?\b": "calibration in the large",
    r"\bmend\b": "fix, repair",
    r"\bwhom\b": "which",
}
_ANY = re.compile("|".join(f"(?:{word})" for word in WORDS), re.IGNORECASE)

PAGES = (ROOT / "README.md", *(page for page in sorted((ROOT / "docs").glob("*.md")) if page.stem != "configuration"))


FILES = [*sorted(PACKAGE.rglob("*.py")), *(ROOT / "jobs").glob("*.py"), *(ROOT / "notebooks").glob("*.py")]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_docstrings_and_messages_use_the_fields_words(file: Path) -> None:
    tree = ast.parse(file.read_text("utf-8"))
    texts = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    found = [(node.lineno, match.group()) for node in texts for match in _ANY.finditer(str(node.value))]
    assert found == []


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_comments_use_the_fields_words(file: Path) -> None:
    comments = [line.split("# ", 1)[1] for line in file.read_text("utf-8").splitlines() if "# " in line]
    assert [match.group() for comment in comments for match in _ANY.finditer(comment)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_use_the_fields_words(page: Path) -> None:
    prose = re.sub(r"```.*?```|`[^`]*`", "", page.read_text("utf-8"), flags=re.DOTALL)
    assert [match.group() for match in _ANY.finditer(prose)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_lines_of_pages_fit_a_screen(page: Path) -> None:
    prose = re.sub(r"```text.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    assert [line for line in prose.splitlines() if len(line) > 120] == []
