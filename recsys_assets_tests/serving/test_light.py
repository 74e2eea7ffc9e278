"""Serving is imported by services: quickly, and without what only building needs."""

import subprocess
import sys

import pytest

HEAVY = {"dagster", "pandera", "polars", "numpy", "numba", "pyarrow", "pydantic", "boto3"}


@pytest.mark.parametrize("module", ["reader", "testing", "admin"])
def test_serving_loads_nothing_that_only_building_needs(module):
    code = f"import sys, recsys_assets.serving.{module}; print(*{{m.split('.')[0] for m in sys.modules}})"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert "msgspec" in loaded
    assert HEAVY.isdisjoint(loaded)
