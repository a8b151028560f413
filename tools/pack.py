"""`python -m tools.pack zip|wheel FOLDER`: for `--py-files`, for pip; the same sources give the same bytes."""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ZIP = "imbalance_spark.zip"
FOLDERS = ("imbalance_spark", "jobs")
_METADATA = ("setup.py", "pyproject.toml", "LICENSE")
_EARLIEST = (1980, 1, 1, 0, 0, 0)
"""The first moment that a zip can tell."""


def write_zip(source: Path, target: Path) -> Path:
    """The package and its jobs as a zip in the folder `target`, data files included."""
    made = target / ZIP
    _pack(sources(source, FOLDERS), made)
    return made


def build_wheel(source: Path, target: Path) -> Path:
    """The wheel in the folder `target`; nothing is downloaded, and nothing is left in the sources."""
    with tempfile.TemporaryDirectory(prefix="wheel-") as folder:
        tree, built = Path(folder, "tree"), Path(folder, "built")
        # Of a clean copy: what an earlier build left in the sources would be packed again.
        for name, content in sources(source, (*FOLDERS, *_METADATA)).items():
            place = tree / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
        subprocess.run(  # noqa: S603  # our own interpreter on our own sources
            [*command, "--no-index", "--wheel-dir", str(built), str(tree)],
            check=True,
            env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
        )
        [wheel] = built.glob("*.whl")
        with zipfile.ZipFile(wheel) as opened:
            entries = {name: opened.read(name) for name in opened.namelist() if not name.endswith("/")}
        made = target / wheel.name
        _pack(entries, made)
        return made


def sources(root: Path, names: Sequence[str]) -> dict[str, bytes]:
    """Every file below these folders, and these files, by their paths."""
    files = [file for name in names for file in ((root / name).rglob("*") if (root / name).is_dir() else [root / name])]
    wanted = [file for file in files if file.is_file() and "__pycache__" not in file.parts]
    return {file.relative_to(root).as_posix(): file.read_bytes() for file in wanted}


def _pack(entries: Mapping[str, bytes], target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_suffix(".partial")
    # Stored: two machines' compressors need not agree, and a megabyte is little beside Spark.
    with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
        for name, content in sorted(entries.items()):
            entry = zipfile.ZipInfo(name, _EARLIEST)
            entry.create_system = 3  # Unix, on any machine
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, content)
    shutil.move(partial, target)


def main(argv: Sequence[str] | None = None) -> int:
    """Build one of them and print where it is."""
    parser = argparse.ArgumentParser(prog="python -m tools.pack", description=__doc__)
    parser.add_argument("kind", choices=("zip", "wheel"))
    parser.add_argument("folder", type=Path)
    args = parser.parse_args(argv)
    build = {"zip": write_zip, "wheel": build_wheel}[args.kind]
    sys.stdout.write(f"{build(ROOT, args.folder)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
