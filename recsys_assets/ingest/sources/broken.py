"""Inputs that were found and cannot be read: each fails the targets that it is named for, and stops nobody else."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NoReturn

from recsys_assets.errors import InputError
from recsys_assets.identity import Target


@dataclass(frozen=True, slots=True)
class BrokenInput:
    """A file, folder or link that cannot be read; `message` names it, what was found and the next step."""

    name: str
    targets: tuple[Target, ...]
    message: str

    def open(self) -> NoReturn:
        """Raise `InputError` with the message."""
        raise InputError(self.message)

    def open_seekable(self) -> NoReturn:
        """Raise `InputError` with the message."""
        raise InputError(self.message)

    def digest(self) -> str:
        """Return nothing: what cannot be read equals nothing that was read before."""
        return ""

    def appearance(self) -> str:
        """Return name and message."""
        return f"{self.name} {self.message}"

    def touched_at(self) -> datetime:
        """Return the epoch: waiting does not change it."""
        return datetime.fromtimestamp(0, tz=UTC)
