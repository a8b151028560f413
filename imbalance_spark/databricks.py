"""Whether this process runs on a Databricks cluster, which brings its own Spark and calls entry points itself."""

import os


def runtime() -> str | None:
    """The version of the Databricks runtime, such as `19.0`; None elsewhere."""
    return os.environ.get("DATABRICKS_RUNTIME_VERSION")
