"""Where MLflow is: the section `tracking` of a config."""

from imbalance_spark.core.section import Section


class TrackingConfig(Section):
    """MLflow: where the record of a run goes.

    Args:
        uri: of the tracking store, such as `http://mlflow.internal:5000` or `databricks`.
        experiment: its name; on Databricks a path of the workspace.
        registered_model: name under which the best model gets a version; null registers nothing.
    """

    uri: str = "sqlite:///mlflow.db"
    experiment: str = "orders"
    registered_model: str | None = "orders"
