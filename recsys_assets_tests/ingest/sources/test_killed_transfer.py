"""Ingest that is killed while an object comes in: no day stands half, and reading it again brings the whole of it."""

import os
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest

from recsys_assets.errors import NotFoundError
from recsys_assets.pipeline.canonical import build_canonical
from recsys_assets.pipeline.context import DayContext
from recsys_assets.pipeline.raw import build_raw
from recsys_assets.settings.reading import load_settings
from recsys_assets.storage.filesystem import FilesystemStore
from recsys_assets_tests import warm_processes
from recsys_assets_tests.small_shop import FIRST, HOME, day_lines

pytestmark = pytest.mark.slow
WAIT = 60
CONFIG = """
[storage]
root = "store"
[raw]
exposures = "s3://lake/{day}.jsonl"
[[targets]]
tenant = "shop"
surface = "home"
"""
INGEST = """
import sys
from datetime import date
from recsys_assets.settings.reading import load_settings
from recsys_assets.pipeline.raw import build_raw
from recsys_assets.storage.filesystem import FilesystemStore
build_raw(FilesystemStore(sys.argv[1] + "/store"), load_settings(sys.argv[1] + "/recsys.toml"), date(2026, 1, 1))
"""
LINES = ("\n".join(day_lines(FIRST, targets=(HOME,))) + "\n").encode()
LISTING = (
    "<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>2026-01-01.jsonl</Key><ETag>&quot;abc&quot;</ETag>"
    f"<Size>{len(LINES)}</Size><LastModified>2026-01-02T00:00:00.000Z</LastModified></Contents></ListBucketResult>"
).encode()


class Lake(BaseHTTPRequestHandler):
    """A bucket with one object; while `stalls`, half of it comes and the rest does not."""

    def do_GET(self):
        is_listing = "list-type" in urlsplit(self.path).query
        data = LISTING if is_listing else LINES
        self.send_response(200)
        self.send_header("ETag", '"abc"')
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if is_listing or not self.server.stalls:
            self.wfile.write(data)
            return
        self.wfile.write(data[: len(data) // 2])
        self.wfile.flush()
        self.server.reached.set()
        self.server.over.wait(WAIT)

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def lake(monkeypatch):
    with ThreadingHTTPServer(("127.0.0.1", 0), Lake) as server:
        server.daemon_threads, server.stalls = True, True
        server.reached, server.over = threading.Event(), threading.Event()
        environment = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_address[1]}",
            "AWS_ACCESS_KEY_ID": "a",
            "AWS_SECRET_ACCESS_KEY": "b",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.over.set()
        server.shutdown()
        thread.join(WAIT)


def test_an_ingest_that_is_killed_in_a_transfer_leaves_no_day_and_is_done_again(lake, tmp_path):  # F1
    (tmp_path / "recsys.toml").write_text(CONFIG)
    settings, store = load_settings(tmp_path / "recsys.toml"), FilesystemStore(tmp_path / "store")
    child = warm_processes.start([sys.executable, "-c", INGEST, str(tmp_path)], env=dict(os.environ))
    try:
        assert lake.reached.wait(WAIT)
        assert child.poll() is None
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait(WAIT)
    lake.stalls = False
    lake.over.set()
    with pytest.raises(NotFoundError):
        build_canonical(DayContext(store, settings, settings.targets[0], FIRST))
    build_raw(store, settings, FIRST)
    assert build_canonical(DayContext(store, settings, settings.targets[0], FIRST)).record.rows == len(
        LINES.splitlines()
    )
