"""What may be printed of an address: never its password, never its token."""

import pytest

from imbalance_spark.core.masking import masked_uri


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("https://me:secret@mlflow.internal/x", "https://***@mlflow.internal/x"),
        ("https://TOKEN@mlflow.internal", "https://***@mlflow.internal"),
        ("postgresql+psycopg2://me:se@cret@db:5432/runs", "postgresql+psycopg2://***@db:5432/runs"),
        ("postgresql://me:se/cret@db:5432/runs", "postgresql://***@db:5432/runs"),
        ("postgresql://me:se#c?ret@db/runs", "postgresql://***@db/runs"),
        ("postgresql://db/runs?user=me&password=secret", "postgresql://db/runs?user=me&password=***"),
        ("https://mlflow.internal/?access_token=abc#/experiments", "https://mlflow.internal/?access_token=***#/experiments"),
    ],
)  # fmt: skip
def test_secrets_in_a_uri_are_masked(uri: str, expected: str) -> None:
    assert masked_uri(uri) == expected


@pytest.mark.parametrize(
    "uri",
    [
        "sqlite:///mlflow.db",
        "sqlite:////data/team@site/mlflow.db",
        "http://mlflow.internal:5000/#/experiments/1",
        "http://[::1]:5000/runs/a@b",
        "s3://bucket/key@version",
        "databricks",
        "databricks://profile",
        "",
    ],
)
def test_a_uri_without_secrets_stays_as_it_is(uri: str) -> None:
    assert masked_uri(uri) == uri
