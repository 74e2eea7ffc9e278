"""Raw events in Parquet files: the same events, the same rules and the same reasons as in JSON lines."""

import dataclasses
import json
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from recsys_assets.clouds.s3 import S3Bucket
from recsys_assets.errors import ConfigurationError, InputError, StoreUnavailableError
from recsys_assets.identity import Target
from recsys_assets.ingest.line_reader import read_line
from recsys_assets.ingest.parse import parse_day
from recsys_assets.ingest.quarantine import Reason
from recsys_assets.ingest.sources.arrow_rows import field_array, lines_of
from recsys_assets.ingest.sources.discovery import find_inputs
from recsys_assets.ingest.sources.objects import find_objects
from recsys_assets.ingest.sources.parquet import ParquetInput, hive_keys
from recsys_assets.settings.settings import Settings
from recsys_assets_tests.thoroughness import examples

DAY = date(2026, 1, 1)
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
HOME, CART = Target("shop", "home"), Target("shop", "cart")
ROW = {"ts": NOON, "tenant": "shop", "surface": "home", "session_id": "s1", "item_id": "i1"}


def settings(folder, template="{day}.parquet", **raw):
    rows = [{"tenant": target.tenant, "surface": target.surface} for target in (HOME, CART)]
    return Settings.model_validate({"raw": {"exposures": template, **raw}, "targets": rows, "base": folder})


def write(path, rows, schema=None, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path, **options)


def read(stream, size=1000):
    buffer, text = bytearray(size), bytearray()
    with stream:
        while count := stream.readinto(memoryview(buffer)):
            text += buffer[:count]
    return bytes(text)


def read_file(folder, rows, schema=None, **raw):
    """The lines that a file of these rows is read as."""
    write(folder / f"{DAY}.parquet", rows, schema)
    (found,) = find_inputs(settings(folder, **raw), DAY)
    return [json.loads(line) for line in read(found.open()).splitlines()]


def judge(inputs):
    """What ingest makes of inputs: items and quarantine."""
    items, rejects = [], []
    report = parse_day(
        inputs,
        day=DAY,
        targets=[HOME, CART],
        keep_part=lambda _, part: items.extend(part.ids["item_id"].texts()),
        keep_rejects=rejects.extend,
    )
    return sorted(items), [(reject.line, reject.reason) for reject in rejects], report


def test_rows_are_read_as_the_lines_that_they_would_have_been_sent_as(tmp_path):
    full = {**ROW, "user_id": 'u\u2028"é\\\x01', "request_id": None, "rank": 3, "event": "click"}
    (line,) = read_file(tmp_path, [full])
    assert line == {"v": 1, **full, "ts": "2026-01-01T12:00:00Z"}


def test_columns_are_found_by_their_mapping_and_constants_fill_in(tmp_path):
    row = {"at": NOON, "sku": "i1", "visit": 7, "session_id": "no", "price": 1.5}
    mapping = {"ts": "at", "item_id": "sku", "session_id": "visit"}
    (line,) = read_file(tmp_path, [row], columns=mapping, constants={"tenant": "shop", "surface": "home"})
    assert line == {
        "v": 1,
        "tenant": "shop",
        "surface": "home",
        "ts": "2026-01-01T12:00:00Z",
        "session_id": "7",
        "item_id": "i1",
    }


@pytest.mark.parametrize("template", ["lake/day={day}/tenant={tenant}/**/*.parquet", "lake/**/day={day}/**/*.parquet"])
def test_a_hive_path_gives_the_columns_that_its_files_lack(tmp_path, template):
    rest = {name: ROW[name] for name in ("ts", "session_id", "item_id")}
    for surface in ("home", "cart"):
        write(tmp_path / f"lake/day={DAY}/tenant=shop/surface={surface}/part-0.parquet", [{**rest, "item_id": surface}])
    assert judge(find_inputs(settings(tmp_path, template), DAY))[:2] == (["cart", "home"], [])


def test_keys_in_a_path_are_decoded():
    assert hive_keys("s3://b/a=1/tenant=sh%2Fop/x=y=z/a=file.parquet") == {"a": "1", "tenant": "sh/op", "x": "y=z"}


