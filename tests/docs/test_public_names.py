"""What `import imbalance_spark` offers: names that load themselves, and nothing heavy before they do."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import imbalance_spark

ROOT = Path(imbalance_spark.__file__).parent
REFUSED = ("ClusterCentroids", "CondensedNearestNeighbour", "KMeansSMOTE", "OneSidedSelection", "SVMSMOTE")


@pytest.mark.parametrize("name", imbalance_spark.__all__)
def test_every_public_name_resolves_and_says_what_it_is(name: str) -> None:
    assert name in dir(imbalance_spark)
    assert getattr(imbalance_spark, name).__doc__, name


def test_type_checkers_see_the_names_that_are_loaded_lazily() -> None:
    tree = ast.parse((ROOT / "__init__.py").read_text("utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module.count(".")]
    seen = {alias.name: node.module.removeprefix("imbalance_spark.") for node in imports for alias in node.names}
    assert seen == {**imbalance_spark._MODULES, "__version__": "core.version"}


def test_importing_the_package_imports_nothing_heavy() -> None:
    heavy = "{'pyspark', 'mlflow', 'xgboost', 'numpy', 'pandas', 'sklearn', 'matplotlib'}"
    code = f"import sys, imbalance_spark; dir(imbalance_spark); print({heavy} & set(sys.modules))"
    assert _run(code) == "set()"


def test_metrics_and_thresholds_of_arrays_need_neither_mlflow_nor_xgboost() -> None:
    code = """
import sys, imbalance_spark as ims
curve = ims.ScoreCounts.from_arrays([0, 1], [0.2, 0.7]).curve()
ims.sweep(curve, ims.MinCost(fn=10, fp=1))
print({'mlflow', 'xgboost'} & set(sys.modules))
"""
    assert _run(code) == "set()"


@pytest.mark.parametrize("name", REFUSED)
def test_a_sampler_that_is_refused_says_why(name: str) -> None:
    with pytest.raises(AttributeError, match=f"{name} is not offered on Spark: .* Use "):
        getattr(imbalance_spark, name)
    with pytest.raises(ImportError):
        exec(f"from imbalance_spark import {name}")


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'SMOTTE'"):
        imbalance_spark.SMOTTE  # noqa: B018
    assert not hasattr(imbalance_spark, "split_orders")


def test_the_session_module_keeps_its_names() -> None:
    from imbalance_spark.session import delta_package, spark_session

    assert spark_session is imbalance_spark.spark_session
    assert delta_package().startswith("io.delta:")


def _run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    return done.stdout.strip()
