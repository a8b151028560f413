"""Where the UI of a tracking store shows the strategies side by side."""

import pytest

from imbalance_spark.tracking.config import TrackingConfig
from imbalance_spark.tracking.view import where_to_look

PAGE = "#/experiments/7/runs?viewStateShareKey=strategies&workflowType=machine_learning"


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        (
            "sqlite:///mlflow.db",
            f"mlflow ui --backend-store-uri sqlite:///mlflow.db   then http://127.0.0.1:5000/{PAGE}",
        ),
        ("http://mlflow.internal:5000/", f"http://mlflow.internal:5000/{PAGE}"),
        ("https://me:secret@mlflow.internal", f"https://***@mlflow.internal/{PAGE}"),
        ("https://TOKEN@mlflow.internal", f"https://***@mlflow.internal/{PAGE}"),
        (
            "postgresql+psycopg2://me:secret@db:5432/runs",
            "mlflow ui --backend-store-uri postgresql+psycopg2://***@db",
        ),
        ("databricks", "the experiment 'fraud' of the workspace"),
    ],
)
def test_the_page_of_each_kind_of_store_is_told_without_passwords(uri: str, expected: str) -> None:
    assert where_to_look(TrackingConfig(uri=uri, experiment="fraud"), "7").startswith(expected)
