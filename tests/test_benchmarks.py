"""Benchmarks can be asked what they measure; that they run is seen by running them."""

import importlib
import json
import subprocess
import sys
from argparse import ArgumentParser
from types import SimpleNamespace

import pytest

from benchmarks import __main__ as command
from benchmarks.__main__ import NAMES


def test_the_help_names_every_benchmark() -> None:
    # Importing all of them also shows a name that has moved.
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--help"], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr[-500:]
    assert [name for name in NAMES if f"    {name} " not in done.stdout + " "] == []


def test_every_benchmark_says_what_it_measures() -> None:
    modules = {name: importlib.import_module(f"benchmarks.{name.replace('-', '_')}") for name in NAMES}
    assert [name for name, module in modules.items() if not module.__doc__] == []


def test_the_last_line_is_strict_json_where_a_number_is_unknown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def add_arguments(_: ArgumentParser) -> None:
        pass

    found = {"found": {"logistic": {"MiB": float("nan"), "seconds": 1.5}}, "each": (2, float("nan"))}
    module = SimpleNamespace(__doc__="made up", add_arguments=add_arguments, run=lambda _: found)
    monkeypatch.setattr(command, "_module", lambda _: module)
    monkeypatch.setattr(sys, "argv", ["benchmarks", "split"])
    assert command.main() == 0
    last = capsys.readouterr().out.strip().splitlines()[-1]
    assert json.loads(last, parse_constant=pytest.fail) == {
        "bench": "split",
        "found": {"logistic": {"MiB": None, "seconds": 1.5}},
        "each": [2, None],
    }
