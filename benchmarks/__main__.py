"""`python -m benchmarks NAME --rows N ...`: a table for people, then one JSON object as the last line."""

import argparse
import importlib
import json
import sys
from types import ModuleType

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
    print(json.dumps({"bench": args.name, **found}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
