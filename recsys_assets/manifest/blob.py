"""What a stored artifact's bytes prove about themselves: version, size and digest, without parsing them."""

import hashlib
import re

from recsys_assets.errors import CorruptObjectError, NotFoundError, RefusedError
from recsys_assets.identity import ArtifactRef, Target
from recsys_assets.manifest.layout import blob_key
from recsys_assets.storage.store import ObjectStore

ZEROED_BUILD = b',"build":{"built_at":"","version":"","source_hash":""}}'
_TAIL = re.compile(
    rb',"build":\{"built_at":"[0-9T:Z-]{20}","version":"([0-9a-f]{64})","source_hash":"([0-9a-f]{64})"\}\}\Z',
)
_TAIL_BYTES = 220  # the tail has one length; a search in the last bytes finds it without walking the blob


def version_of(data: bytes, *, name: str) -> str:
    """Return the version that the bytes prove: the hash of their content with `build` zeroed.

    Raises `CorruptObjectError` if the bytes carry another version than they prove, or are no artifact at all.
    """
    cut = max(0, len(data) - _TAIL_BYTES)
    tail = _TAIL.search(data, cut)
    if tail is None:
        raise CorruptObjectError(f"{name} does not end as an artifact does: build it again")
    proof = hashlib.sha256(memoryview(data)[: tail.start()])
    proof.update(ZEROED_BUILD)
    version = proof.hexdigest()
    told = {part.decode() for part in tail.groups()}
    if told != {version}:
        raise CorruptObjectError(f"{name} carries version {sorted(told)}, its bytes prove {version}: build it again")
    return version


def read_blob(store: ObjectStore, target: Target, ref: ArtifactRef) -> bytes:
    """Read one blob and prove that it is exactly the one referred to, by size, digest and version."""
    key = blob_key(target, ref.kind, ref.version)
    data = store.get(key, max_bytes=ref.size).data
    digest = hashlib.sha256(data).hexdigest()
    if (len(data), digest) != (ref.size, ref.digest):
        raise CorruptObjectError(f"{key} has {len(data)} bytes {digest}, expected {ref.size} bytes {ref.digest}")
    if version_of(data, name=key) != ref.version:
        raise CorruptObjectError(f"{key} is another version than its name says: build it again")
    return data


def prove_blobs(store: ObjectStore, target: Target, refs: tuple[ArtifactRef, ...]) -> None:
    """Raise `RefusedError` naming every blob that is missing or not what it should be."""
    faults: list[str] = []
    for ref in refs:
        try:
            read_blob(store, target, ref)
        except (NotFoundError, CorruptObjectError) as error:
            faults.append(f"{ref.kind}: {error}")
    if faults:
        raise RefusedError(f"{target}: {len(faults)} artifact(s) cannot be served: " + "; ".join(faults))
