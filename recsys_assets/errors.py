"""All errors of the package, grouped by the caller's next step."""

from collections.abc import Mapping, Sequence
from enum import Enum, auto
from typing import Final


class RecsysAssetsError(Exception):
    """Base of all errors. Messages name the subject, the expected and found values, and the next step."""

    journaled: bool = False  # whether the target's journal already has it


# Fix the input.


class InputError(RecsysAssetsError):
    """Input data cannot be used. Fix the data, then run the day again."""


class MissingInputError(InputError):
    """A named file or object is missing. Provide it, or name another location."""


class NoInputError(InputError):
    """A day has nothing to build from. `outcome` is one of no_input, empty_input and no_events."""

    def __init__(self, message: str, *, outcome: str) -> None:
        super().__init__(message)
        self.outcome = outcome


class LimitExceededError(InputError):
    """The day exceeds a limit that protects memory. The message names the value and the setting."""


class CorruptObjectError(InputError):
    """Stored bytes do not match their name or their record. Rebuild them or restore them from a backup."""


class UntrustedError(CorruptObjectError):
    """A pointer has no valid signature by a key that this reader trusts, or it expired. The message says which."""


class InvalidNodeError(InputError):
    """A node's data, content or position is invalid in its hierarchy. The message names it and what is valid."""


# Read again and retry.


class ConflictError(RecsysAssetsError):
    """The data that was read changed concurrently. Read and evaluate it again."""


class StaleRevisionError(ConflictError):
    """A node has another revision than the one that was read, or already exists. Read it again."""


class StoreUnavailableError(RecsysAssetsError):
    """The store did not answer, or is temporarily unable to. Nothing is known to have changed. Retry later."""


class OutcomeUnknownError(StoreUnavailableError):
    """A conditional write got no reply and could not be read back. It may have succeeded: read before retrying."""


class EngineUnavailableError(RecsysAssetsError):
    """The engine is unreachable or aborted a job. Nothing that it wrote is used. Check it, then run again."""


# Restore or roll back.


class RefusedError(RecsysAssetsError):
    """A safety rule refused (gate, fence, hold, missing blob) and the message names it. The live release is unchanged.

    `refused` lists the gates that refused, each after its subject, such as ("canonical 2026-01-02", "bad_share").
    """

    def __init__(self, message: str, *, refused: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(message)
        self.refused = tuple(refused)


class NotFoundError(RecsysAssetsError):
    """The named object is not in the store. The message lists the existing ones."""


class NodeInUseError(RefusedError):
    """A node has children: delete them first."""


class NoSuchNodeError(NotFoundError):
    """The tree has no node of this id. The message says whether it was deleted."""


# Fix the configuration.


class ConfigurationError(RecsysAssetsError):
    """A setting, a name or a credential is invalid. The message names the key, the allowed and the found values."""


class UnsafeNameError(ConfigurationError):
    """A name cannot be a segment of paths, object keys and URIs, or collides with another name."""


class UnsafeStoreError(ConfigurationError):
    """The store does not honour conditional writes, so two publishers could both succeed. Use another store."""


class EngineRefusedError(ConfigurationError):
    """The engine computed wrong rows on the canary day. Use another engine."""


# Send another request.


class BadRequestError(RecsysAssetsError):
    """A request to the API is invalid. The message names the parameter, the allowed and the found values."""


class AccessDeniedError(RecsysAssetsError):
    """A request to the API lacks permission. The message names the missing scope."""


class OperationRefusedError(RefusedError):
    """An operation of the API is refused. The message says why and is safe to return."""


class UnknownAddressError(NotFoundError):
    """The requested resource of the API does not exist. The message is safe to return, unlike those of others."""


# Meanings of the replies of servers, whatever their words.


class Answer(Enum):
    """Meaning of an object server's response."""

    MISSING = auto()
    UNCHANGED = auto()
    LOST = auto()  # the condition of a write did not hold
    BUSY = auto()  # Another conditional write was under way. This one was not applied.
    DENIED = auto()
    WRONG = auto()  # no such bucket, or an invalid region or URL
    COLD = auto()  # in a storage class that needs a restore before reading
    UNSUPPORTED = auto()  # 501: the server does not know this header or call
    SILENT = auto()  # 5xx, throttling, timeout or lost connection: it may have been applied


ANSWER_OF_STATUS: Final[Mapping[int, Answer]] = {  # common to all object servers
    304: Answer.UNCHANGED,
    401: Answer.DENIED,
    403: Answer.DENIED,
    404: Answer.MISSING,
    408: Answer.SILENT,
    409: Answer.BUSY,
    412: Answer.LOST,
    429: Answer.SILENT,
}
