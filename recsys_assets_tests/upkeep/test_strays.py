"""Objects that nothing wrote: listed by `verify`, and in nobody's way."""

import pytest

from recsys_assets.release.journal import Actor
from recsys_assets.release.judgement import Ruling
from recsys_assets.release.rollback import roll_back
from recsys_assets.storage.memory import MemoryStore
from recsys_assets.upkeep.verify import strays, verify
from recsys_assets_tests.release.staging import TARGET, Shop

PREFIXES = (
    "artifacts",
    "canonical",
    "staging",
    "releases",
    "trash",
    "registry/current",
    "registry/hold",
    "registry/journal",
)


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("name", ["notes.txt", "cooc/.DS_Store", "2026-03-01.json.bak"])
def test_f66_a_stray_is_listed_and_stops_nothing(prefix, name):
    shop = Shop(MemoryStore())
    shop.ship(0)
    assert list(strays(shop.store, TARGET)) == []
    key = f"{prefix}/{TARGET.tenant}/{TARGET.surface}/{name}"
    shop.store.put(key, b"\x00 mine")
    assert list(strays(shop.store, TARGET)) == [key]
    verification = verify(shop.store, TARGET)
    assert verification.ok
    assert any(note.startswith(f"{key} is a stray") for note in verification.notes)
    assert shop.ship(1).how is Ruling.SHIP
    roll_back(shop.store, TARGET, to="previous", by=Actor("ann", "a test"), now=shop.clock)
    assert verify(shop.store, TARGET).ok
