"""Work for several things runs at once, and its results come as if it had not."""

import threading

import pytest

from recsys_assets.errors import NotFoundError, RefusedError
from recsys_assets.storage.memory import MemoryStore
from recsys_assets.storage.run_cache import RunCache
from recsys_assets.storage.store import AT_ONCE, fan_out, overlapped

WAIT = 30  # seconds until a test gives up; none waits so long when all is well


def test_results_come_in_the_order_of_the_items():
    first_may_end = threading.Event()

    def work(item):
        assert item != 0 or first_may_end.wait(WAIT)
        if item == 3:
            first_may_end.set()
        return item * item

    assert fan_out(work, range(4)) == (0, 1, 4, 9)


def test_as_many_as_asked_run_at_once_and_no_more():
    together = threading.Barrier(AT_ONCE, timeout=WAIT)
    running, most, lock = [], [], threading.Lock()

    def work(item):
        with lock:
            running.append(item)
            most.append(len(running))
        together.wait()
        with lock:
            running.remove(item)

    fan_out(work, range(AT_ONCE * 2))
    assert max(most) == AT_ONCE


@pytest.mark.parametrize("items", [(), (1,)], ids=["nothing", "one thing"])
def test_what_has_nothing_beside_it_needs_no_thread(items):
    assert fan_out(lambda _: threading.current_thread(), items) == (threading.current_thread(),) * len(items)


def test_what_fails_is_raised_and_leaves_no_thread_behind():
    threads = set()

    def work(item):
        threads.add(threading.current_thread())
        return 1 / item

    with pytest.raises(ZeroDivisionError):
        fan_out(work, range(20))
    assert not any(thread.is_alive() for thread in threads)


class Remote(MemoryStore):
    """A store that is taken for one behind a network."""

    @property
    def root_uri(self):
        return "s3://bucket/prefix"


def fails(error):
    raise error


def test_questions_to_a_remote_store_overlap_and_fail_by_the_order_of_their_results():
    together = threading.Barrier(2, timeout=WAIT)
    with overlapped(Remote()) as beside:
        first, second = beside.start(together.wait), beside.start(together.wait)
        assert {first(), second()} == {0, 1}
    with overlapped(Remote()) as beside:
        later, first = beside.start(fails, RefusedError("later")), beside.start(fails, NotFoundError("first"))
        with pytest.raises(NotFoundError):
            first()
        with pytest.raises(RefusedError):
            later()


def test_any_other_store_is_asked_when_a_result_is_called_for():
    asked = []
    with overlapped(MemoryStore()) as beside:
        first, second = beside.start(asked.append, 1), beside.start(asked.append, 2)
        second()
        assert asked == [2]
        first()
    assert asked == [2, 1]


@pytest.mark.parametrize(("kind", "early"), [(MemoryStore, 0), (Remote, 3)])
def test_what_is_about_to_be_read_is_read_once_and_what_is_absent_is_for_who_asks(kind, early):
    store, calls = kind(), []
    for n in range(2):
        store.put(f"canonical/{n}.json", b"{}")
    store.on_call = lambda verb, key: calls.append((verb, key))
    reads, keys = RunCache(store), [f"canonical/{n}.json" for n in range(3)]
    reads.prefetch(keys, max_bytes=9)
    assert len(calls) == early
    assert [reads.get(key, max_bytes=9).data for key in keys[:2]] == [b"{}", b"{}"]
    for _ in range(2):
        with pytest.raises(NotFoundError):
            reads.get(keys[2], max_bytes=9)
    assert len(calls) == 3
