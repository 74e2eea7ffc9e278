"""Real Spark: the versions of the coded kernels here and on a cluster, and what happens when parts of it die (F33)."""

import threading
from pathlib import Path

import pytest

from recsys_assets.engines.building import prove_engine
from recsys_assets.engines.engine import EngineOutput
from recsys_assets.engines.registry import EngineRegistry
from recsys_assets.engines.spark_engine import ArrowFiles, SparkEngine
from recsys_assets.engines.spark_session import SparkCluster, connect
from recsys_assets.errors import CorruptObjectError, EngineUnavailableError
from recsys_assets.kinds.registry import KINDS
from recsys_assets.pipeline.artifact import build_artifact
from recsys_assets.pipeline.canonical import build_canonical
from recsys_assets.pipeline.context import DayContext
from recsys_assets.pipeline.raw import build_raw
from recsys_assets.release.layout import canonical_key
from recsys_assets_tests.engines.made import by_kernel, on_engine
from recsys_assets_tests.engines.spark_cluster import (
    LIGHT,
    NOT_COMPILED,
    Watched,
    free_port,
    need_java,
    start_cluster,
)
from recsys_assets_tests.engines.test_configured import HOME_ROW
from recsys_assets_tests.kinds.event_rows import events_of, row
from recsys_assets_tests.kinds.golden_cases import KINDS_OF_CASES, OF_ALL, find_case
from recsys_assets_tests.small_shop import HOME, SmallShop, after, day_lines
from recsys_assets_tests.thoroughness import THOROUGH

pytestmark = pytest.mark.slow
HERE = SparkCluster(master="local[2]", conf={**LIGHT, **NOT_COMPILED})
CONF = {**LIGHT, "spark.executor.memory": "512m", "spark.executor.cores": "1"}
# Kinds of both sorts of sources; the plan of each kind is proven here.
KINDS_TRIED = OF_ALL if THOROUGH else ("cooc", "content_sim")
# Every kind once; a larger day agrees on the cluster, and ties are in every canary, that of cooc over Spark Connect.
TRIED = KINDS_OF_CASES if THOROUGH else {"edge": OF_ALL, "ties": ("session_seq",)}
CASES = [pytest.param(name, kind, id=f"{name}-{kind}") for name, kinds in TRIED.items() for kind in kinds]


@pytest.fixture(scope="module")
def local():
    """The engine of tests before those of the cluster, in one driver with them, whose start is most of the work."""
    need_java()
    return SparkEngine(HERE)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory, s3_server):
    """A worker with two executors, which know the bucket and its key by their environment, as they would by a role.

    They take the place of the session on this machine, in its driver, which is warm.
    """
    from pyspark.sql import SparkSession  # noqa: PLC0415 - a second that only this file needs

    need_java()
    if session := SparkSession.getActiveSession():
        session.stop()
    with pytest.MonkeyPatch.context() as environment:
        for name, value in s3_server.environment().items():
            environment.setenv(name, value)
        started = start_cluster(tmp_path_factory.mktemp("spark"))
        yield started
        started.stop()


@pytest.fixture(scope="module")
def spark(cluster):
    message = SparkCluster(master=cluster.url, conf=CONF)
    yield SparkEngine(message)
    connect(message).stop()


@pytest.fixture(scope="module")
def crowd():
    """Sessions and users enough for a job of some seconds, and one session of 30,000 events: a crawler."""
    people = [row(n, f"u{n % 211}", f"s{n % 1511}", f"i{n * n % 997}") for n in range(20_000)]
    return events_of([*people, *(row(n, None, "crawler", f"i{n % 5000}") for n in range(30_000))])


@pytest.fixture(scope="module")
def few():
    """Enough for every kind, where it is not the time of a job that counts."""
    return events_of([row(n, f"u{n % 11}", f"s{n % 31}", f"i{n * n % 97}") for n in range(200)])


def test_f33_a_driver_that_is_killed_is_reported_and_the_next_run_starts_another(local, few, tmp_path):
    """First of the file, while there is little to lose: the tests after it use the driver that is started here."""
    driver = connect(HERE).sparkContext._gateway.proc
    params = KINDS["popularity"].params()

    def kill():
        driver.kill()
        driver.wait()

    with pytest.raises(EngineUnavailableError, match="driver's Java process is gone"):
        on_engine(Watched(HERE, at_start=kill), "popularity", [few], params, tmp_path)
    made = on_engine(local, "popularity", [few], params, tmp_path)
    assert made == by_kernel("popularity", few, params)


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_a_golden_case_has_the_same_version_on_spark(local, name, kind, tmp_path):
    golden = find_case(name) or pytest.skip(f"{name} is in a folder beside the project, which is not laid out here")
    source, params = golden.source(kind), golden.params(kind)
    expected = by_kernel(kind, source, params, target=golden.target, window=golden.window)
    made = on_engine(local, kind, [source], params, tmp_path, target=golden.target, window=golden.window)
    assert made.blob.ref.version == golden.case["versions"][kind]
    assert made == expected


