"""Raw files that change while two runs of a day are under way: reported as a conflict, which a retry cures."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from recsys_assets.errors import ConflictError, CorruptObjectError
from recsys_assets.pipeline.canonical import MAX_COMMITS, build_canonical
from recsys_assets.pipeline.context import DayContext
from recsys_assets.pipeline.raw import build_raw
from recsys_assets.release.layout import canonical_record_key
from recsys_assets.storage.filesystem import FilesystemStore
from recsys_assets.storage.store import StoredObject
from recsys_assets_tests.small_shop import FIRST, HOME, SmallShop, day_lines


class InterruptedStore(FilesystemStore):
    """A store on which somebody else does something just before the first part of a day is read."""

    def __init__(self, root: Path, *meanwhile: Callable[[], object]) -> None:
        super().__init__(root)
        self.meanwhile = list(meanwhile)

    def get(self, key: str, *, max_bytes: int) -> StoredObject:
        if key.startswith(f"raw/{FIRST}/shop") and self.meanwhile:
            self.meanwhile.pop()()
        return super().get(key, max_bytes=max_bytes)


@pytest.fixture
def shop(tmp_path):
    shop = SmallShop(tmp_path, None)
    shop.configure()
    (tmp_path / "catalog.jsonl").write_text('{"item_id":"i1","tags":["red"]}\n')
    shop.write(FIRST, day_lines(FIRST))
    build_raw(shop.store, shop.settings, FIRST)
    return shop


def change_and_read_again(shop, shift=1):
    shop.write(FIRST, day_lines(FIRST, shift=shift))
    build_raw(shop.store, shop.settings, FIRST)


def parts(shop):
    return {item.key for item in shop.store.list(f"raw/{FIRST}/") if not item.key.endswith(".json")}


def test_f33_a_day_that_is_read_again_while_it_is_built_is_built_of_what_was_read_last(shop):
    store = InterruptedStore(shop.folder / "store", lambda: change_and_read_again(shop))
    row = shop.settings.find(HOME.tenant, HOME.surface)
    built = build_canonical(DayContext(store, shop.settings, row, FIRST))
    assert not store.meanwhile
    file = build_raw(shop.store, shop.settings, FIRST).record.files[0]
    assert [used.digest for used in built.record.inputs] == [file.digest]


def test_f33_a_day_that_is_read_again_at_every_try_is_a_conflict_and_the_next_run_builds_it(shop):
    changes = [partial(change_and_read_again, shop, shift=n + 1) for n in range(MAX_COMMITS)]
    store = InterruptedStore(shop.folder / "store", *changes)
    row = shop.settings.find(HOME.tenant, HOME.surface)
    with pytest.raises(ConflictError, match=f"{MAX_COMMITS} builds in a row met another writer"):
        build_canonical(DayContext(store, shop.settings, row, FIRST))
    assert store.stat(canonical_record_key(HOME, FIRST)) is None
    built = build_canonical(DayContext(store, shop.settings, row, FIRST))
    file = build_raw(shop.store, shop.settings, FIRST).record.files[0]
    assert [used.digest for used in built.record.inputs] == [file.digest]


@pytest.mark.parametrize(
    "damage",
    [pytest.param(Path.unlink, id="gone"), pytest.param(lambda path: path.write_bytes(b"torn"), id="torn")],
)
def test_a_damaged_part_of_the_record_that_stands_is_no_conflict(shop, damage):
    for key in parts(shop):
        damage(shop.folder / "store" / key)
    row = shop.settings.find(HOME.tenant, HOME.surface)
    with pytest.raises(CorruptObjectError, match="run raw of this day again"):
        build_canonical(DayContext(shop.store, shop.settings, row, FIRST))


def test_other_content_is_written_beside_what_a_run_may_still_read_and_then_swept(shop):
    before = parts(shop)
    change_and_read_again(shop)
    after = parts(shop)
    assert before
    assert len(after) == len(before)
    assert not before & after


def test_parts_of_a_target_that_is_configured_no_more_are_swept(shop):
    before = parts(shop)
    shop.configure(targets='[[targets]]\ntenant = "shop"\nsurface = "home"\n')
    build_raw(shop.store, shop.settings, FIRST)
    assert parts(shop) < before
    assert all(f"/{HOME.surface}/" in key for key in parts(shop))
