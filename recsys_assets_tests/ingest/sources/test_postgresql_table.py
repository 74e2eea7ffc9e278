"""Raw events in tables, on a real PostgreSQL: whole, of one snapshot, in bounded memory, never empty by mistake."""

import json
import threading
import traceback
import tracemalloc
from datetime import UTC, date, datetime

import psycopg
import pytest
from psycopg import sql

from recsys_assets.errors import ConfigurationError, InputError, StoreUnavailableError
from recsys_assets.identity import Target
from recsys_assets.ingest.line_reader import Reading
from recsys_assets.ingest.parse import parse_day
from recsys_assets.ingest.quarantine import Reason
from recsys_assets.ingest.sources.discovery import find_inputs
from recsys_assets.ingest.sources.postgresql_table import VARIABLE
from recsys_assets.settings.settings import Settings

DAY = date(2026, 1, 1)
HOME, CART = Target("shop", "home"), Target("shop", "cart")
PLAIN = """
    CREATE TABLE events (
        ts timestamptz NOT NULL, tenant text, surface text, session_id text, item_id text, user_id text, rank int
    )
"""
SUITE = """
    CREATE TABLE tenants (id uuid PRIMARY KEY, external_id text UNIQUE);
    CREATE TABLE exposure_events (
        id bigserial PRIMARY KEY, tenant_id uuid NOT NULL, occurred_at timestamptz NOT NULL, request_id text,
        surface text NOT NULL, segment text, session_id text, response jsonb
    );
    INSERT INTO tenants VALUES ('00000000-0000-0000-0000-000000000001', 'shop'),
        ('00000000-0000-0000-0000-000000000002', 'other');
"""
SUITE_RAW = {
    "exposures": "postgresql:exposure_events",
    "columns": {"ts": "occurred_at"},
    "nested": "response",
    "tenants": "tenants",
}
SHOP_ID = "00000000-0000-0000-0000-000000000001"
pytestmark = pytest.mark.slow


class Database:
    """A database with events, and what ingest makes of them."""

    def __init__(self, url):
        self.url = url

    def run(self, text, *values):
        with psycopg.connect(self.url) as connection:
            connection.execute(text, values or None)

    def event(self, **changes):
        row = {"ts": "2026-01-01T12:00:00Z", "tenant": "shop", "surface": "home", "session_id": "s1", "item_id": "i1"}
        row |= changes
        names, values = sql.SQL(", ").join(map(sql.Identifier, row)), sql.SQL(", ").join(map(sql.Literal, row.values()))
        self.run(sql.SQL("INSERT INTO events ({}) VALUES ({})").format(names, values))

    def exposure(self, response, *, tenant=SHOP_ID, surface="home", at="2026-01-01T12:00:00Z", session="s1"):
        self.run(
            "INSERT INTO exposure_events (tenant_id, occurred_at, request_id, surface, segment, session_id, response)"
            " VALUES (%s, %s, 'r1', %s, 'default', %s, %s::jsonb)",
            *(tenant, at, surface, session, json.dumps(response)),
        )

    def inputs(self, *targets, day=DAY, **raw):
        rows = [
            {"tenant": target.tenant, "surface": target.surface, "slug": f"t{n}"}
            for n, target in enumerate(targets or (HOME,))
        ]
        chosen = Settings.model_validate({"raw": {"exposures": "postgresql:events", **raw}, "targets": rows})
        return find_inputs(chosen, day)

    def lines(self, **raw):
        (found,) = self.inputs(**raw)
        return [json.loads(line) for line in read(found.open()).splitlines()]


def read(stream, size=100_000):
    buffer, text = bytearray(size), bytearray()
    with stream:
        while count := stream.readinto(memoryview(buffer)):
            text += buffer[:count]
    return bytes(text)


def judge(inputs, *targets, **options):
    items, rejects = [], []
    report = parse_day(
        inputs,
        day=DAY,
        targets=targets or (HOME,),
        keep_part=lambda target, part: items.extend((target, item) for item in part.ids["item_id"].texts()),
        keep_rejects=rejects.extend,
        **options,
    )
    return sorted(items), rejects, report


@pytest.fixture
def plain(database, monkeypatch):
    monkeypatch.setenv(VARIABLE, database)
    found = Database(database)
    found.run(PLAIN)
    return found


@pytest.fixture
def suite(database, monkeypatch):
    monkeypatch.setenv(VARIABLE, database)
    found = Database(database)
    found.run(SUITE)
    return found


