"""A receiver of HTTP requests on a real port, which can refuse, hang up or lead elsewhere."""

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Inbox(BaseHTTPRequestHandler):
    """Takes whatever is sent, or refuses it while `server.refuses`; `server.leads_to` answers with a redirect."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.server.hangs_up:
            self.close_connection = True
            return
        self.server.received.append((self.path, body))
        self.server.headers.append({name.lower(): value for name, value in self.headers.items()})
        self.send_response(307 if self.server.leads_to else 503 if self.server.refuses else 200)
        if self.server.leads_to:
            self.send_header("Location", self.server.leads_to)
        self.end_headers()

    do_PUT = do_POST  # noqa: N815 - the name that http.server calls

    def log_message(self, *_):
        pass


@contextmanager
def open_inbox():
    """Yield a server whose `received` holds path and body of each request, `headers` the headers."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Inbox)
    server.received, server.headers = [], []
    server.refuses, server.hangs_up, server.leads_to = False, False, None
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def address(inbox):
    return f"http://127.0.0.1:{inbox.server_port}/hook"
