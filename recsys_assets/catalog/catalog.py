"""The catalog of items: CSV or JSON lines to one frame, bad rows put aside one by one."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from recsys_assets.catalog.csv_rows import read_csv_rows
from recsys_assets.catalog.plain_lines import list_series, read_plain_lines
from recsys_assets.catalog.rows import CatalogRow, Found, read_json_row
from recsys_assets.compiled.fresh_memory import fresh_bytes
from recsys_assets.errors import InputError
from recsys_assets.ingest.chunks import CHUNK_BYTES, LongLine, read_chunks
from recsys_assets.ingest.quarantine import Fault, Reason, Reject, show_line
from recsys_assets.ingest.sources.source import RawStream
from recsys_assets.ingest.sources.streams import FileStream

SCHEMA: Mapping[str, pl.DataType] = {
    "item_id": pl.String(),
    "tags": pl.List(pl.String()),
    "namespace": pl.String(),
    "price": pl.Float64(),
    "created_at": pl.String(),
}
_MAX_KEPT = 100


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
    kept: list[pl.DataFrame] = [pl.DataFrame(schema=dict(SCHEMA))]
    rows: list[CatalogRow] = []
    rejects: list[Reject] = []
    faults: Counter[Reason] = Counter()
    with open_stream(name) as stream:
        for found in _READERS[suffixes[-1]](_pieces(stream), name):
            if isinstance(found, pl.DataFrame):
                kept += [_frame(rows), found]
                rows = []
            elif isinstance(found.row, Fault):
                faults[found.row.reason] += 1
                rejects += [_reject(name, found, found.row)] if len(rejects) < _MAX_KEPT else []
            else:
                rows.append(found.row)
        return Catalog(pl.concat([*kept, _frame(rows)]), stream.digest, stream.size, dict(faults), tuple(rejects))


def _pieces(stream: RawStream) -> Iterator[bytes]:
    """Yield many lines at a time, without the last newline; of a line that is too long, as much as says so."""
    buffer = fresh_bytes(CHUNK_BYTES + 1)
    for piece in read_chunks(stream, take=lambda: buffer):
        yield piece.head.ljust(CHUNK_BYTES) if isinstance(piece, LongLine) else bytes(piece.buffer[: piece.size - 1])


def _read_csv(pieces: Iterator[bytes], name: str) -> Iterator[Found]:
    return read_csv_rows((line for piece in pieces for line in piece.split(b"\n")), name)


def _read_json(pieces: Iterator[bytes], _name: str) -> Iterator[Found | pl.DataFrame]:
    """Yield the rows of pieces in which every line is plain as one frame, all others one by one."""
    number = 1
    for piece in pieces:
        plain = read_plain_lines(piece)
        if plain is not None:
            yield plain
        else:
            yield from (read_json_row(line_number, line) for line_number, line in enumerate(piece.split(b"\n"), number))
        number += piece.count(b"\n") + 1


_READERS: Mapping[str, Callable[[Iterator[bytes], str], Iterator[Found | pl.DataFrame]]] = {
    ".csv": _read_csv,
    ".jsonl": _read_json,
}


def _frame(rows: Sequence[CatalogRow]) -> pl.DataFrame:
    columns: dict[str, Any] = {
        "item_id": [row.item_id for row in rows],
        "tags": list_series([row.tags for row in rows]),
        "namespace": [row.namespace for row in rows],
        "price": [row.price for row in rows],
        "created_at": [row.created_at for row in rows],
    }
    return pl.DataFrame(columns, schema=dict(SCHEMA))


def _reject(name: str, found: Found, fault: Fault) -> Reject:
    text, escaped = show_line(found.text)
    return Reject(name, found.line, fault.reason, fault.detail, len(found.text), text, escaped=escaped)
