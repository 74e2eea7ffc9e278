"""Iceberg tables: a day's rows of one snapshot, without what was deleted, by names as people see them."""

import sys
from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.catalog import load_catalog
from pyiceberg.expressions import EqualTo
from pyiceberg.manifest import (
    DataFile,
    DataFileContent,
    FileFormat,
    ManifestContent,
    ManifestEntry,
    ManifestEntryStatus,
    ManifestWriterV2,
    write_manifest_list,
)
from pyiceberg.table.snapshots import Operation, Snapshot, Summary
from pyiceberg.table.update import AddSnapshotUpdate, SetSnapshotRefUpdate
from pyiceberg.typedef import Record
from pyiceberg.utils.config import Config

from recsys_assets.errors import ConfigurationError, InputError, StoreUnavailableError
from recsys_assets_tests.ingest.sources.test_delta import CART, DAY, HOME, START, Shop, rows

TABLE = "iceberg:shop.events"
DELETE_COLUMNS = [("file_path", pa.string(), "2147483546"), ("pos", pa.int64(), "2147483545")]


class Lake(Shop):
    """A table of a catalog in SQLite."""

    @property
    def catalog(self):
        return load_catalog("default", **Config().get_catalog_config("default"))

    @property
    def table(self):
        return self.catalog.load_table("shop.events")

    def write(self, *items, **more):
        self.append(rows(*items, **more))

    def append(self, table):
        catalog = self.catalog
        catalog.create_namespace_if_not_exists("shop")
        catalog.create_table_if_not_exists("shop.events", schema=table.schema)
        self.table.append(table)

    def inputs(self, exposures=TABLE, **more):
        return super().inputs(exposures, **more)


@pytest.fixture
def lake(tmp_path, monkeypatch):
    described = {"TYPE": "sql", "URI": f"sqlite:///{tmp_path}/catalog.db", "WAREHOUSE": f"file://{tmp_path}/lake"}
    for name, value in described.items():
        monkeypatch.setenv(f"PYICEBERG_CATALOG__DEFAULT__{name}", value)
    return Lake(tmp_path)


def test_rows_of_the_day_are_read_for_every_target_and_others_are_not(lake):
    lake.write("a", "b")
    lake.write("c", surface="cart")
    lake.write("late", start=START - timedelta(seconds=1))
    lake.write("early", start=START + timedelta(days=1))
    assert lake.items() == ({HOME: ["a", "b"], CART: ["c"]}, [])
    assert lake.inputs(day=DAY + timedelta(days=7)) == []


def test_deleted_rows_do_not_come_back_and_a_pinned_snapshot_has_them(lake):
    lake.write("a", "b", user="u1")
    lake.write("c", user="u2")
    before = lake.table.current_snapshot().snapshot_id
    lake.table.delete(EqualTo("user_id", "u1"))
    assert lake.items()[0] == {HOME: ["c"]}
    assert lake.items(f"{TABLE}@{before}")[0] == {HOME: ["a", "b", "c"]}
    (now,), (then,) = lake.inputs(), lake.inputs(f"{TABLE}@{before}")
    assert then.version == f"snapshot {before}" != now.version
    assert now.name == then.name == f"{TABLE}/{DAY}"
    assert now.digest() != then.digest()


class DeleteManifest(ManifestWriterV2):
    """A manifest of delete files, which pyiceberg reads and writes none of."""

    def content(self):
        return ManifestContent.DELETES

    @property
    def _meta(self):
        return {**super()._meta, "content": "deletes"}


def delete_by_position(table, *positions):
    """Commit a file that names rows of the table's one data file by their position, as Spark and Flink write them."""
    parent, files = table.current_snapshot(), table.io
    (task,) = table.scan().plan_files()
    place = f"{table.location()}/data/deletes.parquet"
    with files.new_output(place).create() as out:
        ids = [pa.field(n, t, metadata={"PARQUET:field_id": i}) for n, t, i in DELETE_COLUMNS]
        named = [[task.file.file_path] * len(positions), list(positions)]
        pq.write_table(pa.table(named, schema=pa.schema(ids)), out)
    snapshot = parent.snapshot_id + 1
    file = DataFile.from_args(
        content=DataFileContent.POSITION_DELETES,
        file_path=place,
        file_format=FileFormat.PARQUET,
        partition=Record(),
        record_count=len(positions),
        file_size_in_bytes=len(files.new_input(place)),
    )
    output = files.new_output(f"{table.location()}/metadata/deletes.avro")
    with DeleteManifest(table.spec(), table.schema(), output, snapshot, "deflate") as writer:
        entry = ManifestEntry.from_args(status=ManifestEntryStatus.ADDED, snapshot_id=snapshot, data_file=file)
        writer.add_entry(entry)
    listed = f"{table.location()}/metadata/snap-{snapshot}.avro"
    sequence = table.metadata.next_sequence_number()
    with write_manifest_list(2, files.new_output(listed), snapshot, parent.snapshot_id, sequence, "deflate") as found:
        found.add_manifests([*parent.manifests(files), writer.to_manifest_file()])
    made = Snapshot(
        snapshot_id=snapshot,
        parent_snapshot_id=parent.snapshot_id,
        sequence_number=sequence,
        manifest_list=listed,
        schema_id=table.schema().schema_id,
        summary=Summary(Operation.DELETE),
    )
    reference = SetSnapshotRefUpdate(snapshot_id=snapshot, ref_name="main", type="branch")
    with table.transaction() as transaction:
        transaction._apply((AddSnapshotUpdate(snapshot=made), reference))


