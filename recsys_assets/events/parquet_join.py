"""Parquet files of one column each, joined into the very file that Arrow would have written of all columns.

Arrow encodes the columns of a file one after the other; files of their own can be encoded side by side.
"""

import struct
from collections.abc import Iterable, Sequence
from io import BytesIO

from recsys_assets.events.thrift import LIST, STRUCT, Struct, Value, read_struct, write_struct

_MAGIC = b"PAR1"
_END = struct.Struct("<I4s")  # length of the footer, magic
# Fields by number: parquet.thrift of the format's specification.
_SCHEMA, _ROW_GROUPS, _COLUMN_ORDERS = 2, 4, 7
_CHILDREN = 5  # of the schema's root
_COLUMNS, _BYTES, _COMPRESSED_BYTES = 1, 2, 6  # of a row group
_METADATA = 3  # of a column
_PAGE_OFFSETS = (9, 11)  # of a column's metadata: data, dictionary


def join_columns(files: Iterable[bytes]) -> bytes:
    """Return one Parquet file with the columns of `files`, each of one column and one row group of the same rows."""
    out = BytesIO()
    out.write(_MAGIC)
    footers: list[Struct] = []
    for file in files:
        size, _ = _END.unpack_from(file, len(file) - _END.size)
        end = len(file) - _END.size - size
        footers.append(_moved(read_struct(file[end:]), by=out.tell() - len(_MAGIC)))
        out.write(memoryview(file)[len(_MAGIC) : end])
    footer = write_struct(_joined(footers))
    out.write(footer + _END.pack(len(footer), _MAGIC))
    return out.getvalue()


def _moved(footer: Struct, *, by: int) -> Struct:
    """Return the footer of a file whose pages lie further behind."""
    (group,) = footer[_ROW_GROUPS].held[1]
    (column,) = group[_COLUMNS].held[1]
    metadata = dict(column[_METADATA].held)
    for field in metadata.keys() & set(_PAGE_OFFSETS):
        kind, offset = metadata[field]
        metadata[field] = Value(kind, offset + by if offset else 0)  # 0: there is no such page
    column = {**column, _METADATA: Value(STRUCT, metadata)}
    group = {**group, _COLUMNS: _structs([column])}
    return {**footer, _ROW_GROUPS: _structs([group])}


def _joined(footers: Sequence[Struct]) -> Struct:
    """Return the footer of all: the first one's, with the columns of each."""
    groups = [footer[_ROW_GROUPS].held[1][0] for footer in footers]
    group = dict(groups[0])
    group[_COLUMNS] = _structs([column for each in groups for column in each[_COLUMNS].held[1]])
    for field in (_BYTES, _COMPRESSED_BYTES):
        group[field] = Value(group[field].type, sum(each[field].held for each in groups))
    root, *_ = footers[0][_SCHEMA].held[1]
    root = {**root, _CHILDREN: Value(root[_CHILDREN].type, len(footers))}
    columns = [column for footer in footers for column in footer[_SCHEMA].held[1][1:]]
    orders = [order for footer in footers for order in footer[_COLUMN_ORDERS].held[1]]
    return {
        **footers[0],
        _SCHEMA: _structs([root, *columns]),
        _ROW_GROUPS: _structs([group]),
        _COLUMN_ORDERS: _structs(orders),
    }


def _structs(held: list[Struct]) -> Value:
    return Value(LIST, (STRUCT, held))
