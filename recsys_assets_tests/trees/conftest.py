"""A tree in memory with a clock that is set by hand."""

from datetime import UTC, datetime, timedelta

import pytest

from recsys_assets.storage.memory import MemoryStore
from recsys_assets.trees.documents import Hierarchy
from recsys_assets.trees.tree import ArtifactTree

PIPELINE = Hierarchy("ml_pipeline", ("experiment", "model", "predictions"))


class Clock:
    def __init__(self):
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def timestamp(self):
        return self.now.timestamp()

    def __call__(self):
        self.now += timedelta(seconds=1)
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store(clock):
    return MemoryStore(clock=clock.timestamp)


@pytest.fixture
def tree(store, clock):
    return ArtifactTree(store, PIPELINE, now=clock, pause=lambda _: None)
