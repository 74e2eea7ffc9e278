"""Labels on releases: `bad` keeps one from shipping, `pinned` from collection; tags are names that move."""

import re
from collections.abc import Iterator
from datetime import datetime
from enum import StrEnum
from typing import Final

import msgspec

from recsys_assets.errors import ConfigurationError, ConflictError
from recsys_assets.identity import Target, parse_rfc3339, rfc3339
from recsys_assets.release.document_encoding import (
    create_document,
    decode,
    encode,
    find_document,
    find_readable,
    find_stored,
    if_readable,
    read_document,
)
from recsys_assets.release.documents import Label, Tag
from recsys_assets.release.journal import Actor
from recsys_assets.release.layout import label_key, label_prefix, tag_key, tag_prefix
from recsys_assets.storage.store import ObjectStore

PREVIOUS: Final = "previous"  # what a rollback calls the release before the live one
LIVE: Final = "live"  # what is live now
_NAME = re.compile(r"([0-9a-f]{64})\.json")
_TAG = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_LIKE_AN_ID = re.compile(r"[0-9a-f]{8,64}")
_RESERVED = frozenset({PREVIOUS, LIVE})


class Labelled(StrEnum):
    """What a release can be marked as."""

    BAD = "bad"
    PINNED = "pinned"


def find_label(store: ObjectStore, target: Target, label: Labelled, release_id: str) -> Label | None:
    """Return why a release carries a label, or None if it does not."""
    return find_document(store, label_key(target, label, release_id), Label)


def put_label(
    store: ObjectStore,
    target: Target,
    label: Labelled,
    release_id: str,
    *,
    by: Actor,
    now: datetime,
    until: datetime | None = None,
) -> bool:
    """Mark a release, and return whether it was not marked before; the first reason stands until it has ended."""
    end = rfc3339(until) if until else msgspec.UNSET
    document = Label(release=release_id, at=rfc3339(now), actor=by.name, reason=by.reason, until=end)
    key = label_key(target, label, release_id)
    try:
        create_document(store, key, document)
    except ConflictError:
        known = find_readable(store, key, Label)
        if known is None or not is_over(known, now):
            return False
        store.put(key, encode(document))
    return True


def is_over(label: Label, now: datetime) -> bool:
    """Return whether a label has ended by itself."""
    return isinstance(label.until, str) and parse_rfc3339(label.until) <= now


def lift_label(store: ObjectStore, target: Target, label: Labelled, release_id: str) -> None:
    """Take a mark off; one that is not there is fine."""
    store.delete(label_key(target, label, release_id))


def labelled(store: ObjectStore, target: Target, label: Labelled, *, now: datetime | None = None) -> Iterator[str]:
    """Yield the ids of the releases that carry a label; what is no label is a stray, which `verify` lists.

    With `now`, those whose label has ended are left out. One that cannot be read has not.
    """
    prefix = label_prefix(target, label)
    for item in store.list(prefix):
        found = _NAME.fullmatch(item.key.removeprefix(prefix))
        if found is not None and not (now and _is_over(store, item.key, now)):
            yield found[1]


def _is_over(store: ObjectStore, key: str, now: datetime) -> bool:
    label = find_readable(store, key, Label)
    return label is not None and is_over(label, now)


def check_tag(name: str) -> str:
    """Return a name that a release can have; `ConfigurationError` for one that could be taken for something else."""
    if not _TAG.fullmatch(name) or _LIKE_AN_ID.fullmatch(name) or name in _RESERVED:
        raise ConfigurationError(
            f"{name!r} cannot name a release: expected a small letter, then small letters, digits, _ and -, at most 63 "
            f"characters, like champion; not {', '.join(sorted(_RESERVED))} or what looks like an id"
        )
    return name


def is_tag(name: str) -> bool:
    """Return whether a text can be the name of a release."""
    return _TAG.fullmatch(name) is not None


def find_tag(store: ObjectStore, target: Target, name: str) -> Tag | None:
    """Return which release has a name, or None; `CorruptObjectError` if that cannot be read."""
    return find_document(store, tag_key(target, name), Tag)


def list_tags(store: ObjectStore, target: Target) -> Iterator[Tag]:
    """Yield the names of a target's releases, sorted; `CorruptObjectError` for one that cannot be read."""
    prefix = tag_prefix(target)
    for item in store.list(prefix):
        if _TAG.fullmatch(item.key.removeprefix(prefix).removesuffix(".json")):
            yield read_document(store, item.key, Tag)


def put_tag(store: ObjectStore, target: Target, tag: Tag) -> str | None:
    """Give a name to a release, and return the one that had it; `ConflictError` if somebody else moves it now."""
    key = tag_key(target, tag.name)
    stored = find_stored(store, key)
    if stored is None:
        create_document(store, key, tag)
        return None
    store.swap(key, encode(tag), expected=stored.etag)
    before = if_readable(lambda: decode(stored.data, Tag, name=key))  # what could not be read is written over
    return before.release if before else None


def remove_tag(store: ObjectStore, target: Target, name: str) -> None:
    """Take a name from the release that has it; one that none has is fine."""
    store.delete(tag_key(target, name))
