"""Small files beside the tables: JSON and model bytes, on any file system that Spark can reach."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from pyspark.sql import SparkSession

from imbalance_spark.files import Files, files_of


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
