"""One artifact as it is served: bytes with verified version, target and rows, ready for lookups."""

import hashlib
from collections.abc import Callable
from mmap import mmap
from typing import Any, TypeAlias

import msgspec
from msgspec.structs import replace

from recsys_assets.artifact_format import Document, parse, version_of
from recsys_assets.errors import CorruptObjectError
from recsys_assets.identity import JSON_FORM, Target, form_of
from recsys_assets.release.shards import check_digits
from recsys_assets.serving.lookups import SHAPES, form_of_kind
from recsys_assets.serving.row_index import Lookup, RowForm, RowIndex
from recsys_assets.serving.sorted_rows import index_rows

ReadIndex: TypeAlias = Callable[[RowForm[Any], bytes | mmap, int, int], RowIndex[Any] | None]


class ServedArtifact(msgspec.Struct, frozen=True, eq=False):
    """The verified bytes of one version, the window they were built from, and their rows (None: unknown shape).

    Bytes in another format than the JSON of the kinds have no window: both strings are empty.
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
    """Return the artifact after verifying its bytes against version, target and kind.

    The version is the hash of all bytes except the time of the build, which must be the end of the window. After the
    verification `read_index` is called for a stored index of the rows. Raises `CorruptObjectError` if anything
    differs: restore the object from a backup or build it again.
    """
    if form_of(version) != JSON_FORM:
        check_digits(version, hashlib.sha256(data).hexdigest(), name=name)
        return ServedArtifact(kind, version, data, "", "", rows=None)
    actual = version_of(data, name=name)
    if actual != version:
        raise CorruptObjectError(
            f"{name} is version {actual[:12]}, expected {version[:12]}: restore it or build it again"
        )
    document = parse(data, name=name)
    envelope = document.envelope
    owner = (envelope.kind, envelope.tenant, envelope.surface)
    if owner != (kind, target.tenant, target.surface):
        raise CorruptObjectError(f"{name} contains {owner}, expected {kind} of {target}: remove it, it is not ours")
    rows = _rows(kind, document, data, name, read_index)
    return ServedArtifact(kind, version, data, envelope.window_start, envelope.window_end, rows)


def _rows(
    kind: str, document: Document, data: bytes | mmap, name: str, read_index: ReadIndex | None
) -> RowIndex[Any] | None:
    form, body, start, stop = form_of_kind(kind), document.body, document.start + 1, document.stop - 1
    if data[start - 1 : start] != b"[" or data[stop : stop + 1] != b"]" or stop < start:
        raise CorruptObjectError(f"{name} has no array {body!r}: build it again")
    if form is None:
        return _rows_by_shape(body, data, start, stop, name)
    if body != form.body:
        raise CorruptObjectError(f"{name}: {kind} has {body!r}, expected {form.body!r}: build it again")
    stored = read_index(form, data, start, stop) if read_index is not None else None
    return stored or index_rows(form, data, start=start, stop=stop, name=name)


def _rows_by_shape(body: str, data: bytes | mmap, start: int, stop: int, name: str) -> RowIndex[Any] | None:
    """Return the rows of an unknown kind if they have one of the known shapes, else None."""
    for shape in SHAPES:
        try:
            return index_rows(replace(shape, body=body), data, start=start, stop=stop, name=name)
        except CorruptObjectError:
            continue  # of another shape, as its first row shows
    return None
