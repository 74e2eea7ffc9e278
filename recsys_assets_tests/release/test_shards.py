"""A kind in shards ships, rolls back and is collected by what its record lists, which is what its index lists."""

import hashlib
from datetime import timedelta

import msgspec
import pytest

from recsys_assets.artifact_format import MAX_SHARDS
from recsys_assets.errors import CorruptObjectError, RefusedError
from recsys_assets.identity import ArtifactRef, Target, Window
from recsys_assets.release.document_encoding import encode, read_document
from recsys_assets.release.documents import StagedArtifact
from recsys_assets.release.journal import Actor
from recsys_assets.release.layout import blob_key, release_key, staged_key
from recsys_assets.release.pointer import read_current
from recsys_assets.release.releases import read_release, refs_of
from recsys_assets.release.rollback import roll_back
from recsys_assets.release.shards import ShardIndex, make_index, parse_index, read_index
from recsys_assets.storage.memory import MemoryStore
from recsys_assets.upkeep.collect import collect, explain
from recsys_assets.upkeep.diff import diff
from recsys_assets.upkeep.roots import Retention
from recsys_assets.upkeep.status import status_of
from recsys_assets.upkeep.verify import verify
from recsys_assets_tests.release.staging import SHARDED, TARGET, WITH_SHARDS, Shop, day

ANN = Actor("ann", "prices are wrong")
INDEX = f"{SHARDED}.shards"


@pytest.fixture
def shop():
    shop = Shop(MemoryStore(), kinds=WITH_SHARDS)
    shop.store.clock = lambda clock=shop.clock: clock.at.timestamp()
    return shop


def gather(shop, keep=1):
    shop.clock.at += timedelta(days=3)
    return collect(
        shop.store, TARGET, by=ANN, now=shop.clock, retention=Retention(keep=keep, grace=timedelta(hours=1)), apply=True
    )


def shard_keys(release):
    return {blob_key(TARGET, SHARDED, ref.version) for ref in refs_of(release) if ref.kind == SHARDED}


def kept_keys(shop):
    return {item.key for item in shop.store.list(f"artifacts/shop/home/{SHARDED}/")}


def staged_of(shop, n):
    return read_document(shop.store, staged_key(TARGET, day(n), SHARDED), StagedArtifact)


def restage(shop, n, **change):
    staged = msgspec.structs.replace(staged_of(shop, n), **change)
    shop.store.put(staged_key(TARGET, day(n), SHARDED), encode(staged))


def test_the_release_lists_each_shard_and_the_pointer_names_the_index_alone(shop):
    release = shop.ship(0).release
    (member,) = [one for one in release.members if one.ref.kind == INDEX]
    assert [ref.kind for ref in member.shards] == [SHARDED] * 3
    assert read_index(shop.store, TARGET, member.ref).refs == member.shards
    current = read_current(shop.store, TARGET)
    assert sorted(current.pointer.current) == ["cooc", INDEX, "popularity"]
    assert current.release_id == release.id == read_release(shop.store, TARGET, release.id).id


def test_f51_a_record_without_shards_has_no_key_that_older_readers_do_not_know():
    plain = Shop(MemoryStore())
    release = plain.ship(0).release
    assert b'"shards"' not in plain.store.get(release_key(TARGET, release.id), max_bytes=10**6).data
    assert b'"shards"' not in plain.store.get(staged_key(TARGET, day(0), "cooc"), max_bytes=10**6).data


@pytest.mark.parametrize("number", [0, 2])
def test_f12_a_missing_shard_is_refused_at_the_swap_at_rollback_and_reported_by_verify_and_status(shop, number):
    first = shop.ship(0).release
    lost = next(one for one in first.members if one.ref.kind == INDEX).shards[number]
    shop.ship(1)
    shop.store.delete(blob_key(TARGET, SHARDED, lost.version))
    with pytest.raises(RefusedError, match=f"{SHARDED}: .*{lost.version[:12]}"):
        roll_back(shop.store, TARGET, to=first.id, by=ANN, now=shop.clock)
    proofs = {proof.release_id: proof.faults for proof in verify(shop.store, TARGET).releases}
    assert len(proofs.pop(first.id)) == 1
    assert not any(proofs.values())

    shop.stage(2)
    gone = staged_of(shop, 2).shards.refs[number]
    shop.store.delete(blob_key(TARGET, SHARDED, gone.version))
    with pytest.raises(RefusedError, match=SHARDED):
        shop.publish(2)
    live = read_release(shop.store, TARGET, read_current(shop.store, TARGET).release_id)
    for ref in refs_of(live):
        if ref.kind == SHARDED:
            shop.store.delete(blob_key(TARGET, SHARDED, ref.version))
    problems = status_of(shop.store, TARGET, now=shop.clock()).problems
    assert sum(f"{SHARDED} " in problem and "is missing" in problem for problem in problems) == 3


