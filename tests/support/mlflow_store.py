"""New SQLite stores for MLflow, fast: the half hundred migrations of an empty one run once for all tests."""

import functools
import tempfile
from pathlib import Path

from mlflow.tracking import MlflowClient


def new_store(home: Path, name: str = "mlflow") -> str:
    """The address of a store in a file of its own, `<name>.db`, without runs where it is not there yet."""
    if not (home / f"{name}.db").exists():
        (home / f"{name}.db").write_bytes(_empty())
    return f"sqlite:///{home}/{name}.db"


@functools.cache
def _empty() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        MlflowClient(f"sqlite:///{folder}/empty.db").search_experiments()
        return Path(folder, "empty.db").read_bytes()
