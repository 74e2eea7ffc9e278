"""One artifact as it is served: bytes that proved their version, owner and rows, ready to be looked up in."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from mmap import mmap
from typing import Any, TypeAlias

from recsys_assets.artifact_format import Document, parse, version_of
from recsys_assets.errors import CorruptObjectError
from recsys_assets.identity import JSON_FORM, Target, form_of
from recsys_assets.release.shards import check_digits
from recsys_assets.serving.lookups import SHAPES, form_of_kind
from recsys_assets.serving.row_index import Lookup, RowForm, RowIndex
from recsys_assets.serving.sorted_rows import index_rows

ReadIndex: TypeAlias = Callable[[RowForm[Any], bytes | mmap, int, int], RowIndex[Any] | None]


@dataclass(frozen=True, slots=True, eq=False)
class ServedArtifact:
    """The proven bytes of one version, the window they were built from, and their rows (None: of no known shape).

    Bytes of another form than the kinds' JSON hold no window: theirs is empty.
    """

    kind: str
    version: str
    data: bytes | mmap
    window_start: str
    window_end: str
    rows: Lookup[Any] | None


def prove(
    target: Target,
    kind: str,
    version: str,
    data: bytes | mmap,
    *,
    name: str,
    read_index: ReadIndex | None = None,
) -> ServedArtifact:
    """Return the artifact if every byte of it is what its version, its target and its kind demand.

    The version is the hash of all bytes but the moment of building, which must be the window's end. `read_index` is
    asked, once they are proven, for an index of the rows that was made before. Raises `CorruptObjectError`: restore the
    object from a backup or build it again.
    """
    if form_of(version) != JSON_FORM:
        check_digits(version, hashlib.sha256(data).hexdigest(), name=name)
        return ServedArtifact(kind, version, data, "", "", rows=None)
    found = version_of(data, name=name)
    if found != version:
        raise CorruptObjectError(f"{name} is version {found[:12]}, not {version[:12]}: restore it or build it again")
    document = parse(data, name=name)
    said = document.envelope
    owner = (said.kind, said.tenant, said.surface)
    if owner != (kind, target.tenant, target.surface):
        raise CorruptObjectError(f"{name} says that it is {owner}, not {kind} of {target}: remove it, it is not ours")
    rows = _rows(kind, document, data, name, read_index)
    return ServedArtifact(kind, version, data, said.window_start, said.window_end, rows)


def _rows(
    kind: str, document: Document, data: bytes | mmap, name: str, read_index: ReadIndex | None
) -> RowIndex[Any] | None:
    form, body, start, stop = form_of_kind(kind), document.body, document.start + 1, document.stop - 1
    if data[start - 1 : start] != b"[" or data[stop : stop + 1] != b"]" or stop < start:
        raise CorruptObjectError(f"{name} holds no array {body!r}: build it again")
    if form is None:
        return _rows_by_shape(body, data, start, stop, name)
    if body != form.body:
        raise CorruptObjectError(f"{name}: {kind} holds {body!r}, expected {form.body!r}: build it again")
    known = read_index(form, data, start, stop) if read_index is not None else None
    return known or index_rows(form, data, start=start, stop=stop, name=name)


def _rows_by_shape(body: str, data: bytes | mmap, start: int, stop: int, name: str) -> RowIndex[Any] | None:
    """Return the rows of a kind that is not known here, if they have one of the shapes that are."""
    for shape in SHAPES:
        try:
            return index_rows(replace(shape, body=body), data, start=start, stop=stop, name=name)
        except CorruptObjectError:
            continue  # of another shape: the first row shows it
    return None
