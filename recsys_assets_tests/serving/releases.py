"""Releases whose every answer names the release, so that a mix of two shows."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from recsys_assets.identity import Target
from recsys_assets.release.layout import blob_key, blocked_key, pointer_key
from recsys_assets.serving.testing import DAY, publish_fixture

TARGET = Target("shop", "home")
POINTER = pointer_key(TARGET)
BLOCKED = blocked_key(TARGET)
IDLE = [BLOCKED, POINTER]  # what a look at the store reads that brings nothing new
START = datetime(2026, 3, 1, tzinfo=UTC)


@dataclass
class Clock:
    """A clock that stands still until it is moved."""

    at: datetime = START

    def __call__(self):
        return self.at

    def move(self, **by):
        self.at += timedelta(**by)


@dataclass
class Tick(Clock):
    """A clock that moves by a second at every look."""

    def __call__(self):
        self.at += timedelta(seconds=1)
        return self.at


@dataclass
class Shop:
    """A target whose n-th day is shipped by one call."""

    store: object
    target: Target = TARGET
    clock: Clock = field(default_factory=Tick)

    def ship(self, n, *, plan=None, **more):
        outcome = publish_fixture(
            self.store,
            self.target.tenant,
            self.target.surface,
            rows_of(n) | more,
            day=DAY + timedelta(days=n),
            now=self.clock,
            plan=plan,
        )
        return outcome.release

    def blob(self, release, kind):
        return blob_key(self.target, kind, release.refs[kind].version)


def rows_of(n):
    return {
        "popularity": {f"item {n}": 7, "other": 1},
        "cooc": {"item": {f"item {n}": 3}},
        "implicit": {"user": {f"item {n}": 2}},
        "session_seq": {"user": {f"item {n}": 1}, "idle": {}},
        "content_sim": {"item": [f"tag {n}"]},
    }


def answers(snapshot):
    """The number that each kind's answer names, which is one number unless releases were mixed."""
    return {
        int(text.rpartition(" ")[2])
        for text in (
            snapshot.top_items(1)[0].item_id,
            snapshot.neighbors("item")[0].item_id,
            snapshot.for_user("user")[0].item_id,
            snapshot.next_for_user("user")[0].item_id,
            snapshot.tags("item")[0],
        )
    }
