"""A pointer says five things about one target and leads nowhere but to that target's artifacts below the root."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_assets.errors import ConfigurationError, CorruptObjectError, UnsafeNameError
from recsys_assets.identity import Target
from recsys_assets.release.document_encoding import encode
from recsys_assets.release.layout import (
    blob_key,
    canonical_key,
    intent_prefix,
    journal_prefix,
    key_of_uri,
    pointer_key,
    release_prefix,
    staged_key,
    uri_of_key,
)
from recsys_assets.release.pointer import LATEST, make_pointer, parse_pointer, release_id_of
from recsys_assets.settings.reading import parse_settings
from recsys_assets.storage.filesystem import FilesystemStore
from recsys_assets.storage.store import check_key
from recsys_assets_tests.hostile_names import ODD, PAIRS, REFUSED
from recsys_assets_tests.release.staging import TARGET, day

ROOT_URI = "file:///srv/store"
VERSION = "a" * 64
NOW = datetime(2026, 3, 10, tzinfo=UTC)
GOOD = uri_of_key(ROOT_URI, blob_key(TARGET, "cooc", VERSION))


def pointer(**change):
    document = {
        "v": 1,
        "tenant": "shop",
        "surface": "home",
        "current": {"cooc": GOOD},
        "updated_at": "2026-03-10T00:00:00Z",
    }
    return msgspec.json.encode({key: value for key, value in (document | change).items() if value is not None})


def parse(data):
    return parse_pointer((ROOT_URI,), TARGET, data, etag="e")


def test_a_pointer_that_was_made_is_read_back():
    made = make_pointer(ROOT_URI, TARGET, {"cooc": VERSION}, now=NOW, after=None)
    assert encode(made) == pointer()
    current = parse(encode(made))
    assert current.pointer == made
    assert current.versions == {"cooc": VERSION}
    assert current.release_id == release_id_of(TARGET, {"cooc": VERSION})


@pytest.mark.parametrize(
    "uri",
    [
        pytest.param("file:///etc/passwd", id="F18 elsewhere"),
        pytest.param(GOOD.replace("/srv/store", "/srv/store2"), id="F18 other root"),
        pytest.param(GOOD.replace("file://", "s3://"), id="F18 other scheme"),
        pytest.param("http://169.254.169.254/latest", id="F18 web address"),
        pytest.param(GOOD.replace("/shop/", "/shop/../evil/"), id="F18 up"),
        pytest.param(GOOD.replace("/shop/", "/shop//"), id="F18 empty segment"),
        pytest.param(GOOD.replace("/shop/", "/evil/"), id="F18 F20 other tenant"),
        pytest.param(GOOD.replace("/home/", "/search/"), id="F18 F20 other surface"),
        pytest.param(GOOD.replace("/cooc/", "/implicit/"), id="F18 other kind"),
        pytest.param(GOOD + "#x", id="F18 fragment"),
        pytest.param(GOOD + "?x", id="F18 query"),
        pytest.param(GOOD.replace("a" * 64, "%61" * 64), id="F18 percent"),
        pytest.param(GOOD.replace("a" * 64, "A" * 64), id="F18 upper case"),
        pytest.param(GOOD.replace(".json", ".json.json"), id="F18 other name"),
        pytest.param(GOOD.replace("artifacts", "staging"), id="F18 other part of the store"),
        pytest.param("", id="F18 empty"),
    ],
)
def test_a_uri_that_leads_elsewhere_is_refused(uri):
    with pytest.raises(CorruptObjectError):
        parse(pointer(current={"cooc": uri}))


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(pointer(v=2), id="F51 newer format"),
        pytest.param(pointer(v="1"), id="format as text"),
        pytest.param(pointer(tenant="evil"), id="F20 other tenant"),
        pytest.param(pointer(surface=None), id="key missing"),
        pytest.param(pointer(extra=1), id="sixth key"),
        pytest.param(pointer(current={}), id="nothing current"),
        pytest.param(pointer(current={f"k{n}": GOOD for n in range(101)}), id="F22 too many kinds"),
        pytest.param(pointer(current={"../x": GOOD}), id="F17 kind"),
        pytest.param(pointer(updated_at="yesterday"), id="no time"),
        pytest.param(pointer(updated_at="2026-03-10T00:00:00"), id="no zone"),
        pytest.param(b"", id="F3 empty"),
        pytest.param(pointer()[:-10], id="F3 torn"),
        pytest.param(b"\xef\xbb\xbf" + pointer(), id="byte order mark"),
        pytest.param(b"[" * 200_000, id="F22 deep"),
        pytest.param(b"\xff\xfe", id="not UTF-8"),
    ],
)
def test_a_pointer_that_says_anything_else_is_refused(data):
    with pytest.raises(CorruptObjectError):
        parse(data)


times = st.datetimes(timezones=st.just(UTC), max_value=datetime(8999, 12, 31))  # noqa: DTZ001


@given(times, times)
def test_a_pointers_time_is_later_than_the_one_before(now, before):  # F16
    made = parse(encode(make_pointer(ROOT_URI, TARGET, {"cooc": VERSION}, now=now, after=before)))
    assert made.updated_at > before
    assert made.updated_at in {now, before + timedelta(microseconds=1)}


@pytest.mark.parametrize("after", [None, LATEST - timedelta(microseconds=1)])
def test_a_time_that_no_reader_would_take_is_never_written(after):  # F59
    now = LATEST if after is None else LATEST - timedelta(days=1)
    with pytest.raises(ConfigurationError, match="correct the system clock"):
        make_pointer(ROOT_URI, TARGET, {"cooc": VERSION}, now=now, after=after)


VERSIONS = st.dictionaries(st.sampled_from(["cooc", "implicit", "popularity"]), st.sampled_from(["a" * 64, "b" * 64]))


@given(VERSIONS, VERSIONS)
def test_the_release_id_shows_contents_apart_and_nothing_else(one, other):
    assert (release_id_of(TARGET, one) == release_id_of(TARGET, other)) is (one == other)
    assert release_id_of(TARGET, dict(reversed(one.items()))) == release_id_of(TARGET, one)
    assert release_id_of(Target("shop", "search"), one) != release_id_of(TARGET, one)


@given(st.text(max_size=30))
def test_a_key_goes_through_a_uri_and_back_or_is_refused(text):
    key = f"artifacts/{text}"
    try:
        check_key(key)
    except UnsafeNameError:
        with pytest.raises(UnsafeNameError):
            uri_of_key(ROOT_URI, key)
        with pytest.raises(CorruptObjectError):
            key_of_uri(ROOT_URI, f"{ROOT_URI}/{key}")
    else:
        assert key_of_uri(ROOT_URI, uri_of_key(ROOT_URI, key)) == key


@pytest.mark.parametrize("name", [pytest.param(name, id=f"F17 {name[:20]!a}") for name in REFUSED])
def test_a_hostile_name_is_refused_by_identity_configuration_and_layout(name):
    for make in (lambda: Target(name, "home"), lambda: Target("shop", name), lambda: blob_key(TARGET, name, VERSION)):
        with pytest.raises(UnsafeNameError):
            make()
    text = f"[[targets]]\ntenant = {msgspec.json.encode(name).decode()}\nsurface = 'home'\nslug = 'x'\n"
    with pytest.raises(ConfigurationError):
        parse_settings(text.encode(), name="recsys.toml", base=Path())


@pytest.mark.parametrize("pair", PAIRS, ids=["F17 case", "F17 NFC/NFD", "F17 ligature"])
def test_names_that_some_stores_hold_as_one_are_refused_as_a_pair(pair):  # F48
    rows = "".join(f'[[targets]]\ntenant = "{name}"\nsurface = "home"\nslug = "s{n}"\n' for n, name in enumerate(pair))
    with pytest.raises(ConfigurationError, match="differ only"):
        parse_settings(rows.encode(), name="recsys.toml", base=Path())


@given(st.lists(st.sampled_from(ODD), min_size=4, max_size=4))
def test_two_targets_never_share_a_path(names):  # F17
    one, other = Target(*names[:2]), Target(*names[2:])
    for make in (
        pointer_key,
        intent_prefix,
        journal_prefix,
        release_prefix,
        lambda target: canonical_key(target, day(0)),
        lambda target: staged_key(target, day(0), "cooc"),
        lambda target: blob_key(target, "cooc", VERSION),
    ):
        assert (make(one) == make(other)) is (one == other)
        assert check_key(make(one).rstrip("/"))


def test_plain_names_of_all_kinds_become_files_of_their_own(tmp_path):  # F17
    store = FilesystemStore(tmp_path)
    for n, name in enumerate(ODD):
        store.create(pointer_key(Target(name, name)), str(n).encode())
    assert {store.get(pointer_key(Target(name, name)), max_bytes=9).data for name in ODD} == {
        str(n).encode() for n in range(len(ODD))
    }
    assert all(re.fullmatch(r"registry/current/([^/]+)/\1/manifest\.json", item.key) for item in store.list(""))
