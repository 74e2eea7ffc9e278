"""Work for several things runs at once, and its results come as if it had not."""

import threading

import pytest

from recsys_assets.storage.store import AT_ONCE, fan_out

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
