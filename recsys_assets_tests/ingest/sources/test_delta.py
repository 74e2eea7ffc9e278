"""Delta tables: a day's rows of one version, without what was deleted, by names as people see them."""

import json
import struct
import sys
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake
from pyroaring import BitMap64

from recsys_assets.clouds import azure
from recsys_assets.errors import ConfigurationError, InputError, StoreUnavailableError
from recsys_assets.identity import Target
from recsys_assets.ingest.parse import parse_day
from recsys_assets.ingest.sources.discovery import find_inputs
from recsys_assets.settings.settings import Settings

DAY = date(2026, 1, 5)
START = datetime(2026, 1, 5, tzinfo=UTC)
HOME, CART = Target("shop", "home"), Target("shop", "cart")


def rows(*items, start=START, user="u1", surface="home", **more):
    names = ("ts", "tenant", "surface", "session_id", "item_id", "user_id")
    values = [(start + timedelta(seconds=n), "shop", surface, "s1", item, user) for n, item in enumerate(items)]
    columns = dict(zip(names, map(list, zip(*values, strict=True)), strict=True))
    columns["ts"] = pa.array(columns["ts"], pa.timestamp("us", "UTC"))
    return pa.table(columns | {name: [value] * len(items) for name, value in more.items()})


@dataclass
class Shop:
    folder: Path

    def write(self, *items, **more):
        by = {"partition_by": ["day"]} if "day" in more else {}
        write_deltalake(self.folder / "lake", rows(*items, **more), mode="append", **by)

    def settings(self, exposures="delta:lake", **raw):
        targets = [{"tenant": target.tenant, "surface": target.surface} for target in (HOME, CART)]
        raw = {"exposures": exposures, **raw}
        return Settings.model_validate({"raw": raw, "targets": targets, "base": self.folder})

    def inputs(self, exposures="delta:lake", *, day=DAY, **raw):
        return find_inputs(self.settings(exposures, **raw), day)

    def items(self, *arguments, **raw):
        """Return the items of each target, and what was refused."""
        parts, rejects = [], []
        report = parse_day(
            self.inputs(*arguments, **raw),
            day=DAY,
            targets=[HOME, CART],
            keep_part=lambda target, part: parts.append((target, part.ids["item_id"].texts())),
            keep_rejects=rejects.extend,
        )
        assert [file.error for file in report.files if file.error] == []
        return {target: sorted(items) for target, items in parts}, [reject.reason.value for reject in rejects]


@pytest.fixture
def shop(tmp_path):
    return Shop(tmp_path)


def test_rows_of_the_day_are_read_for_every_target_and_others_are_not(shop):
    shop.write("a", "b")
    shop.write("c", surface="cart")
    shop.write("late", start=START - timedelta(seconds=1))
    shop.write("early", start=START + timedelta(days=1))
    assert shop.items() == ({HOME: ["a", "b"], CART: ["c"]}, [])
    assert shop.inputs(day=DAY + timedelta(days=7)) == []


def test_deleted_rows_do_not_come_back_and_a_pinned_version_has_them(shop):
    shop.write("a", "b", user="u1")
    shop.write("c", user="u2")
    DeltaTable(shop.folder / "lake").delete("user_id = 'u1'")
    assert shop.items()[0] == {HOME: ["c"]}
    assert shop.items("delta:lake@1")[0] == {HOME: ["a", "b", "c"]}
    (now,), (then,) = shop.inputs(), shop.inputs("delta:lake@1")
    assert (now.version, then.version) == ("version 2", "version 1")
    assert now.name == then.name == f"delta:lake/{DAY}"
    assert now.digest() != then.digest()


def test_what_was_found_is_read_whatever_is_committed_meanwhile(shop):
    shop.write("a")
    (found,) = shop.inputs()
    shop.write("b")
    with found.open() as stream:
        buffer = bytearray(10_000)
        assert b'"item_id":"a"' in buffer[: (count := stream.readinto(memoryview(buffer)))]
        assert (count, stream.readinto(memoryview(buffer))) == (stream.size, 0)
    assert stream.digest == found.digest()


def test_commits_to_other_days_leave_the_mark_and_those_to_the_day_change_it(shop):
    shop.write("a")
    (before,) = shop.inputs()
    shop.write("b", start=START + timedelta(days=1))
    (other,) = shop.inputs()
    shop.write("c")
    (after,) = shop.inputs()
    assert other.digest() == before.digest() != after.digest()
    assert other.appearance() == before.appearance()
    assert before.touched_at() <= after.touched_at()
    assert abs(datetime.now(UTC) - after.touched_at()) < timedelta(minutes=5)


@pytest.mark.parametrize("spelled", [date(2026, 1, 5), "2026-01-05", 20260105], ids=lambda value: type(value).__name__)
def test_a_column_of_days_chooses_rows_of_which_the_instants_are_text(shop, spelled):
    other = date(2026, 1, 6) if isinstance(spelled, date) else type(spelled)(str(spelled).replace("05", "06"))
    for value, item in ((spelled, "a"), (other, "b")):
        table = rows(item, day=value)
        text = pa.array(["2026-01-05T10:00:00Z"])
        write_deltalake(shop.folder / "lake", table.set_column(0, "ts", text), mode="append", partition_by=["day"])
    assert shop.items(day_column="day")[0] == {HOME: ["a"]}
    with pytest.raises(InputError, match=r"set the column of days in raw\.day_column"):
        shop.inputs()


