"""The README and docs/: what they point at is there, and the commands they name exist."""

import re
from pathlib import Path

import pytest

from benchmarks.__main__ import NAMES

ROOT = Path(__file__).resolve().parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))

_LINK = re.compile(r"\]\(([^)#\s]+)?(?:#([\w-]+))?\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_BENCHMARK = re.compile(r"python -m benchmarks ([\w-]+)")
_FILE = re.compile(r"\b(?:jobs|conf|tests|docs|notebooks)/[\w./-]*\w")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_pages_and_headings_that_are_there(page: Path) -> None:
    links = [found for found in _LINK.findall(page.read_text("utf-8")) if "://" not in found[0]]
    for target, heading in links:
        file = (page.parent / target).resolve() if target else page
        assert file.is_file(), (page.name, target)
        assert not heading or heading in _anchors(file), (page.name, target, heading)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_benchmarks_and_files_that_are_named_are_there(page: Path) -> None:
    text = page.read_text("utf-8")
    assert set(_BENCHMARK.findall(text)) <= set(NAMES)
    absent = [name for name in set(_FILE.findall(text)) - {"conf/mine.yaml"} if not (ROOT / name).exists()]
    assert absent == []


def test_every_page_can_be_reached_from_the_readme() -> None:
    linked = {target for target, _ in _LINK.findall((ROOT / "README.md").read_text("utf-8"))}
    assert {f"docs/{page.name}" for page in PAGES[1:]} <= linked


def test_every_measured_figure_has_its_command() -> None:
    claims = (ROOT / "docs/measured.md").read_text("utf-8").split("\n## ")[0].split("\n- **")[1:]
    assert len(claims) >= 10
    for claim in claims:
        assert re.search(r"\n  - command: `(python -m benchmarks|make) ", claim), claim.splitlines()[0]


def _anchors(file: Path) -> set[str]:
    """Headings as links name them: lower case, no punctuation, dashes for spaces."""
    names = _HEADING.findall(file.read_text("utf-8"))
    return {re.sub(r"[^\w -]", "", name.lower()).strip().replace(" ", "-") for name in names}