EAST = timezone(timedelta(hours=2))


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        pytest.param(pa.timestamp("s", "UTC"), NOON, "2026-01-01T12:00:00Z", id="seconds"),
        pytest.param(pa.timestamp("ms", "UTC"), NOON + timedelta(milliseconds=5), "2026-01-01T12:00:00.005Z", id="ms"),
        pytest.param(
            pa.timestamp("us", "UTC"), NOON + timedelta(microseconds=5), "2026-01-01T12:00:00.000005Z", id="us"
        ),
        pytest.param(pa.timestamp("ns", "UTC"), 1_767_268_800_000_000_001, "2026-01-01T12:00:00.000000001Z", id="ns"),
        pytest.param(pa.timestamp("us", "+02:00"), NOON.astimezone(EAST), "2026-01-01T12:00:00Z", id="another zone"),
        pytest.param(pa.string(), "2026-01-01T13:00:00+01:00", "2026-01-01T13:00:00+01:00", id="text"),
        pytest.param(pa.timestamp("us", "UTC"), None, None, id="null"),
    ],
)
def test_instants_are_exact_whatever_their_unit_and_zone(tmp_path, monkeypatch, kind, value, text):
    # pandera sets it where pyspark is installed, and Arrow then leaves out the zone of Python's times that are written.
    monkeypatch.delenv("PYARROW_IGNORE_TIMEZONE", raising=False)
    schema = pa.schema([("ts", kind), *((name, pa.string()) for name in list(ROW)[1:])])
    (line,) = read_file(tmp_path, [{**ROW, "ts": value}], schema)
    assert line["ts"] == text


def test_times_without_a_zone_are_refused_unless_they_are_said_to_be_utc(tmp_path):
    rows = [{**ROW, "ts": NOON.replace(tzinfo=None)}]
    with pytest.raises(InputError, match=r"raw\.assume_utc"):
        read_file(tmp_path, rows)
    assert read_file(tmp_path, rows, assume_utc=True)[0]["ts"] == "2026-01-01T12:00:00Z"


def test_times_that_no_calendar_holds_are_bad_rows_and_the_others_good_ones(tmp_path):
    schema = pa.schema([("ts", pa.timestamp("ms", "UTC")), *((name, pa.string()) for name in list(ROW)[1:])])
    rows = [{**ROW, "ts": int(NOON.timestamp()) * 1000}, {**ROW, "ts": 2**62}, {**ROW, "ts": -(2**62)}]
    write(tmp_path / f"{DAY}.parquet", rows, schema)
    items, rejects, _ = judge(find_inputs(settings(tmp_path), DAY))
    assert (items, rejects) == (["i1"], [(2, Reason.BAD_TIME), (3, Reason.BAD_TIME)])


def test_bad_rows_are_quarantined_by_number_and_reason_as_bad_lines_are(tmp_path):  # F28
    rows = [
        ROW,
        {**ROW, "item_id": " "},
        {**ROW, "session_id": None},
        {**ROW, "rank": -1},
        {**ROW, "ts": NOON + timedelta(days=1)},
        {**ROW, "surface": "other"},
        {**ROW, "item_id": "i2"},
    ]
    schema = pa.schema(
        [
            *((name, pa.string()) for name in ROW if name != "ts"),
            ("ts", pa.timestamp("us", "UTC")),
            ("rank", pa.int32()),
        ]
    )
    write(tmp_path / f"{DAY}.parquet", rows, schema)
    items, rejects, report = judge(find_inputs(settings(tmp_path), DAY))
    assert items == ["i1", "i2"]
    assert rejects == [
        (2, Reason.EMPTY_FIELD),
        (3, Reason.MISSING_FIELD),
        (4, Reason.OUT_OF_RANGE),
        (5, Reason.OUT_OF_WINDOW),
    ]
    assert report.foreign == {"shop/other": 1}
    assert report.files[0].lines == 7


