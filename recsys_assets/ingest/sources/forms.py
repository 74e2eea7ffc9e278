"""Formats of stored bytes, recognised by their first bytes: supported compressions, and formats that are refused."""

import lzma
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from recsys_assets.errors import InputError

HEAD_BYTES = 512  # the first bytes that recognition uses
_XZ_MEMORY = 256_000_000  # bytes. The largest preset of xz needs 65 MB.
_PIECE = 1 << 18
_MARK = b"\xef\xbb\xbf"
_SPACE = _MARK + b" \t\r\n"
_TAR, _TAR_PLACE = b"ustar", 257
_SHORT = 3  # bytes. An ordinary bad line may begin with a signature of this length or less.

_COMPRESSED: Mapping[bytes, str] = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"BZh": "bz2",
    b"\xfd7zXZ\x00": "xz",
    **{bytes([first]) + b"\x2a\x4d\x18": "zstd" for first in range(0x50, 0x60)},  # a skippable frame, as pzstd writes
}
_REFUSED: Mapping[bytes, tuple[str, str]] = {
    b"PK\x03\x04": ("a zip archive", "unpack it, or compress the lines with gzip"),
    b"PK\x05\x06": ("an empty zip archive", "unpack it, or compress the lines with gzip"),
    b"PAR1": ("Parquet", "let its name end with .parquet"),
    b"ORC": ("ORC", "convert it to Parquet"),
    b"Obj\x01": ("Avro", "convert it to Parquet or JSON lines"),
    b"ARROW1": ("Arrow", "convert it to Parquet"),
    b"7z\xbc\xaf\x27\x1c": ("a 7z archive", "unpack it, or compress the lines with gzip"),
    b"Rar!": ("a rar archive", "unpack it, or compress the lines with gzip"),
    b"\x04\x22\x4d\x18": ("lz4", "compress it with gzip or zstd"),
    b"\xff\x06\x00\x00sNaPpY": ("snappy", "compress it with gzip or zstd"),
    b"\x1f\x9d": ("compress (.Z)", "compress it with gzip or zstd"),
    b"LZIP": ("lzip", "compress it with gzip or zstd"),
    b"\xff\xfe\x00\x00": ("UTF-32", "write plain UTF-8"),
    b"\x00\x00\xfe\xff": ("UTF-32", "write plain UTF-8"),
    b"\xff\xfe": ("UTF-16", "write plain UTF-8"),
    b"\xfe\xff": ("UTF-16", "write plain UTF-8"),
    b"SQLite format 3": ("a SQLite database", "export it as JSON lines"),
    b"%PDF": ("PDF", "replace it"),
}
_BY_ENDING: Mapping[str, str] = {
    ".gz": "gzip",
    ".gzip": "gzip",
    ".zst": "zstd",
    ".zstd": "zstd",
    ".bz2": "bz2",
    ".xz": "xz",
}
_JOINED = re.compile(rb"\}([\s,;\x1e]|\xe2\x80[\xa8\xa9]|\xc2\x85)*\{")
_BINARY = re.compile(rb"[\x00-\x08\x0e-\x1a\x7f]|[\x80-\xff]{4}.*[\x80-\xff]{4}")
_BEGINNING = b"|".join(
    (
        rb"\x1f\x8b(?=\x08)|BZh(?=[1-9]1AY&SY)",
        *(re.escape(magic) for magic in (*_COMPRESSED, *_REFUSED) if len(magic) > _SHORT),
    )
)
_BEHIND_OBJECT = re.compile(rb"(?:\A|\}[ \t\r]*)(" + _BEGINNING + b")")
_ANYWHERE = re.compile(b"(" + _BEGINNING + b")")
_ARRAY = "a JSON array: write one object a line"
_MARKUP = "HTML or XML: check if an error page was saved in place of the file"


def codec_of(head: bytes, *, name: str) -> str | None:
    """Return the compression of bytes that begin with `head`, by the bytes, else by the name. None if uncompressed."""
    for magic, codec in _COMPRESSED.items():
        if head.startswith(magic):
            return codec
    ending = name[name.rfind(".") :].lower() if "." in name else ""
    return _BY_ENDING.get(ending) if head else None


