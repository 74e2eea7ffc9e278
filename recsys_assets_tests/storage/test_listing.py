"""A listing is whole or an error, also while people and other programs change what is stored below the root."""

import itertools
import os
import shutil

import pytest

from recsys_assets.errors import ConfigurationError, UnsafeNameError
from recsys_assets.storage.filesystem import FilesystemStore
from recsys_assets.storage.store import check_key, is_key


@pytest.fixture
def root(tmp_path):
    return tmp_path / "store"


@pytest.fixture
def store(root):
    store = FilesystemStore(root)
    for day, kind in itertools.product("123", "ab"):
        store.create(f"staging/{day}/{kind}", b"1")
    return store


def at_folder_2(act, monkeypatch):
    """Do something right before the system opens the folder `2`: its entry was read, and it is not open yet."""
    opened = os.open

    def open_it(path, *arguments, **options):
        if path == "2":
            act()
        return opened(path, *arguments, **options)

    monkeypatch.setattr(os, "open", open_it)


def test_a_folder_removed_while_it_is_listed_takes_no_other_with_it(store, root, monkeypatch):  # F38
    at_folder_2(lambda: shutil.rmtree(root / "staging" / "2"), monkeypatch)
    assert [item.key for item in store.list("staging/")] == [
        f"staging/{day}/{kind}" for day, kind in itertools.product("13", "ab")
    ]


def test_a_folder_that_cannot_be_read_is_an_error_and_not_a_gap(store, monkeypatch):  # F38 F50
    def deny():
        raise PermissionError(13, "Permission denied", "2")  # root may read everything

    at_folder_2(deny, monkeypatch)
    with pytest.raises(ConfigurationError, match="permission"):
        list(store.list("staging/"))


def test_what_no_key_can_name_is_passed_over(store, root):  # F17
    before = list(store.list(""))
    (root / "we?rd").touch()
    (root / "x%y").mkdir()
    (root / "x%y" / "z").touch()
    with open(os.fsencode(root) + b"/\xff", "wb"):  # noqa: PTH123 - a path object cannot hold such a name
        pass
    assert list(store.list("")) == before


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("a/b-c_d.json", id="plain"),
        pytest.param("a/" + "x" * 300, id="F17 long segment"),
        pytest.param("a" * 200, id="longest segment"),
        pytest.param("a" * 201, id="F17 one longer"),
        pytest.param(".hidden", id="F17 dot first"),
        pytest.param("a/.hidden", id="F17 dot below"),
        pytest.param("a/..", id="F17 up"),
        pytest.param("a..b", id="dots within"),
        pytest.param("a.", id="F17 dot last"),
        pytest.param("a\n", id="F17 newline last"),
        pytest.param("a/", id="F17 a folder's own marker"),
        pytest.param("ä/ö", id="letters"),
        pytest.param("\u00b2", id="a digit by Unicode"),
    ],
)
def test_a_listing_passes_exactly_what_a_call_takes(name):
    try:
        check_key(name)
    except UnsafeNameError:
        assert not is_key(name)
    else:
        assert is_key(name)
