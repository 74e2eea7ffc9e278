"""Pseudonymised user ids: plain HMAC-SHA-256, which any service can compute for itself."""

import subprocess
import sys

import pytest

from recsys_assets.errors import ConfigurationError, InputError
from recsys_assets.ingest.pseudonyms import UserKey, hash_user_id, read_user_key


def test_an_id_is_hashed_as_rfc_4231_has_it():
    text = "Test Using Larger Than Block-Size Key - Hash Key First"
    expected = "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
    assert hash_user_id(text, UserKey(b"\xaa" * 131)) == expected


def test_ids_are_trimmed_as_ingest_trims_them():
    key = UserKey(b"k" * 32)
    assert hash_user_id("\u2003u1\n", key) == hash_user_id("u1", key) != hash_user_id("\x1cu1", key)


@pytest.mark.parametrize("user", ["", " \u3000"])
def test_nobody_has_no_hash(user):
    with pytest.raises(InputError, match="user_id is blank"):
        hash_user_id(user, UserKey(b"k" * 32))


def test_keys_are_distinguished_and_never_shown():
    one, other = UserKey(b"1" * 32), UserKey(b"2" * 32)
    assert one.id != other.id
    assert one.id == UserKey(b"1" * 32).id
    assert not [text for text in (repr(one), str(one), one.id) if "1111" in text]


def test_white_space_around_a_key_is_no_part_of_it(tmp_path, monkeypatch):
    (tmp_path / "key").write_bytes(b" " + b"k" * 32 + b"\n")
    monkeypatch.setenv("SOME_KEY", "k" * 32 + " ")
    assert read_user_key(f"file:{tmp_path}/key") == read_user_key("env:SOME_KEY") == UserKey(b"k" * 32)


@pytest.mark.parametrize(
    ("place", "message"),
    [
        pytest.param("env:NOT_THERE", r"\$NOT_THERE is not set", id="no variable"),
        pytest.param("file:/not/there", "cannot read /not/there: No such file", id="no file"),
        pytest.param("file:/dev/null", "file:/dev/null: the user key has 0 bytes", id="an empty file"),
        pytest.param("s3cr3t" * 9, "named by env:NAME or file:PATH", id="the key itself"),
    ],
)
def test_a_key_that_is_not_there_is_named_by_its_place(place, message):
    with pytest.raises(ConfigurationError, match=message) as found:
        read_user_key(place)
    assert "s3cr3t" not in str(found.value)


def test_a_service_that_hashes_ids_imports_nothing_heavy():
    heavy = "{'numpy', 'polars', 'pyarrow', 'pydantic', 'dagster', 'boto3', 'msgspec'}"
    code = f"import sys; import recsys_assets.ingest.pseudonyms; print(*{heavy} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split() == []
