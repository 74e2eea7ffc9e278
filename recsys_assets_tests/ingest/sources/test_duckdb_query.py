"""Queries of DuckDB as a source: one SELECT a day, within a time, of anything that its scanners read."""

import sys
from datetime import timedelta

import pyarrow.csv
import pytest

from recsys_assets.errors import ConfigurationError, InputError, StoreUnavailableError
from recsys_assets_tests.ingest.sources.test_delta import CART, DAY, HOME, START, Shop, rows

OF_DAY = "duckdb:SELECT * FROM read_csv('{day}*.csv') WHERE ts::DATE = '{day}';"


class Folder(Shop):
    """Events in CSV, which nothing but DuckDB reads here."""

    def put(self, *items, name="", **more):
        pyarrow.csv.write_csv(rows(*items, **more), self.folder / f"{DAY}{name}.csv")

    def inputs(self, exposures=OF_DAY, **more):
        return super().inputs(exposures, **more)


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path)


def test_rows_that_a_query_gives_are_events_of_every_target(folder):
    folder.put("a", "b")
    folder.put("c", surface="cart", name="-2")
    folder.put("late", start=START - timedelta(seconds=1), name="-3")
    assert folder.items() == ({HOME: ["a", "b"], CART: ["c"]}, [])
    assert folder.items(f"{OF_DAY[:-1]} AND item_id <> 'a'")[0] == {HOME: ["b"], CART: ["c"]}
    assert folder.inputs(f"{OF_DAY[:-1]} AND item_id = 'nothing'") == []


def test_the_mark_is_of_the_content_and_not_of_its_order(folder):
    folder.put("a", "b")
    (before,) = folder.inputs()
    (turned,) = folder.inputs(f"{OF_DAY[:-1]} ORDER BY item_id DESC")
    folder.put("a", "c")
    (after,) = folder.inputs()
    assert before.digest() == turned.digest() != after.digest()
    assert after.touched_at() == START


def test_a_query_that_takes_too_long_is_an_outage(folder):
    many = "range(100000000) a, range(1000000) b"
    endless = f"duckdb:SELECT count(*) AS n FROM {many} WHERE '{{day}}' <> '' AND (a.range * b.range) % 7 = 3"  # noqa: S608
    with pytest.raises(StoreUnavailableError, match=r"no answer within 1 s \(raw\.statement_timeout_seconds\)"):
        folder.inputs(endless, statement_timeout_seconds=1)


@pytest.mark.parametrize(
    ("query", "error", "message"),
    [
        pytest.param("SELECT 1", ConfigurationError, r"a query without \{day\}", id="every day"),
        pytest.param("COPY (SELECT '{day}') TO 'x.csv'", ConfigurationError, "not one SELECT", id="writes"),
        pytest.param("SELECT '{day}'; DROP TABLE x", ConfigurationError, "not one SELECT", id="two statements"),
        pytest.param("ATTACH '{day}.db'", ConfigurationError, "not one SELECT", id="attaches"),
        pytest.param("SELECT '{day}", InputError, "correct the query", id="no SQL"),
        pytest.param("SELECT * FROM '{day}-gone.csv'", InputError, "correct the query", id="no file"),
    ],
)
def test_what_is_no_reading_is_refused_and_changes_nothing(folder, query, error, message):
    folder.put("a")
    with pytest.raises(error, match=message):
        folder.inputs(f"duckdb:{query}")
    assert [path.name for path in folder.folder.iterdir()] == [f"{DAY}.csv"]


def test_a_query_without_a_column_of_events_names_it(folder):
    folder.put("a")
    (found,) = folder.inputs("duckdb:SELECT ts, tenant FROM '{day}.csv'")
    with pytest.raises(InputError, match=r"duckdb:query/2026-01-05 has no column 'surface'"):
        found.open()


def test_the_extra_is_named_where_the_library_is_missing(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "duckdb", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'recsys-assets\[duckdb\]'"):
        folder.inputs()
