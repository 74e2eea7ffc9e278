"""Catalogs: every good row in order, every bad one with its line and reason."""

import dataclasses
import gzip
import hashlib
import json
import os
from functools import reduce
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
import pytest
import zstandard
from hypothesis import assume, given
from hypothesis import strategies as st

from recsys_assets.catalog import catalog as catalog_module
from recsys_assets.catalog.catalog import MAX_KEPT, SCHEMA, CatalogForm, read_catalog
from recsys_assets.catalog.catalog_row import FIELDS, _read_plain, make_row
from recsys_assets.catalog.csv_rows import read_csv_pieces, read_csv_rows, read_plain_lines
from recsys_assets.errors import InputError, LimitExceededError
from recsys_assets.ingest.json_object import find_repeated, read_object
from recsys_assets.ingest.quarantine import LineFault, Reason
from recsys_assets_tests.thoroughness import examples

SPELLED = [
    '{"item_id": " a ", "tags": ["x", " Ü"], "namespace": " ", "price": 1.5, "more": {"a": [1e3, null, "é"]}}'.encode(),
    b'{"item_id":"b","price":12,"tags":[],"created_at":"now","other":"?"}',
    b'{"item_id":"c","item\\u005fid":"d","tags":["\\ud800"]}',
    b'{"item_id":"b","tags":null,"tags":["x"]}',
]
PLAIN = [
    '{"item_id":" a\u00a0","tags":["x"," \u00dc"],"namespace":" ","price":1.5,"other":"?"}'.encode(),
    b'{"item_id":"b","price":12,"tags":[],"created_at":"now"}',
    b'{"tags": null, "item_id": "tags and price"}',
]


def read(folder, data, name="catalog.csv"):
    path = folder / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return read_catalog(path)


def refused(catalog):
    return [(reject.line, reject.reason) for reject in catalog.rejects]


def test_csv_rows_come_in_order_with_tags_split_and_blanks_null(tmp_path):
    catalog = read(
        tmp_path,
        'item_id,tags,namespace,price,created_at,title\n a ,"x, y;z|",home,1.5,2026-01-01,T\nb,,,,,\nü,é, , 2 ,,\n',
    )
    assert catalog.rows.equals(
        pl.DataFrame(
            [
                ("a", ["x", " y", "z", ""], "home", 1.5, "2026-01-01"),
                ("b", [""], None, None, None),
                ("ü", ["é"], None, 2.0, None),
            ],
            schema=dict(SCHEMA),
            orient="row",
        )
    )
    assert (catalog.faults, catalog.rejects) == ({}, ())


@pytest.mark.parametrize("item", ["item_id", "itemid", "id", "ID", " Item_ID "])
@pytest.mark.parametrize("tags", ["tags", "tag_list"])
@pytest.mark.parametrize("namespace", ["namespace", "surface"])
def test_csv_columns_have_several_names(tmp_path, item, tags, namespace):
    catalog = read(tmp_path, f"{namespace},{tags},other,{item}\r\nhome,x,?,a\r\n")
    assert catalog.rows.select("item_id", "tags", "namespace").rows() == [("a", ["x"], "home")]


def test_csv_of_spreadsheets_is_read_with_its_mark_and_quotes(tmp_path):
    catalog = read(tmp_path, '\ufeff"id","tags","text"\r\n"a ""c""","x,y","over\r\ntwo, lines"\r\n\r\nd,z,')
    assert catalog.rows["item_id"].to_list() == ['a "c"', "d"]
    assert catalog.faults == {}


@pytest.mark.parametrize(
    ("opened", "closed", "bad"),
    [
        pytest.param('i2,"a,x', "i90,b,y", 98, id="never closed"),
        pytest.param('i2,"a,x', 'i90,"b,y', 89, id="another one later"),
        pytest.param('i2,"a,x', 'i90,b",y', 89, id="tags over lines"),
        pytest.param('i2,a,"x', 'i90,b,y"', 89, id="a text over lines that are rows"),
        pytest.param('i2,a,"x', 'i90,b,"', 89, id="a text that ends with a row"),
        pytest.param('"i2,a,x', 'i90",b,y', 89, id="an id over lines"),
    ],
)
def test_lines_that_a_stray_quote_swallows_are_bad_rows_each(tmp_path, opened, closed, bad):
    lines = [f"i{n},tag,text" for n in range(100)]
    lines[2], lines[90] = opened, closed
    catalog = read(tmp_path, "id,tags,text\n" + "\n".join(lines))
    assert (catalog.bad, len(catalog.rows), catalog.rejects[0].line) == (bad, 100 - bad, 4)
    assert {reject.reason for reject in catalog.rejects} == {Reason.NOT_CSV}


