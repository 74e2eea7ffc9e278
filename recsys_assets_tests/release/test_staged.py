"""Documents of staged artifacts: one of a run is read, judged again, replaced and withdrawn as one of a kind is."""

import pytest

from recsys_assets.errors import CorruptObjectError
from recsys_assets.release.document_encoding import read_document
from recsys_assets.release.documents import StagedDay
from recsys_assets.release.layout import staged_day_key, staged_gates_key, staged_key
from recsys_assets.release.staged import (
    find_readable_artifact,
    find_report_together,
    find_staged_artifact,
    keep_report,
    keep_report_together,
    put_staged,
    read_staged_location,
    remove_staged,
    stage_in_run,
)
from recsys_assets.storage.memory import MemoryStore
from recsys_assets.storage.run_cache import RunCache
from recsys_assets.upkeep.roots import Retention, read_roots
from recsys_assets_tests.release.staging import KINDS, TARGET, Shop, day, report_of, stage_blob

KEY = staged_day_key(TARGET, day(0))


def found(store, kind):
    return find_staged_artifact(store, TARGET, day(0), kind)


def staged_by_itself(store, kind, content=0):
    stage_blob(store, TARGET, day(0), kind, content=content)
    return read_staged_location(store, TARGET, day(0), kind).artifact


@pytest.fixture
def store():
    """A store in which one run staged two kinds, and an earlier one another artifact of the first."""
    store = MemoryStore()
    of_run = [staged_by_itself(store, kind, content=1) for kind in KINDS]
    for kind in KINDS:
        store.delete(staged_key(TARGET, day(0), kind))
    staged_by_itself(store, KINDS[0])
    reads = RunCache(store)
    for staged in of_run:
        stage_in_run(reads, TARGET, day(0), staged, is_first=True)
    assert store.stat(KEY) is None
    assert [found(reads.read_again(), kind) for kind in KINDS] == of_run
    keep_report_together(reads, TARGET, day(0), report_of("rehearsal", "a" * 64))
    reads.flush()
    return store


def test_what_a_run_staged_is_one_document_and_comes_before_what_was_staged_earlier(store):
    assert set(read_document(store, KEY, StagedDay).artifacts) == set(KINDS)
    assert found(store, KINDS[0]) != read_staged_location(_without_the_run(store), TARGET, day(0), KINDS[0]).artifact
    assert find_report_together(store, TARGET, day(0), "rehearsal").version == "a" * 64
    assert store.stat(staged_gates_key(TARGET, day(0), "rehearsal")) is None


def _without_the_run(store):
    other = MemoryStore(objects=dict(store.objects))
    other.delete(KEY)
    return other


def test_what_is_built_by_itself_later_replaces_it_and_nothing_else(store):
    other = found(store, KINDS[1])
    again = staged_by_itself(MemoryStore(), KINDS[0], content=2)
    put_staged(store, TARGET, day(0), again)
    assert (found(store, KINDS[0]), found(store, KINDS[1])) == (again, other)


def test_a_report_of_later_is_written_where_the_artifact_is(store):
    place = read_staged_location(store, TARGET, day(0), KINDS[1])
    report = report_of(KINDS[1], place.artifact.ref.version, findings=())
    keep_report(store, place.artifact, report, over=place)
    assert found(store, KINDS[1]).gates == report
    assert set(read_document(store, KEY, StagedDay).artifacts) == set(KINDS)


def test_what_is_withdrawn_does_not_give_way_to_what_was_staged_before_it(store):
    remove_staged(store, TARGET, day(0), KINDS[0])
    assert found(store, KINDS[0]) is None
    assert found(store, KINDS[1]) is not None


def test_one_that_cannot_be_read_is_named_until_a_kind_is_built_again(store):
    store.put(KEY, b"{")
    with pytest.raises(CorruptObjectError, match="StagedDay"):
        found(store, KINDS[0])
    assert find_readable_artifact(store, TARGET, day(0), KINDS[0]) is None
    again = staged_by_itself(MemoryStore(), KINDS[0], content=2)
    put_staged(store, TARGET, day(0), again)
    assert found(store, KINDS[0]) == again


def test_collection_keeps_what_a_run_staged():
    shop = Shop(MemoryStore())
    shop.ship(0)
    reads = RunCache(shop.store)
    staged = staged_by_itself(shop.store, KINDS[0], content=9)
    shop.store.delete(staged_key(TARGET, day(0), KINDS[0]))
    stage_in_run(reads, TARGET, day(1), staged, is_first=True)
    blob = (staged.ref.kind, staged.ref.version)
    assert blob not in read_roots(shop.store, TARGET, Retention(), now=shop.clock()).blobs
    reads.flush()
    assert blob in read_roots(shop.store, TARGET, Retention(), now=shop.clock()).blobs


def test_a_run_that_stages_kind_by_kind_looks_once_for_a_document_of_all():
    store, calls = MemoryStore(), []
    artifacts = [staged_by_itself(MemoryStore(), kind) for kind in KINDS]
    store.on_call = lambda verb, key: calls.append((verb, key))
    reads = RunCache(store)
    for staged in artifacts:
        put_staged(reads, TARGET, day(0), staged)
    assert [found(reads, kind) for kind in KINDS] == artifacts
    assert sorted(calls) == [("get", KEY), *sorted(("put", staged_key(TARGET, day(0), kind)) for kind in KINDS)]
