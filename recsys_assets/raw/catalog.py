"""The catalog of items: CSV or JSON lines to one frame, bad rows put aside one by one."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from recsys_assets.errors import InputError
from recsys_assets.raw.catalog_csv import read_csv_rows
from recsys_assets.raw.catalog_rows import CatalogRow, Found, read_json_row
from recsys_assets.raw.chunks import CHUNK_BYTES, LongLine, read_chunks
from recsys_assets.raw.faults import Fault
from recsys_assets.raw.rejects import Reason, Reject, show_line
from recsys_assets.sources.source import RawStream
from recsys_assets.sources.streams import FileStream

SCHEMA: Mapping[str, pl.DataType] = {
    "item_id": pl.String(),
    "tags": pl.List(pl.String()),
    "namespace": pl.String(),
    "price": pl.Float64(),
    "created_at": pl.String(),
}
_MAX_KEPT = 100
_READERS: Mapping[str, Callable[[Iterator[bytes], str], Iterator[Found]]] = {
    ".csv": read_csv_rows,
    ".jsonl": lambda lines, _: (read_json_row(number, line) for number, line in enumerate(lines, start=1)),
}


@dataclass(frozen=True, slots=True)
class Catalog:
    """A catalog as read: good rows in the order of the file, and the bad ones.

    `rows`: columns of `SCHEMA`; item_id trimmed and never blank, tags as written, namespace null where blank. `digest`
    and `size` are those of the stored bytes. `faults` counts every bad row by reason; `rejects` are the first of them.
    """

    rows: pl.DataFrame
    digest: str
    size: int
    faults: Mapping[Reason, int]
    rejects: tuple[Reject, ...]


def open_file(path: str) -> RawStream:
    """Return the stream of a file on disk."""
    return FileStream(Path(path), name=path)


def read_catalog(path: str | Path, *, open_stream: Callable[[str], RawStream] = open_file) -> Catalog:
    """Return the catalog in a `.csv` or `.jsonl` file, also with `.gz` or `.zst` behind, as `open_stream` opens it.

    JSON lines: `item_id`, `tags` (a list), `namespace`, `price`, `created_at`; all but item_id may be absent or null.
    CSV: a header with `item_id|itemid|id`, `tags|tag_list` (split at `, ; |`), and perhaps `namespace|surface`,
    `price` and `created_at`. Other names are ignored.

    Raises `InputError` naming the file if it cannot be read to its end, is neither format, or is CSV without the
    columns for item and tags.
    """
    name = str(path)
    suffixes = [suffix for suffix in Path(path).suffixes if suffix not in {".gz", ".zst"}]
    if not suffixes or suffixes[-1] not in _READERS:
        raise InputError(f"catalog {name} is neither .csv nor .jsonl (perhaps with .gz or .zst): rename or convert it")
    rows: list[CatalogRow] = []
    rejects: list[Reject] = []
    faults: Counter[Reason] = Counter()
    with open_stream(name) as stream:
        for found in _READERS[suffixes[-1]](_lines(stream), name):
            if isinstance(found.row, Fault):
                faults[found.row.reason] += 1
                rejects += [_reject(name, found, found.row)] if len(rejects) < _MAX_KEPT else []
            else:
                rows.append(found.row)
        return Catalog(_frame(rows), stream.digest, stream.size, dict(faults), tuple(rejects))


def _lines(stream: RawStream) -> Iterator[bytes]:
    """Yield physical lines without their newlines; of one that is too long, as much as says so."""
    buffer = bytearray(CHUNK_BYTES + 1)
    for piece in read_chunks(stream, take=lambda: buffer):
        if isinstance(piece, LongLine):
            yield piece.head.ljust(CHUNK_BYTES)
        else:
            yield from bytes(piece.buffer[: piece.size - 1]).split(b"\n")


def _frame(rows: Sequence[CatalogRow]) -> pl.DataFrame:
    """Return rows as columns; all tags lie in one array, for a list of lists takes a series for each."""
    offsets = np.cumsum([0, *(len(row.tags) for row in rows)], dtype=np.int64)
    tags = pl.Series([tag for row in rows for tag in row.tags], dtype=pl.String)
    # Made of its buffers: where pandas is installed, other ways import it to see whether they are given some.
    lists: Any = pa.Array.from_buffers(
        pa.large_list(pa.large_string()),
        len(rows),
        [None, pa.py_buffer(offsets)],
        children=[tags.to_arrow(compat_level=pl.CompatLevel.oldest())],
    )
    columns: dict[str, Any] = {
        "item_id": [row.item_id for row in rows],
        "tags": pl.Series(lists),
        "namespace": [row.namespace for row in rows],
        "price": [row.price for row in rows],
        "created_at": [row.created_at for row in rows],
    }
    return pl.DataFrame(columns, schema=dict(SCHEMA))


def _reject(name: str, found: Found, fault: Fault) -> Reject:
    text, escaped = show_line(found.text)
    return Reject(name, found.line, fault.reason, fault.detail, len(found.text), text, escaped=escaped)
