"""Store calls of a day: each is a request where the store is a bucket."""

from collections import Counter

import pytest

from recsys_assets.pipeline.run_day import run_day
from recsys_assets.settings.reading import parse_settings
from recsys_assets.storage.memory import MemoryStore
from recsys_assets_tests.small_shop import CONFIG, HOME, TARGETS, after, day_lines, open_shop

MOST_CALLS = 45  # each with its reason in docs/architecture.md
WINDOWS = "".join(f"[artifacts.{k}]\nwindow_days = 1\n" for k in ("popularity", "cooc", "implicit", "session_seq"))
VERBS = ("get", "get_if_changed", "stat", "create", "swap", "put", "list", "delete", "delete_unchanged")


class Counting(MemoryStore):
    """A store that counts the calls of its verbs by the first part of the key."""

    calls: Counter[tuple[str, str]]


def _counted(verb):
    def call(self, key, *args, **kwargs):
        self.calls[verb, key.partition("/")[0]] += 1
        return getattr(MemoryStore, verb)(self, key, *args, **kwargs)

    return call


for _verb in VERBS:
    setattr(Counting, _verb, _counted(_verb))


class Remote(Counting):
    """Such a store that is taken for one behind a network: what may overlap does."""

    @property
    def root_uri(self):
        return f"s3://bucket/{self.name}"


@pytest.mark.parametrize("kind", [Counting, Remote])
def test_a_second_day_of_five_kinds_makes_few_calls_and_keeps_the_proofs_of_the_swap(tmp_path, kind):
    shop = open_shop(tmp_path, None)
    settings = parse_settings((CONFIG + WINDOWS + TARGETS).encode(), name="test", base=tmp_path)
    store = kind()
    store.calls = Counter()
    for n in range(2):
        shop.write(after(n), day_lines(after(n), targets=(HOME,), shift=n))
        store.calls.clear()
        lines = list(run_day(store, settings, [settings.find(HOME.tenant, HOME.surface)], after(n)))
        assert [line.text for line in lines if line.state != "ok"] == []
    kinds = len(settings.artifacts.kinds)
    assert kinds == 5
    assert sum(store.calls.values()) == MOST_CALLS, store.calls
    assert store.calls["get", "artifacts"] >= kinds, "the swap reads every new blob from the store itself"
