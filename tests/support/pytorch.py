"""Tests that train with PyTorch, which is in no lock: skipped where it is missing, unless it must be there."""

import importlib.util
import os

import pytest

REQUIRED = "IMBALANCE_SPARK_REQUIRE_TORCH"
"""Set where a missing PyTorch is a failure, not a skip."""

# Looked for, not imported: that takes seconds, in each process that only collects the tests.
HAS_TORCH = importlib.util.find_spec("torch") is not None or bool(os.environ.get(REQUIRED))

needs_torch = pytest.mark.skipif(not HAS_TORCH, reason="PyTorch is not installed")
