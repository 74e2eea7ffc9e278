import pytest

from recsys_assets.serving.reader import Reader
from recsys_assets.storage.memory import MemoryStore
from recsys_assets_tests.serving.releases import TARGET, Clock, Shop


@pytest.fixture
def store():
    return MemoryStore()


@pytest.fixture
def shop(store):
    return Shop(store)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def open_reader(store, clock):
    """A reader of the shop's target, by a clock that stands still."""

    def opened(**options):
        at = options.pop("store", store)
        return Reader(at, TARGET.tenant, TARGET.surface, **({"now": clock} | options))

    return opened
