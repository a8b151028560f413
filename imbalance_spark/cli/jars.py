"""Delta's JARs by sha256: what Maven hands out is compared with what was proven."""

import hashlib
import sys
from collections.abc import Iterable, Iterator, Sequence
from importlib import resources
from pathlib import Path


def recorded_hashes() -> dict[str, str]:
    """The sha256 of each JAR that the proven Delta brings along, by its file's name; in the order of the names."""
    # Package data, as a zip given to spark-submit has no other.
    lines = resources.files("imbalance_spark.cli").joinpath("delta_jars.sha256").read_text("utf-8").splitlines()
    return {name: sha256 for sha256, name in (line.split() for line in lines)}


def altered_jars(jars: Iterable[Path]) -> Iterator[str]:
    """What is wrong with JARs that are recorded, with expected and found hash; other files are passed over."""
    recorded = recorded_hashes()
    for jar in jars:
        expected = recorded.get(jar.name)
        if expected is not None and (found := _sha256(jar)) != expected:
            yield f"{jar.name}: expected sha256 {expected}, found {found}"


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def main(argv: Sequence[str]) -> int:
    """Compare a folder of JARs with the record: it must hold these and no others."""
    [folder] = map(Path, argv)
    jars = sorted(folder.glob("*.jar"))
    recorded, present = recorded_hashes().keys(), {jar.name for jar in jars}
    problems = [
        *altered_jars(jars),
        *[f"{name}: not among the recorded JARs" for name in sorted(present - recorded)],
        *[f"{name}: missing" for name in sorted(recorded - present)],
    ]
    for problem in problems:
        sys.stderr.write(f"{problem}\n")
    return 2 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
