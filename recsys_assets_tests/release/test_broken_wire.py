"""A proxy that breaks off between us and a real S3 server: what was applied counts once, what was cut off never."""

import os
import signal
import socket
import socketserver
import threading
from dataclasses import dataclass, field, replace

import pytest

from recsys_assets.release import journal
from recsys_assets.release.layout import blob_prefix, intent_prefix, pointer_key
from recsys_assets.release.pointer import read_current
from recsys_assets.release.ship_rules import Ruling
from recsys_assets.storage.s3 import S3Store
from recsys_assets.upkeep.verify import verify
from recsys_assets_tests import warm_processes
from recsys_assets_tests.lying_proxy import Relay
from recsys_assets_tests.release.acting import ROOT, command
from recsys_assets_tests.release.staging import TARGET, Shop

pytestmark = pytest.mark.slow

WAIT = 30  # seconds until a test gives up
DROPS, FAILS, STALLS = "drops the line", "answers 500", "stalls half way"


@dataclass
class Plan:
    """What the proxy does to the next PUT whose path holds `path`, and what it has seen."""

    fault: str | None = None
    path: str = ""
    puts: list[str] = field(default_factory=list)
    reached: threading.Event = field(default_factory=threading.Event)
    over: threading.Event = field(default_factory=threading.Event)

    def take(self, line):
        """Return the fault for a request, each once."""
        method, path, _ = line.split(" ", 2)
        if method != "PUT":
            return None
        self.puts.append(path)
        if self.fault is None or self.path not in path:
            return None
        fault, self.fault = self.fault, None
        return fault


class Hop(Relay):
    """One connection: one request forwarded, and its reply, unless the plan says otherwise."""

    def handle(self):
        line = self.rfile.readline().decode("latin-1")
        if not line:
            return
        head, size = self.head()
        fault = self.server.plan.take(line)
        body = self.rfile.read(size)
        request = "".join([line, *head, "Connection: close\r\n\r\n"]).encode("latin-1")
        with socket.create_connection(self.server.upstream, timeout=WAIT) as upstream:
            if fault == STALLS:
                upstream.sendall(request + body[: size // 2])
                self.server.plan.reached.set()
                self.server.plan.over.wait(WAIT)
                return
            upstream.sendall(request + body)
            reply = b"".join(iter(lambda: upstream.recv(65536), b""))
        if fault == DROPS:
            return
        self.wfile.write(b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" if fault else reply)


class Proxy(socketserver.ThreadingTCPServer):
    """Listens on a free port of the loopback, on behalf of one server."""

    daemon_threads = True

    def __init__(self, upstream):
        super().__init__(("127.0.0.1", 0), Hop)
        self.upstream = upstream
        self.plan = Plan()


@pytest.fixture
def proxy(s3_server):
    """A proxy in front of the real server."""
    host, _, port = s3_server.endpoint.rpartition("/")[2].rpartition(":")
    with Proxy((host, int(port))) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, args=(0.01,))
        thread.start()
        yield proxy
        proxy.plan.over.set()
        proxy.shutdown()
        thread.join(WAIT)


@pytest.fixture
def behind(proxy, s3_server):
    """The server as it is reached through the proxy."""
    return replace(s3_server, endpoint=f"http://127.0.0.1:{proxy.server_address[1]}")


@pytest.fixture
def prefix(s3_server):
    return s3_server.new_prefix()


def open_store(server, prefix):
    return S3Store(server.client(retries={"mode": "standard", "max_attempts": 4}), bucket=server.bucket, prefix=prefix)


@pytest.mark.parametrize("ships", [0, 1], ids=["first ship", "later ship"])
@pytest.mark.parametrize(
    "fault", [pytest.param(DROPS, id="F7 applied, then dropped"), pytest.param(FAILS, id="F8 F9 applied, then 500")]
)
def test_a_swap_whose_reply_was_lost_is_sent_once_and_recorded_once(proxy, behind, prefix, fault, ships):
    shop = Shop(open_store(behind, prefix))
    for n in range(ships):
        shop.ship(n)
    proxy.plan.fault, proxy.plan.path = fault, pointer_key(TARGET)

    outcome = shop.ship(ships)

    assert outcome.how is Ruling.SHIP
    assert proxy.plan.fault is None
    assert sum(path.endswith(pointer_key(TARGET)) for path in proxy.plan.puts) == ships + 1
    assert read_current(shop.store, TARGET).release_id == outcome.release.id
    message = [(entry.outcome, entry.after) for entry in journal.changes(shop.store, TARGET)]
    assert message[0] == ("done", outcome.release.id)
    assert len(message) == ships + 1
    assert list(shop.store.list(intent_prefix(TARGET))) == []


@pytest.mark.parametrize("fault", [pytest.param(DROPS, id="F7 dropped"), pytest.param(FAILS, id="F8 F9 500")])
@pytest.mark.parametrize("path", ["registry/journal/", "releases/", "intents/", "artifacts/"])
def test_any_other_write_whose_reply_was_lost_counts_once(proxy, behind, prefix, fault, path):
    shop = Shop(open_store(behind, prefix))
    shop.ship(0)
    proxy.plan.fault, proxy.plan.path = fault, path

    assert shop.ship(1).how is Ruling.SHIP

    assert proxy.plan.fault is None
    assert [entry.outcome for entry in journal.changes(shop.store, TARGET)] == ["done", "done"]
    assert verify(shop.store, TARGET).ok


@pytest.mark.parametrize("name", ["TERM", "INT", "KILL"])
def test_f52_an_upload_that_a_signal_cuts_off_leaves_nothing_and_is_done_again(s3_server, proxy, behind, prefix, name):
    shop = Shop(open_store(s3_server, prefix))
    shop.ship(0)
    before = read_current(shop.store, TARGET)
    blobs = [item.key for item in shop.store.list(blob_prefix(TARGET))]
    proxy.plan.fault, proxy.plan.path = STALLS, "artifacts/"
    builder = warm_processes.start(
        command(shop.store.root_uri, "stage", "1"), cwd=ROOT, env=os.environ | behind.environment()
    )
    assert proxy.plan.reached.wait(WAIT)
    builder.send_signal(signal.Signals[f"SIG{name}"])
    assert builder.wait(WAIT) != 0
    proxy.plan.over.set()

    assert [item.key for item in shop.store.list(blob_prefix(TARGET))] == blobs
    assert read_current(shop.store, TARGET) == before
    assert shop.ship(1).how is Ruling.SHIP
    assert verify(shop.store, TARGET).ok
