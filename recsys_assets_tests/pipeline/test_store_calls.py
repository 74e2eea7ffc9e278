"""Store calls of a day: each is a request where the store is a bucket."""

from collections import Counter

from recsys_assets.pipeline.artifact import build_artifact, judge_artifact
from recsys_assets.pipeline.candidate_gates import judge_whole
from recsys_assets.pipeline.canonical import build_canonical, judge_canonical
from recsys_assets.pipeline.context import DayContext
from recsys_assets.pipeline.raw import build_raw
from recsys_assets.pipeline.ship import ship_day
from recsys_assets.release.forgotten_users import Forgotten
from recsys_assets.release.journal import Actor
from recsys_assets.settings.reading import parse_settings
from recsys_assets.storage.memory import MemoryStore
from recsys_assets.storage.run_reads import RunReads
from recsys_assets_tests.small_shop import CONFIG, HOME, TARGETS, after, day_lines, open_shop

MOST_CALLS = 66  # 9 look for users who were forgotten meanwhile, never from a cache; 1 for blocked items
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


def build(store, settings, day):
    reads = RunReads(store)
    forgotten = build_raw(reads, settings, day).forgotten.get((HOME.tenant, HOME.surface), Forgotten())
    row = settings.find(HOME.tenant, HOME.surface)
    context = DayContext(reads, settings, row, day, run_id="test", forgotten=forgotten)
    build_canonical(context)
    judge_canonical(context)
    for kind in settings.artifacts.kinds:
        build_artifact(context, kind)
        judge_artifact(context, kind)
    judge_whole(context)
    return ship_day(context, by=Actor("ann", "a test")).outcome


def test_a_second_day_of_five_kinds_makes_few_calls_and_keeps_the_proofs_of_the_swap(tmp_path):
    shop = open_shop(tmp_path, None)
    settings = parse_settings((CONFIG + WINDOWS + TARGETS).encode(), name="test", base=tmp_path)
    store = Counting()
    store.calls = Counter()
    for n in range(2):
        shop.write(after(n), day_lines(after(n), targets=(HOME,), shift=n))
        store.calls.clear()
        outcome = build(store, settings, after(n))
        assert outcome.live == outcome.release.id
    kinds = len(settings.artifacts.kinds)
    assert kinds == 5
    assert sum(store.calls.values()) <= MOST_CALLS, store.calls
    assert store.calls["get", "artifacts"] >= kinds, "the swap reads every new blob from the store itself"
