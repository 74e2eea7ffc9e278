"""The API under load: health beside slow questions, requests sent by halves, hosts, tokens."""

import asyncio
import hashlib
import socket
import threading
from contextlib import contextmanager

import anyio
import httpx
import pytest
import uvicorn

from recsys_assets.api.access import allowed_hosts, check_transport
from recsys_assets.api.application import make_application
from recsys_assets.api.connections import THREADS, BoundedConnection, Budgets, RequestClass
from recsys_assets.api.context import ApiContext, ConcurrencyLimit
from recsys_assets.errors import ConfigurationError, StoreUnavailableError
from recsys_assets.settings.outputs import ApiSettings, TokenSettings
from recsys_assets_tests.api.conftest import Client

WAIT = 30  # seconds until a test gives up; none waits so long when all is well
HOME = "/v1/targets/shop/home"


def token(secret, *scopes):
    return TokenSettings(name=secret, sha256=hashlib.sha256(secret.encode()).hexdigest(), scopes=scopes or ("read",))


def with_api(settings, **api):
    return settings.model_copy(update={"api": ApiSettings(**api)})


def test_health_answers_while_sixty_diffs_wait_for_the_store(store, releases, settings):
    gate, entered = threading.Event(), threading.Event()

    def hang(_, key):
        if key.startswith("artifacts/"):
            entered.set()
            assert gate.wait(WAIT)

    store.on_call = hang
    application = make_application(ApiContext(store, settings, heavy=ConcurrencyLimit(patience_seconds=WAIT)))

    async def ask():
        transport = httpx.ASGITransport(application)
        async with httpx.AsyncClient(transport=transport, base_url="http://api", timeout=2 * WAIT) as client:
            query = {"before": releases[0].id}
            diffs = [asyncio.create_task(client.get(f"{HOME}/diff", params=query)) for _ in range(60)]
            try:
                assert await asyncio.to_thread(entered.wait, WAIT)
                with anyio.fail_after(WAIT / 2):
                    health = await client.get("/health")
                    light = await client.get(f"{HOME}/journal")
                assert not any(diff.done() for diff in diffs)
            finally:
                gate.set()
            return health, light, await asyncio.gather(*diffs)

    health, light, diffs = asyncio.run(ask())
    assert (health.status_code, light.status_code) == (200, 200)
    assert {diff.status_code for diff in diffs} <= {200, 503}
    assert 200 in {diff.status_code for diff in diffs}


def test_a_request_that_finds_no_thread_of_its_class_in_time_is_asked_to_come_back():
    budgets, gate = Budgets(patience_seconds=0.01), threading.Event()

    async def fill():
        async with anyio.create_task_group() as group:
            for _ in range(THREADS[RequestClass.HEAVY]):
                group.start_soon(budgets.run, RequestClass.HEAVY, lambda: gate.wait(WAIT))
            await anyio.wait_all_tasks_blocked()
            try:
                with pytest.raises(StoreUnavailableError, match="too many heavy requests"):
                    await budgets.run(RequestClass.HEAVY, lambda: None)
                assert await budgets.run(RequestClass.HEALTH, lambda: "fine") == "fine"
            finally:
                gate.set()
        assert await budgets.run(RequestClass.HEAVY, lambda: "free again") == "free again"

    asyncio.run(fill())


@contextmanager
def listening(application, **limits):
    """Serve in a thread, with connections of these limits; yield the port."""
    protocol = type("Limited", (BoundedConnection,), limits)
    config = uvicorn.Config(application, port=0, http=protocol, ws="none", log_level="critical", lifespan="off")
    server = uvicorn.Server(config)
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(WAIT)
        listener.close()


def is_closed_by_peer(connection):
    try:
        return connection.recv(65_536) == b""
    except ConnectionError:
        return True


def connect(port, sent=b""):
    connection = socket.create_connection(("127.0.0.1", port), timeout=WAIT)
    connection.sendall(sent)
    return connection