CELLS = st.text(st.sampled_from('ab" ,;1.é'), max_size=6)
ROWS = st.lists(st.lists(CELLS, min_size=3, max_size=3), min_size=1, max_size=12)


@given(
    rows=ROWS,
    encoding=st.sampled_from(["utf-8", "windows-1252", "shift_jis", "ascii"]),
    delimiter=st.sampled_from(",;\t"),
)
@examples(400)
def test_rows_taken_and_rows_put_aside_are_the_rows_there(rows, encoding, delimiter):
    """Whatever stands in the cells, with stray quotes, other separators and other encodings than declared."""
    lines = [delimiter.join(cells) for cells in rows]
    # A line that ends a quote and is not as wide as a row may as well be the rest of a text over lines.
    assume(all(line.count(delimiter) == 2 for line in lines if '"' in line))
    data = "\n".join([delimiter.join(["id", "tags", "text"]), *lines]).encode("windows-1252")
    with TemporaryDirectory() as folder:
        path = Path(folder, "catalog.csv")
        path.write_bytes(data)
        catalog = read_catalog(path, form=CatalogForm(encoding, delimiter))
    bad = catalog.bad - catalog.faults.get(Reason.HIDDEN_LINES, 0)
    assert len(catalog.rows) + bad == len(lines)
    assert len(catalog.rejects) == bad


@examples(50)
@given(rows=st.lists(st.sampled_from([*SPELLED, *PLAIN, b"{", b"[]", b"\xff", b'{"item_id": ""}'])))
def test_json_rows_taken_and_put_aside_are_the_rows_there(rows):
    with TemporaryDirectory() as folder:
        path = Path(folder, "catalog.jsonl")
        path.write_bytes(b"\n".join(rows))
        catalog = read_catalog(path)
    assert len(catalog.rows) + catalog.bad - catalog.faults.get(Reason.HIDDEN_LINES, 0) == len(rows)


@pytest.mark.parametrize("name", ["catalog.csv", "catalog.jsonl"])
def test_a_declared_encoding_is_decoded(tmp_path, name):
    text = "id;tags;price\na;café;1.5\n" if name.endswith("csv") else '{"item_id": "a", "tags": ["café"]}\n'
    path = tmp_path / name
    path.write_bytes(text.encode("windows-1252"))
    read = read_catalog(path, form=CatalogForm("windows-1252", ";"))
    assert read.rows["tags"].to_list() == [["café"]]
    assert read_catalog(path, form=CatalogForm("utf-8", ";")).faults == {Reason.BAD_UTF8: 1}
    assert read_catalog(path, form=CatalogForm("ascii", ";")).faults == {Reason.BAD_UTF8: 1}


def test_a_decimal_comma_is_named(tmp_path):
    catalog = read(tmp_path, 'id,tags,price\na,x,"1.299,00"\nb,x,2\n')
    assert catalog.rejects[0].detail == "price: expected a number with a decimal point, found '1.299,00'"
    assert (catalog.bad, catalog.bad_share) == (1, 0.5)


def test_a_catalog_that_unpacks_without_end_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(catalog_module, "MAX_CATALOG_BYTES", 1_000_000)
    with pytest.raises(LimitExceededError, match="unpacks to over 1,000,000 bytes"):
        read(tmp_path, gzip.compress(b"\n" * 1_000_001), "catalog.jsonl.gz")


def test_bad_csv_rows_are_put_aside_by_line(tmp_path):
    text = (  # the last row has a quote that is never closed: it and the line behind it are bad
        b'id,tags,price\na,x,1\nb,x\nc,x,1,2\n"d\ne",x,many\nf,x,nan\n\xff,x,1\n ,x,1\n"g"h,x,1\ni,x,1\n"j,x,1\nk,x,1\n'
    )
    catalog = read(tmp_path, text)
    assert catalog.rows["item_id"].to_list() == ["a", "i"]
    assert refused(catalog) == [
        (3, Reason.NOT_CSV),
        (4, Reason.NOT_CSV),
        (5, Reason.NOT_CSV),
        (6, Reason.NOT_CSV),
        (7, Reason.OUT_OF_RANGE),
        (8, Reason.BAD_UTF8),
        (9, Reason.EMPTY_FIELD),
        (10, Reason.NOT_CSV),
        (12, Reason.NOT_CSV),
        (13, Reason.NOT_CSV),
    ]
    assert catalog.faults[Reason.NOT_CSV] == 7
    assert (catalog.rejects[3].text, catalog.rejects[5].escaped) == ('e",x,many', True)


