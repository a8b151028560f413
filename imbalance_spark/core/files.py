"""Small files beside the tables, wherever Spark can write: read, write, list."""

import hashlib
import json
import os
import posixpath
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from py4j.protocol import Py4JJavaError
from pyspark.sql import SparkSession

_HIDDEN = re.compile(r"/(?:\.|_(?![^/]*=))")
"""In a path: what Spark does not read, a name that begins with . or _, other than a partition's such as `_day=1`."""

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


class _LocalFiles(Files):
    """The same on a local disk, where Hadoop creates and replaces in two steps and forces nothing to the disk."""

    def full_path(self, path: str) -> str:
        return path if path.startswith("file:") else super().full_path(path)

    def exists(self, path: str) -> bool:
        return self._plain(path).exists()

    def write(self, path: str, content: bytes) -> None:
        self._fill_new(path, "wb", content)

    def create(self, path: str, content: bytes) -> bool:
        try:
            self._fill_new(path, "xb", content)
        except FileExistsError:
            return False
        return True

    def below(self, path: str) -> Iterator[tuple[str, int, int]]:
        # Hadoop starts a process for each file, and fails on one that is gone by then, such as a writer's own.
        for file, size, time_ms in _local_files(self._plain(path)):
            if not (file.name.startswith(".") and file.name.endswith(".crc")):
                yield f"file:{file}", size, time_ms

    def replace(self, source: str, target: str) -> None:
        file = self._plain(target)
        self._plain(source).replace(file)
        _force_names(file.parent)

    def delete(self, path: str) -> None:
        file = self._plain(path)
        for each in (file, _checksum_of(file)):
            each.unlink(missing_ok=True)

    def read(self, path: str) -> bytes:
        return self._plain(path).read_bytes()

    def _plain(self, path: str) -> Path:
        """The path without its scheme; only of one that has none Hadoop is asked, whose working folder counts."""
        return Path(re.sub(r"\Afile:(//)?", "", self.full_path(path)))

    def _fill_new(self, path: str, mode: Literal["wb", "xb"], content: bytes) -> None:
        file = self._plain(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open(mode) as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        # Hadoop, with which earlier versions wrote, would compare the new content with the old checksum.
        _checksum_of(file).unlink(missing_ok=True)


class _MountedFiles(_LocalFiles):
    """The same on a mounted volume, which holds plain files; Spark's names for them may begin with `dbfs:`."""

    def full_path(self, path: str) -> str:
        return path

    def size(self, path: str) -> int | None:
        return self._plain(path).stat().st_size if self._plain(path).is_file() else None

    def names(self, path: str) -> list[str]:
        return [item.name for item in self._plain(path).iterdir()] if self._plain(path).exists() else []

    def below(self, path: str) -> Iterator[tuple[str, int, int]]:
        return ((str(file), size, time_ms) for file, size, time_ms in _local_files(self._plain(path)))

    def _plain(self, path: str) -> Path:
        return _without_dbfs(path)


def files_of(spark: SparkSession, path: str) -> Files:
    """How to reach the files of a path.

    A mounted volume is read and written as plain files: outside a query, Hadoop's client may have no credentials there.
    What begins with `file:` is written and read without the JVM, also once that is gone.
    """
    if _without_dbfs(path).is_relative_to(VOLUMES) and Path(VOLUMES).is_dir():
        return _MountedFiles(spark)
    address = path if ":" in path.split("/", 1)[0] else Files(spark).full_path(path)
    return _LocalFiles(spark) if address.startswith("file:") else Files(spark)


def _without_dbfs(path: str) -> Path:
    return Path(path.removeprefix("dbfs:"))


def _local_files(place: Path) -> Iterator[tuple[Path, int, int]]:
    """A file, or the files of a folder, with size and modification time in milliseconds; not what is gone meanwhile."""
    below = (Path(folder, name) for folder, _, names in os.walk(place, followlinks=True) for name in names)
    for file in (place,) if place.is_file() else below:
        try:
            status = file.stat()
        except FileNotFoundError:
            continue
        yield file, status.st_size, status.st_mtime_ns // 1_000_000


def _checksum_of(file: Path) -> Path:
    """Where Hadoop keeps the checksum of a local file."""
    return file.with_name(f".{file.name}.crc")


def _force_names(folder: Path) -> None:
    """A renamed file has its new name after a power failure, too, where the file system can promise it."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _is(error: Py4JJavaError, name: str) -> bool:
    return name in str(error.java_exception.getClass().getName())


def _fill(stream: Any, content: bytes) -> None:
    try:
        stream.write(bytearray(content))
        if stream.hasCapability("hsync"):
            stream.hsync()
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

    def data_files(self) -> dict[str, int]:
        """Bytes of the files that Spark reads below this folder, by path: those of no name that begins with . or _."""
        start = len(self.full_path())
        found = {path: size for path, size, _ in self._files.below(self.path)}
        return {path: size for path, size in found.items() if not _HIDDEN.search(path[start:])}

    def listing_hash(self) -> str:
        """A hash of the paths, sizes and modification times of all files below, in any order."""
        found = [f"{path} {size} {time_ms}" for path, size, time_ms in self._files.below(self.path)]
        return hashlib.sha256("\n".join(sorted(found)).encode()).hexdigest()

    def _at(self, name: str) -> str:
        return f"{self.path}/{name}" if name else self.path

    @property
    def _files(self) -> Files:
        return files_of(self.spark, self.path)
