"""Stored index of sorted rows: built once per blob, then mapped by every process that maps the blob.

Layout: a header as a line of JSON, `SortedRows.starts` as four bytes each, `SortedRows.marks`, SHA-256 of all these.
"""

import hashlib
import sys
from mmap import mmap
from typing import Final

import msgspec

from recsys_assets.decoders import decoder_of
from recsys_assets.errors import CorruptObjectError
from recsys_assets.identity import Target
from recsys_assets.serving.row_index import Row, RowForm
from recsys_assets.serving.sorted_rows import GROUP, SortedRows

_FORMAT: Final = 1  # raise it when the tables of `SortedRows` change
_DIGEST_BYTES: Final = 32


class _Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Identity of an index: version of the blob, key of the rows, and their first and last offset."""

    format: int
    byte_order: str
    version: str
    key: str
    start: int
    stop: int
    rows: int
    id_offset: int | None


def index_key(target: Target, kind: str, version: str) -> str:
    """Return the key of a stored index below the folder of copies."""
    return f"copies/{target.tenant}/{target.surface}/rows/{kind}/{version}"


def encode_index(rows: SortedRows[Row], version: str) -> bytes:
    """Return the stored form of an index of the rows of a version."""
    header = _header(rows.form, version, rows.starts[0], rows.starts[-1] - 1, len(rows), rows.id_offset)
    content = b"%b\n%b%b" % (msgspec.json.encode(header), bytes(rows.starts), rows.marks)
    return content + hashlib.sha256(content).digest()


def decode_index(
    stored: mmap, form: RowForm[Row], data: bytes | mmap, *, start: int, stop: int, version: str
) -> SortedRows[Row]:
    """Return the rows of `data[start:stop]`, the verified blob of `version`, by their mapped index.

    Raises `CorruptObjectError` if the index is damaged, or is not the index of these rows.
    """
    view = memoryview(stored)
    end = len(view) - _DIGEST_BYTES
    if end < 0 or hashlib.sha256(view[:end]).digest() != bytes(view[end:]):
        raise CorruptObjectError("its bytes are damaged")
    line = stored.find(b"\n") + 1
    try:
        header = decoder_of(_Header).decode(view[:line])
    except msgspec.MsgspecError as error:
        raise CorruptObjectError(f"it has no header: {error}") from error
    if header != _header(form, version, start, stop, header.rows, header.id_offset):
        raise CorruptObjectError(f"it is of another blob, or written by another version of this package: {header}")
    middle = line + 4 * (header.rows + 1)
    if middle + header.rows != end:
        raise CorruptObjectError(f"it has {end - line} bytes for {header.rows} rows")
    starts = view[line:middle].cast("I")
    heads = [_id_at(form, data, starts[n], starts[n + 1] - 1) for n in range(0, header.rows, GROUP)]
    return SortedRows(form, data, starts, heads, bytes(view[middle:end]), header.id_offset)


def _header(form: RowForm[Row], version: str, start: int, stop: int, rows: int, id_offset: int | None) -> _Header:
    return _Header(_FORMAT, sys.byteorder, version, form.key, start, stop, rows, id_offset)


def _id_at(form: RowForm[Row], data: bytes | mmap, start: int, stop: int) -> str:
    return form.id_of(form.decoder.decode(data[start:stop]))