def test_bytes_that_are_no_text_are_a_bad_row_among_good_ones(tmp_path):  # F24
    rows = [{**ROW, "item_id": b"i1"}, {**ROW, "item_id": b"i\xff"}, {**ROW, "item_id": "é".encode(), "rank": 2}]
    schema = pa.schema(
        [
            ("ts", pa.timestamp("us", "UTC")),
            *((name, pa.string()) for name in ("tenant", "surface", "session_id")),
            ("item_id", pa.binary()),
            ("rank", pa.uint8()),
        ]
    )
    write(tmp_path / f"{DAY}.parquet", rows, schema)
    assert judge(find_inputs(settings(tmp_path), DAY))[:2] == (["i1", "é"], [(2, Reason.BAD_UTF8)])


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        pytest.param("item_id", 1.5, "text or integers", id="fractions as ids"),
        pytest.param("item_id", Decimal("1.0"), "text or integers", id="decimals as ids"),
        pytest.param("user_id", ["u"], "text or integers", id="lists as ids"),
        pytest.param("rank", 1.0, "integers", id="fractions as rank"),
        pytest.param("rank", "1", "integers", id="text as rank"),
        pytest.param("ts", 1_767_268_800, "a timestamp", id="numbers as time"),
        pytest.param("ts", DAY, "a timestamp", id="days as time"),
    ],
)
def test_a_column_of_a_wrong_type_fails_the_file_and_names_it(tmp_path, name, value, expected):
    with pytest.raises(InputError, match=f"2026-01-01.parquet: the column for {name} holds .* expected {expected}"):
        read_file(tmp_path, [{**ROW, name: value}])


@pytest.mark.parametrize("mapping", [{}, {"user_id": "customer"}], ids=["of every event", "that is named"])
def test_a_file_that_lacks_a_column_fails_and_names_what_it_has(tmp_path, mapping):
    rows = [{name: value for name, value in ROW.items() if name != "item_id" or mapping}]
    with pytest.raises(InputError, match=r"has no column '(item_id|customer)' for .*session_id, surface"):
        read_file(tmp_path, rows, columns=mapping)


def test_a_file_may_lack_sessions_where_they_are_found_by_the_user(tmp_path):
    row = {name: value for name, value in ROW.items() if name != "session_id"}
    (line,) = read_file(tmp_path, [{**row, "user_id": "u1"}], session_gap_minutes=30)
    assert "session_id" not in line
    with pytest.raises(InputError, match="no column 'user_id' for user_id"):
        read_file(tmp_path, [row], session_gap_minutes=30)
    with pytest.raises(InputError, match="no column 'visit' for session_id"):
        read_file(tmp_path, [{**row, "user_id": "u1"}], session_gap_minutes=30, columns={"session_id": "visit"})


def test_a_field_that_is_given_twice_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="both hold tenant"):
        read_file(tmp_path, [ROW], columns={"tenant": "t"}, constants={"tenant": "shop"})


@pytest.mark.parametrize("field", ["v", "item", "rank "])
def test_a_field_that_is_not_ours_cannot_be_mapped(tmp_path, field):
    with pytest.raises(ValueError, match="Input should be 'ts'"):
        settings(tmp_path, columns={field: "x"})


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda data: data[:-9], id="truncated"),
        pytest.param(lambda _: b"", id="empty"),
        pytest.param(lambda data: data[:4] + bytes(200) + data[204:], id="zeroes inside"),
        pytest.param(lambda _: b'{"v":1}\n' * 99, id="JSON lines"),
    ],
)
def test_a_damaged_file_makes_the_day_unreadable_and_is_named(tmp_path, damage):  # F13
    path = tmp_path / f"{DAY}.parquet"
    write(path, [{**ROW, "item_id": f"i{n}"} for n in range(2000)])
    path.write_bytes(damage(path.read_bytes()))
    report = judge(find_inputs(settings(tmp_path), DAY))[2]
    assert f"{DAY}.parquet is not a complete Parquet file" in report.files[0].error


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path):  # F29
    write(tmp_path / f"{DAY}.parquet", [ROW])
    (found,) = find_inputs(settings(tmp_path), DAY)
    with found.open() as stream:
        assert stream.readinto(memoryview(bytearray(5)))
        with (tmp_path / f"{DAY}.parquet").open("ab") as more:
            more.write(b"more")
        with pytest.raises(InputError, match="changed while it was read"):
            read(stream)


def test_a_file_is_identified_by_its_bytes_and_read_the_same_in_any_pieces(tmp_path):
    write(tmp_path / f"{DAY}.parquet", [{**ROW, "item_id": f"i{n}"} for n in range(1000)], row_group_size=70)
    (found,) = find_inputs(settings(tmp_path), DAY)
    stream = found.open()
    assert read(stream, 7) == read(found.open(), 10**6)
    assert (stream.size, stream.digest) == ((tmp_path / f"{DAY}.parquet").stat().st_size, found.digest())


