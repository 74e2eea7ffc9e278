"""The age of what is live, read from its artifacts, where the record of its release cannot be trusted."""

import hashlib
from datetime import date, timedelta
from typing import Final

from recsys_assets.artifact_format import parse, version_of
from recsys_assets.errors import ConfigurationError, CorruptObjectError, NotFoundError
from recsys_assets.identity import JSON_FORM, Target, form_of, parse_rfc3339
from recsys_assets.release.blob import check_digits
from recsys_assets.release.layout import blob_key
from recsys_assets.release.pointer import Current
from recsys_assets.release.shards import parse_index
from recsys_assets.sharding import SHARDS_FORM
from recsys_assets.storage.store import ObjectStore

_MAX_BYTES: Final = 1 << 31


def data_through_of(store: ObjectStore, target: Target, live: Current) -> str | None:
    """Return the last day inside the windows of the live artifacts, each proven by its version; None if none says."""
    ends = [end for kind, version in live.versions.items() if (end := _end(store, target, kind, version)) is not None]
    return (max(ends) - timedelta(days=1)).isoformat() if ends else None


def _end(store: ObjectStore, target: Target, kind: str, version: str) -> date | None:
    """Return the first day after an artifact's window; None if it is damaged, or of a form that names no window."""
    key = blob_key(target, kind, version)
    try:
        data = store.get(key, max_bytes=_MAX_BYTES).data
        if form_of(version) == JSON_FORM:
            end = parse(data, name=key).envelope.window_end if version_of(data, name=key) == version else None
        else:
            check_digits(version, hashlib.sha256(data).hexdigest(), name=key)
            is_index = form_of(version) == SHARDS_FORM
            end = parse_index(data, target, kind, name=key).window.end if is_index else None
        return None if end is None else parse_rfc3339(end).date()
    except (NotFoundError, CorruptObjectError, ConfigurationError):
        return None  # `verify` names it
