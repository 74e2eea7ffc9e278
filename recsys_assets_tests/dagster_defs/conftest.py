"""A webhook on a real server."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


class Inbox(BaseHTTPRequestHandler):
    """Takes whatever is sent, or refuses it while `server.refuses`."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.server.hangs_up:
            self.close_connection = True
            return
        self.server.received.append((self.path, body))
        self.send_response(503 if self.server.refuses else 200)
        self.end_headers()

    do_PUT = do_POST  # noqa: N815 - the name that http.server calls

    def log_message(self, *_):
        pass


@pytest.fixture
def inbox():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Inbox)
    server.received, server.refuses, server.hangs_up = [], False, False
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()
