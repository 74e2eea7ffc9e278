"""Documents as bytes: written as compact JSON, read back strictly and bounded, in a format that each one names."""

from collections.abc import Callable, Mapping
from typing import Final, TypeVar

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
_NEWEST: Final[Mapping[type, int]] = {  # of the others: FORMAT
    CanonicalRecord: CANONICAL_FORMAT,
    JournalEntry: JOURNAL_FORMAT,
    Release: RELEASE_FORMAT,
    StagedArtifact: STAGED_FORMAT,
}


def upgrade_entry(entry: JournalEntry) -> JournalEntry:
    """Return a journal entry of any format with the action and the keys of details that the newest format has."""
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
    """Read a document strictly; `CorruptObjectError` names the object and the first thing wrong in it."""
    newest: int = _NEWEST.get(kind) or getattr(kind, "newest_format", FORMAT)
    try:
        document = decoder_of(kind).decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ConfigurationError) as error:
        raise CorruptObjectError(
            f"{name} is no {kind.__name__} of format {newest}: {error}; {_remedy(data, newest=newest)}"
        ) from error
    found = getattr(document, "v", FORMAT)
    if not FORMAT <= found <= newest:
        raise CorruptObjectError(
            f"{name} has format {found}, this version reads up to {newest}: {_remedy(data, newest=newest)}"
        )
    return upgrade_entry(document) if isinstance(document, JournalEntry) else document


def read_document(store: ObjectStore, key: str, kind: type[Document]) -> Document:
    """Read and decode one document, at most `MAX_DOCUMENT_BYTES`; `NotFoundError` if there is none."""
    return decode(store.get(key, max_bytes=MAX_DOCUMENT_BYTES).data, kind, name=key)


def find_stored(store: ObjectStore, key: str, *, max_bytes: int = MAX_DOCUMENT_BYTES) -> StoredObject | None:
    """Read the bytes at a key, with the mark that a swap of them names, or return None if there are none."""
    try:
        return store.get(key, max_bytes=max_bytes)
    except NotFoundError:
        return None


def find_document(store: ObjectStore, key: str, kind: type[Document]) -> Document | None:
    """Read and decode one document, or return None if there is none."""
    stored = find_stored(store, key)
    return None if stored is None else decode(stored.data, kind, name=key)


def find_readable(store: ObjectStore, key: str, kind: type[Document]) -> Document | None:
    """Read and decode one document, or return None for one that is absent or damaged: writing it again repairs both."""
    return if_readable(lambda: find_document(store, key, kind))


def if_readable(read: Callable[[], Found | None]) -> Found | None:
    """Return what `read` finds, or None where it is damaged, which `verify` names or a write repairs."""
    try:
        return read()
    except CorruptObjectError:
        return None


def create_document(store: ObjectStore, key: str, document: Record) -> None:
    """Write a new document, whatever becomes of a reply: the same bytes there already are this document.

    Raises `ConflictError` if the key holds other bytes, `OutcomeUnknownError` if the store stays silent.
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
    """Say what to do about a document that cannot be read: a newer format wants a newer package."""
    try:
        found = decoder_of(_Format).decode(data).v
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        found = FORMAT
    return f"it has format {found}: upgrade the package" if found > newest else "restore it or build it again"
