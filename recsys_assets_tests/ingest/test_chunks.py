"""Chunks: every line once and whole, however the stream is cut, and long lines cut short."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_assets.identity import Target
from recsys_assets.ingest.chunks import Chunk, LongLine, read_chunks
from recsys_assets.ingest.quarantine import MAX_TEXT_BYTES
from recsys_assets_tests.ingest.memory_input import MemoryInput
from recsys_assets_tests.thoroughness import examples


def chunks(text, chunk_bytes):
    stream = MemoryInput("file", text, (Target("shop", "home"),)).open()
    taken, back = [], []

    def take():
        taken.append(bytearray(chunk_bytes + 1))
        return taken[-1]

    found = list(read_chunks(stream, take=take, give_back=back.append, chunk_bytes=chunk_bytes))
    given_on = [piece.buffer for piece in found if isinstance(piece, Chunk)]
    assert sorted(map(id, taken)) == sorted(map(id, given_on + back)), "each buffer ends with a chunk, or comes back"
    return found


def lines(pieces):
    found = []
    for piece in pieces:
        if isinstance(piece, LongLine):
            found.append(piece)
        else:
            assert piece.buffer[piece.size - 1] == ord("\n")
            found += bytes(piece.buffer[: piece.size - 1]).split(b"\n")
    return found


@examples(50)
@given(st.lists(st.binary(max_size=12).map(lambda text: text.replace(b"\n", b"")), max_size=30), st.booleans())
def test_every_line_comes_once_and_in_order(texts, ended):
    data = b"".join(text + b"\n" for text in texts)
    expected = list(texts)
    if not ended and texts and texts[-1]:
        data = data[:-1]
    for chunk_bytes in (13, 14, 29, 1000):
        assert lines(chunks(data, chunk_bytes)) == expected


@pytest.mark.parametrize("size", [8, 9, 15, 16, 17, 24, 25, 40])
@pytest.mark.parametrize("end", [b"\n", b"\nb\n", b"\nb", b""], ids=["last", "one more", "one more, open", "open"])
def test_a_line_as_long_as_a_chunk_is_reported_by_its_head_and_size(size, end):
    found = lines(chunks(b"a\n" + b"x" * size + end, 8))
    after = [b"b"] if b"b" in end else []
    assert found == [b"a", LongLine(b"x" * 8, size), *after]


def test_a_long_line_keeps_no_more_than_its_head():
    (found,) = chunks(b"y" * 100_000, 10_000)
    assert found == LongLine(b"y" * MAX_TEXT_BYTES, 100_000)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(b"", [], id="empty"),
        pytest.param(b"\n", [b""], id="one blank line"),
        pytest.param(b"\n\n", [b"", b""], id="two blank lines"),
        pytest.param(b"a", [b"a"], id="no newline at the end"),
        pytest.param(b"a\r\nb", [b"a\r", b"b"], id="CRLF"),
        pytest.param(b"a\rb", [b"a\rb"], id="CR alone ends no line"),
    ],
)
def test_only_newlines_end_lines(text, expected):
    assert lines(chunks(text, 100)) == expected


def test_each_chunk_has_a_buffer_of_its_own():
    found = chunks(b"aaaaaaa\nbbbbbbb\nccccccc\n", 9)
    assert all(isinstance(piece, Chunk) for piece in found)
    assert len({id(piece.buffer) for piece in found}) == len(found) == 3