@pytest.mark.parametrize("kind", ["item_seq", "sequential_rules"])
def test_kinds_that_read_instants_pass_the_canary_on_spark(local, kind, tmp_path):
    """Their instants lie nanoseconds apart, which Spark has no type for."""
    prove_engine(local, KINDS[kind], work=str(tmp_path), proven=set())


def test_spark_builds_a_day_where_it_is_stored_and_refuses_one_that_is_not_as_recorded(local, tmp_path):
    shop = SmallShop(tmp_path, None)
    shop.configure('[artifacts]\nwindow_days = 1\nengine = "spark"\n', targets=HOME_ROW)
    shop.write(after(0), day_lines(after(0), targets=[HOME]))
    settings, store = shop.settings, shop.store
    row = settings.targets[0]
    build_raw(store, settings, after(0))
    build_canonical(DayContext(store, settings, row, after(0)))
    room = EngineRegistry(settings.resolved_engines, store.root_uri, openers={"spark": lambda *_: local})
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


@pytest.mark.parametrize("kind", KINDS_TRIED)
def test_a_cluster_gives_the_version_of_the_kernel_from_a_bucket_to_a_bucket(cluster, s3_server, kind):
    golden = find_case("edge")
    source, params = golden.source(kind), golden.params(kind)
    engine = SparkEngine(SparkCluster(master=cluster.url, conf=CONF), files=ArrowFiles())
    bucket = f"s3://{s3_server.bucket}/{s3_server.new_prefix()}"
    made = on_engine(engine, kind, [source], params, bucket, target=golden.target, window=golden.window)
    assert made == by_kernel(kind, source, params, target=golden.target, window=golden.window)
    assert made.blob.ref.version == golden.case["versions"][kind]


def test_no_key_of_the_bucket_stands_in_a_plan_a_setting_or_a_log(cluster, spark, s3_server):
    message = SparkCluster(master=cluster.url, conf=CONF)
    session = connect(message)
    days = ArrowFiles().scan_days(session, [f"s3://{s3_server.bucket}/none.parquet"], ["item_id"])
    plan = days._jdf.queryExecution().toString()
    with pytest.raises(EngineUnavailableError, match=r"none\.parquet") as lost, spark._translate_errors():
        days.collect()
    logs = "".join(file.read_text(errors="replace") for file in cluster.folder.rglob("*") if file.is_file())
    everything = [plan, str(lost.value), str(session.sparkContext.getConf().getAll()), logs]
    assert all(s3_server.secret_key not in text for text in everything)
    assert "FileNotFoundError" in logs


def test_f33_an_executor_killed_in_the_middle_changes_nothing_and_a_skewed_session_is_left_out(
    cluster, crowd, tmp_path
):
    params, killed = KINDS["cooc"].params(), []

    def kill_one():
        def act():
            executor = cluster.executors()[0]
            executor.kill()
            killed.append(executor.pid)

        threading.Timer(1.0, act).start()

    made = on_engine(
        Watched(SparkCluster(master=cluster.url, conf=CONF), at_start=kill_one), "cooc", [crowd], params, tmp_path
    )
    assert killed
    assert made == by_kernel("cooc", crowd, params)
    assert made.left_out.groups == 1


def lose_a_part(finished):
    Path(finished.parts[0]).unlink()
    return finished


def tear_a_part(finished):
    part = Path(finished.parts[0])
    part.write_bytes(part.read_bytes()[: part.stat().st_size // 2])
    return finished


def forget_a_part(finished):
    return EngineOutput(finished.parts[1:], finished.rows, finished.counts)


@pytest.mark.parametrize("harm", [lose_a_part, tear_a_part, forget_a_part])
def test_f33_a_lost_partition_is_never_shipped_around(cluster, few, tmp_path, harm):
    engine = Watched(SparkCluster(master=cluster.url, conf=CONF), at_end=harm)
    with pytest.raises(EngineUnavailableError, match="nothing was shipped"):
        on_engine(engine, "popularity", [few], KINDS["popularity"].params(), tmp_path)


def test_f33_a_cluster_without_workers_is_waited_for_only_so_long_and_a_rerun_converges(cluster, few, tmp_path):
    """Last that needs the cluster: the workers that come after are others."""
    cluster.kill_workers()
    hasty = SparkEngine(SparkCluster(master=cluster.url, conf=CONF, patience_minutes=0.1))
    params = KINDS["popularity"].params()
    with pytest.raises(EngineUnavailableError, match="run the day again"):
        on_engine(hasty, "popularity", [few], params, tmp_path)
    cluster.add_worker()
    again = SparkEngine(SparkCluster(master=cluster.url, conf=CONF))
    folder = tmp_path / "again"
    folder.mkdir()
    assert on_engine(again, "popularity", [few], params, folder) == by_kernel("popularity", few, params)


def test_a_cluster_that_is_not_there_is_reported_at_once(few, tmp_path):
    connect(SparkCluster(master="local[1]", conf=LIGHT)).stop()
    engine = SparkEngine(SparkCluster(master=f"spark://127.0.0.1:{free_port()}", conf=CONF))
    with pytest.raises(EngineUnavailableError, match="Connection refused"):
        on_engine(engine, "popularity", [few], KINDS["popularity"].params(), tmp_path)
