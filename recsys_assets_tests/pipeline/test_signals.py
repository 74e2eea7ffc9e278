"""Signals in a real PostgreSQL: what passed the gates and nothing else, a day whole or not, again without a trace."""

from datetime import UTC, datetime

import dagster as dg
import psycopg
import pytest
from psycopg import sql

from recsys_assets.errors import ConfigurationError, InputError, RefusedError, StoreUnavailableError
from recsys_assets.pipeline.context import DayContext
from recsys_assets.pipeline.signals import VARIABLE, write_signals
from recsys_assets.pipeline.steps import SIGNALS
from recsys_assets.release.hold import place_hold
from recsys_assets.release.journal import Actor
from recsys_assets.release.pointer import read_current
from recsys_assets_tests.small_shop import FIRST, HOME, after, day_lines, open_shop

TABLES = """
    CREATE TABLE tenants (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), external_id text UNIQUE);
    CREATE TABLE item_popularity_daily (
        tenant_id uuid REFERENCES tenants, namespace text, item_id text, day date, score float8 NOT NULL,
        PRIMARY KEY (tenant_id, namespace, item_id, day)
    );
    CREATE TABLE item_covisit_daily (
        tenant_id uuid REFERENCES tenants, namespace text, item_id text, neighbor_id text, day date,
        score float8 NOT NULL, PRIMARY KEY (tenant_id, namespace, item_id, neighbor_id, day)
    );
    CREATE TABLE item_tags (
        tenant_id uuid REFERENCES tenants, namespace text, item_id text, tags text[] NOT NULL, price numeric,
        created_at timestamptz, PRIMARY KEY (tenant_id, namespace, item_id)
    );
"""
KINDS = '[artifacts]\nwindow_days = 1\nkinds = ["popularity", "cooc", "content_sim"]\n'
ON = KINDS + "[signals]\nwrite = true\n"
BY = Actor(name="tests", reason="a test", run_id=None)
pytestmark = pytest.mark.slow


class Signals:
    """A small shop, a database beside it, and what stands in it."""

    def __init__(self, shop, url):
        self.shop, self.url = shop, url

    def run(self, text, *values):
        with psycopg.connect(self.url) as connection:
            found = connection.execute(text, values or None)
            return found.fetchall() if found.description else []

    def write(self, day=FIRST):
        settings = self.shop.settings
        row = settings.find(HOME.tenant, HOME.surface)
        return write_signals(DayContext(self.shop.store, settings, row, day, now=now), by=BY).numbers

    def popularity(self, day=FIRST):
        query = "SELECT item_id, score FROM item_popularity_daily WHERE day = %s AND namespace = 'home'"
        return dict(self.run(query, day))

    def all(self):
        names = ("item_popularity_daily", "item_covisit_daily", "item_tags")
        query = sql.SQL("SELECT t::text FROM {} AS t")
        return {name: sorted(self.run(query.format(sql.Identifier(name)))) for name in names}


def now():
    return datetime.now(UTC)


@pytest.fixture
def signals(tmp_path, database, monkeypatch):
    monkeypatch.setenv(VARIABLE, database)
    with dg.DagsterInstance.ephemeral() as instance:
        found = Signals(open_shop(tmp_path, instance), database)
        found.run(TABLES)
        found.run("INSERT INTO tenants (external_id) VALUES ('shop'), ('other')")
        found.shop.configure(ON)
        yield found


def test_a_day_that_shipped_stands_in_the_tables(signals):
    signals.shop.write(FIRST, day_lines(FIRST))
    assert signals.shop.run(FIRST).success
    assert signals.popularity() == {"i0": 3, "i1": 6, "i2": 6, "i3": 3}
    covisits = signals.run("SELECT item_id, neighbor_id, score FROM item_covisit_daily WHERE namespace = 'cart'")
    assert ("i1", "i2", 6) in covisits
    assert signals.run("SELECT tags FROM item_tags WHERE item_id = 'i1' AND namespace = 'home'") == [
        (["red", "aisle1"],)
    ]
    (owner,) = {row[0] for row in signals.run("SELECT DISTINCT tenant_id::text FROM item_tags")}
    assert signals.run("SELECT id::text FROM tenants WHERE external_id = 'shop'") == [(owner,)]


def test_writing_again_changes_no_row(signals):
    signals.shop.write(FIRST, day_lines(FIRST))
    signals.shop.run(FIRST)
    before = signals.run("SELECT xmin::text, ctid::text, item_id FROM item_popularity_daily ORDER BY 2")
    numbers = signals.write()
    assert numbers == {"outcome": "written"} | {
        f"{verb}/{table}": 0
        for verb in ("written", "deleted")
        for table in ("item_popularity_daily", "item_covisit_daily", "item_tags")
    }
    assert signals.run("SELECT xmin::text, ctid::text, item_id FROM item_popularity_daily ORDER BY 2") == before