@pytest.mark.parametrize(
    "header",
    [
        pytest.param("", id="empty file"),
        pytest.param("sku,tags\n", id="no item"),
        pytest.param("id,label\n", id="no tags"),
        pytest.param("id,item_id,tags\n", id="two items"),
        pytest.param('"id,tags\n', id="no CSV"),
    ],
)
def test_csv_without_the_needed_columns_is_refused(tmp_path, header):
    with pytest.raises(InputError, match=r"catalog\.csv: expected one column"):
        read(tmp_path, header)


def json_lines(*rows):
    return b"".join((row if isinstance(row, bytes) else json.dumps(row).encode()) + b"\n" for row in rows)


def test_json_rows_come_in_order(tmp_path):
    data = json_lines(
        {"item_id": " a", "tags": ["x", " Y"], "namespace": " ", "price": 2, "created_at": "now", "more": {}},
        {"item_id": "b", "tags": None, "price": 0.5},
        {"item_id": "c"},
    )
    catalog = read(tmp_path, data, "catalog.jsonl")
    assert catalog.rows.schema == SCHEMA
    assert catalog.rows.rows() == [
        ("a", ["x", " Y"], None, 2.0, "now"),
        ("b", [], None, 0.5, None),
        ("c", [], None, None, None),
    ]
    assert (catalog.size, catalog.digest) == (len(data), hashlib.sha256(data).hexdigest())


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        pytest.param(b"", Reason.BLANK_LINE, id="blank"),
        pytest.param(b"{", Reason.NOT_JSON, id="no JSON"),
        pytest.param(b"[]", Reason.NOT_OBJECT, id="no object"),
        pytest.param(b'{"item_id": "\xff"}', Reason.BAD_UTF8, id="no UTF-8"),
        pytest.param(b'{"item_id": "a", "item_id": "b"}', Reason.DUPLICATE_FIELD, id="name twice"),
        pytest.param({}, Reason.MISSING_FIELD, id="no item"),
        pytest.param({"item_id": " "}, Reason.EMPTY_FIELD, id="blank item"),
        pytest.param({"item_id": 5}, Reason.WRONG_TYPE, id="number for an item"),
        pytest.param({"item_id": "a", "tags": "x,y"}, Reason.WRONG_TYPE, id="text for tags"),
        pytest.param({"item_id": "a", "tags": ["x", 1]}, Reason.WRONG_TYPE, id="number for a tag"),
        pytest.param({"item_id": "a", "price": "1"}, Reason.WRONG_TYPE, id="text for a price"),
        pytest.param({"item_id": "a", "price": True}, Reason.WRONG_TYPE, id="truth for a price"),
        pytest.param(b'{"item_id": "a", "price": 1e999}', Reason.OUT_OF_RANGE, id="endless price"),
        pytest.param({"item_id": "a", "namespace": ["home"]}, Reason.WRONG_TYPE, id="list for a namespace"),
        pytest.param(b'{"item_id": "' + b"x" * 5_000_000 + b'"}', Reason.TOO_LONG, id="5 MB"),
        pytest.param(b'{"item_id": "' + b"x" * 9_000_000 + b'"}', Reason.TOO_LONG, id="9 MB"),
    ],
)
def test_a_bad_json_row_costs_that_row(tmp_path, row, reason):
    catalog = read(tmp_path, json_lines({"item_id": "a"}, row, {"item_id": "b"}), "catalog.jsonl")
    assert refused(catalog) == [(2, reason)]
    assert catalog.rows["item_id"].to_list() == ["a", "b"]


def typo(line, at, change):
    """Return the line with one byte changed, taken out or put in."""
    at %= len(line)
    byte, keep = change
    return line[:at] + byte + line[at + (0 if keep else 1) :]


changes = st.tuples(
    st.integers(0, 200), st.tuples(st.sampled_from([b"", *(bytes([n]) for n in range(256))]), st.booleans())
)


@given(rows=st.lists(st.tuples(st.sampled_from(SPELLED), st.lists(changes, max_size=3)), min_size=1, max_size=40))
@examples(150)
def test_a_row_that_is_read_fast_is_the_row_of_the_strict_reader(rows):
    """What the fast reader takes, typos and all, the strict one takes too, and reads the same of it."""
    for line, typos in rows:
        mistyped = reduce(lambda text, change: typo(text, *change) or b"{}", typos, line)
        fast = _read_plain(mistyped)
        if fast is not None:
            pairs = read_object(mistyped)
            assert find_repeated(pairs, frozenset(FIELDS)) is None
            assert make_row(dict(pairs)) == fast


