"""Objects that nothing wrote: listed by `verify`, and in nobody's way."""

from datetime import timedelta

import pytest

from recsys_assets.identity import rfc3339
from recsys_assets.release.forgotten_users import forgotten_since
from recsys_assets.release.journal import Actor
from recsys_assets.release.rollback import roll_back
from recsys_assets.release.ship_rules import Ruling
from recsys_assets.storage.memory import MemoryStore
from recsys_assets.upkeep.collect import collect
from recsys_assets.upkeep.heartbeats import Heartbeat, read_heartbeats, write_heartbeat
from recsys_assets.upkeep.repair import repair_journal
from recsys_assets.upkeep.roots import Retention
from recsys_assets.upkeep.status import status_of
from recsys_assets.upkeep.verify import strays, verify
from recsys_assets_tests.release.staging import TARGET, Shop

ANN = Actor("ann", "a test")
PREFIXES = (
    "artifacts",
    "canonical",
    "staging",
    "releases",
    "trash",
    "registry/current",
    "registry/hold",
    "registry/journal",
    "registry/bad",
    "registry/pinned",
    "registry/forgotten",
    "intents",
    "tallies",
)


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("name", ["notes.txt", "cooc/.DS_Store", "2026-03-01.json.bak", "old/sweep.json"])
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
    roll_back(shop.store, TARGET, to="previous", by=ANN, now=shop.clock)
    assert verify(shop.store, TARGET).ok
    retention = Retention(keep=1, grace=timedelta(0))
    assert collect(shop.store, TARGET, by=ANN, now=shop.clock, retention=retention, apply=True).entry is not None
    assert repair_journal(shop.store, TARGET, by=ANN, now=shop.clock) is not None
    assert forgotten_since(shop.store, TARGET, "2026-01-01T00:00:00Z") == 0
    assert not status_of(shop.store, TARGET, now=shop.clock()).problems


@pytest.mark.parametrize("name", ["notes.txt", "web-1.json", "web/1.json"])
def test_f66_a_bad_heartbeat_hides_no_other_and_stops_no_collection(name):
    shop = Shop(MemoryStore())
    live = shop.ship(0).release.id
    beat = Heartbeat(
        consumer="web-2", release=live, state="fresh", seen_at=rfc3339(shop.clock()), every_seconds=60, nonce="n"
    )
    write_heartbeat(shop.store, TARGET, beat, expected=None)
    shop.store.put(f"heartbeats/{TARGET.tenant}/{TARGET.surface}/{name}", b"\xff mine")
    heard = read_heartbeats(shop.store, TARGET)
    assert [one.consumer for one in heard.beats] == ["web-2"]
    assert any(name in fault for fault in heard.faults)
    assert collect(shop.store, TARGET, by=ANN, now=shop.clock, apply=True).entry is not None
    assert verify(shop.store, TARGET).ok
