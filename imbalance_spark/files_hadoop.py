"""Files by Hadoop's client."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark.sql import SparkSession

from imbalance_spark.files_mounted import MountedFiles


@dataclass(frozen=True)
class HadoopFiles:
    """Files on whatever file system a path names, as Spark is set up for it."""

    spark: SparkSession

    def full_path(self, path: str) -> str:
        """The path with its scheme."""
        system, java_path = self._open(path)
        return str(system.makeQualified(java_path).toString())

    def exists(self, path: str) -> bool:
        """Whether a file or folder is there."""
        system, java_path = self._open(path)
        return bool(system.exists(java_path))

    def write(self, path: str, content: bytes) -> None:
        """Write a file, over one that is there."""
        system, java_path = self._open(path)
        _fill(system.create(java_path, True), content)

    def create(self, path: str, content: bytes) -> bool:
        """Write a file that is not there; False where it is."""
        system, java_path = self._open(path)
        if system.getScheme() == "file":
            # Hadoop looks and creates in two steps there, between which another process may do the same.
            return MountedFiles().create(str(java_path.toUri().getPath()), content)
        try:
            stream = system.create(java_path, False)
        except Py4JJavaError as error:
            if _is(error, "FileAlreadyExists"):
                return False
            raise
        _fill(stream, content)
        return True

    def replace(self, source: str, target: str) -> None:
        """Rename a file, in place of the one that is there."""
        system, java_path = self._open(target)
        if system.exists(java_path):
            system.delete(java_path, False)
        if not system.rename(self._open(source)[1], java_path):
            raise OSError(5, "rename failed", target)

    def delete(self, path: str) -> None:
        """Remove a file if it is there."""
        system, java_path = self._open(path)
        system.delete(java_path, False)

    def read(self, path: str) -> bytes:
        """The file's content; FileNotFoundError where it is not there."""
        system, java_path = self._open(path)
        try:
            stream = system.open(java_path)
        except Py4JJavaError as error:
            if _is(error, "FileNotFound"):
                raise FileNotFoundError(2, "no such file", path) from error
            raise
        try:
            return bytes(self._jvm().org.apache.commons.io.IOUtils.toByteArray(stream))
        finally:
            stream.close()

    def size(self, path: str) -> int | None:
        """Bytes of a file; None where there is a folder, or nothing."""
        for java_path in self._spellings(path):
            system = self._system(java_path)
            if system.exists(java_path):
                status = system.getFileStatus(java_path)
                return int(status.getLen()) if status.isFile() else None
        return None

    def names(self, path: str) -> list[str]:
        """What is right in a folder; nothing where it is not there."""
        system, java_path = self._open(path)
        if not system.exists(java_path):
            return []
        return [str(item.getPath().getName()) for item in system.listStatus(java_path)]

    def below(self, path: str) -> Iterator[tuple[str, int, int]]:
        """Path, size and time of change (milliseconds) of each file in a folder and in those in it."""
        system, java_path = self._open(path)
        files = system.listFiles(java_path, True)
        while files.hasNext():
            status = files.next()
            yield str(status.getPath().toString()), int(status.getLen()), int(status.getModificationTime())

    def _open(self, path: str) -> tuple[Any, Any]:
        """Hadoop's file system of a path, and the path as one of its own."""
        java_path = self._java_path(path)
        return self._system(java_path), java_path

    def _system(self, java_path: Any) -> Any:
        return java_path.getFileSystem(self.spark.sparkContext._jsc.hadoopConfiguration())

    def _java_path(self, path: str) -> Any:
        return self._jvm().org.apache.hadoop.fs.Path(path)

    def _spellings(self, path: str) -> Iterator[Any]:
        # Delta names its files as they are, Parquet with spaces and the like escaped.
        yield self._java_path(path)
        if "%" in path:
            yield self._jvm().org.apache.hadoop.fs.Path(self._jvm().java.net.URI(path))

    def _jvm(self) -> Any:
        return self.spark.sparkContext._jvm


def _is(error: Py4JJavaError, name: str) -> bool:
    return name in str(error.java_exception.getClass().getName())


def _fill(stream: Any, content: bytes) -> None:
    try:
        stream.write(bytearray(content))
    finally:
        stream.close()