@pytest.mark.parametrize("line", SPELLED[:2])
def test_ordinary_rows_are_read_fast(line):
    assert _read_plain(line) is not None


@pytest.mark.parametrize(
    ("name", "pack"),
    [("c.jsonl.gz", gzip.compress), ("c.jsonl.zst", zstandard.compress), ("c.v2.jsonl", bytes)],
    ids=["gz", "zst", "plain"],
)
def test_catalogs_may_be_compressed(tmp_path, name, pack):
    assert len(read(tmp_path, pack(json_lines({"item_id": "a"})), name).rows) == 1


def test_rejects_are_counted_without_bound_and_kept_up_to_one(tmp_path):
    count = MAX_KEPT + 500
    catalog = read(tmp_path, b"\n" * count, "c.jsonl")
    assert (catalog.faults, len(catalog.rejects)) == ({Reason.BLANK_LINE: count}, MAX_KEPT)
    assert (catalog.bad, catalog.bad_share) == (0, 0)


@pytest.mark.parametrize("name", ["catalog", "catalog.json", "catalog.csv.bz2", "catalog.gz"])
def test_other_formats_are_refused_by_name(tmp_path, name):
    with pytest.raises(InputError, match=r"neither \.csv nor \.jsonl"):
        read(tmp_path, b"", name)


def test_a_catalog_that_is_gone_is_named(tmp_path):
    with pytest.raises(InputError, match=r"catalog\.csv is missing"):
        read_catalog(tmp_path / "catalog.csv")


lines = st.lists(st.tuples(st.sampled_from(PLAIN), st.lists(changes, max_size=1)), min_size=1, max_size=4)


@given(rows=lines)
@examples(300)
def test_lines_that_are_read_as_a_whole_are_the_rows_of_the_strict_reader(rows):
    """What is taken at once, typos and newlines and all, are lines that the strict reader takes and reads the same."""
    text = b"\n".join(reduce(lambda line, change: typo(line, *change) or b"{}", typos, line) for line, typos in rows)
    whole = read_plain_lines(text)
    assert whole is not None or any(typos for _, typos in rows)
    if whole is not None:
        strict = [read_object(line) for line in text.split(b"\n")]
        assert not any(find_repeated(pairs, frozenset(FIELDS)) for pairs in strict)
        message = [make_row(dict(pairs)) for pairs in strict]
        assert whole.rows() == [
            (row.item_id, list(row.tags), row.namespace, row.price, row.created_at) for row in message
        ]


def as_read(found):
    """The rows and faults of a reader, those of frames one by one."""
    for one in found:
        if isinstance(one, pl.DataFrame):
            yield from ((item, tuple(tags), *rest) for item, tags, *rest in one.rows())
        else:
            fault = isinstance(one.row, LineFault)
            yield (one.line, one.text, one.row) if fault else dataclasses.astuple(one.row)


CSV_LINES = st.lists(
    st.lists(
        st.sampled_from(["a", " b\u00a0", "", "x;y|", "1.5", "nan", '"', "\r", "\0", "\udcff"]), min_size=4, max_size=4
    ),
    max_size=5,
)


@given(pieces=st.lists(CSV_LINES, min_size=1, max_size=3), blank=st.booleans(), end=st.sampled_from(["", "\r"]))
@examples(300)
def test_plain_csv_is_read_at_once_as_it_is_row_by_row(pieces, blank, end):
    """In whatever pieces the lines come; what cannot be plain is read row by row from there on, under its number."""
    texts = ["\n".join([*(",".join(cells) + end for cells in piece), *[""] * blank]) for piece in pieces]
    data = [text.encode(errors="surrogateescape") for text in (f"id,tags,price,surface{end}\n{texts[0]}", *texts[1:])]
    strict = list(as_read(read_csv_rows((line for piece in data for line in piece.split(b"\n")), "catalog")))
    assert list(as_read(read_csv_pieces(iter(data), "catalog"))) == strict
    if not any(letter in text.replace("\r\n", "\n").removesuffix("\r") for text in texts for letter in '"\r\0\udcff'):
        bad = any(isinstance(row[0], int) for row in strict)
        assert bad or all(isinstance(one, pl.DataFrame) for one in read_csv_pieces(iter(data), "catalog"))


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b'{"item_id":"a"}{"item_id":"b"}', id="two objects on a line"),
        pytest.param(b'{"item_id":"a","tags":\n["x"]}', id="an object on two lines"),
        pytest.param(b'{"item_id":"a"}{"item_id":"b"}\n{"item_id":\n"c"}', id="both"),
        pytest.param(b'{"item_id":"a"}\n\n{"item_id":"b"}', id="a blank line"),
        pytest.param(b'{"item_id":"a","more":{"tags":1}}', id="an object inside"),
        pytest.param(b'{"item_id":"a","more":[[1]]}', id="a list that is no tags"),
        pytest.param(b'{"item_id":"a","tags":["x"],"tags":["y"]}', id="a name twice"),
        pytest.param(b'{"item_id":"a","tags":["price"]}', id="a name as a value"),
        pytest.param(b'{"item_id":"a","item\\u005fid":"b"}', id="a name in disguise"),
        pytest.param(b'{"item_id":"\xff"}', id="no UTF-8"),
        pytest.param(b'{"item_id":"a"}\n{"item_id":" "}', id="a blank item"),
    ],
)
def test_lines_of_which_one_needs_a_closer_look_are_not_read_as_a_whole(text):
    assert read_plain_lines(text) is None