def test_a_row_is_read_as_the_line_that_it_would_have_been_sent_as(plain):
    plain.event(ts="2026-01-01T13:00:00.000001+01:00", user_id='u"\u2028é\\', rank=3)
    assert plain.lines() == [
        {
            "v": 1,
            "ts": "2026-01-01T12:00:00.000001Z",
            "tenant": "shop",
            "surface": "home",
            "session_id": "s1",
            "item_id": "i1",
            "user_id": 'u"\u2028é\\',
            "rank": 3,
        }
    ]


def test_a_table_may_lack_sessions_where_they_are_found_by_the_user(plain):
    plain.event(user_id="u1")
    plain.event(user_id=None, item_id="i2")
    plain.run("ALTER TABLE events DROP session_id")
    with pytest.raises(InputError, match="no column 'session_id'"):
        plain.lines()
    _, rejects, report = judge(plain.inputs(session_gap_minutes=30), reading=Reading(needs_session=False))
    assert report.targets[HOME].events == 1
    assert [reject.reason for reject in rejects] == [Reason.NO_SESSION]


def test_each_target_gets_its_rows_of_the_day_and_no_others(plain):
    plain.event(item_id="h")
    plain.event(item_id="c", surface="cart")
    plain.event(item_id="x", tenant="other")
    plain.event(item_id="first", ts="2026-01-01T00:00:00Z")
    plain.event(item_id="after", ts="2026-01-02T00:00:00Z")
    plain.event(item_id="before", ts="2025-12-31T23:59:59.999999Z")
    items, rejects, report = judge(plain.inputs(HOME, CART), HOME, CART)
    assert items == [(CART, "c"), (HOME, "first"), (HOME, "h")]
    assert (rejects, report.foreign) == ([], {})


def test_bad_rows_are_quarantined_as_bad_lines_are(plain):  # F28
    for changes in ({"item_id": " "}, {"session_id": None}, {"rank": -1}, {}):
        plain.event(**changes)
    items, rejects, _ = judge(plain.inputs())
    assert items == [(HOME, "i1")]
    assert {reject.reason for reject in rejects} == {Reason.EMPTY_FIELD, Reason.MISSING_FIELD, Reason.OUT_OF_RANGE}
    assert len({reject.line for reject in rejects}) == 3


def test_columns_of_other_names_and_types_are_mapped(plain):
    plain.run("CREATE SCHEMA lake; CREATE TYPE place AS ENUM ('home', 'cart')")
    plain.run('CREATE TABLE lake.clicks (at timestamp, "Sku%s" bigint, visit uuid, place place)')
    plain.run(
        "INSERT INTO lake.clicks VALUES ('2026-01-01 12:00', 7, %s, 'home'), ('2026-01-02', 8, %s, 'home')",
        SHOP_ID,
        SHOP_ID,
    )
    mapping = {"ts": "at", "item_id": "Sku%s", "session_id": "visit", "surface": "place"}
    constants = {"tenant": "shop", "event": "click"}
    (line,) = plain.lines(exposures="postgresql:lake.clicks", columns=mapping, constants=constants, assume_utc=True)
    assert line == {
        "v": 1,
        "ts": "2026-01-01T12:00:00.000000Z",
        **constants,
        "surface": "home",
        "session_id": SHOP_ID,
        "item_id": "7",
    }


def test_exposures_of_the_suite_are_an_event_for_each_item(suite):
    suite.exposure({"items": [{"item_id": "a", "rank": 0, "score": 1.5}, {"item_id": "b", "rank": 1}]})
    suite.exposure({"items": []})
    suite.exposure({"items": [{"item_id": "x"}]}, tenant="00000000-0000-0000-0000-000000000002")
    first, second = suite.lines(**SUITE_RAW)
    assert first == {
        "v": 1,
        "ts": "2026-01-01T12:00:00.000000Z",
        "tenant": "shop",
        "surface": "home",
        "session_id": "s1",
        "request_id": "r1",
        "item_id": "a",
        "rank": 0,
    }
    assert (second["item_id"], second["rank"]) == ("b", 1)


def test_a_tenant_of_the_suite_may_be_called_by_its_id(suite):
    suite.exposure({"items": [{"item_id": "a", "rank": 0}]})
    by_id = Target(SHOP_ID, "home")
    assert judge(suite.inputs(by_id, **SUITE_RAW), by_id)[0] == [(by_id, "a")]


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        pytest.param(None, Reason.MISSING_FIELD, id="null"),
        pytest.param("text", Reason.MISSING_FIELD, id="no object"),
        pytest.param({"items": {"item_id": "a"}}, Reason.MISSING_FIELD, id="items are no list"),
        pytest.param({"items": [5]}, Reason.MISSING_FIELD, id="item is no object"),
        pytest.param({"items": [{"item_id": 5}]}, Reason.WRONG_TYPE, id="id is a number"),
        pytest.param({"items": [{"item_id": "a", "rank": "x"}]}, Reason.WRONG_TYPE, id="rank is text"),
    ],
)
def test_a_malformed_response_is_a_bad_row_among_good_ones(suite, response, reason):
    suite.exposure({"items": [{"item_id": "good", "rank": 0}]})
    suite.exposure(response)
    items, (reject,), report = judge(suite.inputs(**SUITE_RAW))
    assert (items, reject.reason) == ([(HOME, "good")], reason)
    assert report.unknown_fields == {}


