"""A store for one look asks each question once, answers as the store does, and forgets when it is written through."""

import pytest

from recsys_assets.errors import ConflictError, CorruptObjectError, NotFoundError, StoreUnavailableError
from recsys_assets.storage.memory import Fault, FaultMode, MemoryStore
from recsys_assets.storage.run_cache import ReadOnce


@pytest.fixture
def store():
    store = MemoryStore()
    store.put("a/1", b"one")
    return store


@pytest.fixture
def calls(store):
    seen = []
    store.on_call = lambda verb, key: seen.append((verb, key))
    return seen


def test_each_question_is_asked_once_and_answered_as_the_store_does(store, calls):
    once = ReadOnce(store)
    questions = [
        lambda s: s.get("a/1", max_bytes=9),
        lambda s: s.stat("a/1"),
        lambda s: s.stat("a/2"),
        lambda s: list(s.list("a/")),
        lambda s: s.get_if_changed("a/1", etag=s.get("a/1", max_bytes=9).etag, max_bytes=9),
        lambda s: (s.root_uri, s.uri_roots),
    ]
    answers = [[ask(once) for ask in questions] for _ in range(3)]
    asked = len(calls)
    assert answers == [[ask(store) for ask in questions]] * 3
    assert asked == 5


def test_what_is_missing_is_asked_for_once_too(store, calls):
    once = ReadOnce(store)
    for _ in range(3):
        with pytest.raises(NotFoundError, match="a/2 is not in the store"):
            once.get("a/2", max_bytes=9)
    assert calls == [("get", "a/2")]


def test_a_look_sees_one_state_whatever_others_write(store):
    once = ReadOnce(store)
    before = once.get("a/1", max_bytes=9)
    store.put("a/1", b"two")
    assert once.get("a/1", max_bytes=9) == before
    assert ReadOnce(store).get("a/1", max_bytes=9).data == b"two"


@pytest.mark.parametrize(
    "write",
    [
        pytest.param(lambda s: s.put("a/1", b"two"), id="put"),
        pytest.param(lambda s: s.swap("a/1", b"two", expected=s.get("a/1", max_bytes=9).etag), id="swap"),
        pytest.param(lambda s: (s.delete("a/1"), s.create("a/1", b"two")), id="delete and create"),
    ],
)
def test_what_is_written_through_it_is_read_back(store, write):
    once = ReadOnce(store)
    assert once.get("a/1", max_bytes=9).data == b"one"
    write(once)
    assert once.get("a/1", max_bytes=9).data == store.get("a/1", max_bytes=9).data == b"two"


def test_conditions_and_limits_are_the_stores_own(store):
    once = ReadOnce(store)
    with pytest.raises(ConflictError):
        once.create("a/1", b"two")
    with pytest.raises(CorruptObjectError):
        once.get("a/1", max_bytes=2)
    assert once.get("a/1", max_bytes=3).data == b"one"


def test_a_store_that_did_not_answer_is_asked_again(store):
    once = ReadOnce(store)
    store.inject(Fault("get", FaultMode.FAIL))
    with pytest.raises(StoreUnavailableError):
        once.get("a/1", max_bytes=9)
    assert once.get("a/1", max_bytes=9).data == b"one"
