"""Attempts: counted from 0, longer pauses each time up to a limit, none before the first and none after the last."""

import pytest

from recsys_assets.retry import attempts


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
