"""Small files beside the tables, wherever Spark can write: read, write, list."""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from py4j.protocol import Py4JJavaError
from pyspark.sql import SparkSession

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


@dataclass(frozen=True)
class Folder:
    """A folder on the file system that its path names; a file appears whole or not at all.

    Args:
        spark: its Hadoop settings decide what a path without a scheme means.
        path: such as `output/run` or `s3a://bucket/run`; on Databricks also `/Volumes/...`.
    """

    spark: SparkSession
    path: str

    def below(self, name: str) -> "Folder":
        """The sub-folder of that name."""
        return Folder(self.spark, f"{self.path}/{name}")

    def full_path(self) -> str:
        """The path with its scheme, as every executor understands it."""
        return self._files.full_path(self.path)

    def exists(self, name: str = "") -> bool:
        """Whether the file or folder is there."""
        return self._files.exists(self._at(name))

    def write_bytes(self, name: str, content: bytes) -> None:
        """Write a file: first under another name, then renamed, so that nobody reads half of it."""
        path, hidden = self._at(name), self._at(f"{name}.writing")
        self._files.write(hidden, content)
        self._files.replace(hidden, path)

    def create(self, name: str, content: bytes) -> bool:
        """Write a file that is not there yet; False where it is, which is left as it was."""
        return self._files.create(self._at(name), content)

    def delete(self, name: str) -> None:
        """Remove a file; nothing happens where it is not there."""
        self._files.delete(self._at(name))

    def read_bytes(self, name: str) -> bytes:
        """The file's content; FileNotFoundError where it is not there."""
        return self._files.read(self._at(name))

    def write_json(self, name: str, content: Any) -> None:
        """Write a value as JSON, keys in the order given."""
        self.write_bytes(name, json.dumps(content, indent=1, allow_nan=False).encode())

    def read_json(self, name: str) -> Any:
        """The value that a JSON file holds."""
        return json.loads(self.read_bytes(name))

    def names(self) -> list[str]:
        """Names of the files and folders right in this one; none where it is not there."""
        return self._files.names(self.path)

    def listing_hash(self) -> str:
        """A hash of the names, sizes and times of all files below, which changes when one of them does."""
        found = [f"{path} {size} {time_ms}" for path, size, time_ms in self._files.below(self.path)]
        return hashlib.sha256("\n".join(sorted(found)).encode()).hexdigest()

    def _at(self, name: str) -> str:
        return f"{self.path}/{name}" if name else self.path

    @property
    def _files(self) -> Files:
        return files_of(self.spark, self.path)
