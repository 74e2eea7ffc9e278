"""Odd files of one tenant: its own targets fail, by the name of the file, and the others ship their day."""

import os
from datetime import UTC, date, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys_assets.identity import Target
from recsys_assets.ingest.parse import parse_day
from recsys_assets.ingest.sources.discovery import find_inputs
from recsys_assets.settings.settings import Settings
from recsys_assets_tests.ingest.lines import line

DAY = date(2026, 1, 1)
GOOD, BAD = Target("good", "home"), Target("bad", "home")
STAMP = datetime(2026, 1, 1, 8, tzinfo=UTC)


def columns_twice(folder, name="item_id"):
    row = {"ts": STAMP, "tenant": "bad", "surface": "home", "session_id": "s", "item_id": "i", "user_id": "u"}
    table = pa.Table.from_pylist([row])
    table = pa.Table.from_arrays([*table.columns, pa.array(["z"])], names=[*table.column_names, name])
    pq.write_table(table, folder / "2026-01-01-x.parquet")
    return "2026-01-01-x.parquet"


def named(name, data=b"{}\n"):
    def put(folder):
        (folder / os.fsdecode(name)).write_bytes(data)
        return name.decode(errors="backslashreplace")

    return put


def placed(make, name="2026-01-01-x.jsonl"):
    def put(folder):
        make(folder / name)
        return name

    return put


def struct_column(folder):
    row = {"ts": STAMP, "tenant": "bad", "surface": "home", "session_id": "s", "item_id": {"id": "i"}}
    pq.write_table(pa.Table.from_pylist([row]), folder / "2026-01-01-x.parquet")
    return "2026-01-01-x.parquet"


ODD = {
    "name in Latin-1": named(b"2026-01-01-caf\xe9.jsonl"),
    "name in Shift JIS": named(b"2026-01-01-\x83\x65\x83\x58.jsonl"),
    "name of half a character": named(b"2026-01-01-\xe2\x82.parquet", b"PAR1"),
    "name of a surrogate": named(b"2026-01-01-\xed\xa0\x80.jsonl.gz"),
    "item twice": columns_twice,
    "time twice": lambda folder: columns_twice(folder, "ts"),
    "user twice": lambda folder: columns_twice(folder, "user_id"),
    "column of structs": struct_column,
    "dangling link": placed(lambda path: path.symlink_to("/not-mounted/x")),
    "link to itself": placed(lambda path: path.symlink_to(path.name)),
    "pipe": placed(os.mkfifo),
    "torn Parquet": named(b"2026-01-01-x.parquet", b"PAR1PAR1"),
    "torn gzip": named(b"2026-01-01-x.jsonl.gz", b"\x1f\x8b\x08"),
}


def find(folder):
    rows = [{"tenant": target.tenant, "surface": "home"} for target in (GOOD, BAD)]
    raw = {"exposures": "raw/{tenant}/{day}*"}
    return find_inputs(Settings.model_validate({"raw": raw, "targets": rows, "base": folder}), DAY)


def judge(inputs):
    report = parse_day(inputs, day=DAY, targets=[GOOD, BAD], keep_part=lambda *_: None, keep_rejects=lambda _: None)
    return {target: [file.error for file in share.files if file.error] for target, share in report.targets.items()}


@pytest.fixture
def folder(tmp_path):
    for target in (GOOD, BAD):
        (tmp_path / "raw" / target.tenant).mkdir(parents=True)
        (tmp_path / "raw" / target.tenant / f"{DAY}.jsonl").write_bytes(line(tenant=target.tenant) + b"\n")
    return tmp_path


@pytest.mark.parametrize("oddity", ODD)
def test_an_odd_file_fails_its_own_target_by_name(folder, oddity):  # F47
    name = ODD[oddity](folder / "raw" / "bad")
    errors = judge(find(folder))
    assert errors[GOOD] == []
    assert len(errors[BAD]) == 1
    assert name in errors[BAD][0]


SINCE = {
    "gone": lambda path: path.unlink(),
    "a link to itself": lambda path: (path.unlink(), path.symlink_to(path.name)),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize("change", SINCE)
def test_a_file_that_cannot_be_read_any_more_fails_its_own_target_by_name(folder, change):
    found = find(folder)
    before = {file.name: (file.digest(), file.appearance()) for file in found}
    SINCE[change](folder / "raw" / "bad" / f"{DAY}.jsonl")
    after = {file.name: (file.digest(), file.appearance()) for file in found}
    assert [name for name in before if before[name] != after[name]] == [f"raw/bad/{DAY}.jsonl"]
    errors = judge(found)
    assert errors[GOOD] == []
    assert f"raw/bad/{DAY}.jsonl" in errors[BAD][0]
