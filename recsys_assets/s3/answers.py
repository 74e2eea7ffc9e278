"""The meaning of an S3 server's answer: missing, unchanged, lost condition, busy, denied, wrong, or no answer."""

from collections.abc import Generator
from contextlib import contextmanager

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
    ANSWER_OF_STATUS,
    Answer,
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


_BY_CODE = {
    "InvalidObjectState": Answer.COLD,
    "NoSuchBucket": Answer.WRONG,
    "NoSuchKey": Answer.MISSING,
    "PreconditionFailed": Answer.LOST,
    "RequestTimeout": Answer.SILENT,
    "SlowDown": Answer.SILENT,
}


def answer_of(error: Exception) -> Answer:
    """Return what an error of boto3 means."""
    if isinstance(error, ClientError):
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        if status == _NOT_IMPLEMENTED:
            return Answer.UNSUPPORTED
        if status >= _SILENT_STATUS:
            return Answer.SILENT
        code = str(error.response.get("Error", {}).get("Code", ""))
        return _BY_CODE.get(code) or ANSWER_OF_STATUS.get(status, Answer.WRONG)
    if isinstance(error, _DENIED):
        return Answer.DENIED
    return Answer.SILENT if isinstance(error, _SILENT) else Answer.WRONG


def error_for(key: str, error: Exception) -> RecsysAssetsError:
    """Return the package's error for one of boto3's, with the next step."""
    answer = answer_of(error)
    if answer is Answer.MISSING:
        return NotFoundError(f"{key} is not in the store")
    if answer is Answer.COLD:
        return InputError(
            f"{key} is in cold storage (Glacier or an archive tier): restore the object, wait for it, then "
            "run again; keep what is needed out of such rules"
        )
    if answer is Answer.DENIED:
        return ConfigurationError(f"{key}: {error}: check the credentials, and what they permit on this bucket")
    if answer is Answer.UNSUPPORTED:
        return UnsafeStoreError(
            f"{key}: {error}: the server does not know conditional writes (If-Match, If-None-Match), so two publishers "
            "could both win: use another one"
        )
    if answer is Answer.WRONG:
        return ConfigurationError(f"{key}: {error}: check bucket, region and AWS_ENDPOINT_URL")
    return StoreUnavailableError(f"{key}: {error}: nothing is known to have changed; try again")


@contextmanager
def translate_s3_errors(key: str) -> Generator[None]:
    """Turn boto3's errors into the package's."""
    try:
        yield
    except S3_ERRORS as error:
        raise error_for(key, error) from error
