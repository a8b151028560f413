"""Files of a mounted volume, as plain files of this machine."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

VOLUMES = "/Volumes"
"""Where Databricks mounts the volumes of Unity Catalog, on the driver and on every executor."""


def is_mounted(path: str) -> bool:
    """Whether a path leads to a volume that is mounted here."""
    return Path(_plain(path)).is_relative_to(VOLUMES) and Path(VOLUMES).is_dir()


class MountedFiles:
    """Plain files; Spark's name for a mounted one begins with `dbfs:`."""

    def full_path(self, path: str) -> str:
        """The path itself."""
        return path

    def exists(self, path: str) -> bool:
        """Whether a file or folder is there."""
        return Path(_plain(path)).exists()

    def write(self, path: str, content: bytes) -> None:
        """Write a file, over one that is there."""
        Path(_plain(path)).parent.mkdir(parents=True, exist_ok=True)
        Path(_plain(path)).write_bytes(content)

    def create(self, path: str, content: bytes) -> bool:
        """Write a file that is not there; False where it is."""
        Path(_plain(path)).parent.mkdir(parents=True, exist_ok=True)
        try:
            with Path(_plain(path)).open("xb") as file:
                file.write(content)
        except FileExistsError:
            return False
        return True

    def replace(self, source: str, target: str) -> None:
        """Rename a file, in place of the one that is there."""
        Path(_plain(source)).replace(_plain(target))

    def delete(self, path: str) -> None:
        """Remove a file if it is there."""
        with suppress(FileNotFoundError):
            Path(_plain(path)).unlink()

    def read(self, path: str) -> bytes:
        """The file's content; FileNotFoundError where it is not there."""
        return Path(_plain(path)).read_bytes()

    def size(self, path: str) -> int | None:
        """Bytes of a file; None where there is a folder, or nothing."""
        file = Path(_plain(path))
        return file.stat().st_size if file.is_file() else None

    def names(self, path: str) -> list[str]:
        """What is right in a folder; nothing where it is not there."""
        return [item.name for item in Path(_plain(path)).iterdir()] if Path(_plain(path)).exists() else []

    def below(self, path: str) -> Iterator[tuple[str, int, int]]:
        """Path, size and time of change (milliseconds) of each file in a folder and in those in it."""
        for folder, _, names in os.walk(_plain(path)):
            for name in names:
                found = Path(folder, name).stat()
                yield str(Path(folder, name)), found.st_size, found.st_mtime_ns // 1_000_000


def _plain(path: str) -> str:
    return path.removeprefix("dbfs:")
