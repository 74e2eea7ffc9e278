"""Copy of the last served release in a folder, so that a start without a store still serves verified bytes."""

import hashlib
from mmap import mmap
from pathlib import Path

import msgspec

from recsys_assets.decoders import decoder_of
from recsys_assets.errors import ConflictError, CorruptObjectError, NotFoundError
from recsys_assets.identity import Target
from recsys_assets.release.layout import blob_key
from recsys_assets.release.pointer import parse_pointer
from recsys_assets.serving.loading import Limits, PointerRead, Proven, load_release
from recsys_assets.serving.mapped_copy import MappedCopy, index_key
from recsys_assets.serving.sharded_rows import ShardCache
from recsys_assets.serving.snapshot import Snapshot
from recsys_assets.storage.filesystem import FilesystemStore


class _Copy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A pointer's text with its SHA-256: a flipped bit in its time could make every valid pointer look old.

    `written` lists the roots in its URIs that are not roots of `store`, the store that it was read from.
    """

    pointer: str
    digest: str
    store: str = ""
    written: tuple[str, ...] = ()


class LastKnownGood(msgspec.Struct, frozen=True):
    """A copy of a target's pointer and blobs in `folder`, with the layout of a store, and verified as strictly.

    The pointer is copied byte for byte, with its target and the root of its blobs: a copy of another target, or of
    another store, is refused. Several processes may share the folder. `uri_roots` are those of the copied store.
    """

    folder: Path
    target: Target
    uri_roots: tuple[str, ...]
    limits: Limits = msgspec.field(default_factory=Limits)
    mapped: MappedCopy | None = None  # set if processes share the blobs of the copy

    def restore(self, proven: Proven, shards: ShardCache) -> Snapshot | None:
        """Return the copied release after verifying every byte again, or None if there is no copy.

        Shards are not part of the copy: they are read through `shards`, from the store, when they are needed.

        Raises `CorruptObjectError` if the copy is damaged or of another target or store, `NotFoundError` if one of its
        blobs is missing: it is not served, and the next release that is loaded replaces it.
        """
        copy = FilesystemStore(self.folder)
        try:
            pointer = self._pointer(copy)
        except NotFoundError:
            return None
        return load_release(
            copy, self.target, pointer, limits=self.limits, proven=proven, shards=shards, mapped=self.mapped
        )

    def keep(self, pointer: PointerRead, snapshot: Snapshot) -> None:
        """Copy a verified release: blobs first, the pointer last. A newer copy is not replaced.

        If two processes copy concurrently, the copy with the newer pointer stays. Raises `StoreUnavailableError` (disk
        full) or `ConfigurationError` (permission).
        """
        copy = FilesystemStore(self.folder)
        before = self._read_copy(copy)
        if before is not None and before.current.updated_at > pointer.current.updated_at:
            return
        replaced = dict(before.current.versions) if before else {}
        for artifact in snapshot.artifacts.values():
            self._copy(copy, blob_key(self.target, artifact.kind, artifact.version), artifact.data)
        others = self._other_roots(pointer)
        copied = _Copy(
            pointer.data.decode(),
            hashlib.sha256(pointer.data).hexdigest(),
            store=self.uri_roots[-1] if others else "",
            written=others,
        )
        try:
            if before is None:
                copy.put(self._key, msgspec.json.encode(copied))  # no copy, or one that is damaged
            else:
                copy.swap(self._key, msgspec.json.encode(copied), expected=before.current.etag)
        except ConflictError:
            return  # another process was first with a copy as new, or the next release will be copied
        for kind, version in replaced.items():
            if snapshot.versions.get(kind) != version:
                copy.delete(blob_key(self.target, kind, version))
                copy.delete(index_key(self.target, kind, version))

    def _copy(self, copy: FilesystemStore, key: str, data: bytes | mmap) -> None:
        """Write a blob, unless the folder has the same bytes, or the blob is mapped from the folder."""
        if isinstance(data, mmap):
            if copy.stat(key) is None:
                copy.put(key, bytes(data))
            return
        try:
            same = copy.get(key, max_bytes=len(data)).data == data
        except (NotFoundError, CorruptObjectError):
            same = False
        if not same:
            copy.put(key, data)

    def _read_copy(self, copy: FilesystemStore) -> PointerRead | None:
        try:
            return self._pointer(copy)
        except (NotFoundError, CorruptObjectError):
            return None

    def _pointer(self, copy: FilesystemStore) -> PointerRead:
        stored = copy.get(self._key, max_bytes=2 * self.limits.pointer_bytes)
        try:
            copied = decoder_of(_Copy).decode(stored.data)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise CorruptObjectError(f"{self._key} is not a copy of a pointer: {error}") from error
        data = copied.pointer.encode()
        if hashlib.sha256(data).hexdigest() != copied.digest:
            raise CorruptObjectError(f"{self._key} is damaged: the next release replaces it")
        roots = (*self.uri_roots, *copied.written) if copied.store == self.uri_roots[-1] else self.uri_roots
        return PointerRead(parse_pointer(roots, self.target, data, etag=stored.etag), data)

    def _other_roots(self, pointer: PointerRead) -> tuple[str, ...]:
        """Return the roots of a pointer's URIs that are not roots of the store."""
        versions, uris = pointer.current.versions, pointer.current.pointer.current
        roots = (uris[kind].removesuffix(f"/{blob_key(self.target, kind, versions[kind])}") for kind in uris)
        return tuple(sorted(set(roots) - set(self.uri_roots)))

    @property
    def _key(self) -> str:
        return f"copies/{self.target.tenant}/{self.target.surface}/pointer.json"