def bare_name(name: str) -> str:
    """Return the name in lower case without the extension of a compression."""
    name = name.lower()
    ending = next((ending for ending in _BY_ENDING if name.endswith(ending)), "")
    return name.removesuffix(ending)


def check_text(head: bytes, *, name: str) -> None:
    """Raise `InputError` naming the file if its decompressed content does not begin like UTF-8 text."""
    refused = _refused_form(head)
    if refused:
        fault, remedy = refused
        raise InputError(f"{name} holds {fault}, expected lines of UTF-8 text: {remedy}, and run the day again")


def _refused_form(head: bytes) -> tuple[str, str] | None:
    for magic, form in _REFUSED.items():
        if head.startswith(magic):
            return form
    if head[_TAR_PLACE : _TAR_PLACE + len(_TAR)] == _TAR:
        return "a tar archive", "unpack it"
    for magic, codec in _COMPRESSED.items():
        if head.startswith(magic):
            return f"{codec} inside another compression", "compress it once"
    begin = head.lstrip(_SPACE)
    if begin.startswith(b"[") and begin[1:].lstrip(_SPACE).startswith(b"{"):
        return "a JSON array", "write one object a line"
    text = head[: len(head) // 2 * 2]
    if len(text) > 1 and (text.count(0) == len(text) // 2 and not (any(text[::2]) and any(text[1::2]))):
        return "UTF-16", "write plain UTF-8"
    return None


def appended_form(line: bytes, *, is_json: bool = True) -> str | None:
    """Return the format of another file that begins at the start of a bad line or after an object in it, else None.

    A row of CSV has no end mark: with `is_json` false the beginning may be anywhere in the line.
    """
    match = (_BEHIND_OBJECT if is_json else _ANYWHERE).search(line)
    if not match or not _BINARY.search(line):
        return None
    return _COMPRESSED.get(match[1]) or _REFUSED[match[1]][0]


def guess_form(head: bytes) -> str:
    """Guess the format of a file without a good line, by the first bytes of its first line that is not blank.

    The result is a phrase with a remedy, for a message.
    """
    text = head.lstrip(_SPACE)
    begins = {_MARK: "a byte order mark before its line: write plain UTF-8", b"[": _ARRAY, b"<": _MARKUP}
    for beginning, guess in begins.items():
        if head.startswith(beginning) or text.startswith(beginning):
            return guess
    return next(guess for is_it, guess in _GUESSES if is_it(text))


_GUESSES: Sequence[tuple[Callable[[bytes], object], str]] = (
    (_BINARY.search, "binary data, neither text nor a known compression: write plain lines, or gzip or zstd"),
    (lambda text: b"\r" in text.strip(), "lines that end with only CR: end them with LF"),
    (_JOINED.search, "objects without line ends between them: write one object a line"),
    (lambda text: text.rstrip().endswith(b"},"), "lines that end with a comma: write one whole object a line"),
    (lambda text: text.startswith(b'{\\"'), 'escaped quotes (\\"): write the objects without escaping'),
    (lambda text: text in {b"{", b'{"'} or not text.startswith(b"{"), "no JSON lines: write one whole object a line"),
    (lambda _: True, "objects that are not events: compare it with the contract of events"),
)


class Readable(Protocol):
    """Stored bytes that are read piece by piece."""

    def read(self, limit: int) -> bytes:
        """Return at most `limit` bytes, none at the end."""
        ...


@dataclass(slots=True)
class XzPieces:
    """Decompressed pieces of an xz file, also of several streams.

    Raises `OSError` if damaged, or with too large a window.
    """

    stored: Readable

    def __iter__(self) -> Iterator[bytes]:
        """Yield pieces of bounded size."""
        data = b""
        begun = True
        decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)
        while True:
            if decoder.eof:
                data = decoder.unused_data or data
                decoder, begun = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY), False
            if decoder.needs_input and not data:
                data = self.stored.read(_PIECE)
                if not data:
                    break
            try:
                piece = decoder.decompress(data, _PIECE)
            except lzma.LZMAError as error:
                raise OSError(str(error)) from error
            begun, data = True, b""
            if piece:
                yield piece
        if begun and not decoder.eof:
            raise OSError("the xz stream is truncated")
