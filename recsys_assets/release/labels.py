"""Labels on releases: `bad` keeps one from shipping and from being rolled back to, `pinned` from being collected."""

import re
from collections.abc import Iterator
from datetime import datetime
from enum import StrEnum

from recsys_assets.errors import ConflictError
from recsys_assets.identity import Target, rfc3339
from recsys_assets.release.document_encoding import create_document, find_document
from recsys_assets.release.documents import Label
from recsys_assets.release.journal import Actor
from recsys_assets.release.layout import label_key, label_prefix
from recsys_assets.storage.store import ObjectStore

_NAME = re.compile(r"([0-9a-f]{64})\.json")


class Labelled(StrEnum):
    """What a release can be marked as."""

    BAD = "bad"
    PINNED = "pinned"


def find_label(store: ObjectStore, target: Target, label: Labelled, release_id: str) -> Label | None:
    """Return why a release carries a label, or None if it does not."""
    return find_document(store, label_key(target, label, release_id), Label)


def put_label(
    store: ObjectStore, target: Target, label: Labelled, release_id: str, *, by: Actor, now: datetime
) -> bool:
    """Mark a release, and return whether it was not marked before; the first reason stands."""
    document = Label(release=release_id, at=rfc3339(now), actor=by.name, reason=by.reason)
    try:
        create_document(store, label_key(target, label, release_id), document)
    except ConflictError:
        return False
    return True


def lift_label(store: ObjectStore, target: Target, label: Labelled, release_id: str) -> None:
    """Take a mark off; one that is not there is fine."""
    store.delete(label_key(target, label, release_id))


def labelled(store: ObjectStore, target: Target, label: Labelled) -> Iterator[str]:
    """Yield the ids of the releases that carry a label; what is no label is a stray, which `verify` lists."""
    prefix = label_prefix(target, label)
    for item in store.list(prefix):
        found = _NAME.fullmatch(item.key.removeprefix(prefix))
        if found is not None:
            yield found[1]
