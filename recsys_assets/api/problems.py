"""Problem documents: a status and a sentence for each kind of error, with what names the inside taken out."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import msgspec

from recsys_assets.errors import (
    AccessDeniedError,
    BadRequestError,
    ConfigurationError,
    ConflictError,
    CorruptObjectError,
    InvalidNodeError,
    NodeInUseError,
    NoSuchNodeError,
    NotFoundError,
    OperationRefusedError,
    RecsysAssetsError,
    RefusedError,
    StaleRevisionError,
    StoreUnavailableError,
    UnknownAddressError,
    UnsafeNameError,
)
from recsys_assets.evidence import Scalar
from recsys_assets.release.documents import JournalEntry

MEDIA: Final = "application/problem+json"
RETRY_SECONDS: Final = 5
HIDDEN: Final = "(a place in the store)"
_PROBLEMS: Final[tuple[tuple[type[RecsysAssetsError], HTTPStatus, str], ...]] = (  # "": the error's own message
    (AccessDeniedError, HTTPStatus.FORBIDDEN, ""),
    (BadRequestError, HTTPStatus.UNPROCESSABLE_ENTITY, ""),
    (UnsafeNameError, HTTPStatus.UNPROCESSABLE_ENTITY, ""),
    (UnknownAddressError, HTTPStatus.NOT_FOUND, ""),
    (InvalidNodeError, HTTPStatus.UNPROCESSABLE_ENTITY, ""),
    (NoSuchNodeError, HTTPStatus.NOT_FOUND, ""),
    (NodeInUseError, HTTPStatus.CONFLICT, ""),
    (OperationRefusedError, HTTPStatus.CONFLICT, ""),
    (StaleRevisionError, HTTPStatus.PRECONDITION_FAILED, ""),
    (NotFoundError, HTTPStatus.NOT_FOUND, "it is not in the store: it never was, or it was collected"),
    (
        CorruptObjectError,
        HTTPStatus.GONE,
        "what is stored is not what its name says, so nothing of it is handed out: see `recsys-assets verify`",
    ),
    (
        RefusedError,
        HTTPStatus.CONFLICT,
        "the answer is not certain: write more of a short id; a target may also hold too much to look through",
    ),
    (ConflictError, HTTPStatus.SERVICE_UNAVAILABLE, "it changed while it was read: ask again"),
    (StoreUnavailableError, HTTPStatus.SERVICE_UNAVAILABLE, "the store does not answer in time: ask again later"),
    (
        ConfigurationError,
        HTTPStatus.SERVICE_UNAVAILABLE,
        "the store refuses this service: its operator finds the reason in the service's log",
    ),
)


@dataclass(frozen=True, slots=True)
class ProblemDetails:
    """Why there is no answer, as RFC 9457 words it: the status, its name, and a sentence for people."""

    status: int
    title: str
    detail: str

    @property
    def headers(self) -> dict[str, str]:
        """Headers that say what a client can do about it."""
        return {"Retry-After": str(RETRY_SECONDS)} if self.status == HTTPStatus.SERVICE_UNAVAILABLE else {}


def problem_of(error: RecsysAssetsError) -> ProblemDetails:
    """Return what may be shown of an error; the rest is for the log."""
    for kind, status, message in _PROBLEMS:
        if isinstance(error, kind):
            return of_status(status, message or str(error))
    return of_status(HTTPStatus.INTERNAL_SERVER_ERROR)


def of_status(status: int, detail: str | None = None) -> ProblemDetails:
    """Return a problem of an HTTP status."""
    known = HTTPStatus(status)
    return ProblemDetails(status, known.phrase, detail or known.description or known.phrase)


_PLACE: Final = re.compile(
    r"\b[a-z0-9]+://[^\s'\",;)]*"  # addresses, endpoints, buckets
    # keys
    r"|\b(?:registry|releases|artifacts|staging|canonical|raw|quarantine|intents|trash|tallies|trees)/[^\s'\",;)]+"
    r"|\barn:[^\s'\",;)]+"
    r"|(?<![\w.~-])(?:/[\w.@+~-]+){2,}/?"  # absolute paths
    r"|\b[A-Za-z]:\\[^\s'\",;)]*"
)


def redact(text: str) -> str:
    """Return the text without the places that it names: they help nobody outside, and reveal the storage."""
    return _PLACE.sub(HIDDEN, text)


def redact_entry(entry: JournalEntry) -> JournalEntry:
    """Return a journal entry whose texts may go outside; numbers, ids, times and names stay."""
    return msgspec.structs.replace(entry, reason=redact(entry.reason), details=_values(entry.details))


def base_name(name: str) -> str:
    """Return the last part of a file's name, whatever kind of path it was given by."""
    return name.replace("\\", "/").rstrip("/").rpartition("/")[2]


def _values(details: Mapping[str, Scalar]) -> dict[str, Scalar]:
    return {key: redact(value) if isinstance(value, str) else value for key, value in details.items()}