def test_times_without_a_zone_are_utc_only_if_that_is_said(shop):
    table = rows("a", "b")
    table = table.set_column(0, "ts", table["ts"].cast(pa.timestamp("us")))
    write_deltalake(shop.folder / "lake", table)
    assert shop.items(assume_utc=True)[0] == {HOME: ["a", "b"]}
    with pytest.raises(InputError, match=r"delta:lake: .* set raw\.assume_utc = true"):
        shop.inputs()


def test_bad_rows_go_to_quarantine_by_number(shop):
    shop.write("a", " ", "b")
    assert shop.items() == ({HOME: ["a", "b"]}, ["empty_field"])


FIELDS = ("ts", "tenant", "surface", "session_id", "item_id", "user_id")


def commit(folder, number, *actions):
    log = folder / "lake" / "_delta_log"
    log.mkdir(parents=True, exist_ok=True)
    (log / f"{number:020d}.json").write_text("\n".join(map(json.dumps, actions)))


def metadata(features, configuration, *, names=FIELDS, physical=None):
    kinds = ["timestamp", *["string"] * (len(names) - 1)]
    mapping = [
        {"delta.columnMapping.id": n, "delta.columnMapping.physicalName": name} if physical else {}
        for n, name in enumerate(physical or names, 1)
    ]
    fields = [
        {"name": name, "type": kind, "nullable": True, "metadata": more}
        for name, kind, more in zip(names, kinds, mapping, strict=True)
    ]
    schema = json.dumps({"type": "struct", "fields": fields})
    described = {"schemaString": schema, "partitionColumns": [], "configuration": configuration, "createdTime": 1}
    protocol = {"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": features, "writerFeatures": features}
    format_ = {"id": "11111111-0000-0000-0000-000000000000", "format": {"provider": "parquet", "options": {}}}
    return {"protocol": protocol}, {"metaData": format_ | described}


def added(folder, table, **more):
    (folder / "lake").mkdir(exist_ok=True)
    pq.write_table(table, folder / "lake" / "p.parquet")
    size = (folder / "lake" / "p.parquet").stat().st_size
    about = {"path": "p.parquet", "partitionValues": {}, "size": size, "modificationTime": 1, "dataChange": True}
    return {"add": about | {"stats": json.dumps({"numRecords": len(table)})} | more}


