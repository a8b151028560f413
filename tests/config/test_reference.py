"""The reference of settings: complete, and as the config classes are now."""

from pathlib import Path

import pytest
from pydantic import BaseModel

from imbalance_spark.config import reference as config_reference
from imbalance_spark.config.reference import main, read_docstring, reference
from imbalance_spark.config.run import RunConfig
from imbalance_spark.core.errors import ConfigError
from imbalance_spark.threshold.objectives import OBJECTIVES

PAGE = Path(__file__).resolve().parents[2] / "docs" / "configuration.md"


def test_the_page_is_what_the_classes_say() -> None:
    command = "python -m imbalance_spark.config.reference docs/configuration.md"
    assert PAGE.read_text("utf-8") == reference(), f"docs/configuration.md is stale: run {command}"


def line_of(setting: str, section: str) -> str:
    level = "###" if ":" in section else "##"
    part = reference().split(f"\n{level} {section}\n")[1].split("\n##")[0]
    [line] = [line for line in part.splitlines() if line.startswith(f"| `{setting}` |")]
    return line


@pytest.mark.parametrize(
    ("setting", "section", "cells"),
    [
        ("name", "The run", "text, as `^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$` | *needed*"),
        ("strategies", "The run", "list of [strategies](#strategies) | *needed*"),
        ("source", "orders", "[orders.source](#orderssource) |  | "),
        ("num_workers", "training", "whole number, at least 1, at most 10,000 | `2`"),
        ("version", "orders.source", "whole number, at least 0 or null | `null`"),
        ("early_stopping_fraction", "split", "number, above 0, below 1 | `0.15`"),
        ("key", "orders", 'list of text | `["order_id"]`'),
        ("kind", "strategies", "one of `none`, `undersample`, `oversample`, "),
        ("weights", "strategies: `class_weight`", '`balanced` or map of whole number or text to number | `"balanced"`'),
        ("settings", "spark", "map of text to text | `{}`"),
    ],
)
def test_a_setting_has_its_type_its_bounds_and_its_default(setting: str, section: str, cells: str) -> None:
    assert line_of(setting, section).startswith(f"| `{setting}` | {cells}")


def test_every_section_and_objective_is_there() -> None:
    text = reference()
    names = [name for name, field in RunConfig.model_fields.items() if isinstance(field.annotation, type)
             and issubclass(field.annotation, BaseModel)]  # fmt: skip
    assert {"orders", "split", "training"} <= set(names)
    assert all(f"\n## {name}\n" in text for name in [*names, "strategies", "training.params"])
    assert all(f"| `{key}` |" in text for key in OBJECTIVES)


class Documented(BaseModel):
    """What it is
    for.

    More of it.

    Args:
        one, two: what they are,
            over two lines.
        three: another.
    """

    one: int
    four: int


def test_a_docstring_gives_a_summary_and_a_meaning_for_each_name() -> None:
    both = "what they are, over two lines."
    assert read_docstring(Documented) == (
        "What it is for. More of it.", {"one": both, "two": both, "three": "another."}
    )  # fmt: skip


def test_a_setting_without_a_meaning_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config_reference, "RunConfig", Documented)
    with pytest.raises(ConfigError, match=r"Documented: \['four'\] have no meaning. Add them under Args"):
        reference()


def test_the_command_prints_or_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert main([str(tmp_path / "page.md")]) == 0
    assert capsys.readouterr().out == (tmp_path / "page.md").read_text("utf-8") == reference()
