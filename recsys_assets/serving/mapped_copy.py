"""Blobs and their indexes mapped from the copy on disk: in memory once for all processes, and verified by each.

Layout of an index: a header as a line of JSON, `SortedRows.starts` as four bytes each, `SortedRows.marks`, SHA-256 of
all these.
"""

import hashlib
import mmap
import os
import sys
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Final

import msgspec
from msgspec.structs import replace

from recsys_assets.decoders import decoder_of
from recsys_assets.errors import CorruptObjectError, NotFoundError, RecsysAssetsError
from recsys_assets.identity import Target
from recsys_assets.release.layout import blob_key
from recsys_assets.serving.row_index import GROUP, Row, RowForm, SortedRows
from recsys_assets.serving.served import ServedArtifact, prove
from recsys_assets.serving.state import log_copy_fault
from recsys_assets.storage.filesystem import FilesystemStore, locked
from recsys_assets.storage.folders import opened_file, opened_folder, translate_os_errors, translate_read_errors
from recsys_assets.storage.store import ObjectStore, check_key

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
    stored: mmap.mmap, form: RowForm[Row], data: bytes | mmap.mmap, *, start: int, stop: int, version: str
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


def _id_at(form: RowForm[Row], data: bytes | mmap.mmap, start: int, stop: int) -> str:
    return form.id_of(form.decoder.decode(data[start:stop]))


class MappedCopy(msgspec.Struct, frozen=True):
    """The blobs of one target below `folder`, with the layout of a store, and an index of the rows of each.

    Of several processes one fetches a blob and indexes its rows. The others wait for it, map what it wrote, and verify
    the bytes again. Files are replaced and removed by name, never written in place, so that mapped bytes do not change
    after they were verified. If the disk cannot store a copy, the blob is kept in memory instead.
    """

    folder: Path
    target: Target
    wait_seconds: float  # timeout for another process that fetches the same blob

    def load(self, store: ObjectStore, kind: str, version: str, *, max_bytes: int) -> ServedArtifact:
        """Return the artifact. A missing or damaged copy is fetched from `store` again.

        Raises what `store` raises, and `CorruptObjectError` if its blob is not this version.
        """
        key = blob_key(self.target, kind, version)
        with self._alone(key):
            artifact = self._find(kind, version, max_bytes)
            if artifact is not None:
                return artifact
            data = store.get(key, max_bytes=max_bytes).data
            artifact = self._find(kind, version, max_bytes) if self._wrote(key, data) else None
        return artifact or prove(self.target, kind, version, data, name=key)

    @contextmanager
    def _alone(self, key: str) -> Generator[None]:
        """Lock the blob, so that other processes do not fetch it at the same time.

        Runs without a lock if that fails.
        """
        with ExitStack() as stack:
            try:
                with translate_os_errors(key):
                    stack.enter_context(locked(self._root, f"mapped {key}", seconds=self.wait_seconds))
            except RecsysAssetsError as error:
                log_copy_fault(self.target, str(error))
            yield

    def _find(self, kind: str, version: str, max_bytes: int) -> ServedArtifact | None:
        """Return the artifact mapped from the copy, or None if there is no copy that can be verified."""
        key = blob_key(self.target, kind, version)
        read_index = partial(self._index, kind, version)
        try:
            data = self._map(key, max_bytes)
            artifact = prove(self.target, kind, version, data, name=key, read_index=read_index)
        except NotFoundError:
            return None
        except RecsysAssetsError as error:
            log_copy_fault(self.target, str(error))
            return None
        rows = artifact.rows
        if not isinstance(rows, SortedRows) or isinstance(rows.starts, memoryview):
            return artifact
        if not self._wrote(index_key(self.target, kind, version), encode_index(rows, version)):
            return artifact
        return replace(artifact, rows=read_index(rows.form, data, rows.starts[0], rows.starts[-1] - 1) or rows)

    def _index(
        self, kind: str, version: str, form: RowForm[Row], data: bytes | mmap.mmap, start: int, stop: int
    ) -> SortedRows[Row] | None:
        """Return the rows by their stored index, or None if there is no index that can be verified."""
        key = index_key(self.target, kind, version)
        try:
            return decode_index(self._map(key, len(data) + stop), form, data, start=start, stop=stop, version=version)
        except NotFoundError:
            return None
        except RecsysAssetsError as error:
            log_copy_fault(self.target, f"{key} is written again: {error}")
            return None

    def _map(self, key: str, max_bytes: int) -> mmap.mmap:
        *folder, name = check_key(key).split("/")
        with translate_read_errors(key), opened_folder(self._root, folder) as parent, opened_file(parent, name) as fd:
            size = os.fstat(fd).st_size
            if not 0 < size <= max_bytes:
                raise CorruptObjectError(f"{key} has {size} bytes: expected 1 to {max_bytes}")
            return mmap.mmap(fd, 0, access=mmap.ACCESS_READ)

    def _wrote(self, key: str, data: bytes) -> bool:
        try:
            FilesystemStore(self.folder).put(key, data)
        except RecsysAssetsError as error:
            log_copy_fault(self.target, str(error))
            return False
        return True

    @property
    def _root(self) -> str:
        return os.path.realpath(self.folder)
