"""Small files beside the tables, wherever Spark can write: read, write, list."""

import hashlib
import json
import os
import posixpath
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark.sql import SparkSession

VOLUMES = "/Volumes"
"""Where Databricks mounts the volumes of Unity Catalog, on the driver and on every executor."""


@dataclass(frozen=True)
class Files:
    """Files by path, through Hadoop's client; a folder comes into being with the first file in it."""

    spark: SparkSession

    def full_path(self, path: str) -> str:
        """The path with its scheme, as every executor understands it."""
        system, java_path = self._open(path)
        return str(system.makeQualified(java_path).toString())

    def exists(self, path: str) -> bool:
        """Whether a file or folder is there."""
        system, java_path = self._open(path)
        return bool(system.exists(java_path))

    def write(self, path: str, content: bytes) -> None:
        """Write a file, replacing any that is there."""
        system, java_path = self._open(path)
        _fill(system.create(java_path, True), content)

    def create(self, path: str, content: bytes) -> bool:
        """Write a file that is not there yet; False, and nothing changed, where it is."""
        system, java_path = self._open(path)
        if system.getScheme() == "file":
            # Hadoop checks and creates in two steps there: another process may create the file in between.
            return _MountedFiles(self.spark).create(str(java_path.toUri().getPath()), content)
        try:
            stream = system.create(java_path, False)
        except Py4JJavaError as error:
            if _is(error, "FileAlreadyExists"):
                return False
            raise
        _fill(stream, content)
        return True

    def replace(self, source: str, target: str) -> None:
        """Rename a file, replacing any that is there."""
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
        """The file's content.

        Raises:
            FileNotFoundError: there is no such file.
        """
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
        """Bytes of a file; None for a folder and where there is nothing."""
        for java_path in self._spellings(path):
            system = self._system(java_path)
            if system.exists(java_path):
                status = system.getFileStatus(java_path)
                return int(status.getLen()) if status.isFile() else None
        return None

    def names(self, path: str) -> list[str]:
        """Names of the files and folders directly in a folder; empty where it does not exist."""
        system, java_path = self._open(path)
        if not system.exists(java_path):
            return []
        return [str(item.getPath().getName()) for item in system.listStatus(java_path)]

    def below(self, path: str) -> Iterator[tuple[str, int, int]]:
        """Path, size in bytes and modification time in milliseconds of each file in a folder and its subfolders."""
        system, java_path = self._open(path)
        files = system.listFiles(java_path, True)
        while files.hasNext():
            status = files.next()
            yield str(status.getPath().toString()), int(status.getLen()), int(status.getModificationTime())

    def _open(self, path: str) -> tuple[Any, Any]:
        """Hadoop's file system for a path, and the path as one of its own."""
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


class _MountedFiles(Files):
    """The same on a mounted volume, which holds plain files; Spark's names for them may begin with `dbfs:`."""

    def full_path(self, path: str) -> str:
        return path

    def exists(self, path: str) -> bool:
        return _plain(path).exists()

    def write(self, path: str, content: bytes) -> None:
        _plain(path).parent.mkdir(parents=True, exist_ok=True)
        _plain(path).write_bytes(content)

    def create(self, path: str, content: bytes) -> bool:
        _plain(path).parent.mkdir(parents=True, exist_ok=True)
        try:
            with _plain(path).open("xb") as file:
                file.write(content)
        except FileExistsError:
            return False
        return True

    def replace(self, source: str, target: str) -> None:
        _plain(source).replace(_plain(target))

    def delete(self, path: str) -> None:
        with suppress(FileNotFoundError):
            _plain(path).unlink()

    def read(self, path: str) -> bytes:
        return _plain(path).read_bytes()

    def size(self, path: str) -> int | None:
        return _plain(path).stat().st_size if _plain(path).is_file() else None

    def names(self, path: str) -> list[str]:
        return [item.name for item in _plain(path).iterdir()] if _plain(path).exists() else []

    def below(self, path: str) -> Iterator[tuple[str, int, int]]:
        for folder, _, names in os.walk(_plain(path)):
            for name in names:
                status = Path(folder, name).stat()
                yield str(Path(folder, name)), status.st_size, status.st_mtime_ns // 1_000_000


def files_of(spark: SparkSession, path: str) -> Files:
    """How to reach the files of a path.

    A mounted volume is read and written as plain files: outside a query, Hadoop's client may have no credentials there.
    """
    is_mounted = _plain(path).is_relative_to(VOLUMES) and Path(VOLUMES).is_dir()
    return _MountedFiles(spark) if is_mounted else Files(spark)


def _plain(path: str) -> Path:
    return Path(path.removeprefix("dbfs:"))


def _is(error: Py4JJavaError, name: str) -> bool:
    return name in str(error.java_exception.getClass().getName())


def _fill(stream: Any, content: bytes) -> None:
    try:
        stream.write(bytearray(content))
    finally:
        stream.close()


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
        """The subfolder of that name."""
        return Folder(self.spark, f"{self.path}/{name}")

    def full_path(self) -> str:
        """The path with its scheme, as every executor understands it."""
        return self._files.full_path(self.path)

    def exists(self, name: str = "") -> bool:
        """Whether the file or folder is there."""
        return self._files.exists(self._at(name))

    def write_bytes(self, name: str, content: bytes) -> None:
        """Write a file under another name, then rename it, so that nobody reads half a file."""
        path, hidden = self._at(name), self._at(f"{name}.writing")
        self._files.write(hidden, content)
        self._files.replace(hidden, path)

    def create(self, name: str, content: bytes) -> bool:
        """Write a file that is not there yet; False, and nothing changed, where it is."""
        return self._files.create(self._at(name), content)

    def delete(self, name: str) -> None:
        """Remove a file if it is there."""
        self._files.delete(self._at(name))

    def read_bytes(self, name: str) -> bytes:
        """The file's content.

        Raises:
            FileNotFoundError: there is no such file.
        """
        return self._files.read(self._at(name))

    def write_json(self, name: str, content: Any) -> None:
        """Write a value as JSON, keys in the order given."""
        self.write_bytes(name, json.dumps(content, indent=1, allow_nan=False).encode())

    def read_json(self, name: str) -> Any:
        """The value in a JSON file."""
        return json.loads(self.read_bytes(name))

    def names(self) -> list[str]:
        """Names of the files and folders directly in this one; empty where it does not exist."""
        return self._files.names(self.path)

    def sizes_below(self) -> dict[str, int]:
        """Bytes of all files below, by their names without folders."""
        return {posixpath.basename(path): size for path, size, _ in self._files.below(self.path)}

    def listing_hash(self) -> str:
        """A hash of the paths, sizes and modification times of all files below, in any order."""
        found = [f"{path} {size} {time_ms}" for path, size, time_ms in self._files.below(self.path)]
        return hashlib.sha256("\n".join(sorted(found)).encode()).hexdigest()

    def _at(self, name: str) -> str:
        return f"{self.path}/{name}" if name else self.path

    @property
    def _files(self) -> Files:
        return files_of(self.spark, self.path)
