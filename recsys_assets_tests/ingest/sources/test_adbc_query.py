"""Queries through ADBC drivers: real ones of SQLite and PostgreSQL, and rows as those of warehouses have them."""

import json
import sqlite3
import sys
import traceback
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from urllib.parse import quote

import psycopg
import pyarrow as pa
import pytest

from recsys_assets.errors import ConfigurationError, InputError, StoreUnavailableError
from recsys_assets.ingest.sources.adbc_query import redacted, use_configured_names
from recsys_assets.ingest.sources.arrow_rows import check_types, lines_of_batch, map_columns
from recsys_assets.settings.inputs import RawSettings
from recsys_assets.settings.reading import parse_settings
from recsys_assets_tests.ingest.sources.test_delta import CART, DAY, HOME, START, Shop

OF_DAY = "adbc:SELECT * FROM events WHERE substr(ts, 1, 10) = '{day}' -- of one day"
COLUMNS = ("ts", "tenant", "surface", "session_id", "item_id", "rank")


class Warehouse(Shop):
    """A database of SQLite, as its ADBC driver reads it."""

    def put(self, *items, surface="home", start=START):
        at = [(start + timedelta(seconds=n)).isoformat() for n in range(len(items))]
        rows = [(ts, "shop", surface, "s1", item, n) for n, (ts, item) in enumerate(zip(at, items, strict=True))]
        self.run("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)", rows)

    def run(self, statement, rows=((),)):
        with closing(sqlite3.connect(self.folder / "events.db")) as connection, connection:
            connection.executemany(statement, rows)

    def inputs(self, exposures=OF_DAY, **raw):
        adbc = {"driver": "sqlite", "options": {"uri": str(self.folder / "events.db")}}
        return super().inputs(exposures, **{"adbc": adbc, **raw})


@pytest.fixture
def warehouse(tmp_path):
    made = Warehouse(tmp_path)
    made.run(f"CREATE TABLE events ({', '.join(COLUMNS)})")
    return made


def read(stream):
    buffer = memoryview(bytearray(1 << 20))
    with stream:
        return b"".join(bytes(buffer[:count]) for count in iter(lambda: stream.readinto(buffer), 0))


def test_rows_that_a_query_gives_are_events_of_every_target(warehouse):
    warehouse.put("a", "b")
    warehouse.put("c", surface="cart")
    warehouse.put("late", start=START - timedelta(seconds=1))
    assert warehouse.items() == ({HOME: ["a", "b"], CART: ["c"]}, [])
    assert warehouse.inputs("adbc:SELECT * FROM events WHERE ts = '{day}';") == []


def test_the_mark_is_of_the_content_and_not_of_its_order(warehouse):
    warehouse.put("a", "b", "b")
    (before,) = warehouse.inputs()
    (turned,) = warehouse.inputs(OF_DAY.replace("--", "ORDER BY item_id DESC --"))
    warehouse.run("UPDATE events SET item_id = 'a' WHERE rank = 2")
    (after,) = warehouse.inputs()
    assert before.digest() == turned.digest() != after.digest()
    assert (before.rows, before.touched_at()) == (3, START)
    stream = after.open()
    assert len(read(stream)) == stream.size
    assert stream.digest == after.digest()


def test_rows_that_change_while_they_are_read_are_an_error(warehouse):
    warehouse.put("a", "b")
    (found,) = warehouse.inputs()
    warehouse.put("c")
    with pytest.raises(
        InputError, match=r"adbc:query/2026-01-05 returned different rows when it ran again: run the day"
    ):
        read(found.open())


@pytest.mark.parametrize(
    ("query", "message"),
    [
        pytest.param("adbc:SELECT * FROM gone -- {day}", r"no such table: gone.*: correct the query", id="fails"),
        pytest.param("adbc:SELECT ts, tenant FROM events -- {day}", "has no column 'surface'", id="columns"),
        pytest.param("adbc:SELECT *, 1.5 AS user_id FROM events -- {day}", "user_id holds double", id="types"),
        pytest.param("adbc:DELETE FROM events WHERE ts < '{day}'", "syntax error", id="deletes"),
    ],
)
def test_a_query_that_cannot_be_read_says_why(warehouse, query, message):
    warehouse.put("a")
    with pytest.raises(InputError, match=f"adbc:query/2026-01-05.*{message}"):
        warehouse.inputs(query)
    assert warehouse.items()[0] == {HOME: ["a"]}


@pytest.mark.parametrize(
    ("query", "adbc", "message"),
    [
        pytest.param("adbc:SELECT 1", {}, r"a query without \{day\}", id="every day"),
        pytest.param("adbc:SELECT '{day}'; DROP TABLE events", {}, "with ; in it", id="two statements"),
        pytest.param(OF_DAY, {}, r"raw\.adbc\.driver is not set", id="no driver"),
        pytest.param(OF_DAY, {"driver": "snowflake"}, r"pip install 'recsys-assets\[snowflake\]'", id="an extra"),
        pytest.param(OF_DAY, {"driver": "nosuch_db"}, "pip install adbc-driver-nosuch-db", id="another driver"),
        pytest.param(
            OF_DAY, {"driver": "sqlite", "options": {"uri": "env:NO_SUCH"}}, r"\$NO_SUCH is not set", id="no secret"
        ),
    ],
)
def test_a_configuration_that_asks_nothing_names_the_next_step(warehouse, monkeypatch, query, adbc, message):
    monkeypatch.setitem(sys.modules, "adbc_driver_snowflake", None)
    with pytest.raises(ConfigurationError, match=message):
        warehouse.inputs(query, adbc=adbc)


