"""Runs a notebook in Databricks' source format outside Databricks: its cells in order, what they display collected."""

import contextlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from pyspark.sql import DataFrame, SparkSession

HEADER = "# Databricks notebook source\n"
CELL_END = "# COMMAND ----------\n"
MOST_ROWS = 1000
"""Rows that Databricks shows of a table, and so all that `display` takes."""


@dataclass
class Ran:
    """What a notebook showed, and the names that its cells left."""

    tables: list[pd.DataFrame] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    pages: list[str] = field(default_factory=list)
    markdown: list[str] = field(default_factory=list)
    names: dict[str, Any] = field(default_factory=dict)

    def display(self, shown: object) -> None:
        if isinstance(shown, Figure):
            self.figures.append(shown)
        elif isinstance(shown, pd.DataFrame):
            self.tables.append(shown.head(MOST_ROWS))
        elif isinstance(shown, DataFrame):
            self.tables.append(shown.limit(MOST_ROWS).toPandas())
        else:
            raise TypeError(f"display() of a {type(shown).__name__}: a figure or a table is expected")


class Widgets:
    """`dbutils.widgets`: the defaults that the notebook gives, but for what is set."""

    def __init__(self, given: Mapping[str, str]):
        self.given, self.values = given, {}

    def text(self, name: str, default: str, label: str = "") -> None:
        self.values[name] = self.given.get(name, default)

    def dropdown(self, name: str, default: str, choices: list[str], label: str = "") -> None:
        self.text(name, default)
        assert {default, self.values[name]} <= set(choices), (name, choices)

    def get(self, name: str) -> str:
        return self.values[name]


def cells(source: str) -> Iterator[tuple[int, str]]:
    """Each cell with the line that it starts on, from 0."""
    assert source.startswith(HEADER), "not a notebook in Databricks' source format"
    line = 0
    for cell in source.split(CELL_END):
        yield line, cell
        line += cell.count("\n") + 1


def run(file: Path, spark: SparkSession, given: Mapping[str, str]) -> Ran:
    """Run a notebook in its own folder, as Databricks does, with these values of its widgets."""
    ran, widgets = Ran(), Widgets(given)
    ran.names.update(
        spark=spark, dbutils=SimpleNamespace(widgets=widgets), display=ran.display, displayHTML=ran.pages.append
    )
    with contextlib.chdir(file.parent):
        for line, cell in cells(file.read_text("utf-8")):
            if magic := re.findall(r"^# MAGIC ?(.*)$", cell, re.MULTILINE):
                assert magic[0] == "%md", f"{file.name}, line {line}: a magic that no stand-in knows, {magic[0]}"
                ran.markdown.append("\n".join(magic[1:]))
            # Empty lines before it give errors their place in the file.
            exec(compile("\n" * line + cell, str(file), "exec"), ran.names)
    assert set(given) <= set(widgets.values), f"no such widgets: {sorted(set(given) - set(widgets.values))}"
    return ran
