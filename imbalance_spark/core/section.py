"""The base class of every config section."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def expanded(path: str) -> str:
    """The path with the home folder for a leading `~`, as a shell gives it; without a home it stays as it is."""
    try:
        return str(Path(path).expanduser()) if path == "~" or path.startswith("~/") else path
    except RuntimeError:
        return path


AnyPath = Annotated[str, AfterValidator(expanded)]
"""A path that Spark can read or write: of the local file system, where `~` is the home folder, or with a scheme."""

Share = Annotated[float, Field(gt=0.0, lt=1.0)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]


class Section(BaseModel):
    """A section of the config: frozen, without unknown keys, NaN, infinity or implicit conversions."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
