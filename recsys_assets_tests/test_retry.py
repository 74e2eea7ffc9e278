"""Attempts: counted from 0, longer pauses each time up to a limit, none before the first and none after the last."""

from itertools import islice, repeat

import pytest

from recsys_assets.errors import ConflictError, NotFoundError, OutcomeUnknownError
from recsys_assets.retry import attempts, retry_conflicts


def test_each_attempt_is_numbered_and_the_pauses_double_up_to_the_longest():
    waited: list[float] = []

    assert [*attempts(6, first_seconds=0.1, longest_seconds=0.5, pause=waited.append)] == [0, 1, 2, 3, 4, 5]

    longest = [0.1, 0.2, 0.4, 0.5, 0.5]
    assert len(waited) == len(longest)
    assert all(limit / 2 <= seconds <= limit for seconds, limit in zip(waited, longest, strict=True))


def test_who_is_done_at_once_never_waits():
    def refuse(seconds: float) -> None:
        pytest.fail(f"waited {seconds} s")

    assert next(attempts(3, pause=refuse)) == 0


def test_without_a_first_pause_attempts_follow_each_other_at_once():
    waited: list[float] = []

    assert len([*attempts(4, first_seconds=0, pause=waited.append)]) == 4
    assert waited == []


def test_attempts_without_a_number_go_on_and_never_wait_longer_than_the_longest():
    waited: list[float] = []

    assert [*islice(attempts(None, first_seconds=0.1, longest_seconds=0.2, pause=waited.append), 2000)][-1] == 1999
    assert max(waited) <= 0.2


@pytest.mark.parametrize("lost", [ConflictError("another"), OutcomeUnknownError("no answer")])
def test_a_lost_write_is_made_again_after_a_pause(lost):
    waited: list[float] = []
    found = iter([lost, lost, "mine"])

    assert retry_conflicts(lambda: answer(next(found)), name="a.json", tries=3, pause=waited.append) == "mine"
    assert len(waited) == 2


def test_writes_that_are_lost_again_and_again_name_what_was_written():
    waited: list[float] = []
    found = repeat(ConflictError("another"))

    with pytest.raises(ConflictError, match=r"a\.json: lost 3 writes in a row to other writers"):
        retry_conflicts(lambda: answer(next(found)), name="a.json", tries=3, pause=waited.append)
    assert len(waited) == 2


def test_what_is_no_lost_write_is_raised_at_once():
    with pytest.raises(NotFoundError):
        retry_conflicts(lambda: answer(NotFoundError("gone")), name="a.json", tries=3, pause=pytest.fail)


def answer(found):
    if isinstance(found, Exception):
        raise found
    return found