def test_what_vanished_when_the_day_was_built_again_is_deleted_and_other_rows_are_left(signals):
    for day in (FIRST, after(1)):
        signals.shop.write(day, day_lines(day))
        signals.shop.run(day)
    other = signals.run("SELECT id FROM tenants WHERE external_id = 'other'")[0][0]
    signals.run("INSERT INTO item_popularity_daily VALUES (%s, 'home', 'x', %s, 1)", other, FIRST)
    config = signals.shop.folder / "recsys.toml"
    config.write_text(config.read_text().replace("[raw]\n", "[raw]\nmax_lost_share = 1\n"))
    signals.shop.write(FIRST, [line for line in day_lines(FIRST) if '"i0"' not in line])
    assert signals.shop.run(FIRST).success
    assert signals.popularity() == {"i1": 6, "i2": 6, "i3": 3, "x": 1}
    assert signals.popularity(after(1)) == {"i0": 3, "i1": 6, "i2": 6, "i3": 3}


def test_a_day_older_than_what_is_live_leaves_the_tags_alone(signals):
    signals.shop.write(after(1), day_lines(after(1)))
    signals.shop.run(after(1))
    signals.run("UPDATE item_tags SET tags = '{mark}'")
    signals.shop.write(FIRST, day_lines(FIRST))
    signals.shop.run(FIRST)
    assert signals.popularity(FIRST)
    assert signals.run("SELECT DISTINCT tags FROM item_tags") == [(["mark"],)]


def test_prices_and_times_come_from_the_catalog_as_far_as_they_are_any(signals):
    rows = ['{"item_id":"i1","tags":["a"],"price":1.5,"created_at":"2025-01-01T00:00:00+01:00"}']
    rows += ['{"item_id":"i2","tags":["b"],"created_at":"last summer"}']
    (signals.shop.folder / "catalog.jsonl").write_text("\n".join(rows))
    signals.shop.write(FIRST, day_lines(FIRST))
    signals.shop.run(FIRST)
    found = signals.run("SELECT item_id, price::float, created_at FROM item_tags WHERE namespace = 'home' ORDER BY 1")
    assert [(item, price, at and at.isoformat()) for item, price, at in found] == [
        ("i1", 1.5, "2024-12-31T23:00:00+00:00"),
        ("i2", None, None),
    ]


def test_nothing_is_written_of_a_day_whose_gates_refused_not_even_by_the_asset_alone(signals):  # F32
    signals.shop.configure(ON + "[gates]\nmin_rows = 1000\n")
    signals.shop.write(FIRST, day_lines(FIRST))
    assert not signals.shop.run(FIRST).success
    alone = signals.shop.build(FIRST, selection=[dg.AssetKey(["shop", "home", SIGNALS])])
    assert not alone.success
    with pytest.raises(RefusedError, match=r"popularity: gate .* refused"):
        signals.write()
    assert not any(signals.all().values())


def test_nothing_is_written_while_the_target_is_held(signals):  # F34
    signals.shop.write(FIRST, day_lines(FIRST))
    signals.shop.run(FIRST)
    before = signals.all()
    place_hold(signals.shop.store, HOME, by=BY, now=now)
    signals.shop.write(after(1), day_lines(after(1), targets=[HOME]))
    signals.shop.run(after(1))
    assert signals.all() == before
    assert signals.write(after(1))["outcome"] == "held"


@pytest.mark.parametrize(
    ("change", "raised", "message"),
    [
        pytest.param("DROP TABLE item_tags", ConfigurationError, "item_tags", id="a table is missing"),
        pytest.param("ALTER TABLE item_tags DROP price", ConfigurationError, "price", id="a column is missing"),
        pytest.param(
            "ALTER TABLE item_tags DROP CONSTRAINT item_tags_pkey", ConfigurationError, "unique", id="no index"
        ),
        pytest.param("DELETE FROM tenants", InputError, "no tenants 'shop'", id="the tenant is missing"),
        pytest.param("ALTER TABLE item_tags ADD CHECK (item_id <> 'i3')", StoreUnavailableError, "check", id="a check"),
    ],
)
def test_a_day_is_written_whole_or_not_at_all(signals, change, raised, message):
    signals.shop.configure(KINDS)
    signals.shop.write(FIRST, day_lines(FIRST))
    signals.shop.run(FIRST)
    signals.run(change)
    with pytest.raises(raised, match=message):
        signals.write()
    assert signals.popularity() == {}
    assert read_current(signals.shop.store, HOME) is not None


def test_a_tenant_is_added_only_if_that_is_allowed(signals):
    signals.shop.configure(ON + "create_tenants = true\n")
    signals.run("DELETE FROM tenants")
    signals.shop.write(FIRST, day_lines(FIRST))
    assert signals.shop.run(FIRST).success
    assert signals.run("SELECT count(*) FROM tenants WHERE external_id = 'shop'") == [(1,)]
    signals.write()
    assert signals.run("SELECT count(*) FROM tenants") == [(1,)]


def test_a_database_that_is_down_fails_the_signals_and_not_the_ship(signals, monkeypatch):  # F11
    monkeypatch.setenv(VARIABLE, "postgresql://someone:secret@127.0.0.1:9/none")
    signals.shop.configure(KINDS)
    signals.shop.write(FIRST, day_lines(FIRST))
    assert signals.shop.run(FIRST).success
    with pytest.raises(StoreUnavailableError, match="signals of shop/home"):
        signals.write()
    assert signals.shop.live() is not None
