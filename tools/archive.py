"""`python -m tools.archive FILE`: the locked packages and this one, for spark-submit's `--archives FILE#environment`.

The file is a virtual environment of what is installed here, without its commands, whose first lines name the place
where they were installed. Nothing else in it does, so that it runs wherever an executor unpacks it.
"""

import argparse
import io
import shutil
import sys
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import distribution
from pathlib import Path

from tools.closure import locked_packages
from tools.pack import FOLDERS, ROOT, sources

_LEFT_OUT = {
    "pyspark",  # executors have that of their Spark
    "py4j",
    "nvidia-nccl-cu12",  # for fits that span GPUs: a quarter of all bytes
}
_VERSION = ".".join(map(str, sys.version_info[:2]))
_PLACE = f"lib/python{_VERSION}/site-packages"


def write_archive(
    target: Path, packages: Iterable[str], python: Path | None = None, *, compress_level: int = 1
) -> Path:
    """A virtual environment as a tar file.

    Args:
        target: the file, whose name ends with `.tar.gz`: in others Spark takes no link that leads out of them.
        packages: what is packed beside this package, in the locked versions.
        python: of the executors, by its path there, to which the archive links; None if it is where that of this
            machine is. It has the same minor version.
        compress_level: of gzip, from 0 to 9; above 1 the libraries take minutes and become a tenth smaller.

    Raises:
        SystemExit: what is installed here is not what is locked.
    """
    python = python or Path(sys.base_prefix, "bin", f"python{_VERSION}")
    files = dict(_files_of(packages))
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}.partial")
    with tarfile.open(partial, "w:gz", compresslevel=compress_level) as tar:
        for name, content in sources(ROOT, FOLDERS).items():
            _add(tar, f"{_PLACE}/{name}", content)
        _add(tar, "pyvenv.cfg", f"home = {python.parent}\ninclude-system-site-packages = false\n".encode())
        for name, place in (("bin/python", str(python)), ("bin/python3", "python"), ("lib64", "lib")):
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, place
            tar.addfile(link)
        for name, file in files.items():
            tar.add(file, f"{_PLACE}/{name}", filter=_of_nobody)
    shutil.move(partial, target)
    return target


def runtime_packages() -> Iterator[str]:
    """What a job needs here, but for Spark and what serves fits on many GPUs."""
    return (one.name for one in locked_packages() if one.is_runtime and one.name not in _LEFT_OUT)


def _files_of(packages: Iterable[str]) -> Iterator[tuple[str, Path]]:
    """Each file that they installed beside the Python code, by its name there."""
    locked = {one.name: one.version for one in locked_packages()}
    for package in sorted(packages):
        installed = distribution(package)
        if installed.version != locked[package]:
            raise SystemExit(
                f"{package} is {installed.version} here and {locked[package]} in the lock: run make clean, then make"
            )
        for file in installed.files or []:
            # Those above it are commands and manual pages.
            if ".." not in file.parts and (place := Path(str(file.locate()))).is_file():
                yield file.as_posix(), place


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))


def _of_nobody(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """Not of a user of this machine; its time stays, by which Python finds the compiled file beside it valid."""
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry


def main(argv: Sequence[str] | None = None) -> int:
    """Write it and print where it is."""
    parser = argparse.ArgumentParser(prog="python -m tools.archive", description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--node-python", type=Path, help="path of Python on the executors, if it is another there")
    args = parser.parse_args(argv)
    sys.stdout.write(f"{write_archive(args.file, runtime_packages(), args.node_python)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
