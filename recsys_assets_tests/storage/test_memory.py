"""The store in memory goes wrong exactly as it is asked to, so that tests which stand on it prove something."""

import pytest

from recsys_assets.errors import ConfigurationError, ConflictError, OutcomeUnknownError, StoreUnavailableError
from recsys_assets.storage.memory import Fault, FaultMode, MemoryStore

VERBS = {
    "get": lambda store: store.get("a", max_bytes=9),
    "stat": lambda store: store.stat("a"),
    "create": lambda store: store.create("b", b"new"),
    "swap": lambda store: store.swap("a", b"new", expected=store_etag(store)),
    "put": lambda store: store.put("a", b"new"),
    "list": lambda store: list(store.list("")),
    "delete": lambda store: store.delete("a"),
}
CHANGES = ("create", "swap", "put", "delete")


def store_etag(store):
    return store.get("a", max_bytes=9).etag


def contents(store):
    return {key: data for key, (data, _) in store.objects.items()}


@pytest.fixture
def store():
    store = MemoryStore()
    store.create("a", b"old")
    return store


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(
    ("how", "error"),
    [
        pytest.param(FaultMode.FAIL, StoreUnavailableError, id="F11 no answer"),
        pytest.param(FaultMode.DENY, ConfigurationError, id="F50 denied"),
        pytest.param(FaultMode.LOSE_REQUEST, StoreUnavailableError, id="F7 lost on the way there"),
    ],
)
def test_a_call_that_fails_changes_nothing_and_the_next_one_works(store, verb, how, error):
    store.inject(Fault(verb, how))
    before = contents(store)
    with pytest.raises(error, match="as requested"):
        VERBS[verb](store)
    assert contents(store) == before
    VERBS[verb](store)


@pytest.mark.parametrize("verb", CHANGES)
def test_a_lost_reply_is_an_error_after_the_work_is_done(store, verb):  # F7
    after = MemoryStore()
    after.create("a", b"old")
    VERBS[verb](after)
    store.inject(Fault(verb, FaultMode.LOSE_REPLY))
    with pytest.raises(StoreUnavailableError) as raised:
        VERBS[verb](store)
    assert contents(store) == contents(after)
    assert isinstance(raised.value, OutcomeUnknownError) == (verb in {"create", "swap"})


def test_ignored_conditions_let_every_writer_win(store):  # F10
    store.inject(Fault("create", FaultMode.IGNORE), Fault("swap", FaultMode.IGNORE))
    store.create("a", b"over")
    assert contents(store) == {"a": b"over"}
    store.swap("a", b"over again", expected="x")
    assert contents(store) == {"a": b"over again"}
    with pytest.raises(ConflictError):
        store.create("a", b"third")


def test_a_cut_listing_shows_half_and_says_nothing(store):  # F38
    for n in range(5):
        store.create(f"b/{n}", b"1")
    store.inject(Fault("list", FaultMode.CUT))
    assert len(list(store.list(""))) == 3
    assert len(list(store.list(""))) == 6


def test_a_fault_strikes_the_nth_call_of_its_verb_below_its_prefix_so_many_times(store):
    store.inject(Fault("put", FaultMode.FAIL, nth=2, times=2, prefix="b/"))
    message = []
    for key in ("b/1", "a", "b/2", "a", "b/3", "b/4"):
        try:
            store.put(key, b"1")
        except StoreUnavailableError:
            message.append(key)
    assert message == ["b/2", "b/3"]


def test_a_healed_store_works(store):
    store.inject(Fault("get", FaultMode.FAIL, times=100))
    store.heal()
    assert store.get("a", max_bytes=9).data == b"old"


def test_a_rival_can_step_in_before_a_call(store):  # F5
    etag = store_etag(store)

    def rival(verb, _):
        if verb == "swap":
            store.on_call = None
            store.put("a", b"rival")

    store.on_call = rival
    with pytest.raises(ConflictError):
        store.swap("a", b"new", expected=etag)
    assert contents(store) == {"a": b"rival"}


def test_what_a_caller_does_with_its_bytes_later_is_nothing_to_the_store(store):
    data = bytearray(b"1")
    store.put("b", data)
    data[0] = 0
    assert store.get("b", max_bytes=1).data == b"1"
