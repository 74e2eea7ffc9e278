"""Problem documents: a status and a sentence for each kind of error, and nothing of the inside."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from recsys_assets.errors import (
    BadRequestError,
    ConfigurationError,
    ConflictError,
    CorruptObjectError,
    NotFoundError,
    RecsysAssetsError,
    RefusedError,
    StoreUnavailableError,
    UnknownAddressError,
    UnsafeNameError,
)

MEDIA: Final = "application/problem+json"
RETRY_SECONDS: Final = 5
_OURS: Final = (BadRequestError, UnknownAddressError, UnsafeNameError)  # their messages speak of the question alone
_PROBLEMS: Final[tuple[tuple[type[RecsysAssetsError], HTTPStatus, str], ...]] = (
    (BadRequestError, HTTPStatus.UNPROCESSABLE_ENTITY, ""),
    (UnsafeNameError, HTTPStatus.UNPROCESSABLE_ENTITY, ""),
    (UnknownAddressError, HTTPStatus.NOT_FOUND, ""),
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
class Problem:
    """Why there is no answer, as RFC 9457 words it: the status, its name, and a sentence for people."""

    status: int
    title: str
    detail: str

    @property
    def headers(self) -> dict[str, str]:
        """Headers that say what a client can do about it."""
        return {"Retry-After": str(RETRY_SECONDS)} if self.status == HTTPStatus.SERVICE_UNAVAILABLE else {}


def problem_of(error: RecsysAssetsError) -> Problem:
    """Return what may be shown of an error; the rest is for the log."""
    for kind, status, message in _PROBLEMS:
        if isinstance(error, kind):
            return of_status(status, str(error) if isinstance(error, _OURS) else message)
    return of_status(HTTPStatus.INTERNAL_SERVER_ERROR)


def of_status(status: int, detail: str | None = None) -> Problem:
    """Return a problem of an HTTP status."""
    known = HTTPStatus(status)
    return Problem(status, known.phrase, detail or known.description or known.phrase)
