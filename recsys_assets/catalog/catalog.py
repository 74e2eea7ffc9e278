"""Catalog of items: CSV or JSON lines read into one frame, with bad rows quarantined one by one."""

import codecs
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from recsys_assets.catalog.catalog_row import CatalogLine, CatalogRow, read_json_row
from recsys_assets.catalog.csv_rows import list_series, read_csv_pieces, read_plain_lines
from recsys_assets.compiled.arrays import fresh_bytes
from recsys_assets.errors import InputError, LimitExceededError
from recsys_assets.ingest.chunks import CHUNK_BYTES, LongLine, read_chunks
from recsys_assets.ingest.quarantine import LINE_HIDING_REASONS, LineFault, Reason, Reject, hidden_lines, show_line
from recsys_assets.ingest.sources.forms import appended_form
from recsys_assets.ingest.sources.source import RawStream
from recsys_assets.ingest.sources.streams import FileStream

SCHEMA: Mapping[str, pl.DataType] = {
    "item_id": pl.String(),
    "tags": pl.List(pl.String()),
    "namespace": pl.String(),
    "price": pl.Float64(),
    "created_at": pl.String(),
}
MAX_KEPT = 10_000  # number of bad rows that are kept with their text
MAX_CATALOG_BYTES = 2_000_000_000  # decompressed


class CatalogForm(msgspec.Struct, frozen=True):
    """Text format of a catalog, which its bytes do not declare: the encoding, and the delimiter of CSV cells."""

    encoding: str = "utf-8"
    delimiter: str = ","


PLAIN_FORM = CatalogForm()


class Catalog(msgspec.Struct, frozen=True):
    """A catalog as read: good rows in the order of the file, and the bad rows.

    `rows` has the columns of `SCHEMA`: item_id is trimmed and never blank, tags are as written, namespace is null where
    blank. `digest` and `size` are those of the stored bytes. `faults` counts every bad row by reason, in CSV every line
    of a bad row: rows and faults together cover the whole file. `HIDDEN_LINES` among them is the estimated number of
    rows hidden in long bad ones. `rejects` holds the first `MAX_KEPT` bad rows.
    """

    rows: pl.DataFrame
    digest: str
    size: int
    faults: Mapping[Reason, int]
    rejects: tuple[Reject, ...]

    @property
    def bad(self) -> int:
        """Number of bad rows, without blank lines."""
        return sum(count for reason, count in self.faults.items() if reason is not Reason.BLANK_LINE)

    @property
    def bad_share(self) -> float:
        """Share of bad rows among all rows, from 0 to 1."""
        return self.bad / (self.bad + len(self.rows)) if self.bad else 0.0


def open_file(path: str) -> RawStream:
    """Return the stream of a file on disk."""
    return FileStream(Path(path), name=path)


def read_catalog(
    path: str | Path, *, open_stream: Callable[[str], RawStream] = open_file, form: CatalogForm = PLAIN_FORM
) -> Catalog:
    """Read a catalog from a `.csv` or `.jsonl` file, perhaps followed by `.gz` or `.zst`, opened by `open_stream`.

    JSON lines: `item_id`, `tags` (a list), `namespace`, `price`, `created_at`. All except item_id may be absent or
    null. CSV: a header with `item_id|itemid|id`, `tags|tag_list` (split at `, ; |`), and optionally
    `namespace|surface`, `price` and `created_at`. Other names are ignored.

    Raises `InputError` naming the file if it cannot be read to its end, is in neither format, or is CSV without the
    columns for item and tags. Raises `LimitExceededError` if it unpacks to more than `MAX_CATALOG_BYTES`.
    """
    name = str(path)
    suffixes = [suffix for suffix in Path(path).suffixes if suffix not in {".gz", ".zst"}]
    if not suffixes or suffixes[-1] not in _READERS:
        raise InputError(f"catalog {name} is neither .csv nor .jsonl (perhaps with .gz or .zst): rename or convert it")
    frames: list[pl.DataFrame] = [pl.DataFrame(schema=dict(SCHEMA))]
    rows: list[CatalogRow] = []
    rejects: list[Reject] = []
    faults: Counter[Reason] = Counter()
    sizes: Counter[Reason] = Counter()  # bytes of bad rows
    unpacked = _Unpacked(name)
    with open_stream(name) as stream:
        for item in _READERS[suffixes[-1]](_pieces(stream, unpacked, form), name, form):
            if isinstance(item, pl.DataFrame):
                frames += [_frame(rows), item]
                rows = []
            elif isinstance(item.row, LineFault):
                _check_one_file(name, item)
                faults[item.row.reason] += 1
                sizes[item.row.reason] += len(item.text)
                rejects += [_reject(name, item, item.row)] if len(rejects) < MAX_KEPT else []
            else:
                rows.append(item.row)
        taken = pl.concat([*frames, _frame(rows)])
        good_bytes = unpacked.size - sizes.total()
        bad, bad_bytes = (sum(counts[reason] for reason in LINE_HIDING_REASONS) for counts in (faults, sizes))
        faults[Reason.HIDDEN_LINES] = hidden_lines(bad, bad_bytes, good=len(taken), good_bytes=good_bytes)
        return Catalog(taken, stream.digest, stream.size, dict(+faults), tuple(rejects))