def z85(data):
    letters = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"
    words = [int.from_bytes(data[n : n + 4]) for n in range(0, len(data), 4)]
    return "".join(letters[word // 85**power % 85] for word in words for power in (4, 3, 2, 1, 0))


def test_rows_that_a_deletion_vector_names_are_gone_though_their_file_is_there(shop):
    described = metadata(["deletionVectors"], {"delta.enableDeletionVectors": "true"})
    file = added(shop.folder, rows("a", "b", "c"))
    commit(shop.folder, 0, *described, file)
    (before,) = shop.inputs()
    assert shop.items()[0] == {HOME: ["a", "b", "c"]}
    vector = struct.pack("<i", 1681511377) + BitMap64([1]).serialize()
    inline = {"storageType": "i", "pathOrInlineDv": z85(vector + b"\0" * (-len(vector) % 4))}
    described_vector = {"deletionVector": inline | {"sizeInBytes": len(vector), "cardinality": 1}}
    gone = {"remove": {"path": "p.parquet", "deletionTimestamp": 2, "dataChange": True}}
    commit(shop.folder, 1, gone, {"add": file["add"] | described_vector})
    (after,) = shop.inputs()
    assert shop.items()[0] == {HOME: ["a", "c"]}
    assert before.digest() != after.digest()


def test_columns_are_found_by_the_names_that_people_see(shop):
    stored = [f"col-{n}" for n in range(len(FIELDS))]
    names = [*FIELDS[:4], 'sku "x"', "user_id"]
    mapped = metadata(["columnMapping"], {"delta.columnMapping.mode": "name"}, names=names, physical=stored)
    commit(shop.folder, 0, *mapped, added(shop.folder, rows("a", "b").rename_columns(stored)))
    assert shop.items(columns={"item_id": 'sku "x"'})[0] == {HOME: ["a", "b"]}


@pytest.mark.parametrize(
    ("exposures", "raw", "error", "message"),
    [
        pytest.param("delta:nowhere", {}, InputError, r"nowhere does not exist as a Delta table", id="no table"),
        pytest.param("delta:lake@99", {}, InputError, r"lake cannot be read: .*99", id="no such version"),
        pytest.param("delta:lake", {"columns": {"item_id": "sku"}}, InputError, r"has no column 'sku'", id="no column"),
        pytest.param("delta:lake", {"day_column": "d"}, ConfigurationError, r"no column 'd' \(raw\.day_", id="no day"),
        pytest.param("delta:lake", {"day_column": "ts"}, ConfigurationError, r"holds timestamp", id="not of days"),
    ],
)
def test_a_table_that_cannot_be_read_is_named(shop, exposures, raw, error, message):
    shop.write("a")
    with pytest.raises(error, match=message):
        shop.inputs(exposures, **raw)


def test_a_file_that_was_vacuumed_is_an_error_and_no_end_of_the_rows(shop):
    shop.write("a")
    (found,) = shop.inputs()
    for file in (shop.folder / "lake").glob("*.parquet"):
        file.unlink()
    with pytest.raises((InputError, StoreUnavailableError), match=f"delta:lake/{DAY}"), found.open() as stream:
        stream.readinto(memoryview(bytearray(100)))


def test_the_extra_is_named_where_the_library_is_missing(shop, monkeypatch):
    monkeypatch.setitem(sys.modules, "deltalake", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'recsys-assets\[delta\]'"):
        shop.inputs()


def test_files_of_the_table_are_refused_with_the_setting_that_reads_it(shop):
    shop.write("a", day="2026-01-05")
    (found,) = shop.inputs("lake/day={day}/*.parquet")
    with pytest.raises(InputError, match=r'raw\.exposures = "delta:lake"'):
        found.open()


@pytest.mark.slow
def test_a_table_in_a_bucket_is_read_as_one_in_a_folder(shop, bucket):
    for start, items in ((START, "ab"), (START, "c"), (START + timedelta(days=1), "d")):
        shop.write(*items, start=start)
    DeltaTable(shop.folder / "lake").delete("item_id = 'a'")
    bucket.put_folder(shop.folder / "lake", "lake")
    place = f"{bucket.uri}/lake"
    assert shop.items(f"delta:{place}") == ({HOME: ["b", "c"]}, [])
    assert shop.items(f"delta:{place}@2")[0] == {HOME: ["a", "b", "c"]}
    (found,) = shop.inputs(f"delta:{place}")
    assert (found.name, found.version) == (f"delta:{place}/{DAY}", "version 3")
    with pytest.raises(InputError, match="does not exist as a Delta table"):
        shop.inputs(f"delta:{place}-not-there")


@pytest.mark.slow
def test_a_bucket_that_is_not_there_is_named_as_for_other_sources(shop, bucket):
    scheme = bucket.uri.partition(":")[0]
    with pytest.raises(ConfigurationError, match=rf"^{scheme}://no-such-bucket/lake.*check "):
        shop.inputs(f"delta:{scheme}://no-such-bucket/lake")


@pytest.mark.parametrize("cloud", ["gs", "az"])
def test_a_table_that_may_not_be_read_asks_for_the_credentials_to_be_checked(shop, cloud, request):  # F50
    bucket = request.getfixturevalue(f"on_{cloud}")
    shop.write("a")
    bucket.put_folder(shop.folder / "lake", "lake")
    for faults in ([("GET", 403)], [("GET", None), *[("GET", 403)] * 9]):  # the log's list, then what the library reads
        bucket.server.faults[:] = faults
        with pytest.raises(ConfigurationError, match=rf"{bucket.uri}/lake.*check the credentials"):
            shop.inputs(f"delta:{bucket.uri}/lake")


def test_messages_of_the_library_are_one_line_without_colours(shop, on_gs):
    on_gs.put("lake/_delta_log/00000000000000000000.json", b"{")
    with pytest.raises(InputError) as refused:
        shop.inputs(f"delta:{on_gs.uri}/lake")
    assert "\n" not in str(refused.value)
    assert "\x1b" not in str(refused.value)


SAS = "sv=2026-01-01&sig=abc%3D"


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        pytest.param(
            {"AZURE_STORAGE_ACCOUNT": "shop", "AZURE_STORAGE_KEY": "a2V5"},
            {"azure_endpoint": "https://shop.blob.core.windows.net", "azure_storage_account_key": "a2V5"},
            id="a key",
        ),
        pytest.param(
            {"AZURE_STORAGE_ACCOUNT": "shop", "AZURE_STORAGE_SAS_TOKEN": f"?{SAS}"},
            {"azure_endpoint": "https://shop.blob.core.windows.net", "azure_storage_sas_key": SAS},
            id="a token",
        ),
        pytest.param(
            {"AZURE_STORAGE_CONNECTION_STRING": f"BlobEndpoint=http://127.0.0.1:1/shop;SharedAccessSignature={SAS}"},
            {"azure_endpoint": "http://127.0.0.1:1/shop", "azure_storage_sas_key": SAS, "azure_allow_http": "true"},
            id="a connection string",
        ),
    ],
)
def test_the_variables_of_azure_are_those_of_other_sources(variables, expected, monkeypatch):
    for name in (azure.CONNECTION, azure.ACCOUNT, *azure.KEYS):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    known = {"azure_storage_account_name": "shop", "azure_allow_http": "false"}
    assert azure.table_options("lake") == known | expected
