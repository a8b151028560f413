"""Files by path: through Hadoop's client as Spark is set up, or as plain files where a volume is mounted."""

from collections.abc import Iterator
from typing import Protocol

from pyspark.sql import SparkSession

from imbalance_spark.files_hadoop import HadoopFiles
from imbalance_spark.files_mounted import MountedFiles, is_mounted


class Files(Protocol):
    """What `storage.Folder` asks of a file system; folders come into being with the files in them."""

    def full_path(self, path: str) -> str:
        """The path as every executor understands it."""

    def exists(self, path: str) -> bool:
        """Whether a file or folder is there."""

    def write(self, path: str, content: bytes) -> None:
        """Write a file, over one that is there."""

    def create(self, path: str, content: bytes) -> bool:
        """Write a file that is not there; False where it is."""

    def replace(self, source: str, target: str) -> None:
        """Rename a file, in place of the one that is there."""

    def delete(self, path: str) -> None:
        """Remove a file if it is there."""

    def read(self, path: str) -> bytes:
        """The file's content; FileNotFoundError where it is not there."""

    def size(self, path: str) -> int | None:
        """Bytes of a file; None where there is a folder, or nothing."""

    def names(self, path: str) -> list[str]:
        """What is right in a folder; nothing where it is not there."""

    def below(self, path: str) -> Iterator[tuple[str, int, int]]:
        """Path, size and time of change (milliseconds) of each file in a folder and in those in it."""


def files_of(spark: SparkSession, path: str) -> Files:
    """How to reach the files of a path.

    A mounted volume holds plain files; Hadoop's client may have no credentials there outside a query of Spark.
    """
    return MountedFiles() if is_mounted(path) else HadoopFiles(spark)
