"""Encoding of documents: compact JSON, read back strictly with a size limit and a format number."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final, TypeVar

import msgspec

from recsys_assets.decoders import decoder_of
from recsys_assets.errors import (
    ConfigurationError,
    ConflictError,
    CorruptObjectError,
    NotFoundError,
    OutcomeUnknownError,
)
from recsys_assets.evidence import GateReport
from recsys_assets.release.documents import (
    CANONICAL_FORMAT,
    FORMAT,
    JOURNAL_FORMAT,
    RELEASE_FORMAT,
    STAGED_FORMAT,
    CanonicalRecord,
    JournalEntry,
    Record,
    Release,
    StagedArtifact,
)
from recsys_assets.retry import attempts
from recsys_assets.storage.store import ObjectStore, StoredObject

_DETAILS: Final = {"told": "message"}
_ACTIONS: Final = {"mend": "repair"}
MAX_DOCUMENT_BYTES: Final = 10_000_000
_TRIES = 3
_CACHED: Final = 32  # documents, each of at most `_MAX_CACHED_BYTES`
_MAX_CACHED_BYTES: Final = 100_000
_NEWEST: Final[Mapping[type, int]] = {  # all other documents: FORMAT
    CanonicalRecord: CANONICAL_FORMAT,
    JournalEntry: JOURNAL_FORMAT,
    Release: RELEASE_FORMAT,
    StagedArtifact: STAGED_FORMAT,
}


def upgrade_entry(entry: JournalEntry) -> JournalEntry:
    """Return a journal entry of any format with the action and detail keys of the newest format."""
    if entry.v == JOURNAL_FORMAT:
        return entry
    return msgspec.structs.replace(
        entry,
        action=_ACTIONS.get(entry.action, entry.action),
        details={_DETAILS.get(key, key): value for key, value in entry.details.items()},
        v=JOURNAL_FORMAT,
    )


Found = TypeVar("Found")
Document = TypeVar("Document", bound=Record | GateReport)


def encode(document: Record | GateReport) -> bytes:
    """Write a document as compact JSON, the same bytes for equal values."""
    return msgspec.json.encode(document, order="deterministic")


def decode(data: bytes, kind: type[Document], *, name: str) -> Document:
    """Decode a document strictly. A run decodes some documents dozens of times, so the last ones are cached.

    Raises `CorruptObjectError`, which names the object, its first fault and the remedy.
    """
    newest: int = _NEWEST.get(kind) or getattr(kind, "newest_format", FORMAT)
    try:
        decoded: Document = _decode_cached(data, kind) if len(data) <= _MAX_CACHED_BYTES else _decode(data, kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ConfigurationError) as error:
        raise CorruptObjectError(
            f"{name} is not a {kind.__name__} of format {newest}: {error}; {_remedy(data, newest=newest)}"
        ) from error
    form = getattr(decoded, "v", FORMAT)
    if not FORMAT <= form <= newest:
        raise CorruptObjectError(
            f"{name} has format {form}, this version reads up to {newest}: {_remedy(data, newest=newest)}"
        )
    return upgrade_entry(decoded) if isinstance(decoded, JournalEntry) else decoded


def _decode(data: bytes, kind: type[Any]) -> Any:
    return decoder_of(kind).decode(data)


_decode_cached = lru_cache(maxsize=_CACHED)(_decode)


def read_document(store: ObjectStore, key: str, kind: type[Document]) -> Document:
    """Read and decode one document, at most `MAX_DOCUMENT_BYTES`. Raises `NotFoundError` if there is none."""
    return decode(store.get(key, max_bytes=MAX_DOCUMENT_BYTES).data, kind, name=key)


def find_stored(store: ObjectStore, key: str, *, max_bytes: int = MAX_DOCUMENT_BYTES) -> StoredObject | None:
    """Return the bytes at a key with the etag that a swap expects, or None if there are none."""
    try:
        return store.get(key, max_bytes=max_bytes)
    except NotFoundError:
        return None


def find_document(store: ObjectStore, key: str, kind: type[Document]) -> Document | None:
    """Read and decode one document, or return None if there is none."""
    stored = find_stored(store, key)
    return None if stored is None else decode(stored.data, kind, name=key)


def find_readable(store: ObjectStore, key: str, kind: type[Document]) -> Document | None:
    """Read and decode one document, or return None if it is absent or damaged.

    For callers whose next write repairs both.
    """
    return if_readable(lambda: find_document(store, key, kind))


def if_readable(read: Callable[[], Found | None]) -> Found | None:
    """Return the result of `read`, or None if the object is damaged: `verify` reports it, or a write repairs it."""
    try:
        return read()
    except CorruptObjectError:
        return None


def create_document(store: ObjectStore, key: str, document: Record) -> None:
    """Create a document. Also succeeds if the same bytes are already stored, e.g. after a lost reply.

    Raises `ConflictError` if other bytes are stored at the key, `OutcomeUnknownError` if the store does not reply.
    """
    data = encode(document)
    silence = OutcomeUnknownError(f"{key}: never tried")
    for _ in attempts(_TRIES):
        try:
            store.create(key, data)
        except ConflictError:
            if store.get(key, max_bytes=MAX_DOCUMENT_BYTES).data != data:
                raise
        except OutcomeUnknownError as error:
            silence = error
            continue
        return
    raise silence


class _Format(msgspec.Struct):
    v: int = FORMAT


def _remedy(data: bytes, *, newest: int) -> str:
    """Return the remedy for an unreadable document: a newer format needs a newer package."""
    try:
        form = decoder_of(_Format).decode(data).v
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        form = FORMAT
    return f"it has format {form}: upgrade the package" if form > newest else "restore it or build it again"
