"""The meaning of an S3 server's answer: missing, unchanged, lost condition, busy, denied, wrong, or no answer."""

from collections.abc import Generator
from contextlib import contextmanager
from enum import Enum, auto

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    PartialCredentialsError,
)
from botocore.exceptions import ConnectionError as ConnectionFailedError
from urllib3.exceptions import HTTPError

from recsys_assets.errors import (
    ConfigurationError,
    InputError,
    NotFoundError,
    RecsysAssetsError,
    StoreUnavailableError,
    UnsafeStoreError,
)

S3_ERRORS = (ClientError, BotoCoreError, HTTPError)  # the last leaks out of a body that breaks off while it is read
_DENIED = (NoCredentialsError, PartialCredentialsError, CredentialRetrievalError)
_SILENT = (HTTPClientError, ConnectionFailedError, IncompleteReadError, HTTPError)
_NOT_IMPLEMENTED = 501
_SILENT_STATUS = 500  # and above


class S3Answer(Enum):
    """One meaning, however a server words it."""

    MISSING = auto()
    UNCHANGED = auto()
    LOST = auto()  # the condition of a write did not hold
    BUSY = auto()  # another conditional write was under way; this one was not applied
    DENIED = auto()
    WRONG = auto()  # no such bucket, a region or address that is none
    COLD = auto()  # in a storage class that is read only after a restore
    UNSUPPORTED = auto()  # 501: the server does not know this header or call
    SILENT = auto()  # 5xx, throttled, timed out, broken off: it may have been applied


_BY_STATUS = {
    304: S3Answer.UNCHANGED,
    401: S3Answer.DENIED,
    403: S3Answer.DENIED,
    404: S3Answer.MISSING,
    408: S3Answer.SILENT,
    409: S3Answer.BUSY,
    412: S3Answer.LOST,
    429: S3Answer.SILENT,
}
_BY_CODE = {
    "InvalidObjectState": S3Answer.COLD,
    "NoSuchBucket": S3Answer.WRONG,
    "NoSuchKey": S3Answer.MISSING,
    "PreconditionFailed": S3Answer.LOST,
    "RequestTimeout": S3Answer.SILENT,
    "SlowDown": S3Answer.SILENT,
}


def answer_of(error: Exception) -> S3Answer:
    """Return what an error of boto3 means."""
    if isinstance(error, ClientError):
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        if status == _NOT_IMPLEMENTED:
            return S3Answer.UNSUPPORTED
        if status >= _SILENT_STATUS:
            return S3Answer.SILENT
        code = str(error.response.get("Error", {}).get("Code", ""))
        return _BY_CODE.get(code) or _BY_STATUS.get(status, S3Answer.WRONG)
    if isinstance(error, _DENIED):
        return S3Answer.DENIED
    return S3Answer.SILENT if isinstance(error, _SILENT) else S3Answer.WRONG


def error_for(key: str, error: Exception) -> RecsysAssetsError:
    """Return the package's error for one of boto3's, with the next step."""
    answer = answer_of(error)
    if answer is S3Answer.MISSING:
        return NotFoundError(f"{key} is not in the store")
    if answer is S3Answer.COLD:
        return InputError(
            f"{key} is in cold storage (Glacier or an archive tier): restore the object, wait for it, then "
            "run again; keep what is needed out of such rules"
        )
    if answer is S3Answer.DENIED:
        return ConfigurationError(f"{key}: {error}: check the credentials, and what they permit on this bucket")
    if answer is S3Answer.UNSUPPORTED:
        return UnsafeStoreError(
            f"{key}: {error}: the server does not know conditional writes (If-Match, If-None-Match), so two publishers "
            "could both win: use another one"
        )
    if answer is S3Answer.WRONG:
        return ConfigurationError(f"{key}: {error}: check bucket, region and AWS_ENDPOINT_URL")
    return StoreUnavailableError(f"{key}: {error}: nothing is known to have changed; try again")


@contextmanager
def translate_s3_errors(key: str) -> Generator[None]:
    """Turn boto3's errors into the package's."""
    try:
        yield
    except S3_ERRORS as error:
        raise error_for(key, error) from error
