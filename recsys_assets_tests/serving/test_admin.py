"""The admin application says what a service serves, and has it look at the store for those with the token."""

import asyncio
import hashlib
from functools import partialmethod

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette
from starlette.routing import Mount

from recsys_assets.errors import ConfigurationError
from recsys_assets.serving.admin import AdminApp
from recsys_assets.storage.memory import Fault, FaultMode

TOKEN = "a token that nobody guesses"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


class Client:
    """Asks an application without a server."""

    def __init__(self, app):
        self.app = app

    def request(self, method, path, **options):
        async def ask():
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
                return await client.request(method, path, **options)

        return asyncio.run(ask())

    get = partialmethod(request, "GET")
    post = partialmethod(request, "POST")
    head = partialmethod(request, "HEAD")


@pytest.fixture
def reader(open_reader):
    return open_reader()


@pytest.fixture
def client(reader):
    """The application as a service mounts it, below a path."""
    app = AdminApp(reader, token_sha256=hashlib.sha256(TOKEN.encode()).hexdigest())
    return Client(Starlette(routes=[Mount("/recsys", app)]))


def test_it_is_live_at_once_and_ready_when_something_serves(client, shop, reader):
    assert client.get("/recsys/health/live").json() == {"status": "live"}
    waiting = client.get("/recsys/health/ready")
    assert (waiting.status_code, list(waiting.json()["targets"])) == (503, ["shop/home"])
    shop.ship(1)
    reader.refresh()
    assert client.get("/recsys/health/ready").status_code == 200


def test_a_look_at_the_store_is_for_those_with_the_token(client, shop, reader):
    shop.ship(1)
    for headers in (
        {},
        {"Authorization": "Bearer other"},
        {"Authorization": TOKEN},
        {"Authorization": f"Basic {TOKEN}"},
    ):
        assert client.post("/recsys/invalidate", headers=headers).status_code == 401
    assert reader.status().release_id is None
    first = client.post("/recsys/invalidate", headers=BEARER)
    assert (first.status_code, first.json()[0]["outcome"]) == (200, "changed")
    assert first.json()[0]["release"] == reader.snapshot().release_id
    assert client.post("/recsys/invalidate", headers=BEARER).json()[0]["outcome"] == "unchanged"


def test_without_a_token_nobody_may(shop, reader):
    shop.ship(1)
    bare = Client(AdminApp(reader))
    assert bare.post("/invalidate", headers=BEARER).status_code == 403
    assert bare.get("/health/live").status_code == 200
    assert reader.status().release_id is None


def test_a_look_that_fails_says_why_and_what_serves_goes_on(client, shop, reader, store):
    shop.ship(1)
    reader.refresh()
    store.inject(Fault("get", FaultMode.FAIL, times=100), Fault("stat", FaultMode.FAIL, times=100))
    failed = client.post("/recsys/invalidate", headers=BEARER)
    assert (failed.status_code, failed.json()[0]["outcome"]) == (503, "failed")
    (served,) = client.get("/recsys/served").json()
    assert (served["state"], served["problem"], served["release"]) == ("stale", "outage", reader.snapshot().release_id)
    assert served["versions"] == reader.snapshot().versions
    assert client.get("/recsys/health/ready").status_code == 200


def test_metrics_are_those_of_the_readers(client, shop, reader):
    shop.ship(1)
    reader.refresh()
    reader.snapshot().neighbors("item")
    found = {family.name for family in text_string_to_metric_families(client.get("/recsys/metrics").text)}
    assert {"recsys_reader_answers", "recsys_reader_swapped_timestamp_seconds"} <= found


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "invalidate", 405), ("POST", "served", 405), ("DELETE", "metrics", 405), ("GET", "secrets", 404)],
)
def test_what_it_does_not_do_is_refused(client, method, path, status):
    answer = client.request(method, f"/recsys/{path}")
    assert (answer.status_code, "message" in answer.json()) == (status, True)
    assert ("allow" in answer.headers) == (status == 405)


def test_a_head_request_has_no_body(client):
    answer = client.head("/recsys/health/live")
    assert (answer.status_code, answer.content) == (200, b"")


def test_it_is_not_made_without_readers_or_with_a_token_in_plain_text(reader):
    with pytest.raises(ConfigurationError, match="readers"):
        AdminApp()
    with pytest.raises(ConfigurationError, match="SHA-256"):
        AdminApp(reader, token_sha256=TOKEN)
