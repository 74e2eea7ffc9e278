"""Labels on releases: `bad` blocks shipping, `pinned` blocks collection. Tags are names that can move."""

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

PREVIOUS: Final = "previous"  # destination of a rollback: the release before the live one
LIVE: Final = "live"  # the live release
_NAME = re.compile(r"([0-9a-f]{64})\.json")
_TAG = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_LIKE_AN_ID = re.compile(r"[0-9a-f]{8,64}")
_RESERVED = frozenset({PREVIOUS, LIVE})


class Labelled(StrEnum):
    """Label that a release can have."""

    BAD = "bad"
    PINNED = "pinned"


def find_label(store: ObjectStore, target: Target, label: Labelled, release_id: str) -> Label | None:
    """Return the label document of a release, or None if the release does not have the label."""
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
    """Label a release and return whether the label is new. The first reason stays until that label has ended."""
    end = rfc3339(until) if until else msgspec.UNSET
    document = Label(release=release_id, at=rfc3339(now), actor=by.name, reason=by.reason, until=end)
    key = label_key(target, label, release_id)
    try:
        create_document(store, key, document)
    except ConflictError:
        stored = find_readable(store, key, Label)
        if stored is None or not is_over(stored, now):
            return False
        store.put(key, encode(document))
    return True


def is_over(label: Label, now: datetime) -> bool:
    """Return whether a label has expired."""
    return isinstance(label.until, str) and parse_rfc3339(label.until) <= now


def lift_label(store: ObjectStore, target: Target, label: Labelled, release_id: str) -> None:
    """Remove a label. No-op if the release does not have it."""
    store.delete(label_key(target, label, release_id))


def labelled(store: ObjectStore, target: Target, label: Labelled, *, now: datetime | None = None) -> Iterator[str]:
    """Yield the ids of the releases with a label. Other objects are strays, which `verify` lists.

    With `now`, expired labels are excluded. An unreadable label counts as not expired.
    """
    prefix = label_prefix(target, label)
    for item in store.list(prefix):
        match = _NAME.fullmatch(item.key.removeprefix(prefix))
        if match is not None and not (now and _is_over(store, item.key, now)):
            yield match[1]


def _is_over(store: ObjectStore, key: str, now: datetime) -> bool:
    label = find_readable(store, key, Label)
    return label is not None and is_over(label, now)


def check_tag(name: str) -> str:
    """Return the name if it is a valid tag. Raises `ConfigurationError` for one that is invalid or ambiguous."""
    if not _TAG.fullmatch(name) or _LIKE_AN_ID.fullmatch(name) or name in _RESERVED:
        raise ConfigurationError(
            f"{name!r} is not a valid name of a release: expected a lowercase letter, then lowercase letters, "
            "digits, _ and -, at "
            f"most 63 characters, e.g. champion; not {', '.join(sorted(_RESERVED))}, and nothing that looks like an id"
        )
    return name


def is_tag(name: str) -> bool:
    """Return whether a text has the form of a tag."""
    return _TAG.fullmatch(name) is not None


def find_tag(store: ObjectStore, target: Target, name: str) -> Tag | None:
    """Return the tag with a name, or None. Raises `CorruptObjectError` if it cannot be read."""
    return find_document(store, tag_key(target, name), Tag)


def list_tags(store: ObjectStore, target: Target) -> Iterator[Tag]:
    """Yield the tags of a target's releases, sorted by name. Raises `CorruptObjectError` for an unreadable one."""
    prefix = tag_prefix(target)
    for item in store.list(prefix):
        if _TAG.fullmatch(item.key.removeprefix(prefix).removesuffix(".json")):
            yield read_document(store, item.key, Tag)


def put_tag(store: ObjectStore, target: Target, tag: Tag) -> str | None:
    """Give a name to a release, return the release that had it. Raises `ConflictError` if it is moved concurrently."""
    key = tag_key(target, tag.name)
    stored = find_stored(store, key)
    if stored is None:
        create_document(store, key, tag)
        return None
    store.swap(key, encode(tag), expected=stored.etag)
    before = if_readable(lambda: decode(stored.data, Tag, name=key))  # an unreadable tag is overwritten
    return before.release if before else None


def remove_tag(store: ObjectStore, target: Target, name: str) -> None:
    """Remove a tag. No-op if it does not exist."""
    store.delete(tag_key(target, name))
