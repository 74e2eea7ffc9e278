"""Texts that may go outside: what they say of folders, buckets and addresses is taken out of them."""

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from recsys_assets.evidence import Scalar
from recsys_assets.release.documents import JournalEntry

_PLACE: Final = re.compile(
    r"\b[a-z0-9]+://[^\s'\",;)]*"  # addresses, endpoints, buckets
    r"|\b(?:registry|releases|artifacts|staging|canonical|raw|quarantine|intents|trash|tallies)/[^\s'\",;)]+"  # keys
    r"|\barn:[^\s'\",;)]+"
    r"|(?<![\w.~-])(?:/[\w.@+~-]+){2,}/?"  # absolute paths
    r"|\b[A-Za-z]:\\[^\s'\",;)]*"
)
HIDDEN: Final = "(a place in the store)"


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
