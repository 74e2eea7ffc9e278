"""Concurrent tasks: results in the order of the tasks, no more running than allowed, and none left running."""

import threading

import pytest

from recsys_assets.pipeline.parallel_targets import run_in_order

WAIT = 30  # seconds until a test gives up


def tasks_of(*yields):
    return [lambda one=one: iter(one) for one in yields]


@pytest.mark.parametrize("at_once", [1, 2, 5])
def test_results_come_in_the_order_of_the_tasks(at_once):
    assert list(run_in_order(tasks_of("ab", "", "c", "de"), [1, 1, 1, 9], at_once=at_once)) == list("abcde")
    assert list(run_in_order([], [], at_once=at_once)) == []


def test_later_tasks_go_on_while_the_first_is_under_way():
    second_ended = threading.Event()

    def first():
        yield "first"
        assert second_ended.wait(WAIT)

    def second():
        yield "second"
        second_ended.set()

    assert list(run_in_order([first, second], [1, 2], at_once=2, small=3)) == ["first", "second"]
    assert second_ended.is_set()


def test_results_are_there_before_their_work_has_ended():
    seen = threading.Event()

    def work():
        yield 1
        assert seen.wait(WAIT)
        yield 2

    found = []
    for number in run_in_order([work, *tasks_of([3])], [0, 0], at_once=2):
        found.append(number)
        seen.set()
    assert found == [1, 2, 3]


@pytest.mark.parametrize(
    ("sizes", "small", "most"),
    [
        pytest.param([3, 9, 4, 5, 1, 9, 2, 2, 2, 2, 2], 0, 9, id="the largest"),
        pytest.param([2] * 12, 4, 4, id="two small ones"),
        pytest.param([2] * 12, 0, 2, id="one by one"),
    ],
)
def test_tasks_are_together_no_larger_than_the_largest_or_than_what_is_small(sizes, small, most):
    lock, under_way, sums, begun = threading.Lock(), [], [], []

    def work(number):
        with lock:
            begun.append(number)
            under_way.append(sizes[number])
            sums.append(sum(under_way))
        yield number
        with lock:
            under_way.remove(sizes[number])

    tasks = [lambda n=n: work(n) for n in range(len(sizes))]
    assert list(run_in_order(tasks, sizes, at_once=4, small=small)) == list(range(len(sizes)))
    assert max(sums) <= most
    assert sorted(begun) == list(range(len(sizes)))


def test_what_a_work_raises_comes_after_its_results_and_then_no_work_begins():
    found, begun, seen = [], [], threading.Event()

    def failing():
        yield "before"
        raise ValueError("broken")

    def waiting(number):
        begun.append(number)
        assert seen.wait(WAIT)
        yield from range(1_000_000)  # ended at its first result by the error

    def read(results):
        try:
            for result in results:
                found.append(result)
                seen.set()
        except ValueError as error:
            found.append(str(error))

    tasks = [failing, *(lambda n=n: waiting(n) for n in range(20))]
    read(run_in_order(tasks, [0] * len(tasks), at_once=2))
    assert found == ["before", "broken"]
    assert len(begun) <= 2


def test_a_reader_that_leaves_ends_every_work():
    ended = []

    def long(number):
        try:
            yield from range(1_000_000)
        finally:
            ended.append(number)

    results = run_in_order([lambda n=n: long(n) for n in range(5)], [1] * 5, at_once=3, small=3)
    assert next(results) == 0
    results.close()
    assert 0 in ended
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("target")]
