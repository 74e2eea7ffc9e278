"""Whatever is done to them in whatever order, a folder and a memory do what a plain dictionary would."""

import itertools
import tempfile

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from recsys_assets.errors import ConflictError, NotFoundError
from recsys_assets.storage.filesystem import FilesystemStore
from recsys_assets.storage.memory import MemoryStore

KEYS = st.sampled_from(["a", "b/c", "b/d", "b/e/f", "g.json"])
SIZES = st.sampled_from([0, 1, 5000])
CONFLICT, DONE = "conflict", "done"


class StoresAgainstADictionary(RuleBasedStateMachine):
    """Each write has bytes of its own; an etag of any earlier object of a key may be tried against it."""

    def __init__(self):
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self.stores = (MemoryStore(), FilesystemStore(self._folder.name))
        self.model = {}
        self.etags = {store: {} for store in range(len(self.stores))}  # per store: (key, bytes) -> etag
        self.seen = []  # (key, bytes) of every object that ever was
        self.numbers = itertools.count()

    def teardown(self):
        self._folder.cleanup()

    @rule(key=KEYS, size=SIZES)
    def create(self, key, size):
        data = self._bytes(size)
        expected = CONFLICT if key in self.model else DONE
        assert self._write("create", key, data) == expected
        if expected == DONE:
            self.model[key] = data

    @rule(key=KEYS, size=SIZES)
    def put(self, key, size):
        data = self._bytes(size)
        assert self._write("put", key, data) == DONE
        self.model[key] = data

    @rule(size=SIZES, which=st.data())
    def swap(self, size, which):
        if not self.seen:
            return
        key, old = which.draw(st.sampled_from(self.seen))
        data = self._bytes(size)
        expected = DONE if self.model.get(key) == old else CONFLICT
        assert self._write("swap", key, data, old=old) == expected
        if expected == DONE:
            self.model[key] = data

    @rule(key=KEYS)
    def delete(self, key):
        for store in self.stores:
            store.delete(key)
        self.model.pop(key, None)

    @rule(key=KEYS)
    def get(self, key):
        for n, store in enumerate(self.stores):
            try:
                stored = store.get(key, max_bytes=10_000)
            except NotFoundError:
                assert key not in self.model
            else:
                assert stored.data == self.model[key]
                assert stored.etag == self.etags[n][key, stored.data]
                assert store.get_if_changed(key, etag=stored.etag, max_bytes=0) is None

    @rule(prefix=st.sampled_from(["", "b/", "b/e/", "absent/"]))
    def list(self, prefix):
        expected = sorted((key, len(data)) for key, data in self.model.items() if key.startswith(prefix))
        for store in self.stores:
            assert [(item.key, item.size) for item in store.list(prefix)] == expected

    @invariant()
    def sizes_are_reported(self):
        for store in self.stores:
            for key in ("a", "b/c"):
                found = store.stat(key)
                assert (found.size if found else None) == (len(self.model[key]) if key in self.model else None)

    def _bytes(self, size):
        return f"{next(self.numbers)}".encode() + bytes(size)

    def _write(self, verb, key, data, *, old=None):
        """Write to every store; return what came of it, which is the same for all."""
        outcomes = set()
        for n, store in enumerate(self.stores):
            expected = {} if old is None else {"expected": self.etags[n][key, old]}
            try:
                self.etags[n][key, data] = getattr(store, verb)(key, data, **expected)
                outcomes.add(DONE)
            except ConflictError:
                outcomes.add(CONFLICT)
        if DONE in outcomes:
            self.seen.append((key, data))
        (outcome,) = outcomes
        return outcome


TestStoresAgainstADictionary = pytest.mark.slow(StoresAgainstADictionary.TestCase)
TestStoresAgainstADictionary.settings = settings(max_examples=30, stateful_step_count=25, deadline=None)
