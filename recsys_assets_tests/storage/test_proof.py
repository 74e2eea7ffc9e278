"""A store that does not keep its word is refused before anything is trusted to it, and so is one of another format."""

import hashlib
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from recsys_assets.errors import ConfigurationError, CorruptObjectError, UnsafeStoreError
from recsys_assets.storage.memory import Fault, FaultMode, MemoryStore
from recsys_assets.storage.proof import KEY, check_format, ensure_proven, written_roots

NOW = datetime(2026, 3, 1, tzinfo=UTC)


class CreatingStore(MemoryStore):
    """Looks at the condition of a swap where there is something to look at, and else creates."""

    def swap(self, key, data, *, expected):
        """Replace the object, or create it."""
        return super().swap(key, data, expected=expected) if self.stat(key) else self.put(key, data)


class RepeatingStore(MemoryStore):
    """Gives an object that was deleted and created again the mark that the former one had."""

    def delete(self, key):
        """Remove the object, and keep its mark."""
        self.former = hashlib.sha256(self.objects[key][0]).hexdigest() if key in self.objects else None
        super().delete(key)

    def swap(self, key, data, *, expected):
        """Replace the object, also by the mark of the former one."""
        is_former = key in self.objects and expected == getattr(self, "former", None)
        return self.put(key, data) if is_former else super().swap(key, data, expected=expected)


def test_a_store_that_gives_a_mark_again_after_a_delete_is_refused():  # F59
    with pytest.raises(UnsafeStoreError, match="created again fails"):
        ensure_proven(RepeatingStore())


def test_a_store_whose_swap_creates_what_is_gone_is_refused():  # F10
    with pytest.raises(UnsafeStoreError, match=r"\(a swap of what is gone fails\)"):
        ensure_proven(CreatingStore())


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        pytest.param(Fault("create", FaultMode.IGNORE, nth=2), "second create", id="F10 create writes over"),
        pytest.param(Fault("swap", FaultMode.IGNORE, nth=2), "changed since", id="F10 swap writes over"),
        pytest.param(Fault("swap", FaultMode.IGNORE, nth=4), "created again", id="F59 a mark comes again"),
        pytest.param(Fault("swap", FaultMode.IGNORE, nth=5), "gone fails", id="F10 swap creates"),
        pytest.param(Fault("list", FaultMode.CUT), "listed", id="F10 listing is not whole"),
    ],
)
def test_a_store_that_ignores_conditions_is_refused(fault, message):
    store = MemoryStore()
    store.inject(fault)
    with pytest.raises(UnsafeStoreError, match=message):
        ensure_proven(store)
    assert KEY not in store.objects
    assert store.objects == {}


def test_a_proof_costs_one_read_later():
    store = MemoryStore()
    ensure_proven(store)
    calls = []
    store.on_call = lambda verb, key: calls.append((verb, key))
    ensure_proven(store)
    assert calls == [("get", KEY)]


@pytest.mark.parametrize("days", [-2, 2])
def test_a_store_that_ceases_to_keep_its_word_is_noticed_within_a_day(days):  # F10
    store = MemoryStore()
    ensure_proven(store, now=lambda: NOW)
    store.inject(Fault("swap", FaultMode.IGNORE, times=100))
    ensure_proven(store, now=lambda: NOW + timedelta(hours=23))
    with pytest.raises(UnsafeStoreError, match="does not keep its word"):
        ensure_proven(store, now=lambda: NOW + timedelta(days=days))
    with pytest.raises(UnsafeStoreError):
        ensure_proven(store, now=lambda: NOW + timedelta(hours=1))
    assert KEY not in store.objects


def test_a_proof_of_before_is_made_again_and_says_when():
    store = MemoryStore()
    store.put(KEY, msgspec.json.encode({"v": 1, "root": store.root_uri}))
    ensure_proven(store, now=lambda: NOW)
    assert msgspec.json.decode(store.objects[KEY][0])["at"] == "2026-03-01T00:00:00Z"


def test_a_public_root_that_is_new_is_remembered_between_two_proofs_which_it_does_not_stand_for():
    store = MemoryStore()
    ensure_proven(store, now=lambda: NOW)
    store.public_root = "memory://alias"
    ensure_proven(store, now=lambda: NOW + timedelta(hours=1))
    assert written_roots(store) == (store.root_uri, "memory://alias")
    assert msgspec.json.decode(store.objects[KEY][0])["at"] == "2026-03-01T00:00:00Z"
    calls = []
    store.on_call = lambda verb, key: calls.append((verb, key))
    ensure_proven(store, now=lambda: NOW + timedelta(hours=2))
    assert calls == [("get", KEY)]


def test_a_proof_copied_from_another_store_proves_nothing():  # F10
    store, copy = MemoryStore(name="one"), MemoryStore(name="two")
    ensure_proven(store)
    copy.objects.update(store.objects)
    assert not check_format(copy)
    copy.inject(Fault("swap", FaultMode.IGNORE, times=100))
    with pytest.raises(UnsafeStoreError):
        ensure_proven(copy)


@pytest.mark.parametrize(
    ("found", "message"), [pytest.param(2, "upgrade", id="F51 newer"), pytest.param(0, "migrate", id="F51 older")]
)
def test_a_store_of_another_format_is_refused_with_the_next_step(found, message):
    store = MemoryStore()
    store.put(KEY, msgspec.json.encode({"v": found, "root": store.root_uri, "added_later": 1}))
    with pytest.raises(ConfigurationError, match=message):
        ensure_proven(store)


def test_a_proof_that_cannot_be_read_says_what_to_do():  # F14
    store = MemoryStore()
    store.put(KEY, b"{")
    with pytest.raises(CorruptObjectError, match="remove it"):
        ensure_proven(store)
