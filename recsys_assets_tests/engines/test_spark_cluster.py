"""A standalone cluster of a worker with two executors: the same bytes, and what happens when parts of it die (F33)."""

import threading
from pathlib import Path

import pytest

from recsys_assets.engines.engine import EngineOutput
from recsys_assets.engines.spark_engine import SparkEngine
from recsys_assets.engines.spark_files import ArrowFiles
from recsys_assets.engines.spark_session import SparkCluster, connect
from recsys_assets.errors import EngineUnavailableError
from recsys_assets.kinds.registry import KINDS
from recsys_assets_tests.engines.made import by_kernel, on_engine
from recsys_assets_tests.engines.spark_cluster import LIGHT, Watched, free_port, need_java, start_cluster
from recsys_assets_tests.kinds.event_rows import events_of, row
from recsys_assets_tests.kinds.golden_cases import OF_ALL, find_case
from recsys_assets_tests.thoroughness import THOROUGH

pytestmark = pytest.mark.slow
CONF = {**LIGHT, "spark.executor.memory": "512m", "spark.executor.cores": "1"}
# Kinds of both sorts of sources; the plan of each kind is proven by test_spark.
KINDS_TRIED = OF_ALL if THOROUGH else ("cooc", "content_sim")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory, s3_server):
    """Its machines know the bucket and its key by their environment, as they would by a role."""
    need_java()
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


def test_f33_a_driver_that_is_killed_is_reported_and_the_next_run_starts_another(cluster, few, tmp_path):
    """First of the file, while there is little to lose: the tests after it use the driver that is started here."""
    message = SparkCluster(master=cluster.url, conf={**CONF, "spark.cores.max": "1"})
    driver = connect(message).sparkContext._gateway.proc
    params = KINDS["popularity"].params()

    def kill():
        driver.kill()
        driver.wait()

    with pytest.raises(EngineUnavailableError, match="driver's Java process is gone"):
        on_engine(Watched(message, at_start=kill), "popularity", [few], params, tmp_path)
    made = on_engine(SparkEngine(SparkCluster(master=cluster.url, conf=CONF)), "popularity", [few], params, tmp_path)
    assert made == by_kernel("popularity", few, params)


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


def test_a_skewed_session_is_left_out_and_counted_as_the_kernel_does(spark, crowd, tmp_path):
    params = KINDS["cooc"].params()
    made = on_engine(spark, "cooc", [crowd], params, tmp_path)
    assert made == by_kernel("cooc", crowd, params)
    assert made.left_out.groups == 1


def test_f33_an_executor_killed_in_the_middle_changes_nothing(cluster, crowd, tmp_path):
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
        on_engine(engine, "implicit", [few], KINDS["implicit"].params(), tmp_path)


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
