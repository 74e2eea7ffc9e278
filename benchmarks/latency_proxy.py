"""Proxy in front of an S3 server that lets each request wait, and counts what goes through it.

    python benchmarks/latency_proxy.py --upstream 8333 --milliseconds 20

Prints the port that it listens on. Bytes are handed on as they are, so that signatures hold; a request waits before its
head is handed on, and is under way until the first byte of its answer. `GET /counts` returns what was counted since the
last such question, as JSON.
"""

import argparse
import asyncio
import json
import socket
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import perf_counter
from urllib.request import urlopen

_PIECE = 1 << 16


@dataclass(slots=True)
class Counts:
    """What went through: requests by method, the most at once, and seconds in which at least one was under way."""

    requests: dict[str, int] = field(default_factory=dict[str, int])
    most_at_once: int = 0
    seconds_waited: float = 0.0

    @property
    def total(self) -> int:
        """Requests of every method."""
        return sum(self.requests.values())


class LatencyProxy:
    """The proxy itself: one connection upstream for each that is made to it."""

    def __init__(self, upstream: int, seconds: float) -> None:
        self._upstream = upstream
        self._seconds = seconds
        self._counts = Counts()
        self._under_way = 0
        self._since = 0.0

    async def serve(self) -> None:
        """Listen on a port of the loopback device, print it, and go on until the process is ended."""
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        print(server.sockets[0].getsockname()[1], flush=True)
        async with server:
            await server.serve_forever()

    async def _connected(self, client: asyncio.StreamReader, answer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await client.readuntil(b"\r\n\r\n")
            if head.startswith(b"GET /counts "):
                self._tell(answer)
            else:
                await self._hand_on(head, client, answer)
        answer.close()

    async def _hand_on(self, head: bytes, client: asyncio.StreamReader, answer: asyncio.StreamWriter) -> None:
        """Hand on request after request of one connection, and whatever comes back."""
        server, upstream = await asyncio.open_connection("127.0.0.1", self._upstream)
        for writer in (answer, upstream):  # small packets are not to wait for each other
            writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        waiting = asyncio.Event()
        back = asyncio.create_task(self._answers(server, answer, waiting))
        try:
            while True:
                self._begin(head)
                waiting.set()
                await asyncio.sleep(self._seconds)
                upstream.write(head)
                await self._body(head, client, upstream)
                head = await client.readuntil(b"\r\n\r\n")
        finally:
            upstream.close()
            await back

    async def _body(self, head: bytes, client: asyncio.StreamReader, upstream: asyncio.StreamWriter) -> None:
        names = dict(line.lower().split(b":", 1) for line in head.split(b"\r\n")[1:] if b":" in line)
        left = int(names.get(b"content-length", b"0"))
        while left:
            piece = await client.read(min(left, _PIECE))
            if not piece:
                return
            upstream.write(piece)
            left -= len(piece)
        await upstream.drain()

    async def _answers(
        self, server: asyncio.StreamReader, answer: asyncio.StreamWriter, waiting: asyncio.Event
    ) -> None:
        with suppress(ConnectionError):
            while piece := await server.read(_PIECE):
                if waiting.is_set() and not piece.startswith(b"HTTP/1.1 100"):
                    waiting.clear()
                    self._end()
                answer.write(piece)
                await answer.drain()
        if waiting.is_set():
            self._end()
        answer.close()

    def _begin(self, head: bytes) -> None:
        method = head.partition(b" ")[0].decode()
        self._counts.requests[method] = self._counts.requests.get(method, 0) + 1
        if not self._under_way:
            self._since = perf_counter()
        self._under_way += 1
        self._counts.most_at_once = max(self._counts.most_at_once, self._under_way)

    def _end(self) -> None:
        self._under_way -= 1
        if not self._under_way:
            self._counts.seconds_waited += perf_counter() - self._since

    def _tell(self, answer: asyncio.StreamWriter) -> None:
        data = json.dumps(asdict(self._counts)).encode()
        self._counts = Counts()
        answer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(data), data))


@dataclass(frozen=True, slots=True)
class RunningProxy:
    """A proxy in a process of its own."""

    port: int

    @property
    def endpoint(self) -> str:
        """Where clients reach it."""
        return f"http://127.0.0.1:{self.port}"

    def counts(self) -> Counts:
        """Return what went through since this was asked last."""
        with urlopen(f"{self.endpoint}/counts") as reply:  # noqa: S310 - loopback
            return Counts(**json.loads(reply.read()))


@contextmanager
def running_proxy(upstream: int, *, milliseconds: float) -> Generator[RunningProxy]:
    """Yield a proxy in a process of its own, which ends with the block: it takes no time from what is measured."""
    command = [sys.executable, str(Path(__file__)), f"--upstream={upstream}", f"--milliseconds={milliseconds}"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None  # noqa: S101 - it was asked for above
    try:
        yield RunningProxy(int(process.stdout.readline()))
    finally:
        process.kill()
        process.wait()


def main() -> None:
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--upstream", type=int, required=True, help="port of the S3 server on this machine")
    parser.add_argument("--milliseconds", type=float, default=20, help="that each request waits")
    chosen = parser.parse_args()
    asyncio.run(LatencyProxy(chosen.upstream, chosen.milliseconds / 1000).serve())


if __name__ == "__main__":
    main()