@pytest.mark.parametrize(
    "sent", [b"", b"GET /health/live HTTP/1.1\r\nHo", b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\nGET /hea"]
)
def test_a_request_that_is_sent_by_halves_is_given_up(store, settings, sent):
    with (
        listening(make_application(ApiContext(store, settings)), head_seconds=0.05) as port,
        connect(port, sent) as half,
    ):
        if b"\r\n\r\n" in sent:
            assert half.recv(65_536).startswith(b"HTTP/1.1 200")
        assert is_closed_by_peer(half)


def test_bytes_that_trickle_in_do_not_move_the_deadline(store, settings):
    with listening(make_application(ApiContext(store, settings)), head_seconds=0.1) as port, connect(port) as slow:
        slow.settimeout(0.01)
        ended = False
        while not ended:  # without a deadline this goes on until the head is too large, after a minute and more
            try:
                slow.sendall(b"G")
                ended = is_closed_by_peer(slow)
            except TimeoutError:
                continue
            except ConnectionError:
                ended = True
    assert ended


def test_connections_that_wait_make_room_for_those_that_ask(store, settings):
    application = make_application(ApiContext(store, settings))
    with listening(application, head_seconds=WAIT, max_waiting=3) as port:
        halves = [connect(port, b"GET /") for _ in range(8)]
        try:
            assert httpx.get(f"http://127.0.0.1:{port}/health/live").status_code == 200
            assert is_closed_by_peer(halves[0])
        finally:
            for half in halves:
                half.close()


@pytest.mark.parametrize(
    ("configured", "listens_on", "host", "status"),
    [
        pytest.param((), "127.0.0.1", "localhost:8080", 200, id="by default this machine"),
        pytest.param((), "::1", "[::1]:8080", 200, id="by IPv6"),
        pytest.param((), "127.0.0.1", "evil.example", 400, id="a name that leads here"),
        pytest.param((), "0.0.0.0", "anything", 200, id="elsewhere any"),  # noqa: S104
        pytest.param(("recsys.example",), "0.0.0.0", "recsys.example", 200, id="a name that is configured"),  # noqa: S104
        pytest.param(("recsys.example",), "127.0.0.1", "localhost", 400, id="and no other"),
        pytest.param(("*.example",), "0.0.0.0", "a.b.example", 200, id="by pattern"),  # noqa: S104
    ],
)
def test_hosts_that_are_answered(store, settings, configured, listens_on, host, status):
    hosts = allowed_hosts(ApiSettings(hosts=configured), host=listens_on)
    client = Client(make_application(ApiContext(store, settings), hosts=hosts))
    assert client.get("/health/live", headers={"Host": host}).status_code == status


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        pytest.param({}, 401, id="none"),
        pytest.param({"Authorization": "Bearer wrong"}, 401, id="unknown"),
        pytest.param({"Authorization": "Basic reader"}, 401, id="another scheme"),
        pytest.param({"Authorization": "Bearer reader"}, 200, id="known"),
        pytest.param({"Authorization": "Bearer operator"}, 403, id="without the scope"),
    ],
)
def test_tokens_are_asked_for_where_they_are_configured(store, releases, settings, sent, status):
    assert releases
    tokens = (token("reader"), token("operator", "operate"))
    client = Client(make_application(ApiContext(store, with_api(settings, tokens=tokens))))
    answer = client.get(HOME, headers=sent)
    assert answer.status_code == status
    assert ("www-authenticate" in answer.headers) == (status == 401)
    assert client.get("/health").status_code == 200
    assert client.request("POST", HOME, headers=sent).status_code == (401 if status == 401 else 405)


def test_tokens_do_not_cross_a_network_in_the_clear():
    guarded = ApiSettings(tokens=(token("reader"),))
    with pytest.raises(ConfigurationError, match="unencrypted"):
        check_transport(guarded, host="0.0.0.0", has_tls=False)  # noqa: S104
    for host, tls in (("127.0.0.1", False), ("::1", False), ("localhost", False), ("10.0.0.1", True)):
        check_transport(guarded, host=host, has_tls=tls)
    check_transport(ApiSettings(tokens=(token("reader"),), plain_http=True), host="10.0.0.1", has_tls=False)
    check_transport(ApiSettings(), host="10.0.0.1", has_tls=False)
