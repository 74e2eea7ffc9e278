"""One artifact as it is served: bytes that proved their version, owner and rows, ready to be looked up in."""

import hashlib
import re
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec

from recsys_assets.decoders import decoder_of
from recsys_assets.errors import CorruptObjectError
from recsys_assets.identity import JSON_FORM, Target, form_of
from recsys_assets.release.blob import check_digits, version_of
from recsys_assets.serving.lookups import FORMS, SHAPES
from recsys_assets.serving.row_index import Lookup, RowIndex, index_rows

_STRING = rb'"(?:[^"\\]|\\.)*"'
_INSTANT = rb'"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)"'
_HEAD: Final = re.compile(
    rb'(\{"v":1,"artifact_type":' + _STRING + rb',"tenant":' + _STRING + rb',"surface":' + _STRING + rb")"
    rb'(?:,"segment":' + _STRING + rb')?,"window":\{"start":' + _INSTANT + rb',"end":' + _INSTANT + rb"\},"
    rb'"([a-z_]+)":\['
)
_MAX_HEAD = 10_000  # a string of a head has at most 200 bytes, six times that when every byte is escaped
_TAIL_BYTES = 250
_TAIL = b'],"build":{"built_at":"'


class _Owner(msgspec.Struct, frozen=True):
    """Whose an artifact is, as its head says."""

    artifact_type: str
    tenant: str
    surface: str


@dataclass(frozen=True, slots=True, eq=False)
class ServedArtifact:
    """The proven bytes of one version, the window they were made from, and their rows (None: of no known shape).

    Bytes of another form than the kinds' JSON tell no window: theirs is empty.
    """

    kind: str
    version: str
    data: bytes
    window_start: str
    window_end: str
    rows: Lookup[Any] | None


def prove(target: Target, kind: str, version: str, data: bytes, *, name: str) -> ServedArtifact:
    """Return the artifact if every byte of it is what its version, its target and its kind demand.

    The version is the hash of all bytes but the moment of building, which must be the window's end. Raises
    `CorruptObjectError`: restore the object from a backup or build it again.
    """
    if form_of(version) != JSON_FORM:
        check_digits(version, hashlib.sha256(data).hexdigest(), name=name)
        return ServedArtifact(kind, version, data, "", "", rows=None)
    found = version_of(data, name=name)
    if found != version:
        raise CorruptObjectError(f"{name} is version {found[:12]}, not {version[:12]}: restore it or build it again")
    head = _HEAD.match(data, 0, _MAX_HEAD)
    tail = data.rfind(_TAIL, len(data) - _TAIL_BYTES)
    if head is None or tail < head.end():
        raise CorruptObjectError(f"{name} does not begin as an artifact does: {data[:120]!r}; build it again")
    owner = decoder_of(_Owner).decode(head.group(1) + b"}")
    if owner != _Owner(kind, target.tenant, target.surface):
        raise CorruptObjectError(f"{name} says that it is {owner}, not {kind} of {target}: remove it, it is not ours")
    start, end, body = (group.decode() for group in head.group(2, 3, 4))
    if not data.startswith(end.encode(), tail + len(_TAIL)):
        raise CorruptObjectError(f"{name} says that it was built at another time than its window's end: build it again")
    return ServedArtifact(kind, version, data, start, end, _rows(kind, body, data, head.end(), tail, name))


def _rows(kind: str, body: str, data: bytes, start: int, stop: int, name: str) -> RowIndex[Any] | None:
    form = FORMS.get(kind)
    if form is None:
        return _rows_by_shape(body, data, start, stop, name)
    if body != form.body:
        raise CorruptObjectError(f"{name}: {kind} holds {body!r}, expected {form.body!r}: build it again")
    return index_rows(form, data, start=start, stop=stop, name=name)


def _rows_by_shape(body: str, data: bytes, start: int, stop: int, name: str) -> RowIndex[Any] | None:
    """Return the rows of a kind that is not known here, if they have one of the shapes that are."""
    for shape in SHAPES:
        try:
            return index_rows(replace(shape, body=body), data, start=start, stop=stop, name=name)
        except CorruptObjectError:
            continue  # of another shape: the first row tells
    return None
