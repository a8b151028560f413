"""What may be printed of an address: never its password, never its token."""

import logging
import sys

import pytest

from imbalance_spark.cli.arguments import _SafeFormatter
from imbalance_spark.config.run import RunConfig
from imbalance_spark.config.yaml_file import parse, parse_yaml
from imbalance_spark.core.errors import ConfigError
from imbalance_spark.core.masking import masked_settings, masked_text, masked_uri


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


def test_secrets_are_masked_wherever_settings_hold_them() -> None:
    settings = {
        "tracking": {"uri": "https://TOKEN@mlflow.internal", "experiment": "orders"},
        "spark": {
            "settings": {
                "spark.hadoop.fs.s3a.secret.key": "s3cret",
                "spark.hadoop.fs.azure.account.key.x": 1234,
                "spark.proxy": "http://me:pass@proxy:80",
                "spark.sas.token": None,
                "spark.sql.shuffle.partitions": "8",
            }
        },
        "orders": {"key": ["order_id"], "source": {"path": "s3a://KEY:SECRET@bucket/orders"}},
    }
    masked = {
        "tracking": {"uri": "https://***@mlflow.internal", "experiment": "orders"},
        "spark": {
            "settings": {
                "spark.hadoop.fs.s3a.secret.key": "***",
                "spark.hadoop.fs.azure.account.key.x": "***",
                "spark.proxy": "http://***@proxy:80",
                "spark.sas.token": None,
                "spark.sql.shuffle.partitions": "8",
            }
        },
        "orders": {"key": ["order_id"], "source": {"path": "s3a://***@bucket/orders"}},
    }
    assert masked_settings(settings) == masked
    assert masked_settings(masked) == masked


def test_the_addresses_in_a_text_are_masked_and_the_rest_stays() -> None:
    text = "cannot reach 'postgresql://me:secret@db/runs' (s3://bucket/a@b), see https://docs.internal/?token=abc."
    masked = "cannot reach 'postgresql://***@db/runs' (s3://bucket/a@b), see https://docs.internal/?token=***"
    assert masked_text(text) == masked
    assert masked_text("a < b; c > d & e = f") == "a < b; c > d & e = f"


def test_a_secret_of_the_wrong_type_is_not_shown() -> None:
    config = "spark: {settings: {spark.hadoop.fs.s3a.secret.key: [98765]}}\ntracking: {uri: [x], experiment: 7}"
    with pytest.raises(ConfigError) as refused:
        parse(parse_yaml(config, "c.yaml"), RunConfig, "c.yaml")
    assert "secret.key: is no value of the right type" in str(refused.value)
    assert "98765" not in str(refused.value)


def test_verbose_logs_tell_where_an_error_came_from_but_no_values() -> None:
    record = logging.LogRecord("imbalance_spark", logging.DEBUG, "", 0, "train failed", None, None)
    try:
        try:
            int("4111111111111111x")
        except ValueError as error:
            raise ConfigError("tracking.uri: https://TOKEN@host does not answer") from error
    except ConfigError:
        record.exc_info = sys.exc_info()
    text = _SafeFormatter().format(record)
    assert "ConfigError: tracking.uri: https://***@host does not answer" in text
    assert "ValueError" in text
    assert f"{__file__}:" in text
    assert "4111111111111111" not in text
