"""A release before it is live: loaded from a pointer that nobody wrote, by the code that loads the live one."""

from collections.abc import Mapping
from datetime import datetime

from recsys_assets.identity import Target
from recsys_assets.release.document_encoding import encode
from recsys_assets.release.pointer import make_pointer, parse_pointer
from recsys_assets.serving.loading import Limits, PointerRead, load_release
from recsys_assets.serving.snapshot import Snapshot
from recsys_assets.storage.store import ObjectStore

_UNWRITTEN = ""  # no store ever marked this pointer


def load_trial(
    store: ObjectStore, target: Target, versions: Mapping[str, str], *, at: datetime, limits: Limits | None = None
) -> Snapshot:
    """Return the release of `versions` (by kind) as a reader would hold it if the pointer were moved to it at `at`.

    Nothing is written. Raises what a reader would meet: `NotFoundError` for a blob that is missing,
    `CorruptObjectError` for one that is not what its name says or too large.
    """
    data = encode(make_pointer(store.root_uri, target, versions, now=at, after=None))
    pointer = PointerRead(parse_pointer(store.root_uri, target, data, etag=_UNWRITTEN), data)
    return load_release(store, target, pointer, limits=limits or Limits(), proven={})