def test_a_response_that_the_database_cannot_read_is_an_error_that_does_not_repeat_it(suite):
    suite.run("ALTER TABLE exposure_events ALTER response TYPE text")
    suite.run(
        "INSERT INTO exposure_events (tenant_id, occurred_at, surface, session_id, response)"
        " VALUES (%s, '2026-01-01T12:00:00Z', 'home', 's1', %s)",
        *(SHOP_ID, '{"user": "zoe" nonsense}'),
    )
    with pytest.raises(InputError, match=r"invalid input syntax for type json.*correct the data") as caught:
        suite.lines(**SUITE_RAW)
    message = "".join(traceback.format_exception(caught.value))
    assert "zoe" not in message
    assert "nonsense" not in message


def test_the_quarantine_shows_a_response_without_items(suite):
    suite.exposure({"error": "timeout"})
    assert '"error": "timeout"' in judge(suite.inputs(**SUITE_RAW))[1][0].text


def test_a_day_without_rows_of_a_known_tenant_is_empty_and_no_error(plain):  # F27
    plain.event(ts="2026-01-05T00:00:00Z")
    plain.run(SUITE)
    for raw in ({}, SUITE_RAW):
        assert [(file.lines, file.error) for file in judge(plain.inputs(**raw))[2].targets[HOME].files] == [(0, None)]


def test_a_tenant_that_is_not_there_is_an_error_for_it_alone(plain):  # F47
    plain.event()
    lost = Target("lost", "home")
    items, _, report = judge(plain.inputs(HOME, lost), HOME, lost)
    assert items == [(HOME, "i1")]
    assert [file.name for file in report.targets[lost].files] == [report.files[1].name]
    assert "no row of tenant 'lost'" in report.files[1].error


def test_a_tenant_that_the_table_of_tenants_lacks_or_has_twice_is_an_error(suite):
    (lost,) = suite.inputs(Target("lost", "home"), **SUITE_RAW)
    with pytest.raises(InputError, match="has no tenants 'lost'"):
        read(lost.open())
    suite.run("INSERT INTO tenants VALUES ('00000000-0000-0000-0000-000000000003', %s)", SHOP_ID)
    (twice,) = suite.inputs(Target(SHOP_ID, "home"), **SUITE_RAW)
    with pytest.raises(InputError, match="has 2 tenants"):
        read(twice.open())


@pytest.mark.parametrize(
    ("change", "raised", "message"),
    [
        pytest.param("DROP TABLE events", ConfigurationError, "there is no table events", id="no table"),
        pytest.param("ALTER TABLE events DROP item_id", InputError, "no column 'item_id'", id="no column"),
        pytest.param("ALTER TABLE events ALTER rank TYPE float8", InputError, "rank .* double", id="another type"),
        pytest.param("ALTER TABLE events ALTER ts TYPE timestamp", InputError, "assume_utc", id="no zone"),
        pytest.param("ALTER TABLE events ALTER item_id TYPE json USING '{}'", InputError, "type json", id="JSON as id"),
    ],
)
def test_a_schema_that_drifted_is_an_error_that_names_it(plain, change, raised, message):
    plain.event()
    plain.run(change)
    with pytest.raises(raised, match=message):
        plain.lines()


def test_a_database_that_is_down_is_an_error_and_no_empty_day(plain, monkeypatch):  # F11
    monkeypatch.setenv(VARIABLE, "postgresql://someone:secret@127.0.0.1:9/none")
    with pytest.raises(StoreUnavailableError, match="postgresql:events/shop/home") as caught:
        plain.lines()
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("url", ["postgres//someone:secret@host/none", "host=x secret"])
def test_a_url_that_is_none_is_refused_without_repeating_it(plain, monkeypatch, url):
    monkeypatch.setenv(VARIABLE, url)
    with pytest.raises(ConfigurationError, match=f"{VARIABLE} is not a database URL") as caught:
        plain.lines()
    assert "secret" not in str(caught.value)
    monkeypatch.delenv(VARIABLE)
    with pytest.raises(ConfigurationError, match="is not set"):
        plain.lines()


