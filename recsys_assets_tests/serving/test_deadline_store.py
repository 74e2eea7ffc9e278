"""A store that does not come to an end is given up in time, and what serves goes on serving."""

import gc
import socket
import threading
import time

import pytest

from recsys_assets.errors import NotFoundError, StoreUnavailableError
from recsys_assets.serving.loading import Limits
from recsys_assets.serving.reader import Reader
from recsys_assets.serving.state import Problem, RefreshOutcome
from recsys_assets.serving.threads import DeadlineStore
from recsys_assets.storage.memory import MemoryStore
from recsys_assets.storage.s3 import S3Store
from recsys_assets_tests.serving.releases import answers

WAIT = 30  # seconds until a test gives up; none waits so long when all is well
HEAD = b'HTTP/1.1 200 OK\r\nETag: "e"\r\nLast-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\nContent-Length: 1000\r\n\r\n'


@pytest.fixture
def gate():
    """Closed until the test ends; then everything that hung goes on."""
    gate = threading.Event()
    yield gate
    gate.set()


def test_results_and_errors_come_through():
    store = MemoryStore()
    bounded = DeadlineStore(store, seconds=WAIT)
    etag = bounded.create("a", b"1")
    etag = bounded.swap("a", b"2", expected=etag)
    assert bounded.get("a", max_bytes=9).data == b"2"
    assert bounded.get_if_changed("a", etag=etag, max_bytes=9) is None
    assert [item.key for item in bounded.list("")] == ["a"]
    assert bounded.stat("a").size == 1
    bounded.put("b", b"3")
    bounded.delete("b")
    assert bounded.root_uri == store.root_uri
    with pytest.raises(NotFoundError):
        bounded.get("b", max_bytes=9)


def test_calls_that_hang_are_left_behind_and_few(gate):
    store = MemoryStore()
    store.put("a", b"1")
    bounded = DeadlineStore(store, seconds=0.01)
    store.on_call = lambda *_: gate.wait(WAIT)
    for _ in range(4):
        with pytest.raises(StoreUnavailableError, match="no whole answer"):
            bounded.get("a", max_bytes=9)
    before = threading.active_count()
    with pytest.raises(StoreUnavailableError, match="earlier calls still hang"):
        bounded.get("a", max_bytes=9)
    assert threading.active_count() == before
    gate.set()
    for thread in bounded._hanging:
        thread.join(WAIT)
    assert DeadlineStore.get(bounded, "a", max_bytes=9).data == b"1"


def test_a_release_that_trickles_in_is_an_outage_and_the_old_one_serves(store, shop, open_reader, gate):
    """F22."""
    shop.ship(0)
    reader = open_reader(limits=Limits(call_seconds=0.05))
    reader.refresh()
    shop.ship(1)
    store.on_call = lambda _, key: key.startswith("artifacts/") and gate.wait(WAIT)
    refresh = reader.refresh()
    assert (refresh.outcome, refresh.problem) == (RefreshOutcome.FAILED, Problem.OUTAGE)
    assert "no whole answer" in refresh.why
    assert answers(reader.snapshot()) == {0}
    store.on_call = None
    assert reader.refresh().outcome is RefreshOutcome.CHANGED
    assert answers(reader.snapshot()) == {1}


@pytest.fixture(params=["in the head", "in the body"])
def dripping_server(request, gate):
    """A server that answers with one byte now and then, for ever, so that no socket ever waits for long."""
    server = socket.create_server(("127.0.0.1", 0))
    start = HEAD if request.param == "in the body" else HEAD[:20]

    def drip(connection):
        with connection:
            connection.recv(65536)
            connection.sendall(start)
            while not gate.wait(0.02):
                connection.sendall(b"x")

    def serve():
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=_quietly, args=(drip, connection), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    yield f"http://127.0.0.1:{server.getsockname()[1]}"
    server.shutdown(socket.SHUT_RDWR)
    server.close()


def _quietly(drip, connection):
    try:
        drip(connection)
    except OSError:
        return  # the other side has gone


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the SDK leaves a broken answer open
def test_a_server_that_drips_bytes_keeps_no_reader_busy(dripping_server, s3_server, gate):
    """F22."""
    client = type(s3_server)(dripping_server, "test-key", "none").client(retries={"max_attempts": 1})
    reader = Reader(S3Store(client, bucket="bucket"), "shop", "home", limits=Limits(call_seconds=0.5))
    begin = time.monotonic()
    refresh = reader.refresh()
    assert refresh.problem is Problem.OUTAGE
    assert "no whole answer" in refresh.why
    assert time.monotonic() - begin < 5
    gate.set()
    for thread in reader._store._hanging:
        thread.join(WAIT)
    client.close()
    del client, reader, thread
    gc.collect()  # what the SDK left open is complained of here, and not in another test
