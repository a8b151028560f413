"""`python -m benchmarks NAME --rows N ...`: a table for people, then one JSON object as the last line."""

import argparse
import importlib
import json
import math
import sys
from types import ModuleType
from typing import Any

NAMES = (
    "split", "leak", "counts", "score", "fit", "regret", "strategies", "smote", "smote-vs-threshold", "sketch",
    "stopping", "advice", "monitor", "days", "null-runs", "coverage", "search", "scale", "ensembles", "learners",
    "load", "shapes", "workers",
)  # fmt: skip


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"benchmarks.{name.replace('-', '_')}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    subparsers = parser.add_subparsers(dest="name", required=True)
    for name in NAMES:
        module = _module(name)
        said = (module.__doc__ or "").replace("%", "%%")  # argparse formats it
        module.add_arguments(subparsers.add_parser(name, help=said, description=said))
    args = parser.parse_args()
    found = _module(args.name).run(args)
    print(json.dumps({"bench": args.name, **_known(found)}, allow_nan=False))
    return 0


def _known(found: Any) -> Any:
    """NaN, of what was not measured, as None: strict readers of JSON refuse it."""
    if isinstance(found, dict):
        return {name: _known(value) for name, value in found.items()}
    if isinstance(found, list | tuple):
        return [_known(value) for value in found]
    return None if isinstance(found, float) and math.isnan(found) else found


if __name__ == "__main__":
    sys.exit(main())
