import gzip

import pytest

from recsys_assets.errors import CorruptObjectError
from recsys_assets.identity import Target
from recsys_assets.release.shards import read_blob
from recsys_assets.serving.served import prove
from recsys_assets_tests.serving.releases import TARGET


@pytest.fixture
def popularity(store, shop):
    ref = shop.ship(0).refs["popularity"]
    return ref.version, read_blob(store, TARGET, ref)


def flip(data, at):
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def test_no_single_bit_can_change_unnoticed(popularity):
    version, data = popularity
    for at in range(len(data)):
        with pytest.raises(CorruptObjectError):
            prove(TARGET, "popularity", version, flip(data, at), name="blob")


@pytest.mark.parametrize(
    "mutate",
    [
        pytest.param(lambda data: data[:-1], id="cut by a byte"),
        pytest.param(lambda data: data[: len(data) // 2], id="cut in half"),
        pytest.param(lambda _: b"", id="empty"),
        pytest.param(lambda data: data + b"\n", id="a newline more"),
        pytest.param(lambda data: data + data, id="twice"),
        pytest.param(lambda data: bytes(len(data)), id="zeros of the right size"),
        pytest.param(gzip.compress, id="compressed"),
        pytest.param(lambda data: b"\xef\xbb\xbf" + data, id="a BOM"),
    ],
)
def test_bytes_that_are_not_the_version_are_refused(popularity, mutate):
    version, data = popularity
    with pytest.raises(CorruptObjectError):
        prove(TARGET, "popularity", version, mutate(data), name="blob")


@pytest.mark.parametrize(
    ("target", "kind"),
    [
        pytest.param(Target("rival", "home"), "popularity", id="another tenant"),
        pytest.param(Target("shop", "cart"), "popularity", id="another surface"),
        pytest.param(TARGET, "content_sim", id="another kind with the same body"),
    ],
)
def test_a_valid_blob_of_somebody_else_is_refused(popularity, target, kind):
    version, data = popularity
    with pytest.raises(CorruptObjectError, match="remove it"):
        prove(target, kind, version, data, name="blob")


def test_another_version_is_refused(popularity):
    _, data = popularity
    with pytest.raises(CorruptObjectError, match="is version"):
        prove(TARGET, "popularity", "0" * 64, data, name="blob")