def _check_one_file(name: str, bad_row: CatalogLine) -> None:
    """Raise `InputError` if another file that was appended to this one begins in a bad row."""
    if form := appended_form(bad_row.text, is_json=False):
        where = f"catalog {name}: line {bad_row.line:,}"
        raise InputError(f"{where} is not text, but the beginning of {form}: store the two as separate files")


@dataclass(slots=True)
class _Unpacked:
    """Count of the bytes that a catalog unpacks to, limited to `MAX_CATALOG_BYTES`."""

    name: str
    size: int = 0

    def add(self, size: int) -> None:
        self.size += size
        if self.size > MAX_CATALOG_BYTES:
            raise LimitExceededError(
                f"catalog {self.name} unpacks to over {MAX_CATALOG_BYTES:,} bytes: write a smaller one"
            )


def _pieces(stream: RawStream, unpacked: _Unpacked, form: CatalogForm) -> Iterator[bytes]:
    """Yield many lines at a time in UTF-8, without the last newline.

    A line that is too long is cut to its first bytes and padded, so that it is still recognised as too long.
    """
    buffer = fresh_bytes(CHUNK_BYTES + 1)
    is_other = codecs.lookup(form.encoding).name != "utf-8"
    for piece in read_chunks(stream, take=lambda: buffer, give_back=lambda _: None):
        unpacked.add(piece.size)
        long = isinstance(piece, LongLine)
        data = piece.head.ljust(CHUNK_BYTES) if long else bytes(piece.buffer[: piece.size - 1])
        yield _as_utf8(data, form.encoding) if is_other and not long else data


def _as_utf8(data: bytes, encoding: str) -> bytes:
    """Return lines in UTF-8. Bytes that are invalid in the encoding stay unchanged, and are a fault of their line."""
    return data.decode(encoding, errors="surrogateescape").encode(errors="surrogateescape")


def _read_csv(pieces: Iterator[bytes], name: str, form: CatalogForm) -> Iterator[CatalogLine | pl.DataFrame]:
    return read_csv_pieces(pieces, name, delimiter=form.delimiter)


def _read_json(pieces: Iterator[bytes], _name: str, _form: CatalogForm) -> Iterator[CatalogLine | pl.DataFrame]:
    """Yield the rows of a piece as one frame if all its lines are plain, else one by one."""
    number = 1
    for piece in pieces:
        plain = read_plain_lines(piece)
        if plain is not None:
            yield plain
        else:
            yield from (read_json_row(line_number, line) for line_number, line in enumerate(piece.split(b"\n"), number))
        number += piece.count(b"\n") + 1


_READERS: Mapping[str, Callable[[Iterator[bytes], str, CatalogForm], Iterator[CatalogLine | pl.DataFrame]]] = {
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


def _reject(name: str, bad_row: CatalogLine, fault: LineFault) -> Reject:
    text, escaped = show_line(bad_row.text)
    return Reject(name, bad_row.line, fault.reason, fault.detail, len(bad_row.text), text, escaped=escaped)
