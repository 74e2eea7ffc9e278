"""Raw events in Parquet files: their rows, row group after row group, as the JSON lines that ingest judges."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Any, Protocol, Self
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq

from recsys_assets.config.inputs import RawSettings
from recsys_assets.errors import InputError
from recsys_assets.identity import Target
from recsys_assets.sources.columns import Mapped, map_columns
from recsys_assets.sources.pieces import Pieces
from recsys_assets.sources.row_lines import field_array, lines_of
from recsys_assets.sources.source import FoundInput
from recsys_assets.sources.streams import StoredBytes

_BATCH_ROWS = 1 << 15
_BUFFER_BYTES = 1 << 20  # of each column that is read: a row group may be larger than memory


class SeekableBytes(StoredBytes, Protocol):
    """Stored bytes that are read here and there; `digest` and the whole `size` are known from the beginning."""

    def seekable(self) -> bool:
        """Return True."""
        ...

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Go to a place."""
        ...


class Seekable(FoundInput, Protocol):
    """A found input whose stored bytes may be read here and there."""

    def open_seekable(self) -> SeekableBytes:
        """Return the stored bytes; raises `InputError` naming the input if it cannot be opened."""
        ...


@dataclass(frozen=True, slots=True)
class ParquetInput:
    """One Parquet file or object of a day, and by which columns it is read."""

    place: Seekable
    settings: RawSettings

    @property
    def name(self) -> str:
        """What people call the file."""
        return self.place.name

    @property
    def targets(self) -> tuple[Target, ...]:
        """The targets that the file was named for."""
        return tuple(self.place.targets)

    def open(self) -> "ParquetStream":
        """Return the rows as lines; row N, from 1, is line N."""
        return ParquetStream(self.place.open_seekable(), name=self.name, settings=self.settings)

    def digest(self) -> str:
        """Return what tells the file's bytes from others."""
        return self.place.digest()

    def appearance(self) -> str:
        """Return what changes when the file may have changed."""
        return self.place.appearance()

    def touched_at(self) -> datetime:
        """Return when the file last changed."""
        return self.place.touched_at()


class ParquetStream:
    """The `RawStream` of a Parquet file: memory for some thousand rows, whatever the size of its row groups.

    Raises `InputError` naming the file if it is no whole Parquet file, lacks a column, or has one of a wrong type.
    """

    def __init__(self, stored: SeekableBytes, *, name: str, settings: RawSettings) -> None:
        self._name = name
        self._stored = stored
        self._settings = settings
        self._lines = Pieces(self._read())

    @property
    def size(self) -> int:
        """Bytes of the file as stored."""
        return self._stored.size

    @property
    def digest(self) -> str:
        """What tells the file's bytes from others."""
        return self._stored.digest

    def readinto(self, buffer: memoryview) -> int:
        """Fill the front of `buffer` with lines and return how many bytes; 0 at the end."""
        return self._lines.readinto(buffer)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stored.close()

    def _read(self) -> Iterator[bytes]:
        """Yield the lines of one batch after another."""
        try:
            file = pq.ParquetFile(self._stored, buffer_size=_BUFFER_BYTES, pre_buffer=False)
            mapped = map_columns(self._settings, file.schema_arrow.names, name=self._name, known=hive_keys(self._name))
            columns = sorted(set(mapped.columns.values()))
            for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=columns, use_threads=False):
                yield self._lines_of(batch, mapped)
        except (OSError, pa.ArrowException) as error:
            raise InputError(f"{self._name} is no whole Parquet file: {error}; replace it and run again") from error
        if self._stored.changed():
            raise InputError(f"{self._name} changed while it was read; run the day again once it is complete")

    def _lines_of(self, batch: Any, mapped: Mapped) -> bytes:
        assume_utc = self._settings.assume_utc
        fields = {
            field: field_array(field, batch.column(column), name=self._name, assume_utc=assume_utc)
            for field, column in mapped.columns.items()
        }
        return lines_of(fields, mapped.constants, rows=len(batch))


def hive_keys(name: str) -> Mapping[str, str]:
    """Return the `key=value` segments of a path, as writers of partitioned tables leave their columns out of files."""
    pairs = (segment.split("=", 1) for segment in name.split("/")[:-1] if "=" in segment)
    return {unquote(key): unquote(value) for key, value in pairs}
