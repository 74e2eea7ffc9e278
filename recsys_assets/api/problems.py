"""Problem documents (RFC 9457): status and message per error class, with internal locations redacted."""

import re
from collections.abc import Mapping
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
    (NotFoundError, HTTPStatus.NOT_FOUND, "it is not in the store: it never existed, or was collected"),
    (
        CorruptObjectError,
        HTTPStatus.GONE,
        "the stored bytes do not match their name and are not returned: see `recsys-assets verify`",
    ),
    (
        RefusedError,
        HTTPStatus.CONFLICT,
        "the id is ambiguous, or the target has too many objects to search: use more digits of the id",
    ),
    (ConflictError, HTTPStatus.SERVICE_UNAVAILABLE, "it changed concurrently: retry"),
    (StoreUnavailableError, HTTPStatus.SERVICE_UNAVAILABLE, "the store does not answer in time: retry later"),
    (
        ConfigurationError,
        HTTPStatus.SERVICE_UNAVAILABLE,
        "the store refuses this service: see the log of the service",
    ),
)


class ProblemDetails(msgspec.Struct, frozen=True):
    """Error response of RFC 9457: status, its title, and a message."""

    status: int
    title: str
    detail: str

    @property
    def headers(self) -> dict[str, str]:
        """Response headers: `Retry-After` for 503."""
        return {"Retry-After": str(RETRY_SECONDS)} if self.status == HTTPStatus.SERVICE_UNAVAILABLE else {}


def problem_of(error: RecsysAssetsError) -> ProblemDetails:
    """Return the public part of an error. The log has the rest."""
    for kind, status, message in _PROBLEMS:
        if isinstance(error, kind):
            return of_status(status, message or str(error))
    return of_status(HTTPStatus.INTERNAL_SERVER_ERROR)


def of_status(status: int, detail: str | None = None) -> ProblemDetails:
    """Return a problem of an HTTP status."""
    status_code = HTTPStatus(status)
    return ProblemDetails(status, status_code.phrase, detail or status_code.description or status_code.phrase)


_PLACE: Final = re.compile(
    r"\b[a-z0-9]+://[^\s'\",;)]*"  # addresses, endpoints, buckets
    # keys
    r"|\b(?:registry|releases|artifacts|staging|canonical|raw|quarantine|intents|trash|tallies|trees)/[^\s'\",;)]+"
    r"|\barn:[^\s'\",;)]+"
    r"|(?<![\w.~-])(?:/[\w.@+~-]+){2,}/?"  # absolute paths
    r"|\b[A-Za-z]:\\[^\s'\",;)]*"
)


def redact(text: str) -> str:
    """Return the text with storage keys, URLs and paths replaced, which would reveal the storage."""
    return _PLACE.sub(HIDDEN, text)


def redact_entry(entry: JournalEntry) -> JournalEntry:
    """Return a journal entry with redacted texts. Numbers, ids, times and names are kept."""
    return msgspec.structs.replace(entry, reason=redact(entry.reason), details=_values(entry.details))


def base_name(name: str) -> str:
    """Return the last segment of a path with either kind of slash."""
    return name.replace("\\", "/").rstrip("/").rpartition("/")[2]


def _values(details: Mapping[str, Scalar]) -> dict[str, Scalar]:
    return {key: redact(value) if isinstance(value, str) else value for key, value in details.items()}
