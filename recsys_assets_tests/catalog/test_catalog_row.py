"""Titles, pictures and pages of items: optional columns, read leniently, and nothing that a browser must not open."""

import gzip

import pytest

from recsys_assets.catalog import catalog_row
from recsys_assets.catalog.catalog import open_file
from recsys_assets.catalog.catalog_row import Display, displays_of, read_displays

JSON = """{"item_id":" a ","title":"An  apple","image_url":"https://i.example/a.jpg","url":"https://s.example/a"}
not json
{"item_id":"b","tags":["x"]}
{"item_id":"a","namespace":"home","title":"Apple of home","url":"javascript:alert(1)"}
"""
CSV = """\ufeffid,tags,Title,image_url,surface
a,"x;y","An apple, red",https://i.example/a.jpg,
b,x,,file:///etc/passwd,home
short,x
c,x,Cherry,,home
"""


def read(tmp_path, name, text):
    (tmp_path / name).write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return read_displays(str(tmp_path / name), open_stream=open_file)


@pytest.mark.parametrize("name", ["catalog.jsonl", "catalog.jsonl.gz"])
def test_json_lines_say_how_items_look_and_the_surface_says_it_best(tmp_path, name):
    found = read(tmp_path, name, JSON)
    assert found[None] == {"a": Display("An apple", "https://i.example/a.jpg", "https://s.example/a")}
    assert displays_of(found, "home") == {"a": Display("Apple of home", None, None)}
    assert displays_of(found, "cart")["a"].title == "An apple"


def test_csv_says_it_by_its_header(tmp_path):
    found = read(tmp_path, "catalog.csv", CSV)
    assert displays_of(found, "home") == {
        "a": Display("An apple, red", "https://i.example/a.jpg", None),
        "c": Display("Cherry", None, None),
    }


def test_a_catalog_without_the_columns_shows_nothing(tmp_path):
    assert read(tmp_path, "catalog.csv", "item_id,tags\na,x\n") == {}
    assert read(tmp_path, "empty.csv", "") == {}


def test_more_items_than_memory_is_meant_for_go_without(tmp_path, monkeypatch):
    monkeypatch.setattr(catalog_row, "MAX_ITEMS", 1)
    assert read(tmp_path, "catalog.csv", "item_id,title\na,A\nb,B\n") == {None: {"a": Display("A", None, None)}}
