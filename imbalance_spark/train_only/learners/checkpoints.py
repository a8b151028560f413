"""The last checkpoint of a fit, kept by the driver: in memory for another attempt, in a folder for another driver."""

from dataclasses import dataclass, field

from imbalance_spark.core.files import Folder


@dataclass(kw_only=True)
class Checkpoint:
    """The last checkpoint of one fit.

    Args:
        name: file in the folder.
        folder: None keeps it in memory alone.
    """

    name: str
    folder: Folder | None = None
    _content: bytes | None = field(default=None, init=False)

    def load(self) -> bytes | None:
        """The last one kept, by this driver or an earlier one; None where there is none."""
        if self._content is None and self.folder is not None and self.folder.exists(self.name):
            self._content = self.folder.read_bytes(self.name)
        return self._content

    def keep(self, content: bytes) -> None:
        """Replace what was kept before; the file is there as a whole or not at all."""
        self._content = content
        if self.folder is not None:
            self.folder.write_bytes(self.name, content)