def test_what_a_driver_cannot_stop_is_given_up_in_time(warehouse):
    # Ends by itself after some seconds, long after it was given up: a driver's thread cannot be ended.
    slow = "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t LIMIT 12000000) SELECT max(n) FROM t"
    with pytest.raises(StoreUnavailableError, match=r"no answer within 1 s \(raw\.statement_timeout_seconds\)"):
        warehouse.inputs(f"adbc:{slow} -- {{day}}", statement_timeout_seconds=1)
    warehouse.put("a")  # the database is not held by what was given up
    assert warehouse.items()[0] == {HOME: ["a"]}


def test_what_a_driver_can_stop_is_stopped_and_no_error_shows_the_password(warehouse, database, monkeypatch):
    password = "o!pen"
    monkeypatch.setenv("WAREHOUSE", database.replace("postgres:@", f"postgres:{quote(password)}@"))
    adbc = {"driver": "postgresql", "options": {"uri": "env:WAREHOUSE"}}
    with pytest.raises(StoreUnavailableError, match="no answer within 1 s"):
        warehouse.inputs("adbc:SELECT pg_sleep(60), '{day}'", adbc=adbc, statement_timeout_seconds=1)
    with psycopg.connect(database) as connection:
        running = "SELECT query FROM pg_stat_activity WHERE state = 'active' AND pid <> pg_backend_pid()"
        assert not [query for (query,) in connection.execute(running) if "pg_sleep(60)" in query]
    made = "SELECT '{day} 10:00Z'::timestamptz ts, 'shop' tenant, 'home' surface, 's' session_id, 7 item_id"
    assert warehouse.items(f"adbc:{made}", adbc=adbc)[0] == {HOME: ["7"]}
    with pytest.raises(InputError, match=r"\*\*\*2026-01-05.*gone.*correct the query") as caught:
        warehouse.inputs(f"adbc:SELECT '{password}{{day}}' FROM gone", adbc=adbc)  # noqa: S608
    text = "".join(traceback.format_exception(caught.value))
    assert not any(word in text for word in (password, quote(password)))


def test_an_address_that_does_not_answer_is_an_outage_without_its_password(warehouse, monkeypatch):
    monkeypatch.setenv("WAREHOUSE", "postgresql://reader:hush@127.0.0.1:1/shop?connect_timeout=1")
    with pytest.raises(StoreUnavailableError, match="nothing has changed; try again") as caught:
        warehouse.inputs(adbc={"driver": "postgresql", "options": {"uri": "env:WAREHOUSE"}})
    assert "hush" not in "".join(traceback.format_exception(caught.value))


def test_a_driver_that_shows_an_option_shows_no_secret(warehouse, tmp_path):
    (tmp_path / "key").write_text("hush hush\n")
    options = {"uri": str(tmp_path / "events.db"), "adbc.nosuch.token": "file:key"}
    with pytest.raises(InputError, match=r"adbc\.nosuch\.token='\*\*\*'.*raw\.adbc\.options"):
        warehouse.inputs(adbc={"driver": "sqlite", "options": options})


@pytest.mark.parametrize(
    ("secret", "message"),
    [
        pytest.param("reader:hush@acme/shop", "login of reader with hush failed", id="an address of Snowflake"),
        pytest.param("account=x;password=h%23sh;y=1", "wrong: h#sh", id="as an option of an address, quoted"),
        pytest.param("hush", "hush", id="the whole"),
    ],
)
def test_a_part_of_a_secret_is_one_too(secret, message):
    shown = redacted(message, [secret, ""])
    assert "***" in shown
    assert not any(word in shown for word in ("hush", "h#sh"))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("password", '"hush"', "password may be a secret"),
        ("adbc.snowflake.sql.client_option.jwt_private_key_pkcs8_value", '"hush"', "may be a secret"),
        ("adbc.bigquery.sql.auth.client_secret", '"hush"', 'refer to it as "env:NAME" or "file:PATH"'),
        ("uri", '"reader:hush@acme/shop"', "uri may be a secret"),
        ("password", '["hush"]', "valid string"),
    ],
)
def test_a_secret_in_the_file_is_refused_and_not_shown(tmp_path, name, value, message):
    text = f'[raw.adbc]\noptions = {{ "{name}" = {value} }}\n[[targets]]\ntenant = "shop"\nsurface = "home"\n'
    with pytest.raises(ConfigurationError, match=message) as caught:
        parse_settings(text.encode(), name="recsys.toml", base=tmp_path)
    assert "hush" not in str(caught.value)


