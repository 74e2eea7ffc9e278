"""The Python of Spark's executors, run here (slices are the whole day together), and the time limit of a job."""

import hashlib
import subprocess
import sys
import threading

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys_assets.engines import executors
from recsys_assets.engines.executors import Slice, hashing, reading
from recsys_assets.engines.spark_session import SparkCluster, with_timeout
from recsys_assets.events.event_files import encode_events
from recsys_assets_tests.kinds.event_rows import events_of, row

COLUMNS = {"user_id": pa.string(), "item_id": pa.string()}
ROWS = 40


def numbers(count):
    return iter([pa.RecordBatch.from_pydict({"id": pa.array(range(count), pa.int64())})])


def table_of(batches):
    return pl.concat([pl.DataFrame(pl.from_arrow(batch)) for batch in batches])


@pytest.fixture(scope="module")
def day(tmp_path_factory):
    file = tmp_path_factory.mktemp("day") / "day.parquet"
    file.write_bytes(
        encode_events(events_of(row(n, f"u{n % 7}" if n % 3 else None, "s", f"i{n}") for n in range(ROWS)))
    )
    return file


@settings(max_examples=25)
@given(of=st.integers(1, ROWS + 3), batch_rows=st.integers(1, ROWS))
def test_slices_are_the_rows_of_the_day_each_once_and_in_order(day, of, batch_rows):
    with pytest.MonkeyPatch.context() as changed:
        changed.setattr(executors, "_BATCH_ROWS", batch_rows)
        slices = [Slice(str(day), 5_000, number, of) for number in range(of)]
        found = table_of(reading(slices, COLUMNS, place="place")(numbers(of)))
    stored = pl.read_parquet(day, columns=list(COLUMNS)).cast(pl.String)
    assert found["place"].to_list() == list(range(5_000, 5_000 + ROWS))
    assert found.drop("place").equals(stored)


def test_files_are_hashed_as_they_are(day):
    (message,) = hashing([str(day)])(numbers(1))
    assert message.to_pylist() == [{"file": 0, "digest": hashlib.sha256(day.read_bytes()).hexdigest()}]


def test_executors_need_not_have_this_package(day):
    from pyspark import cloudpickle  # noqa: PLC0415 - a second that no other test here needs

    cloudpickle.register_pickle_by_value(executors)
    job = cloudpickle.dumps(reading([Slice(str(day), 0)], COLUMNS, place="place"))
    program = (
        "import sys; sys.modules['recsys_assets'] = None\n"
        "import pyarrow as pa; from pyspark import cloudpickle\n"
        "job = cloudpickle.loads(sys.stdin.buffer.read())\n"
        "print(sum(b.num_rows for b in job(iter([pa.RecordBatch.from_pydict({'id': pa.array([0])})]))))"
    )
    message = subprocess.run([sys.executable, "-c", program], input=job, capture_output=True, check=True)
    assert message.stdout.split() == [str(ROWS).encode()]


class JobsOfASession:
    """The part of a Spark Connect session that ends its jobs: it counts how often it was asked."""

    def __init__(self):
        self.asked = 0
        self.twice = threading.Event()

    def interruptAll(self):  # noqa: N802 - Spark's name
        self.asked += 1
        if self.asked > 1:
            self.twice.set()


def test_a_job_that_begins_after_the_limit_is_cancelled_too():
    session = JobsOfASession()
    with with_timeout(SparkCluster(remote="sc://nowhere", patience_minutes=0), session):
        assert session.twice.wait(30), "the first attempt may come while no job runs"
    session.twice.clear()
    assert not session.twice.wait(1.5), "nothing is cancelled once the run has ended"
