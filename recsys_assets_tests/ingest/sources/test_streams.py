"""Streams: the same bytes from plain and compressed files, hashed as stored, and never a part taken for the whole."""

import gzip
import hashlib
import os

import pytest
import zstandard

from recsys_assets.errors import InputError
from recsys_assets.identity import Target
from recsys_assets.ingest.sources.files import RawFile
from recsys_assets.ingest.sources.streams import FileStream
from recsys_assets_tests.ingest.memory_input import MemoryInput

TEXT = b"".join(b'{"n": %d}\n' % n for n in range(50_000))
HALF = len(TEXT) // 2
ZSTD = zstandard.ZstdCompressor(write_checksum=True)  # as the zstd command writes; without it flips go unseen
STORED = {
    "a.jsonl": TEXT,
    "a.jsonl.gz": gzip.compress(TEXT),
    "two-members.jsonl.gz": gzip.compress(TEXT[:HALF]) + gzip.compress(TEXT[HALF:]),
    "a.jsonl.zst": ZSTD.compress(TEXT),
    "two-frames.jsonl.zst": ZSTD.compress(TEXT[:HALF]) + ZSTD.compress(TEXT[HALF:]),
}


def read(stream, size=10_007):
    buffer = bytearray(size)
    text = bytearray()
    with stream:
        while count := stream.readinto(memoryview(buffer)):
            text += buffer[:count]
    return bytes(text)


@pytest.mark.parametrize("name", STORED)
def test_the_text_comes_out_whole_and_the_stored_bytes_are_hashed(tmp_path, name):
    (tmp_path / name).write_bytes(STORED[name])
    stream = RawFile(name, tmp_path / name, 0, (Target("shop", "home"),)).open()
    assert read(stream) == TEXT
    assert (stream.size, stream.digest) == (len(STORED[name]), hashlib.sha256(STORED[name]).hexdigest())


@pytest.mark.parametrize("name", ["empty.jsonl", "empty.jsonl.gz", "empty.jsonl.zst"])
@pytest.mark.parametrize("packed", [False, True], ids=["no bytes", "packed"])
def test_an_empty_file_is_an_empty_stream(tmp_path, name, packed):
    pack = {".gz": gzip.compress, ".zst": zstandard.compress}.get(name[name.rindex(".") :], bytes)
    (tmp_path / name).write_bytes(pack(b"") if packed else b"")
    assert read(FileStream(tmp_path / name, name=name)) == b""


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.zst", "two-members.jsonl.gz", "two-frames.jsonl.zst"])
@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda data: data[: len(data) // 3], id="truncated"),
        pytest.param(lambda data: data[:-1], id="last byte missing"),
        pytest.param(lambda data: data + b"rest", id="text behind"),
        pytest.param(lambda data: b"plain text\n" * 100 + data[:0], id="not compressed"),
        pytest.param(lambda data: data[:200] + bytes([data[200] ^ 0x55]) + data[201:], id="bit flip"),
    ],
)
def test_a_damaged_file_is_an_error_that_names_it(tmp_path, name, damage):
    (tmp_path / name).write_bytes(damage(STORED[name]))
    stream = FileStream(tmp_path / name, name=f"raw/{name}")
    with pytest.raises(InputError, match=f"raw/{name} is not a complete (gzip|zstd) file"):
        read(stream)


def test_a_file_that_grows_while_it_is_read_is_refused(tmp_path):  # F29
    path = tmp_path / "a.jsonl"
    path.write_bytes(TEXT)
    with FileStream(path, name="a.jsonl") as stream:
        stream.readinto(memoryview(bytearray(10)))
        with path.open("ab") as more:
            more.write(b"more\n")
        with pytest.raises(InputError, match=r"a\.jsonl changed while it was read"):
            read(stream)


def test_a_file_rewritten_in_place_while_it_is_read_is_refused(tmp_path):  # F29
    path = tmp_path / "a.jsonl"
    path.write_bytes(TEXT)
    os.utime(path, ns=(1, 1))
    with FileStream(path, name="a.jsonl") as stream:
        stream.readinto(memoryview(bytearray(10)))
        path.write_bytes(TEXT)
        with pytest.raises(InputError, match="changed while it was read"):
            read(stream)


def test_a_file_that_is_gone_is_an_error_that_names_it(tmp_path):
    with pytest.raises(InputError, match=r"raw/a.jsonl is missing"):
        FileStream(tmp_path / "a.jsonl", name="raw/a.jsonl")


@pytest.mark.parametrize("size", [1, 7, 10**6])
def test_bytes_in_memory_stream_as_a_file_does(size):
    stream = MemoryInput("query", TEXT[:1000], (Target("shop", "home"),)).open()
    assert read(stream, size) == TEXT[:1000]
    assert (stream.size, stream.digest) == (1000, hashlib.sha256(TEXT[:1000]).hexdigest())


def test_bytes_in_memory_break_off_where_they_should():
    stream = MemoryInput("query", TEXT, (Target("shop", "home"),), breaks_at=100).open()
    with pytest.raises(InputError, match="query breaks off after 100 bytes"):
        read(stream, 64)
