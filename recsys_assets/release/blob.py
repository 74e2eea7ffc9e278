"""What a stored artifact's bytes prove about themselves: version, size, digest and owner, without parsing them."""

import hashlib
import json
import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

from recsys_assets.errors import CorruptObjectError, NotFoundError
from recsys_assets.identity import JSON_FORM, ArtifactRef, Target, form_of
from recsys_assets.release.layout import blob_key
from recsys_assets.storage.fan_out import fan_out
from recsys_assets.storage.store import Listed, ObjectStore

ZEROED_BUILD = b',"build":{"built_at":"","version":""}}'
_TAIL = re.compile(
    rb',"build":\{"built_at":"[0-9T:Z-]{20}","version":"([0-9a-f]{64})","source_hash":"([0-9a-f]{64})"\}\}\Z'
)
_FEW = 20  # more objects than that has a release with shards
_TAIL_BYTES = 250  # longer than any tail: a search in the last bytes finds it without walking the blob


def version_of(data: bytes, *, name: str) -> str:
    """Return the version that the bytes prove: the hash of their content with `build` zeroed.

    Raises `CorruptObjectError` if the bytes carry another version than they prove, or are no artifact at all.
    """
    return _proven(data, _hash(data), name=name)


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
    key, hashes = blob_key(target, ref.kind, ref.version), _hash(data)
    digest = hashes.digest
    if (len(data), digest) != (ref.size, ref.digest):
        raise CorruptObjectError(
            f"{key} has {len(data)} bytes with digest {digest[:12]}, expected {ref.size} with {ref.digest[:12]}: "
            "build it again, or restore it from a backup"
        )
    if form_of(ref.version) != JSON_FORM:
        check_digits(ref.version, digest, name=key)
        return
    if _proven(data, hashes, name=key) != ref.version:
        raise CorruptObjectError(f"{key} is another version than its name says: build it again")
    if not data.startswith(_head(target, ref.kind)):
        raise CorruptObjectError(f"{key} says that it belongs to another target or kind: {data[:120]!r}; remove it")


def check_digits(version: str, digest: str, *, name: str) -> None:
    """Raise `CorruptObjectError` unless a version that is not of the kinds' JSON is the SHA-256 of its bytes."""
    if version.partition(".")[0] != digest:
        raise CorruptObjectError(f"{name} is version {digest[:12]}, not {version[:12]}: restore it or import it again")


def blob_faults(store: ObjectStore, target: Target, refs: Iterable[ArtifactRef]) -> tuple[str, ...]:
    """Return what is wrong with each blob that cannot be served, nothing for those that can; two are read at a time."""
    with ThreadPoolExecutor(2) as pool:
        return tuple(fault for fault in pool.map(partial(_fault, store, target), refs) if fault)


def _fault(store: ObjectStore, target: Target, ref: ArtifactRef) -> str | None:
    try:
        read_blob(store, target, ref)
    except (NotFoundError, CorruptObjectError) as error:
        return f"{ref.kind}: {error}"
    return None


def missing_blobs(store: ObjectStore, target: Target, refs: Iterable[ArtifactRef]) -> tuple[ArtifactRef, ...]:
    """Return the references whose blob is not there in its size: one look each, several at once if there are many."""
    asked = tuple(dict.fromkeys(refs))

    def look(ref: ArtifactRef) -> Listed | None:
        return store.stat(blob_key(target, ref.kind, ref.version))

    found = fan_out(look, asked) if len(asked) > _FEW else map(look, asked)
    pairs = zip(asked, found, strict=True)
    return tuple(ref for ref, there in pairs if there is None or there.size != ref.size)


class _Hashes(NamedTuple):
    """SHA-256 of all bytes, and of the content: the same bytes with `build` zeroed; None if they are no artifact."""

    digest: str
    version: str | None


def _hash(data: bytes) -> _Hashes:
    """Return both hashes, each byte hashed once: the texts differ in their ends only."""
    tail = _tail(data)
    end = tail.start() if tail else len(data)
    content = hashlib.sha256(memoryview(data)[:end])
    proof = content.copy()
    proof.update(ZEROED_BUILD)
    content.update(memoryview(data)[end:])
    return _Hashes(content.hexdigest(), proof.hexdigest() if tail else None)


def _proven(data: bytes, hashes: _Hashes, *, name: str) -> str:
    """Return the version that the bytes carry and prove."""
    tail, version = _tail(data), hashes.version
    if tail is None or version is None:
        raise CorruptObjectError(f"{name} does not end as an artifact does: build it again")
    message = {part.decode() for part in tail.groups()}
    if message != {version}:
        raise CorruptObjectError(f"{name} carries version {sorted(message)}, its bytes prove {version}: build it again")
    return version


def _tail(data: bytes) -> re.Match[bytes] | None:
    return _TAIL.search(data, max(0, len(data) - _TAIL_BYTES))


def _head(target: Target, kind: str) -> bytes:
    """Return the bytes with which every artifact of this kind and target begins."""
    fields = {"v": 1, "artifact_type": kind, "tenant": target.tenant, "surface": target.surface}
    text = json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":  # as the writers of this format escape them
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text.removesuffix("}").encode() + b","
