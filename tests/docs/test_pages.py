"""The README and docs/: what they point at is there, and the commands they name exist."""

import re
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from benchmarks.__main__ import NAMES
from imbalance_spark.orders.datasets.synthetic import generate_orders

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
    table = (ROOT / "docs/measured.md").read_text("utf-8").split("\n## ")[0]
    rows = [line.split(" | ") for line in table.splitlines() if line.startswith("| ")][2:]
    assert len(rows) >= 10
    for row in rows:
        assert "python -m benchmarks " in row[1] or "make " in row[1], row[0]


def _anchors(file: Path) -> set[str]:
    """Headings as links name them: lower case, no punctuation, dashes for spaces."""
    names = _HEADING.findall(file.read_text("utf-8"))
    return {re.sub(r"[^\w -]", "", name.lower()).strip().replace(" ", "-") for name in names}


def test_the_example_in_code_runs(spark: SparkSession, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    [example] = re.findall(r"```python\n(.*?)```", (ROOT / "docs/in_code.md").read_text("utf-8"), re.DOTALL)
    made = generate_orders(spark, rows=3_000, prevalence=0.05, seed=7, partitions=2)
    made.select("order_id", "is_fraud", "true_probability").write.parquet(f"{tmp_path}/orders")
    orders = spark.read.parquet(f"{tmp_path}/orders")
    # The true probability stands for a model's.
    scored = orders.withColumnRenamed("true_probability", "probability")
    exec(compile(example, "docs/in_code.md", "exec"), {"orders": orders, "scored": scored})
    assert re.match(r"0\.\d+ min_cost", capsys.readouterr().out)
