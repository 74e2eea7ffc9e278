"""Spark in this process: every golden case has the version that the coded kernels give, and days are proven."""

import pytest

from recsys_assets.engines.canary import prove_engine
from recsys_assets.engines.registry import EngineRegistry
from recsys_assets.engines.spark_engine import SparkEngine
from recsys_assets.engines.spark_session import SparkCluster, connect
from recsys_assets.errors import CorruptObjectError
from recsys_assets.kinds.registry import KINDS
from recsys_assets.pipeline.artifact import build_artifact
from recsys_assets.pipeline.canonical import build_canonical
from recsys_assets.pipeline.context import DayContext
from recsys_assets.pipeline.raw import build_raw
from recsys_assets.release.layout import canonical_key
from recsys_assets_tests.engines.made import by_kernel, on_engine
from recsys_assets_tests.engines.spark_cluster import LIGHT, need_java
from recsys_assets_tests.engines.test_configured import HOME_ROW
from recsys_assets_tests.kinds.golden_cases import KINDS_OF_CASES, OF_ALL, find_case
from recsys_assets_tests.small_shop import HOME, SmallShop, after, day_lines
from recsys_assets_tests.thoroughness import THOROUGH

pytestmark = pytest.mark.slow
# Every kind once; larger days agree on a cluster, too (`test_a_skewed_session...`), and ties in every canary.
TRIED = KINDS_OF_CASES if THOROUGH else {"edge": OF_ALL, "ties": ("cooc", "session_seq")}
CASES = [pytest.param(name, kind, id=f"{name}-{kind}") for name, kinds in TRIED.items() for kind in kinds]


@pytest.fixture(scope="module")
def spark():
    need_java()
    cluster = SparkCluster(master="local[2]", conf=LIGHT)
    yield SparkEngine(cluster)
    connect(cluster).stop()


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_a_golden_case_has_the_same_version_on_spark(spark, name, kind, tmp_path):
    golden = find_case(name) or pytest.skip(f"{name} is in a folder beside the project, which is not laid out here")
    source, params = golden.source(kind), golden.params(kind)
    expected = by_kernel(kind, source, params, target=golden.target, window=golden.window)
    made = on_engine(spark, kind, [source], params, tmp_path, target=golden.target, window=golden.window)
    assert made.blob.ref.version == golden.case["versions"][kind]
    assert made == expected


@pytest.mark.parametrize("kind", ["item_seq", "sequential_rules"])
def test_kinds_that_read_instants_pass_the_canary_on_spark(spark, kind, tmp_path):
    """Their instants lie nanoseconds apart, which Spark has no type for."""
    prove_engine(spark, KINDS[kind], work=str(tmp_path), proven=set())


def test_spark_builds_a_day_where_it_is_stored_and_refuses_one_that_is_not_as_recorded(spark, tmp_path):
    shop = SmallShop(tmp_path, None)
    shop.configure('[artifacts]\nwindow_days = 1\nengine = "spark"\n', targets=HOME_ROW)
    shop.write(after(0), day_lines(after(0), targets=[HOME]))
    settings, store = shop.settings, shop.store
    row = settings.targets[0]
    build_raw(store, settings, after(0))
    build_canonical(DayContext(store, settings, row, after(0)))
    room = EngineRegistry(settings.resolved_engines, store.root_uri, openers={"spark": lambda *_: spark})
    built = build_artifact(DayContext(store, settings, row, after(0), run_id="test", engines=room), "popularity")
    native = build_artifact(DayContext(store, by_native(settings), row, after(0), run_id="test"), "popularity")
    assert built.staged.ref == native.staged.ref
    assert built.preview.equals(native.preview)
    stored = tmp_path / "store" / canonical_key(row.target, after(0))
    stored.write_bytes(stored.read_bytes() + b"more")
    with pytest.raises(CorruptObjectError, match="does not match its record"):
        build_artifact(DayContext(store, settings, row, after(0), run_id="test", engines=room), "popularity")


def by_native(settings):
    return settings.model_copy(update={"artifacts": settings.artifacts.model_copy(update={"engine": "native"})})
