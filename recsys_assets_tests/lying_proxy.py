"""Proxy in front of an S3 server that loses, repeats, delays and holds requests, and answers 503, by a seed."""

import random
import socket
import socketserver
import threading
import time
from collections import Counter
from contextlib import suppress

WAIT = 30  # seconds until a connection is given up
LONGEST_DELAY = 0.3  # seconds
BUSY = b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
FATES = {  # share of requests, by method: the rest is answered
    "GET": {"lose": 0.01, "drop": 0.01, "cut": 0.01, "delay": 0.02, "busy": 0.01},
    "HEAD": {"lose": 0.01, "drop": 0.01, "delay": 0.02, "busy": 0.01},
    "PUT": {"lose": 0.01, "drop": 0.02, "repeat": 0.02, "delay": 0.02, "busy": 0.01},
    "DELETE": {"lose": 0.01, "drop": 0.02, "repeat": 0.05, "hold": 0.3, "delay": 0.02, "busy": 0.01},
}


class Relay(socketserver.StreamRequestHandler):
    """One connection of a client, whose request is read to be sent on."""

    def head(self):
        """Read the header lines that go on, and the size of the body; the client is asked to go on with that."""
        head, size = [], 0
        while (line := self.rfile.readline().decode("latin-1")) not in {"\r\n", ""}:
            name, _, value = line.partition(":")
            size = int(value) if name.lower() == "content-length" else size
            if name.lower() == "expect":
                self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            elif name.lower() != "connection":
                head.append(line)
        return head, size


class Hop(Relay):
    """One connection: one request and its fate."""

    def handle(self):
        line = self.rfile.readline().decode("latin-1")
        if not line:
            return
        head, size = self.head()
        request = "".join([line, *head, "Connection: close\r\n\r\n"]).encode("latin-1") + self.rfile.read(size)
        fate = self.server.fate(line.partition(" ")[0])
        if fate == "busy":
            self.wfile.write(BUSY)
        elif fate == "hold":
            timer = threading.Timer(self.server.seconds(self.server.longest_hold), self.server.send, [request])
            timer.daemon = True
            timer.start()
        elif fate != "lose":
            self._pass_on(request, fate)

    def _pass_on(self, request, fate):
        if fate == "delay":
            time.sleep(self.server.seconds(LONGEST_DELAY))
        reply = self.server.send(request)
        if fate == "repeat":
            reply = self.server.send(request)
        if fate == "cut":
            reply = reply[: max(len(reply) - 20, 0)]
        if fate != "drop":
            self.wfile.write(reply)


class LyingProxy(socketserver.ThreadingTCPServer):
    """Listens on a free port of the loopback, on behalf of one server; `faults` counts what it did."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, upstream, seed, *, longest_hold):
        super().__init__(("127.0.0.1", 0), Hop)
        self.upstream, self.longest_hold = upstream, longest_hold
        self.faults = Counter()
        self._dice = random.Random(seed)  # noqa: S311 - no secret
        self._lock = threading.Lock()

    def fate(self, method):
        """Return what becomes of the next request, None if it is simply answered."""
        with self._lock:
            left = self._dice.random()
            for fate, share in FATES.get(method, {}).items():
                left -= share
                if left < 0:
                    self.faults[fate] += 1
                    return fate
        return None

    def seconds(self, longest):
        """Return a random span."""
        with self._lock:
            return self._dice.uniform(0, longest)

    def send(self, request):
        """Send a request to the server and return its reply, nothing if it gives none."""
        with suppress(OSError), socket.create_connection(self.upstream, timeout=WAIT) as upstream:
            upstream.sendall(request)
            return b"".join(iter(lambda: upstream.recv(65536), b""))
        return b""

    def handle_error(self, request, client_address):
        """Say nothing: clients that are killed break off."""