TEXTS = st.none() | st.text(st.characters(codec="utf-8"), max_size=5)


@given(
    st.lists(
        st.fixed_dictionaries(
            {"item_id": TEXTS, "session_id": TEXTS, "rank": st.none() | st.integers(-(2**63), 2**63 - 1)}
        ),
        max_size=9,
    )
)
@examples(60)
def test_any_row_is_judged_as_its_line_is(rows):
    columns = {"item_id": pa.string(), "session_id": pa.large_string(), "rank": pa.int64()}
    arrays = {name: pa.array([row[name] for row in rows], kind) for name, kind in columns.items()}
    fields = {name: field_array(name, array, name="x", assume_utc=False) for name, array in arrays.items()}
    constants = {"tenant": "shop", "surface": "home", "ts": "2026-01-01T12:00:00Z"}
    lines = lines_of(fields, constants, rows=len(rows)).splitlines()
    sent = [json.dumps({"v": 1, **constants, **row}).encode() for row in rows]
    assert [read_line(line) for line in lines] == [read_line(line) for line in sent]


@pytest.mark.slow
def test_an_object_in_a_bucket_is_read_as_a_file_is_by_pieces(tmp_path, s3_server):
    rows = [{**ROW, "item_id": f"i{n}", "session_id": f"{n * 7919:x}"} for n in range(50_000)]
    write(tmp_path / f"{DAY}.parquet", rows, row_group_size=20_000)
    client, prefix = s3_server.client(), s3_server.new_prefix()
    client.upload_file(str(tmp_path / f"{DAY}.parquet"), s3_server.bucket, f"{prefix}/{DAY}.parquet")
    chosen = settings(tmp_path, f"s3://{s3_server.bucket}/{prefix}/{{day}}.parquet")
    (place,) = find_objects(chosen, DAY, opener=lambda _: S3Bucket(client, s3_server.bucket))
    found = ParquetInput(place, chosen.raw)
    (local,) = find_inputs(settings(tmp_path), DAY)
    stream = found.open()
    assert read(stream, 10**6) == read(local.open(), 10**6)
    assert stream.digest == place.digest()
    client.put_object(Bucket=s3_server.bucket, Key=place.entry.key, Body=b"other")
    with pytest.raises(InputError, match="changed while it was read"):
        read(found.open())
    with pytest.raises(StoreUnavailableError):
        read(ParquetInput(_at(place, "http://127.0.0.1:9", s3_server), chosen.raw).open())


@pytest.mark.slow
def test_a_hive_lake_in_a_bucket_is_read_as_one_in_a_folder(tmp_path, s3_server, monkeypatch):
    rest = {name: ROW[name] for name in ("ts", "session_id")}
    rows = [{**rest, "item_id": f"{surface}{n}"} for surface in ("home", "cart") for n in range(3)]
    for row in rows:
        place = f"tenant=shop/surface={row['item_id'][:4]}/part-{row['item_id'][4:]}.parquet"
        write(tmp_path / f"lake/day={DAY}/{place}", [row])
        write(tmp_path / f"lake/day={DAY + timedelta(days=1)}/{place}", [{**row, "item_id": "of another day"}])
    (tmp_path / f"lake/day={DAY}/_SUCCESS").write_bytes(b"")
    for name, value in s3_server.environment().items():
        monkeypatch.setenv(name, value)
    prefix = s3_server.new_prefix()
    for file in (path for path in (tmp_path / "lake").rglob("*") if path.is_file()):
        key = f"{prefix}/{file.relative_to(tmp_path).as_posix()}"
        s3_server.client().upload_file(str(file), s3_server.bucket, key)
    template = "lake/day={day}/**/*.parquet"
    bucket = settings(tmp_path, f"s3://{s3_server.bucket}/{prefix}/{template}")
    found, local = find_inputs(bucket, DAY), find_inputs(settings(tmp_path, template), DAY)
    assert [one.name.rpartition("/lake/")[2] for one in found] == [one.name.removeprefix("lake/") for one in local]
    assert judge(found)[:2] == judge(local)[:2] == (sorted(row["item_id"] for row in rows), [])


def _at(place, endpoint, server):
    client = dataclasses.replace(server, endpoint=endpoint).client(retries={"total_max_attempts": 1})
    return replace(place, bucket=S3Bucket(client, server.bucket))
