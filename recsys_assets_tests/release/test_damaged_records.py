"""A release record that is not as it was written is named, and never decides what may ship."""

import msgspec
import pytest

from recsys_assets.errors import CorruptObjectError, RefusedError
from recsys_assets.release.layout import blob_key, release_key
from recsys_assets.release.pointer import read_current
from recsys_assets.release.releases import digest_of, read_release
from recsys_assets.release.rollback import roll_back
from recsys_assets.release.ship_rules import Ruling
from recsys_assets.storage.memory import MemoryStore
from recsys_assets.upkeep.status import status_of
from recsys_assets.upkeep.verify import verify
from recsys_assets_tests.release.staging import BOT, KINDS, SHARDED, TARGET, WITH_SHARDS, Shop, day


@pytest.fixture
def shop():
    shop = Shop(MemoryStore())
    shop.ship(0)
    return shop


def rewrite(shop, change):
    """Write the live release's record with other bytes, and return its id."""
    release_id = read_current(shop.store, TARGET).release_id
    key = release_key(TARGET, release_id)
    shop.store.put(key, change(shop.store.objects[key][0]))
    return release_id


def later_data(data):
    return data.replace(b'"data_through":"2', b'"data_through":"3')


def later_everywhere(data):
    """Another century, in the age and in every window: nothing but the digest shows it."""
    return later_data(data).replace(b'"window_last":"2', b'"window_last":"3')


@pytest.mark.parametrize("change", [later_data, later_everywhere, lambda data: data.replace(b"run-", b"ruN-")])
def test_any_flipped_byte_of_a_record_is_found(shop, change):  # F57
    release_id = rewrite(shop, change)
    with pytest.raises(CorruptObjectError, match="restore it from a backup"):
        read_release(shop.store, TARGET, release_id)
    assert not verify(shop.store, TARGET, keep=2).ok
    assert any(release_id in problem for problem in status_of(shop.store, TARGET, now=shop.clock()).problems)


def test_a_record_of_the_former_format_is_read_and_held_against_its_windows(shop):
    def former(data):
        release = msgspec.json.decode(data)
        del release["digest"]
        return msgspec.json.encode(release | {"v": 1})

    release_id = rewrite(shop, former)
    assert read_release(shop.store, TARGET, release_id).v == 1
    rewrite(shop, later_data)
    with pytest.raises(CorruptObjectError, match="windows end"):
        read_release(shop.store, TARGET, release_id)


def without_digest(data):
    """As the former format had it, which no digest protects."""
    release = msgspec.json.decode(later_everywhere(data))
    del release["digest"]
    return msgspec.json.encode(release | {"v": 1})


def test_f57_a_record_without_a_digest_is_held_against_the_windows_that_its_artifacts_name(shop):
    rewrite(shop, without_digest)
    (proof,) = verify(shop.store, TARGET, keep=1).releases
    assert len(proof.faults) == len(KINDS)
    assert all("but its record says" in fault and "to 3026-" in fault for fault in proof.faults)
    shop.ship(1)
    with pytest.raises(RefusedError, match="but its record says"):
        roll_back(shop.store, TARGET, to="previous", by=BOT, now=shop.clock)


def test_f57_the_age_of_live_is_its_artifacts_where_its_record_has_no_digest(shop):
    rewrite(shop, without_digest)
    assert shop.ship(1).how is Ruling.SHIP


def test_f57_a_window_of_shards_is_held_against_the_index():
    shop = Shop(MemoryStore(), kinds=WITH_SHARDS)
    shop.ship(0)
    rewrite(shop, without_digest)
    (proof,) = verify(shop.store, TARGET, keep=1).releases
    assert sum(fault.startswith(SHARDED) for fault in proof.faults) == 4  # three shards and their index
    assert len(proof.faults) == len(KINDS) + 4


def test_f57_a_former_record_with_a_digest_is_no_former_record(shop):
    release_id = rewrite(shop, lambda data: data.replace(b'"v":2', b'"v":1'))
    with pytest.raises(CorruptObjectError, match="its digest does not match"):
        read_release(shop.store, TARGET, release_id)


def test_a_damaged_record_of_what_is_live_does_not_keep_newer_data_from_shipping(shop):
    rewrite(shop, later_everywhere)
    outcome = shop.ship(1)
    assert outcome.how is Ruling.SHIP
    assert "the age of the live release was read from its artifacts" in outcome.entry.details["message"]


def test_a_damaged_record_of_what_is_live_lets_no_older_data_ship(shop):
    shop.ship(3)
    rewrite(shop, lambda data: data.replace(day(3).isoformat().encode(), day(0).isoformat().encode()))
    assert shop.ship(1).how is Ruling.OLDER


def test_where_the_artifacts_are_damaged_too_the_age_is_unknown_and_nothing_ships_unasked(shop):
    rewrite(shop, later_everywhere)
    for kind, version in read_current(shop.store, TARGET).versions.items():
        shop.store.put(blob_key(TARGET, kind, version), b"{}")
    shop.stage(1)
    with pytest.raises(RefusedError, match="its artifacts do not show its age either"):
        shop.publish(1)
    assert shop.publish(1, allow_older=True).how is Ruling.SHIP


def test_a_damaged_record_that_was_removed_is_written_again_by_its_day(shop):
    release_id = rewrite(shop, later_everywhere)
    shop.store.delete(release_key(TARGET, release_id))
    assert shop.publish(0, allow_older=True).how is Ruling.UNCHANGED
    release = read_release(shop.store, TARGET, release_id)
    assert release.digest == digest_of(release)
