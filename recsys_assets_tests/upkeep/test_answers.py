"""Answers summed over heartbeats: rates by release and kind, and when the live release is worse than the one before."""

from datetime import UTC, datetime

import msgspec
import pytest

from recsys_assets.storage.memory import MemoryStore
from recsys_assets.upkeep.answer_guard import Answers, answers_of, worse_kinds
from recsys_assets.upkeep.heartbeats import Heartbeat, KindAnswers, ReleaseAnswers, write_heartbeat
from recsys_assets.upkeep.status import status
from recsys_assets_tests.release.staging import TARGET, Shop

NEW, OLD = "a" * 64, "b" * 64
NOW = datetime(2026, 3, 1, tzinfo=UTC)


def beat(consumer, *answers):
    return Heartbeat(
        consumer=consumer,
        release=NEW,
        state="fresh",
        seen_at="2026-03-01T00:00:00Z",
        every_seconds=60.0,
        nonce=consumer,
        answers=tuple(ReleaseAnswers(release=release, kinds=kinds) for release, kinds in answers),
        v=2,
    )


def asked(number, **results):
    return {"cooc": KindAnswers(asked=number, **results)}


def test_counts_of_consumers_add_up_by_release_and_kind():
    beats = [
        beat("web-1", (NEW, asked(100, empty=3, short=5)), (OLD, asked(70, unknown=1))),
        beat("web-2", (NEW, asked(50, failed=2) | {"popularity": KindAnswers(asked=7)})),
        msgspec.structs.replace(beat("old"), answers=msgspec.UNSET, v=1),
    ]
    assert answers_of(beats, live=NEW) == (
        Answers(NEW, "cooc", live=True, asked=150, empty=3, short=5, failed=2),
        Answers(NEW, "popularity", live=True, asked=7),
        Answers(OLD, "cooc", live=False, asked=70, unknown=1),
    )


@pytest.mark.parametrize(
    ("new", "old", "is_worse"),
    [
        pytest.param(asked(2000, empty=200), asked(2000, empty=20), True, id="ten times as often"),
        pytest.param(asked(2000, unknown=200), asked(2000, unknown=190), False, id="as often"),
        pytest.param(asked(2000, empty=30), asked(2000, empty=14), False, id="twice as often, and seldom"),
        pytest.param(asked(900, empty=900), asked(2000), False, id="too few questions of the live release"),
        pytest.param(asked(2000, empty=900), asked(900), False, id="too few questions of the one before"),
        pytest.param(asked(2000, failed=100), asked(2000), True, id="failed"),
    ],
)
def test_a_release_is_worse_beyond_chance(new, old, is_worse):
    found = worse_kinds(answers_of([beat("web-1", (NEW, new), (OLD, old))], live=NEW))
    assert bool(found) is is_worse


def test_status_names_a_release_that_answers_worse():
    shop = Shop(MemoryStore())
    first, second = (shop.ship(n, n).release.id for n in range(2))
    answers = ((second, asked(2000, empty=500)), (first, asked(5000, empty=50)))
    write_heartbeat(shop.store, TARGET, beat("web-1", *answers), expected=None)
    (row,) = status(shop.store, [TARGET], now=NOW)
    assert [(one.release, one.live, one.asked) for one in row.answers] == [(second, True, 2000), (first, False, 5000)]
    (problem,) = [problem for problem in row.problems if "without items" in problem]
    assert "25.0%" in problem
    assert "1.0%" in problem
