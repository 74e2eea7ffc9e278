"""Proof of a stored artifact's bytes: version, size, digest and owner, without parsing them."""

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial

from recsys_assets.artifact_format import hashes_of, owner_head, parse, proven_version
from recsys_assets.errors import ConfigurationError, CorruptObjectError, NotFoundError
from recsys_assets.identity import JSON_FORM, ArtifactRef, Target, Window, form_of, parse_rfc3339
from recsys_assets.release.layout import blob_key
from recsys_assets.storage.fan_out import fan_out
from recsys_assets.storage.store import Listed, ObjectStore

_FEW = 20  # more objects than that has a release with shards


def read_blob(store: ObjectStore, target: Target, ref: ArtifactRef) -> bytes:
    """Read one blob and prove that it is exactly the one referred to, and this target's.

    Raises `NotFoundError` if it is missing, `CorruptObjectError` if size, digest, version or owner differ.
    """
    data = fetch_blob(store, target, ref)
    prove_blob(data, target, ref)
    return data


def fetch_blob(store: ObjectStore, target: Target, ref: ArtifactRef) -> bytes:
    """Return what stands in a blob's place, not proven to be anything; `NotFoundError` if nothing does."""
    return store.get(blob_key(target, ref.kind, ref.version), max_bytes=ref.size).data


def prove_blob(data: bytes, target: Target, ref: ArtifactRef) -> None:
    """Raise `CorruptObjectError` unless the bytes are exactly those referred to, and this target's.

    Bytes of another form than the kinds' JSON do not say whose they are: their place under the target does.
    """
    key, hashes = blob_key(target, ref.kind, ref.version), hashes_of(data)
    digest = hashes.digest
    if (len(data), digest) != (ref.size, ref.digest):
        raise CorruptObjectError(
            f"{key} has {len(data)} bytes with digest {digest[:12]}, expected {ref.size} with {ref.digest[:12]}: "
            "build it again, or restore it from a backup"
        )
    if form_of(ref.version) != JSON_FORM:
        check_digits(ref.version, digest, name=key)
        return
    if proven_version(data, hashes, name=key) != ref.version:
        raise CorruptObjectError(f"{key} is another version than its name says: build it again")
    if not data.startswith(owner_head(ref.kind, target)):
        raise CorruptObjectError(f"{key} says that it belongs to another target or kind: {data[:120]!r}; remove it")


def check_digits(version: str, digest: str, *, name: str) -> None:
    """Raise `CorruptObjectError` unless a version that is not of the kinds' JSON is the SHA-256 of its bytes."""
    if version.partition(".")[0] != digest:
        raise CorruptObjectError(f"{name} is version {digest[:12]}, not {version[:12]}: restore it or import it again")


def blob_faults(store: ObjectStore, target: Target, windows: Mapping[ArtifactRef, Window]) -> tuple[str, ...]:
    """Return what is wrong with each blob that cannot be served, or whose own window is not the one recorded of it.

    Nothing for those that can; two are read at a time.
    """
    with ThreadPoolExecutor(2) as pool:
        return tuple(fault for fault in pool.map(partial(_fault, store, target), windows.items()) if fault)


def _fault(store: ObjectStore, target: Target, recorded: tuple[ArtifactRef, Window]) -> str | None:
    ref, window = recorded
    try:
        data = read_blob(store, target, ref)
        if form_of(ref.version) == JSON_FORM:
            envelope = parse(data, name=blob_key(target, ref.kind, ref.version)).envelope
            check_window(ref, window, start=envelope.window_start, end=envelope.window_end)
    except (NotFoundError, CorruptObjectError) as error:
        return f"{ref.kind}: {error}"
    return None


def check_window(ref: ArtifactRef, recorded: Window, *, start: str, end: str) -> None:
    """Raise `CorruptObjectError` if a record gives an artifact another window, in days, than its own bytes say."""
    try:
        first, last = parse_rfc3339(start).date(), (parse_rfc3339(end) - timedelta(microseconds=1)).date()
    except (ConfigurationError, OverflowError) as error:
        raise CorruptObjectError(f"version {ref.version[:12]} has a window that is none: {error}") from error
    if (first, last) != (recorded.first, recorded.last):
        raise CorruptObjectError(
            f"version {ref.version[:12]} is of {first} to {last} by its own bytes, its record says {recorded.first} to "
            f"{recorded.last}: the record is damaged, restore it from a backup"
        )


def missing_blobs(store: ObjectStore, target: Target, refs: Iterable[ArtifactRef]) -> tuple[ArtifactRef, ...]:
    """Return the references whose blob is not there in its size: one look each, several at once if there are many."""
    asked = tuple(dict.fromkeys(refs))

    def look(ref: ArtifactRef) -> Listed | None:
        return store.stat(blob_key(target, ref.kind, ref.version))

    found = fan_out(look, asked) if len(asked) > _FEW else map(look, asked)
    pairs = zip(asked, found, strict=True)
    return tuple(ref for ref, there in pairs if there is None or there.size != ref.size)
