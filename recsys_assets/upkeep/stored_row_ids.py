"""The rows of a stored artifact, whatever its kind: ids in their order, each with its own bytes."""

import msgspec

from recsys_assets.decoders import decoder_of
from recsys_assets.errors import CorruptObjectError

_ENVELOPE = frozenset({"v", "artifact_type", "tenant", "surface", "segment", "window", "build"})


class _Row(msgspec.Struct):
    """A row is named by an item or by a user."""

    item_id: str | None = None
    user_id: str | None = None


def read_rows(data: bytes, *, name: str) -> dict[str, bytes]:
    """Return the row's bytes by its id, in the artifact's order; the first of several rows with one id counts.

    Raises `CorruptObjectError` if there is not exactly one list of named rows.
    """
    try:
        document = msgspec.json.decode(data, type=dict[str, msgspec.Raw])
        (body,) = [key for key in document if key not in _ENVELOPE]
        raw_rows = msgspec.json.decode(document[body], type=list[msgspec.Raw])
        rows: dict[str, bytes] = {}
        for raw in raw_rows:
            row = decoder_of(_Row).decode(raw)
            rows.setdefault(row.item_id if row.item_id is not None else row.user_id or "", bytes(raw))
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError) as error:
        raise CorruptObjectError(f"{name} has no rows that can be read: {error}; build it again") from error
    return rows
