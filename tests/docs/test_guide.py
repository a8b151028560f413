"""docs/in_code.md: every example runs in one namespace, on small data, and prints what the page shows."""

import contextlib
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import SparkSession
from support.mlflow_store import new_store

PAGE = Path(__file__).resolve().parents[2] / "docs/in_code.md"
# A block of Python, and the output that may be shown below it.
_BLOCK = re.compile(r"```python\n(?P<code>.*?)```\n(?:\n```text\n(?P<shown>.*?)```\n)?", re.DOTALL)


def orders_at_hand(rows: int = 3_000) -> pd.DataFrame:
    """Orders whose fraud is more frequent in large ones and in one country."""
    draws = np.random.default_rng(7)
    amount = np.round(np.exp(draws.normal(3.0, 1.0, rows)), 2)
    country = draws.choice(["DE", "FR", "US"], rows)
    logit = -4.3 + 0.02 * amount + 1.0 * (country == "US")
    return pd.DataFrame(
        {
            "order_id": np.arange(rows),
            "customer_id": draws.integers(0, rows // 3, rows),
            "amount": amount,
            "items": draws.integers(1, 9, rows),
            "country": country,
            "is_fraud": (draws.random(rows) < 1 / (1 + np.exp(-logit))).astype(int),
            "p": 1 / (1 + np.exp(-logit)),
        }
    )


def outcomes_at_hand(rows: int = 2_000) -> dict[str, Any]:
    """True probabilities of three outcomes, and outcomes drawn with them."""
    draws = np.random.default_rng(8)
    p = draws.dirichlet((1.2, 0.08, 0.03), rows)
    return {"labels": (draws.random((rows, 1)) > p.cumsum(axis=1)).sum(axis=1), "probabilities": p}


@pytest.fixture(scope="module")
def names(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    at_hand = orders_at_hand()
    base_odds = at_hand["is_fraud"].sum() / (at_hand["is_fraud"] == 0).sum()
    odds = at_hand["p"] / (1 - at_hand["p"]) * 0.2 / base_odds  # as seen by a model fitted on a sample with ratio 0.2
    scored = at_hand.assign(score=odds / (1 + odds)).drop(columns="p")
    orders = spark.createDataFrame(at_hand.drop(columns="p")).coalesce(2)
    folder = tmp_path_factory.mktemp("guide")
    new_store(folder)
    frames = {"orders": orders, "scored": spark.createDataFrame(scored).coalesce(2)}
    return {**frames, **outcomes_at_hand(), "spark": spark, "folder": str(folder)}


def test_every_example_prints_what_the_page_shows(names: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(names["folder"])  # where MLflow keeps artifacts
    wrong = []
    for block in _BLOCK.finditer(PAGE.read_text("utf-8")):
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            exec(compile(block["code"], PAGE.name, "exec"), names)
        if said.getvalue() != (block["shown"] or ""):
            wrong.append((block["code"], said.getvalue()))
    assert wrong == []


def test_no_line_is_longer_than_a_screen() -> None:
    assert [line for line in PAGE.read_text("utf-8").splitlines() if len(line) > 120] == []
