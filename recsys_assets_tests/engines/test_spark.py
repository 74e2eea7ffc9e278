"""Spark in this process: every golden case and the canary, with the versions that the coded kernels give."""

import pytest

from recsys_assets.artifacts.kinds import KINDS
from recsys_assets.engines.definitions import DEFINITIONS
from recsys_assets.engines.gate import prove_engine
from recsys_assets.engines.spark_engine import SparkEngine
from recsys_assets.engines.spark_session import SparkCluster, connect
from recsys_assets_tests.artifacts.golden_cases import KINDS_OF_CASES, find_case
from recsys_assets_tests.engines.made import by_kernel, on_engine
from recsys_assets_tests.engines.spark_cluster import LIGHT, need_java

pytestmark = pytest.mark.slow
CASES = [pytest.param(name, kind, id=f"{name}-{kind}") for name, kinds in KINDS_OF_CASES.items() for kind in kinds]


@pytest.fixture(scope="module")
def spark():
    need_java()
    cluster = SparkCluster(master="local[2]", conf=LIGHT)
    yield SparkEngine(cluster)
    connect(cluster).stop()


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_a_golden_case_has_the_same_version_on_spark(spark, name, kind, tmp_path):
    golden = find_case(name) or pytest.skip(f"{name} lies in a folder beside the project, which is not laid out here")
    source, params = golden.source(kind), golden.params(kind)
    expected = by_kernel(kind, source, params, target=golden.target, window=golden.window)
    made = on_engine(spark, kind, [source], params, tmp_path, target=golden.target, window=golden.window)
    assert made.blob.ref.version == golden.case["versions"][kind]
    assert made == expected


@pytest.mark.parametrize("kind", DEFINITIONS)
def test_spark_proves_itself_on_the_canary(spark, kind, tmp_path):
    prove_engine(spark, KINDS[kind], work=str(tmp_path))
    assert list((tmp_path / "canary").iterdir()) == []
