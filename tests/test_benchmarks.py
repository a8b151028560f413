"""Benchmarks can be asked what they measure; that they run is seen by running them."""

import importlib
import subprocess
import sys

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