def test_a_user_without_the_right_to_read_is_refused_by_name(plain, monkeypatch):  # F50
    plain.event()
    plain.run("DROP ROLE IF EXISTS nobody_reads")
    plain.run("CREATE ROLE nobody_reads LOGIN")
    monkeypatch.setenv(VARIABLE, plain.url.replace("postgres:@", "nobody_reads:@"))
    with pytest.raises(ConfigurationError, match="permission denied"):
        plain.lines()


def test_an_answer_that_takes_too_long_is_an_error(plain):
    plain.run("CREATE VIEW slow AS SELECT e.*, pg_sleep(30)::text AS x FROM events e WHERE pg_sleep(30) IS NOT NULL")
    plain.event()
    with pytest.raises(StoreUnavailableError, match="statement timeout"):
        plain.lines(exposures="postgresql:slow", statement_timeout_seconds=1)


def test_a_connection_that_is_cut_in_the_middle_is_an_error_and_no_end(plain):  # F11
    _many(plain, 30_000)
    (found,) = plain.inputs()
    with found.open() as stream:
        assert stream.readinto(memoryview(bytearray(1000)))
        plain.run(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE query LIKE '%recsys_assets_raw%' AND pid <> pg_backend_pid()"
        )
        with pytest.raises(StoreUnavailableError, match="try again"):
            read(stream)


def test_rows_that_come_while_it_is_read_belong_to_the_next_reading(plain):  # F29
    _many(plain, 20_000)
    (found,) = plain.inputs()
    with found.open() as stream:
        stream.readinto(memoryview(bytearray(1000)))
        writer = threading.Thread(target=plain.event, kwargs={"item_id": "late"})
        writer.start()
        writer.join()
        assert b'"late"' not in read(stream)
    assert stream.digest != plain.inputs()[0].digest()


def test_the_mark_identifies_the_content_and_not_the_order_of_rows(plain):
    plain.event(item_id="a")
    plain.event(item_id="b")
    (before,) = plain.inputs()
    stream = before.open()
    read(stream)
    assert stream.digest == before.digest()
    assert before.touched_at() == datetime(2026, 1, 1, 12, tzinfo=UTC)
    plain.run("DELETE FROM events WHERE item_id = 'a'")
    plain.event(item_id="a")
    assert plain.inputs()[0].digest() == before.digest()
    plain.run("UPDATE events SET item_id = 'c' WHERE item_id = 'a'")
    assert plain.inputs()[0].digest() != before.digest()


def test_nothing_can_be_written_through_the_reading(plain):
    plain.run(
        "CREATE FUNCTION spoil() RETURNS text LANGUAGE sql VOLATILE"
        " AS 'INSERT INTO events (ts) VALUES (now()) RETURNING ''x'''"
    )
    plain.event()
    plain.run("CREATE VIEW writes AS SELECT ts, tenant, surface, spoil() AS session_id, item_id FROM events")
    with pytest.raises(ConfigurationError, match="read-only transaction"):
        plain.lines(exposures="postgresql:writes")


def test_a_long_table_is_streamed_in_bounded_memory(plain):  # F21
    _many(plain, 100_000)
    (found,) = plain.inputs()
    buffer, size = bytearray(1 << 16), 0
    tracemalloc.start()
    try:
        with found.open() as stream:
            while count := stream.readinto(memoryview(buffer)):
                size += count
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert size > 12_000_000
    assert peak < 8_000_000


def _many(plain, rows):
    plain.run(
        "INSERT INTO events SELECT timestamptz '2026-01-01 00:00Z' + n * interval '100 ms', 'shop', 'home',"
        " 's' || n / 5,"
        " 'item' || mod(n, 1000), NULL, mod(n, 10) FROM generate_series(1, %s) AS n",
        rows,
    )


@pytest.mark.parametrize("place", ["postgresql:", "postgresql:a.b.c", "postgresql:a..b"])
def test_a_place_that_names_no_table_is_refused(place):
    with pytest.raises(ConfigurationError, match="is not the name of a table"):
        Database("").inputs(exposures=place)


