"""Small files beside the tables: JSON and model bytes, on any file system that Spark can reach."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark.sql import SparkSession


@dataclass(frozen=True)
class Folder:
    """A folder on the file system that its path names; a file appears whole or not at all.

    Args:
        spark: its Hadoop settings decide what a path without a scheme means.
        path: such as `output/run` or `s3a://bucket/run`.
    """

    spark: SparkSession
    path: str

    def below(self, name: str) -> "Folder":
        """The sub-folder of that name."""
        return Folder(self.spark, f"{self.path}/{name}")

    def full_path(self) -> str:
        """The path with its scheme, as every executor understands it."""
        path = self._java_path("")
        return str(path.getFileSystem(self._conf()).makeQualified(path).toString())

    def exists(self, name: str = "") -> bool:
        """Whether the file or folder is there."""
        path = self._java_path(name)
        return bool(path.getFileSystem(self._conf()).exists(path))

    def write_bytes(self, name: str, content: bytes) -> None:
        """Write a file: first under another name, then renamed, so that nobody reads half of it."""
        path, hidden = self._java_path(name), self._java_path(f"{name}.writing")
        system = path.getFileSystem(self._conf())
        stream = system.create(hidden, True)
        try:
            stream.write(bytearray(content))
        finally:
            stream.close()
        if system.exists(path):
            system.delete(path, False)
        if not system.rename(hidden, path):
            raise OSError(5, "rename failed", f"{self.path}/{name}")

    def create(self, name: str, content: bytes) -> bool:
        """Write a file that is not there yet; False where it is, which is left as it was."""
        path = self._java_path(name)
        system = path.getFileSystem(self._conf())
        if system.exists(path):
            return False
        try:
            stream = system.create(path, False)
        except Py4JJavaError as error:
            if "FileAlreadyExists" in str(error.java_exception.getClass().getName()):
                return False
            raise
        try:
            stream.write(bytearray(content))
        finally:
            stream.close()
        return True

    def delete(self, name: str) -> None:
        """Remove a file; nothing happens where it is not there."""
        path = self._java_path(name)
        path.getFileSystem(self._conf()).delete(path, False)

    def read_bytes(self, name: str) -> bytes:
        """The file's content."""
        path = self._java_path(name)
        stream = path.getFileSystem(self._conf()).open(path)
        try:
            return bytes(self._jvm().org.apache.commons.io.IOUtils.toByteArray(stream))
        finally:
            stream.close()

    def write_json(self, name: str, content: Any) -> None:
        """Write a value as JSON, keys in the order given."""
        self.write_bytes(name, json.dumps(content, indent=1, allow_nan=False).encode())

    def read_json(self, name: str) -> Any:
        """The value that a JSON file holds."""
        return json.loads(self.read_bytes(name))

    def names(self) -> list[str]:
        """Names of the files and folders right in this one; none where it is not there."""
        path = self._java_path("")
        system = path.getFileSystem(self._conf())
        return [str(item.getPath().getName()) for item in system.listStatus(path)] if system.exists(path) else []

    def listing_hash(self) -> str:
        """A hash of the names, sizes and times of all files below, which changes when one of them does."""
        path = self._java_path("")
        system = path.getFileSystem(self._conf())
        files, found = system.listFiles(path, True), []
        while files.hasNext():
            status = files.next()
            found.append(f"{status.getPath().toString()} {status.getLen()} {status.getModificationTime()}")
        return hashlib.sha256("\n".join(sorted(found)).encode()).hexdigest()

    def _java_path(self, name: str) -> Any:
        full = f"{self.path}/{name}" if name else self.path
        return self._jvm().org.apache.hadoop.fs.Path(full)

    def _jvm(self) -> Any:
        return self.spark.sparkContext._jvm

    def _conf(self) -> Any:
        return self.spark.sparkContext._jsc.hadoopConfiguration()
