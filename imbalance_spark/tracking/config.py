"""The section `tracking` of a config."""

from imbalance_spark.core.section import Section


class TrackingConfig(Section):
    """The MLflow store that runs are logged to.

    Args:
        uri: URI of the tracking store, such as `http://mlflow.internal:5000` or `databricks`.
        experiment: name of the experiment; on Databricks a path in the workspace.
        registered_model: registered model that the best model becomes a version of; null registers nothing.
    """

    uri: str = "sqlite:///mlflow.db"
    experiment: str = "orders"
    registered_model: str | None = "orders"