INSTANT = datetime(2026, 1, 5, 10, tzinfo=UTC)
NAIVE = INSTANT.replace(tzinfo=None)
TEXTS = [(name, pa.string(), name[0]) for name in ("tenant", "surface", "session_id")]
# As the drivers document their types; the values are made up.
SNOWFLAKE = [
    ("TS", pa.timestamp("ns", "America/Los_Angeles"), INSTANT),  # TIMESTAMP_LTZ, and _TZ with UTC
    *((name.upper(), kind, value) for name, kind, value in TEXTS),
    ("ITEM_ID", pa.decimal128(38, 0), Decimal(12345678901234567890)),  # NUMBER
    ("USER_ID", pa.int64(), 7),  # NUMBER without use_high_precision
    ("RANK", pa.decimal128(5, 0), Decimal(3)),
    ("PAYLOAD", pa.string(), '{"a": [1]}'),  # VARIANT
    ("PRICE", pa.decimal128(10, 2), Decimal("1.50")),
]
BIGQUERY = [
    ("ts", pa.timestamp("us", "UTC"), INSTANT),  # TIMESTAMP
    *TEXTS,
    ("item_id", pa.int64(), 12),
    ("user_id", pa.string(), "u"),
    ("rank", pa.int64(), 3),
    ("price", pa.decimal128(38, 9), Decimal("1.5")),  # NUMERIC
    ("big", pa.decimal256(76, 38), Decimal("1.5")),  # BIGNUMERIC
    ("item", pa.struct([("id", pa.string())]), {"id": "x"}),  # STRUCT
    ("tags", pa.list_(pa.string()), ["x"]),  # ARRAY
]


def event_of(columns, *, assume_utc=False, **changes):
    """Return the event of one row, whose columns may be changed."""
    fields = {name: (kind, value) for name, kind, value in columns} | changes
    raw = RawSettings()
    batch = pa.record_batch({name: pa.array([value], kind) for name, (kind, value) in fields.items()})
    batch = batch.rename_columns(use_configured_names(raw, batch.schema.names))
    mapped = map_columns(raw, batch.schema.names, name="query", known={})
    check_types(batch.schema, mapped, name="query", assume_utc=assume_utc)
    return json.loads(lines_of_batch(batch, mapped, name="query", assume_utc=assume_utc))


@pytest.mark.parametrize(
    ("columns", "own"),
    [
        pytest.param(SNOWFLAKE, {"item_id": "12345678901234567890", "user_id": "7"}, id="Snowflake"),
        pytest.param(BIGQUERY, {"item_id": "12", "user_id": "u"}, id="BigQuery"),
    ],
)
def test_a_row_of_a_warehouse_is_an_event(columns, own):
    event = event_of(columns)
    assert datetime.fromisoformat(event.pop("ts")) == INSTANT
    assert event == {"v": 1, "tenant": "t", "surface": "s", "session_id": "s", "rank": 3, **own}


def test_times_without_a_zone_count_as_utc_where_that_is_said():
    changed = {"TS": (pa.timestamp("ns"), NAIVE)}  # TIMESTAMP_NTZ
    assert datetime.fromisoformat(event_of(SNOWFLAKE, assume_utc=True, **changed)["ts"]) == INSTANT
    with pytest.raises(InputError, match=r"times without a zone: set raw\.assume_utc"):
        event_of(SNOWFLAKE, **changed)


@pytest.mark.parametrize(
    ("columns", "changed", "message"),
    [
        pytest.param(SNOWFLAKE, {"ITEM_ID": (pa.float64(), 1.0)}, "item_id holds double", id="NUMBER as a double"),
        pytest.param(SNOWFLAKE, {"RANK": (pa.decimal128(38, 0), 10**30)}, "beyond 64 bits", id="a rank too large"),
        pytest.param(
            BIGQUERY, {"item_id": (pa.decimal128(38, 9), Decimal(1))}, r"decimal128\(38, 9\), expected", id="NUMERIC"
        ),
        pytest.param(BIGQUERY, {"item_id": (pa.struct([("id", pa.string())]), {})}, "holds struct", id="STRUCT"),
        pytest.param(BIGQUERY, {"user_id": (pa.list_(pa.string()), [])}, "holds list", id="ARRAY"),
        pytest.param(BIGQUERY, {"ts": (pa.date32(), DAY)}, "ts holds date32", id="DATE"),
    ],
)
def test_a_type_of_a_warehouse_that_is_no_field_is_named(columns, changed, message):
    with pytest.raises(InputError, match=message):
        event_of(columns, **changed)


def test_columns_keep_their_names_where_they_differ_in_case_alone():
    raw = RawSettings(columns={"item_id": "Sku"})
    assert use_configured_names(raw, ["SKU", "TS", "Other"]) == ["Sku", "ts", "Other"]
    assert use_configured_names(raw, ["SKU", "sku", "ts", "TS"]) == ["SKU", "sku", "ts", "TS"]
