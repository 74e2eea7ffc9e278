"""Raw events in Parquet files, read one row group after another and converted to the JSON lines that ingest judges."""

import io
from collections.abc import Iterator, Mapping
from datetime import datetime
from types import TracebackType
from typing import Any, Protocol
from urllib.parse import unquote

import msgspec
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from recsys_assets.errors import InputError
from recsys_assets.identity import Target
from recsys_assets.ingest.sources.arrow_rows import ColumnMapping, check_types, is_string, lines_of_batch, map_columns
from recsys_assets.ingest.sources.parquet_pages import plan_read
from recsys_assets.ingest.sources.source import FoundInput
from recsys_assets.ingest.sources.streams import PieceStream, StoredBytes, UnpackLimit
from recsys_assets.settings.inputs import RawSettings

_HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"
_BATCH_ROWS = 1 << 15
_BATCH_BYTES = 64_000_000  # size of decoded values that are converted to lines at a time
_BUFFER_BYTES = 1 << 20  # per column: a row group may be larger than memory


class SeekableBytes(StoredBytes, Protocol):
    """Stored bytes with random access. `digest` and the whole `size` are known from the beginning."""

    def seekable(self) -> bool:
        """Return True."""
        ...

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Set the position of the next read and return it."""
        ...


class Seekable(FoundInput, Protocol):
    """A found input whose stored bytes allow random access."""

    def open_seekable(self) -> SeekableBytes:
        """Return the stored bytes. Raises `InputError` naming the input if it cannot be opened."""
        ...


class ParquetInput(msgspec.Struct, frozen=True):
    """One Parquet file or object of a day, with the settings that map its columns."""

    file: Seekable
    settings: RawSettings

    @property
    def name(self) -> str:
        """The name of the file in messages."""
        return self.file.name

    @property
    def targets(self) -> tuple[Target, ...]:
        """The targets that the file serves."""
        return tuple(self.file.targets)

    def open(self) -> "ParquetStream":
        """Return the rows as lines. Row N, from 1, is line N."""
        return ParquetStream(self.file.open_seekable(), name=self.name, settings=self.settings)

    def digest(self) -> str:
        """Return the digest of the file's bytes."""
        return self.file.digest()

    def appearance(self) -> str:
        """Return a text that changes whenever the file may have changed."""
        return self.file.appearance()

    def touched_at(self) -> datetime:
        """Return the time of the file's last change."""
        return self.file.touched_at()


class ParquetStream(PieceStream):
    """The `RawStream` of a Parquet file, in the memory of some thousand rows, whatever the size of its row groups.

    Raises `InputError` naming the file if it is not a complete Parquet file, lacks a column, or has a wrong type.
    """

    def __init__(self, stored: SeekableBytes, *, name: str, settings: RawSettings) -> None:
        self._name = name
        self._stored = stored
        self._settings = settings
        self._unpacked = UnpackLimit(name)
        super().__init__(self._read())

    @property
    def size(self) -> int:
        """Bytes of the file as stored."""
        return self._stored.size

    @property
    def digest(self) -> str:
        """The digest of the file's bytes."""
        return self._stored.digest

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stored.close()

    def _read(self) -> Iterator[bytes]:
        """Yield the lines of one batch after another."""
        try:
            file = pq.ParquetFile(self._stored, buffer_size=_BUFFER_BYTES, pre_buffer=False)
            names = file.schema_arrow.names
            mapped = map_columns(self._settings, names, name=self._name, known=hive_keys(self._name))
            columns = sorted(set(mapped.columns.values()))
            for column in columns:
                if names.count(column) > 1:
                    raise InputError(
                        f"{self._name} has {names.count(column)} columns {column!r}: give each its own name"
                    )
            stored = io.BufferedReader(self._stored, _BUFFER_BYTES)  # pyright: ignore[reportArgumentType] - a raw file
            plan = plan_read(stored, file.metadata, name=self._name, max_rows=_BATCH_ROWS, columns=columns)
            stored.detach()  # closing it would also close the file
            check_types(file.schema_arrow, mapped, name=self._name, assume_utc=self._settings.assume_utc)
            # Text as dictionaries: a long value that appears in a million rows is held once.
            file = pq.ParquetFile(
                self._stored,
                metadata=file.metadata,
                read_dictionary=plan.dictionaries,
                buffer_size=_BUFFER_BYTES,
                pre_buffer=False,
            )
            yield from self._batches(file, plan.rows, mapped)
        except (OSError, pa.ArrowException) as error:
            raise InputError(
                f"{self._name} is not a complete Parquet file: {error}; replace it and run again"
            ) from error
        if self._stored.changed():
            raise InputError(f"{self._name} changed while it was read; run the day again once it is complete")

    def _batches(self, file: pq.ParquetFile, rows: int, mapped: ColumnMapping) -> Iterator[bytes]:
        """Yield the lines of some thousand rows at a time, of fewer rows if their values are long."""
        columns = sorted(set(mapped.columns.values()))
        for batch in file.iter_batches(batch_size=rows, columns=columns, use_threads=False):
            pieces = max(1, -(-_unpacked_bytes(batch) // _BATCH_BYTES))
            step = max(1, -(-len(batch) // pieces))
            for start in range(0, len(batch), step):
                rows = batch.slice(start, step)
                lines = lines_of_batch(rows, mapped, name=self._name, assume_utc=self._settings.assume_utc)
                self._unpacked.add(len(lines), stored=self._stored.size)
                yield lines


def _is_bytes(kind: Any) -> bool:
    return is_string(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _unpacked_bytes(batch: Any) -> int:
    """Return the number of bytes of the values of a batch without dictionaries."""
    size = 0
    for column in batch.columns:
        if pa.types.is_dictionary(column.type) and _is_bytes(column.type.value_type):
            lengths = pl.Series(column.dictionary.cast(pa.large_binary())).bin.size().cast(pl.Int64)
            size += int(lengths.gather(pl.Series(column.indices)).cast(pl.Int64).sum() or 0)  # pyright: ignore[reportArgumentType]
        else:
            size += column.nbytes
    return size


def hive_keys(name: str) -> Mapping[str, str | None]:
    """Return the `key=value` segments of a path: writers of partitioned tables omit these columns from the files.

    Hive's name of the null partition becomes None.
    """
    pairs = (segment.split("=", 1) for segment in name.split("/")[:-1] if "=" in segment)
    return {unquote(key): None if value == _HIVE_NULL else unquote(value) for key, value in pairs}
