"""`python -m tools.licences FILE`: the page on the licences of everything that the package brings along."""

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from tools.closure import LockedPackage, locked_packages

_HEAD = """\
# Licences

`make licences` writes this page: what the metadata of each package in `requirements.lock` says of its licence, on
Linux. The package itself is under Apache-2.0. Delta's JARs, listed with their sha256 in
`imbalance_spark/cli/delta_jars.sha256`, bring their licences inside.
"""


def page() -> str:
    """Markdown, one line per package."""
    return "\n".join(_lines(locked_packages())) + "\n"


def _lines(packages: Sequence[LockedPackage]) -> Iterator[str]:
    yield _HEAD
    for title, is_runtime in (("What a job needs", True), ("What the tests need besides", False)):
        chosen = [one for one in packages if one.is_runtime == is_runtime]
        yield f"## {title}\n"
        yield from (f"- {one.name} {one.version}: {one.licence or 'not installed here'}" for one in chosen)
        yield ""
    yield "## How often\n"
    by_licence = Counter(one.licence or "not installed here" for one in packages)
    yield from (f"- {licence}: {n}" for licence, n in sorted(by_licence.items(), key=lambda item: (-item[1], item[0])))


def main(argv: Sequence[str] | None = None) -> int:
    """Write the page."""
    parser = argparse.ArgumentParser(prog="python -m tools.licences", description=__doc__)
    parser.add_argument("target", type=Path)
    parser.parse_args(argv).target.write_text(page(), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