def test_f13_a_shard_with_a_flipped_bit_is_refused(shop):
    shop.stage(0)
    ref = staged_of(shop, 0).shards.refs[1]
    key = blob_key(TARGET, SHARDED, ref.version)
    data = bytearray(shop.store.get(key, max_bytes=ref.size).data)
    data[len(data) // 2] ^= 1
    shop.store.put(key, bytes(data))
    with pytest.raises(RefusedError, match=SHARDED):
        shop.publish(0)
    assert read_current(shop.store, TARGET) is None


@pytest.mark.parametrize("change", ["one left out", "another order", "none at all"])
def test_a_record_that_lists_other_shards_than_its_index_does_not_ship(shop, change):
    """Collection keeps what records list: a shard that only the index knew would be taken from under its readers."""
    shop.stage(0)
    shards = staged_of(shop, 0).shards
    wrong = {
        "one left out": msgspec.structs.replace(shards, refs=shards.refs[:2]),
        "another order": msgspec.structs.replace(shards, refs=shards.refs[::-1]),
        "none at all": msgspec.UNSET,
    }[change]
    restage(shop, 0, shards=wrong)
    with pytest.raises(RefusedError, match="are not the"):
        shop.publish(0)


def test_i8_collection_keeps_the_shards_of_what_is_retained_and_takes_those_of_what_is_not(shop):
    old, same = shop.ship(0).release, shop.ship(1).release
    shop.stage(1, content=5)  # two of its three shards are those that live names
    new = shop.publish(1).release
    assert len(shard_keys(same) & shard_keys(new)) == 2
    shop.stage(2)  # about to ship
    pending = {blob_key(TARGET, SHARDED, ref.version) for ref in staged_of(shop, 2).shards.refs}
    taken = {item.key for item in gather(shop).taken}
    assert shard_keys(new) | pending == kept_keys(shop)
    assert shard_keys(old) <= taken
    assert shard_keys(same) - shard_keys(new) <= taken
    assert verify(shop.store, TARGET, keep=1).ok
    assert f"is kept: release {new.id[:12]}: live" in explain(
        shop.store, TARGET, min(shard_keys(new)), now=shop.clock, retention=Retention(keep=1)
    )


def test_f36_f37_a_release_that_comes_again_takes_its_shards_back_from_the_trash(shop):
    old = shop.ship(0).release
    for n in range(1, 3):
        shop.ship(n)
    gather(shop)
    assert not shard_keys(old) & kept_keys(shop)
    shop.publish(0, allow_older=True)
    assert shard_keys(old) <= kept_keys(shop)
    assert verify(shop.store, TARGET, keep=1).ok


def test_a_rollback_serves_the_shards_of_then_again(shop):
    first = shop.ship(0).release
    shop.ship(1)
    roll_back(shop.store, TARGET, to="previous", by=ANN, now=shop.clock)
    assert read_current(shop.store, TARGET).release_id == first.id
    gather(shop)
    assert shard_keys(first) <= kept_keys(shop)


def test_two_releases_are_compared_by_the_rows_of_all_shards(shop):
    first = shop.ship(0).release
    shop.stage(0, content=4)
    second = shop.publish(0).release
    (found,) = [one for one in diff(shop.store, TARGET, first.id, second.id).kinds if one.kind == SHARDED]
    assert (found.rows_before, found.rows_after, [row for row, *_ in found.moved]) == (3, 3, ["u2"])


def index_of(shop):
    shop.stage(0)
    ref = staged_of(shop, 0).ref
    return shop.store.get(blob_key(TARGET, INDEX, ref.version), max_bytes=ref.size).data


@pytest.mark.parametrize(
    ("change", "match"),
    [
        pytest.param({"tenant": "other"}, "not implicit.shards of shop/home", id="F20 of another tenant"),
        pytest.param({"artifact_type": "session_seq"}, "not implicit.shards", id="of another kind"),
        pytest.param({"rule": "crc32"}, "upgrade", id="F51 another rule"),
        pytest.param({"v": 2}, "upgrade", id="F51 another format"),
        pytest.param({"rows": 9}, "build it again", id="other sums"),
        pytest.param({"shards": []}, "build it again", id="no shard"),
        pytest.param({"more": 1}, "unknown field", id="an unknown key"),
    ],
)
def test_an_index_that_is_not_ours_is_refused(shop, change, match):
    message = msgspec.json.decode(index_of(shop)) | change
    with pytest.raises(CorruptObjectError, match=match):
        parse_index(msgspec.json.encode(message), TARGET, INDEX, name="the index")


def test_f18_an_index_names_versions_and_never_places(shop):
    message = msgspec.json.decode(index_of(shop))
    message["shards"][0]["version"] = "../../../etc/passwd"
    with pytest.raises(CorruptObjectError, match="invalid reference"):
        parse_index(msgspec.json.encode(message), TARGET, INDEX, name="the index")


def test_an_index_is_a_pure_function_of_what_it_lists(shop):
    data = index_of(shop)
    index = msgspec.json.decode(data, type=ShardIndex)
    again, same = make_index(TARGET, SHARDED, Window(day(0), day(0)), key="user_id", shards=index.shards, whole=None)
    assert (same, again.version) == (data, f"{hashlib.sha256(data).hexdigest()}.shards")
    assert len(index.shards) < MAX_SHARDS
    assert isinstance(index.refs[0], ArtifactRef)


def test_a_target_cannot_have_the_index_of_another(shop):
    """F20."""
    cart = Shop(shop.store, target=Target("shop", "cart"), kinds=WITH_SHARDS)
    cart.stage(0)
    shop.stage(0)
    theirs = read_document(shop.store, staged_key(cart.target, day(0), SHARDED), StagedArtifact)
    data = shop.store.get(blob_key(cart.target, INDEX, theirs.ref.version), max_bytes=theirs.ref.size).data
    shop.store.put(blob_key(TARGET, INDEX, theirs.ref.version), data)
    restage(shop, 0, ref=theirs.ref, shards=theirs.shards)
    with pytest.raises(RefusedError):
        shop.publish(0)
