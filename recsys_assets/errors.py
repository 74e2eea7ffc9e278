"""Every error of the package, grouped by what the person or program that meets it does next."""

from collections.abc import Mapping, Sequence
from enum import Enum, auto
from typing import Final


class RecsysAssetsError(Exception):
    """The root: a message that names the thing, the expected, the found and the next step."""

    journaled: bool = False  # whether the target's journal has it already


# --- fix the input ---------------------------------------------------------------------------------------------------


class InputError(RecsysAssetsError):
    """The data that came in cannot be used; fix the data, then run the day again."""


class MissingInputError(InputError):
    """A named file or object is not there; put it there, or name another place."""


class NoInputError(InputError):
    """There is nothing to build a day from; `outcome` says which of the three: no_input, empty_input, no_events."""

    def __init__(self, message: str, *, outcome: str) -> None:
        super().__init__(message)
        self.outcome = outcome


class LimitExceededError(InputError):
    """The day does not fit in a limit that protects memory; the message names the number and the setting."""


class CorruptObjectError(InputError):
    """Stored bytes are not what their name or their record says; rebuild them or restore them from a backup."""


class UntrustedError(CorruptObjectError):
    """A pointer is not signed by a key that this reader believes, or no longer; the message says which of them."""


class InvalidNodeError(InputError):
    """A node's data, content or place is not what its hierarchy takes; the message names what, and what it takes."""


# --- read again and retry --------------------------------------------------------------------------------------------


class ConflictError(RecsysAssetsError):
    """Somebody else changed what was read; read again and judge again."""


class StaleRevisionError(ConflictError):
    """A node is of another revision than the one that was read, or is there already; read it again."""


class StoreUnavailableError(RecsysAssetsError):
    """The store did not answer, or answered that it cannot now; nothing is known to have changed; try again later."""


class OutcomeUnknownError(StoreUnavailableError):
    """A conditional write got no reply and reading back failed too: it may have won; read before anything else."""


class EngineUnavailableError(RecsysAssetsError):
    """The engine cannot be reached, or gave up on a job; nothing that it wrote is read: look at it, then run again."""


# --- restore or roll back --------------------------------------------------------------------------------------------


class RefusedError(RecsysAssetsError):
    """A safety rule said no (gate, fence, hold, missing blob) and the message names it; what is live is untouched.

    `refused` names the gates whose judgement is among the reasons, each behind its subject, like
    ("canonical 2026-01-02", "bad_share").
    """

    def __init__(self, message: str, *, refused: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(message)
        self.refused = tuple(refused)


class NotFoundError(RecsysAssetsError):
    """The named thing is not in the store; the message lists what is."""


class NodeInUseError(RefusedError):
    """A node has children: delete them first."""


class NoSuchNodeError(NotFoundError):
    """No node of this id is in the tree; the message says whether it was deleted."""


# --- fix the configuration -------------------------------------------------------------------------------------------


class ConfigurationError(RecsysAssetsError):
    """A setting, a name or a credential is wrong; the message names the key, the allowed and the found."""


class UnsafeNameError(ConfigurationError):
    """A name cannot be a path segment, an object key and a URI at once, or collides with another one."""


class UnsafeStoreError(ConfigurationError):
    """The store does not honour conditional writes, so two publishers could both win; use another store."""


class EngineRefusedError(ConfigurationError):
    """The engine gives other rows than the definition says, seen on a day made up to show it; use another engine."""


# --- ask differently -------------------------------------------------------------------------------------------------


class BadRequestError(RecsysAssetsError):
    """What was asked of the read API cannot be understood; the message names parameter, allowed and found."""


class AccessDeniedError(RecsysAssetsError):
    """Whoever asked the API may not do this; the message names the scope that is missing."""


class OperationRefusedError(RefusedError):
    """An operation that was asked of the API is refused; the message, which may be shown to anybody, says why."""


class UnknownAddressError(NotFoundError):
    """What was asked of the read API is not there; unlike others' messages, this one may be shown to anybody."""


# --- what servers answer, however they word it ------------------------------------------------------------------------


class Answer(Enum):
    """One meaning of an object server's answer."""

    MISSING = auto()
    UNCHANGED = auto()
    LOST = auto()  # the condition of a write did not hold
    BUSY = auto()  # another conditional write was under way; this one was not applied
    DENIED = auto()
    WRONG = auto()  # no such bucket, a region or address that is none
    COLD = auto()  # in a storage class that is read only after a restore
    UNSUPPORTED = auto()  # 501: the server does not know this header or call
    SILENT = auto()  # 5xx, throttled, timed out, broken off: it may have been applied


ANSWER_OF_STATUS: Final[Mapping[int, Answer]] = {  # of object servers alike
    304: Answer.UNCHANGED,
    401: Answer.DENIED,
    403: Answer.DENIED,
    404: Answer.MISSING,
    408: Answer.SILENT,
    409: Answer.BUSY,
    412: Answer.LOST,
    429: Answer.SILENT,
}
