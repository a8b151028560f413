"""One standalone cluster for all tests of this folder, and what its jobs ship to it."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.forks import ROOT
from support.standalone_cluster import Cluster, standalone_cluster


@pytest.fixture(scope="package")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """`test_faults` takes one of its nodes away for good, and so runs last: see `LONGEST_FIRST`."""
    with standalone_cluster(tmp_path_factory.mktemp("cluster")) as started:
        yield started


@pytest.fixture(scope="package")
def package(cluster: Cluster) -> Path:
    """The package and its jobs as `make zip` packs them."""
    made = cluster.home / "imbalance_spark.zip"
    subprocess.run([sys.executable, "-m", "zipfile", "-c", str(made), "imbalance_spark", "jobs"], cwd=ROOT, check=True)
    return made