@pytest.mark.parametrize("blank", [" ", "\t", "\u00a0", "\u2003", "\u3000", "\r\n"], ids=ascii)
def test_a_tenant_and_a_surface_that_are_spelled_with_blanks_are_the_same_as_in_lines(plain, tmp_path, blank):
    spelled = {"tenant": f"{blank}shop{blank}", "surface": f"home{blank}"}
    plain.event(**spelled)
    plain.event(**spelled, item_id=f"{blank}i2")
    plain.event(tenant="sh op")
    event = {"v": 1, "ts": "2026-01-01T12:00:00Z", "session_id": "s1", "item_id": f"i1{blank}"} | spelled
    lines = [json.dumps(one) + "\n" for one in (event, event | {"item_id": f"{blank}i2"}, event | {"tenant": "sh op"})]
    (tmp_path / f"{DAY}.jsonl").write_text("".join(lines))
    rows = [{"tenant": "shop", "surface": "home"}]
    files = Settings.model_validate({"raw": {"exposures": "{day}.jsonl"}, "targets": rows, "base": tmp_path})
    assert judge(plain.inputs())[0] == judge(find_inputs(files, DAY))[0] == [(HOME, "i1"), (HOME, "i2")]


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_a_database_of_another_encoding_trims_the_blanks_that_it_has(plain, monkeypatch, encoding):
    name = f"old_{encoding.lower()}"
    with psycopg.connect(plain.url, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name}")
        connection.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' LOCALE 'C'")
    base, _, options = plain.url.partition("?")
    old = Database(f"{base.rpartition('/')[0]}/{name}?{options}")
    monkeypatch.setenv(VARIABLE, old.url)
    old.run(PLAIN)
    old.event(tenant=" shop\t")
    assert judge(old.inputs())[0] == [(HOME, "i1")]


def test_columns_of_domains_are_what_they_are_based_on(plain):
    plain.run("CREATE DOMAIN instant AS timestamptz; CREATE DOMAIN moment AS instant; CREATE DOMAIN sku AS varchar(9)")
    plain.run("CREATE DOMAIN place AS int CHECK (VALUE > 0)")
    plain.run("ALTER TABLE events ALTER ts TYPE moment, ALTER item_id TYPE sku, ALTER rank TYPE place")
    plain.event(rank=3)
    (line,) = plain.lines()
    assert (line["ts"], line["item_id"], line["rank"]) == ("2026-01-01T12:00:00.000000Z", "i1", 3)


@pytest.mark.parametrize("style", ["German", "SQL, DMY", "Postgres"])
def test_the_settings_of_a_database_change_nothing(plain, style):
    plain.event()
    (before,) = plain.inputs()
    expected = before.digest(), before.touched_at(), plain.lines()
    with psycopg.connect(plain.url, autocommit=True) as connection:
        (name,) = connection.execute("SELECT current_database()").fetchone()
        for setting in (f"datestyle = '{style}'", "timezone = 'Asia/Kolkata'", "intervalstyle = 'sql_standard'"):
            connection.execute(f"ALTER DATABASE {name} SET {setting}")
    (after,) = plain.inputs()
    assert (after.digest(), after.touched_at(), plain.lines()) == expected


@pytest.mark.parametrize(
    ("change", "value", "key"),
    [
        pytest.param("TYPE json USING response::json", '{"items": [{"item_id": "zoe\\u0000"}]}', "id=2", id="NUL"),
        pytest.param("TYPE json USING response::json", '{"items": ["\\ud800"]}', "id=2", id="half a character"),
        pytest.param("TYPE text", '{"zoe" nonsense}', "id=2", id="no JSON"),
    ],
)
def test_a_row_that_the_database_cannot_give_is_named_by_its_key(suite, change, value, key):
    suite.exposure({"items": [{"item_id": "i1"}]})
    suite.run(f"ALTER TABLE exposure_events ALTER response {change}")
    suite.run(
        "INSERT INTO exposure_events (tenant_id, occurred_at, surface, session_id, response)"
        " VALUES (%s, '2026-01-01T12:00:00Z', 'home', 's1', %s)",
        *(SHOP_ID, value),
    )
    (found,) = suite.inputs(**SUITE_RAW)
    for read_it in (found.digest, lambda: read(found.open())):
        with pytest.raises(InputError, match=rf"the first such row: {key}\)") as caught:
            read_it()
        assert "zoe" not in "".join(traceback.format_exception(caught.value))


def test_a_row_without_a_key_is_named_by_its_place(suite):
    suite.run("ALTER TABLE exposure_events DROP CONSTRAINT exposure_events_pkey, ALTER response TYPE text")
    suite.run(
        "INSERT INTO exposure_events (tenant_id, occurred_at, surface, session_id, response)"
        " VALUES (%s, '2026-01-01T12:00:00Z', 'home', 's1', '{')",
        SHOP_ID,
    )
    with pytest.raises(InputError, match=r"the first such row: ctid=\(0,1\)"):
        suite.lines(**SUITE_RAW)