def test_rows_keep_their_order_and_lines_their_numbers_over_pieces_of_a_large_file(tmp_path):
    padding = "x" * 1000
    rows = [{"item_id": f"{n:06d}", "other": padding} for n in range(12_000)]
    rows[7000] = {"item_id": 5, "other": padding}
    catalog = read(tmp_path, json_lines(*rows), "catalog.jsonl")
    assert refused(catalog) == [(7001, Reason.WRONG_TYPE)]
    assert catalog.rows["item_id"].to_list() == [f"{n:06d}" for n in range(12_000) if n != 7000]


def rows_of(name, numbers):
    return [f"i{n:03d},wool,{n}.5" if name == "c.csv" else f'{{"item_id":"i{n:03d}","tags":["wool"]}}' for n in numbers]


@pytest.mark.parametrize("name", ["c.csv", "c.jsonl"])
@pytest.mark.parametrize(
    ("spoil", "lost"),
    [
        pytest.param(lambda text: "\0" * len(text), 30, id="a hole that a crash left"),
        pytest.param(lambda text: text.replace("\n", "\r"), 30, id="lines that end with CR"),
        pytest.param(lambda text: text.replace("\n", ""), 30, id="rows without line ends"),
    ],
)
def test_rows_that_stand_in_a_long_bad_one_count_as_bad_rows(tmp_path, name, spoil, lost):  # F62
    path = tmp_path / name
    first, spoiled, last = (rows_of(name, numbers) for numbers in (range(50), range(50, 80), range(80, 100)))
    header = ["item_id,tags,price"] if name == "c.csv" else []
    path.write_text("\n".join([*header, *first, spoil("\n".join(spoiled)), *last]), newline="")
    catalog = read_catalog(path)
    assert len(catalog.rows) == 70
    assert abs(catalog.bad - lost) <= 3


@pytest.mark.parametrize("name", ["c.csv", "c.jsonl"])
@pytest.mark.parametrize("end", [b"\n", b""], ids=["after a line end", "in a row"])
def test_another_file_behind_the_rows_is_refused_by_name(tmp_path, name, end):  # F62
    rows = "\n".join([*(["item_id,tags,price"] if name == "c.csv" else []), *rows_of(name, range(100))])
    (tmp_path / name).write_bytes(rows.encode() + end + gzip.compress(os.urandom(5000)))
    with pytest.raises(InputError, match=r"10[0-2] is not text, but the beginning of gzip"):
        read_catalog(tmp_path / name)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        pytest.param("a\0b,wool,1", Reason.NUL_CHARACTER, id="NUL in an item"),
        pytest.param("a,wo\0ol,1", Reason.NUL_CHARACTER, id="NUL in a tag"),
        pytest.param("a,wool,1_000", Reason.WRONG_TYPE, id="underscore in a price"),
        pytest.param("a,wool,\u0661\u0662", Reason.WRONG_TYPE, id="digits of another script"),
        pytest.param("a,wool,9.90 EUR", Reason.WRONG_TYPE, id="a currency"),
        pytest.param("a,wool,1e400", Reason.OUT_OF_RANGE, id="a price without end"),
    ],
)
def test_a_csv_row_that_python_alone_would_take_is_a_bad_one(tmp_path, row, reason):
    (tmp_path / "c.csv").write_text(f"item_id,tags,price\n{row}\nb,wool, 3.5 \n", newline="")
    catalog = read_catalog(tmp_path / "c.csv")
    assert (dict(catalog.faults), catalog.rows["price"].to_list()) == ({reason: 1}, [3.5])
