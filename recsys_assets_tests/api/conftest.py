"""A shop with three releases behind the API, and a client that talks to it in this process."""

import asyncio

import httpx
import pytest

from recsys_assets.api.application import make_application
from recsys_assets.api.context import ApiContext
from recsys_assets.settings.reading import load_settings
from recsys_assets.storage.memory import MemoryStore
from recsys_assets_tests.serving.releases import Shop

CONFIG = """
[storage]
root = "store"
[raw]
exposures = "raw/{day}*.jsonl"
catalog = "catalog.jsonl"
[partitions]
start = 2026-01-01
[artifacts]
window_days = 1
"""


class Client:
    """Requests to an application in this process; a bug in it is an answer, as a server gives it."""

    def __init__(self, application):
        self._application = application

    def request(self, method, path, **more):
        async def send():
            transport = httpx.ASGITransport(self._application, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
                return await client.request(method, path, **more)

        return asyncio.run(send())

    def get(self, path, **more):
        return self.request("GET", path, **more)

    def head(self, path, **more):
        return self.request("HEAD", path, **more)


TREES = """
[hierarchies.ml_pipeline]
levels = ["experiment", "model", "predictions"]
[hierarchies.documents]
levels = ["project", "document"]
"""


def settings_in(folder, *, targets=(("shop", "home"), ("shop", "cart")), more=""):
    rows = "".join(f'[[targets]]\ntenant = "{tenant}"\nsurface = "{surface}"\n' for tenant, surface in targets)
    (folder / "recsys.toml").write_text(CONFIG + more + rows)
    return load_settings(str(folder / "recsys.toml"))


@pytest.fixture
def store():
    return MemoryStore()


@pytest.fixture
def shop(store):
    return Shop(store)


@pytest.fixture
def releases(shop):
    """Three releases of shop/home, the last of them live; nothing is live of shop/cart."""
    return [shop.ship(n) for n in range(3)]


@pytest.fixture
def settings(tmp_path):
    return settings_in(tmp_path)


@pytest.fixture
def open_client(settings):
    """A client of an API over a store; what goes wrong in it is an answer, not an exception."""

    def opened(store, **options):
        context = ApiContext(store, options.pop("settings", settings), **options)
        return Client(make_application(context))

    return opened


@pytest.fixture
def client(store, releases, open_client):
    assert releases
    return open_client(store)