def test_rows_that_a_file_deletes_by_position_do_not_come_back_and_the_mark_is_another(lake):
    lake.write("a", "b", "c")
    (before,) = lake.inputs()
    delete_by_position(lake.table, 0, 2)
    (after,) = lake.inputs()
    assert lake.items() == ({HOME: ["b"]}, [])
    assert before.digest() != after.digest()
    pinned = before.version.removeprefix("snapshot ")
    assert lake.items(f"{TABLE}@{pinned}")[0] == {HOME: ["a", "b", "c"]}


def test_commits_to_other_days_leave_the_mark_and_those_to_the_day_change_it(lake):
    lake.write("a")
    (before,) = lake.inputs()
    lake.write("b", start=START + timedelta(days=1))
    (other,) = lake.inputs()
    lake.write("c")
    (after,) = lake.inputs()
    assert other.digest() == before.digest() != after.digest()
    assert after.touched_at() == START


def test_what_was_found_is_read_whatever_is_committed_meanwhile(lake):
    lake.write("a")
    (found,) = lake.inputs()
    lake.write("b")
    with found.open() as stream:
        buffer = bytearray(10_000)
        assert b'"item_id":"a"' in buffer[: (count := stream.readinto(memoryview(buffer)))]
        assert (count, stream.readinto(memoryview(buffer))) == (stream.size, 0)


def test_a_column_that_was_renamed_is_called_as_it_is_now_and_in_a_pinned_snapshot_as_it_was(lake):
    lake.write("a")
    before = lake.table.current_snapshot().snapshot_id
    with lake.table.update_schema() as update:
        update.rename_column("item_id", "sku")
    assert lake.items(columns={"item_id": "sku"})[0] == {HOME: ["a"]}
    assert lake.items(f"{TABLE}@{before}")[0] == {HOME: ["a"]}
    with pytest.raises(InputError, match="has no column 'item_id'"):
        lake.inputs()


@pytest.mark.parametrize("spelled", [date(2026, 1, 5), "2026-01-05", 20260105], ids=lambda value: type(value).__name__)
def test_a_column_of_days_chooses_rows_of_which_the_instants_are_text(lake, spelled):
    other = date(2026, 1, 6) if isinstance(spelled, date) else type(spelled)(str(spelled).replace("05", "06"))
    for value, item in ((spelled, "a"), (other, "b")):
        lake.append(rows(item, day=value).set_column(0, "ts", pa.array(["2026-01-05T10:00:00Z"])))
    assert lake.items(day_column="day")[0] == {HOME: ["a"]}
    with pytest.raises(InputError, match=r"set the column of days in raw\.day_column"):
        lake.inputs()


def test_times_without_a_zone_are_utc_only_if_that_is_said(lake):
    table = rows("a", "b")
    lake.append(table.set_column(0, "ts", table["ts"].cast(pa.timestamp("us"))))
    assert lake.items(assume_utc=True)[0] == {HOME: ["a", "b"]}
    with pytest.raises(InputError, match=r"set raw\.assume_utc = true"):
        lake.inputs()


@pytest.mark.parametrize(
    ("exposures", "error", "message"),
    [
        pytest.param(
            "iceberg:shop.nothing", InputError, "shop.nothing does not exist as an Iceberg table", id="no table"
        ),
        pytest.param(
            "iceberg:other.events", InputError, "other.events does not exist as an Iceberg table", id="no namespace"
        ),
        pytest.param("iceberg:cold/shop.events", ConfigurationError, "PYICEBERG_CATALOG__COLD__URI", id="no catalog"),
        pytest.param(f"{TABLE}@7", InputError, "has no snapshot 7: it expired", id="no snapshot"),
    ],
)
def test_a_table_that_cannot_be_read_is_named(lake, exposures, error, message):
    lake.write("a")
    with pytest.raises(error, match=message):
        lake.inputs(exposures)


def test_a_catalog_that_does_not_answer_is_no_empty_day(lake, monkeypatch):
    lake.write("a")
    monkeypatch.setenv("PYICEBERG_CATALOG__DEFAULT__URI", "sqlite:////nowhere/catalog.db")
    with pytest.raises(StoreUnavailableError, match=r"iceberg:shop.events: .*unable to open database file"):
        lake.inputs()


def test_a_data_file_that_is_gone_is_an_error_and_no_end_of_the_rows(lake):
    lake.write("a")
    (found,) = lake.inputs()
    for file in lake.folder.rglob("*.parquet"):
        file.unlink()
    with pytest.raises(InputError, match=f"{TABLE}/{DAY} cannot be read"), found.open() as stream:
        stream.readinto(memoryview(bytearray(100)))


def test_the_extra_is_named_where_the_library_is_missing(lake, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyiceberg", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'recsys-assets\[iceberg\]'"):
        lake.inputs()


def test_files_of_the_table_are_refused_with_the_way_to_read_it(lake):
    lake.write("a")
    data = next(lake.folder.rglob("*.parquet"))
    data.rename(data.with_name(f"{DAY}.parquet"))
    (found,) = lake.inputs("lake/shop/events/data/{day}.parquet")
    with pytest.raises(InputError, match=r"belongs to the Iceberg table .*iceberg:"):
        found.open()


def test_newest_events_say_when_a_day_was_touched(lake):
    lake.write("a", "b", "c")
    (found,) = lake.inputs()
    assert found.touched_at() == datetime(2026, 1, 5, 0, 0, 2, tzinfo=UTC)
