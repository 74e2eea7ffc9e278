"""Attempts of engines: only what is finished is read, and what broken ones left is never looked into (F33)."""

import os
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from recsys_assets.engines.parts import STALE, attempt, finished_parts, read_part
from recsys_assets.errors import EngineUnavailableError, InputError
from recsys_assets.pipeline.build_on_engine import EngineSource
from recsys_assets.storage.memory import MemoryStore


def test_every_attempt_has_a_folder_of_its_own_that_is_gone_afterwards(tmp_path):
    with attempt(str(tmp_path), "shop/home/cooc") as one, attempt(str(tmp_path), "shop/home/cooc") as other:
        assert one != other
        pl.DataFrame({"a": [1]}).write_parquet(f"{one}/part-0.parquet")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert list((tmp_path / "shop" / "home" / "cooc").iterdir()) == []


def test_an_attempt_that_fails_leaves_nothing_either(tmp_path):
    def fail(folder):
        pl.DataFrame({"a": [1]}).write_parquet(f"{folder}/part-0.parquet")
        raise EngineUnavailableError("gone")

    with pytest.raises(EngineUnavailableError), attempt(str(tmp_path), "a") as folder:
        fail(folder)
    assert list((tmp_path / "a").iterdir()) == []


def test_what_a_killed_process_left_is_removed_when_it_is_stale(tmp_path):
    old, new = tmp_path / "a" / "old", tmp_path / "a" / "new"
    for folder in (old, new):
        folder.mkdir(parents=True)
    before = (datetime.now(UTC) - STALE - timedelta(hours=1)).timestamp()
    os.utime(old, (before, before))
    with attempt(str(tmp_path), "a"):
        assert not old.exists()
        assert new.exists()


def test_a_result_without_its_mark_is_no_result(tmp_path):
    pl.DataFrame({"member": ["a"]}).write_parquet(tmp_path / "part-00000.parquet")
    with pytest.raises(EngineUnavailableError, match="_SUCCESS"):
        finished_parts(str(tmp_path))
    (tmp_path / "_SUCCESS").touch()
    assert finished_parts(str(tmp_path)) == (f"{tmp_path}/part-00000.parquet",)


def test_parts_come_in_the_order_of_their_rows_and_nothing_else_does(tmp_path):
    for name in ("part-00010-x.parquet", "part-00002-x.parquet", ".part-00001.crc", "_SUCCESS", "other.parquet"):
        (tmp_path / name).touch()
    assert finished_parts(str(tmp_path)) == tuple(f"{tmp_path}/part-{n}-x.parquet" for n in ("00002", "00010"))


def test_a_part_that_is_cut_short_is_named(tmp_path):
    part = tmp_path / "part-0.parquet"
    part.write_bytes(b"PAR1 and not more")
    with pytest.raises(EngineUnavailableError, match=r"part-0\.parquet.*run the day again"):
        list(read_part(str(part), ["member"], name=str(part)))


def test_a_day_written_again_while_an_engine_read_it_is_refused():
    store = MemoryStore()
    store.put("canonical/shop/home/2026-01-01.parquet", b"one")
    key = "canonical/shop/home/2026-01-01.parquet"
    source = EngineSource((), 1, (), in_place={key: store.stat(key)})
    source.check_unchanged(store)
    store.put(key, b"another")
    with pytest.raises(InputError, match="changed while an engine read it"):
        source.check_unchanged(store)
