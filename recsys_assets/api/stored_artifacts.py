"""Search for stored artifacts by version, and loading of their verified bytes."""

from collections.abc import Iterator

import msgspec

from recsys_assets.api.context import ApiContext
from recsys_assets.api.queries import ArtifactQuery
from recsys_assets.errors import BadRequestError, UnknownAddressError
from recsys_assets.identity import Target, form_of
from recsys_assets.release.layout import blob_key
from recsys_assets.serving.loading import Limits
from recsys_assets.serving.served import ServedArtifact, prove
from recsys_assets.serving.sharded_rows import ShardCache, with_shards
from recsys_assets.sharding import SHARDS_FORM, index_kind
from recsys_assets.storage.store import Listed

MAX_PLACES = 500  # keys probed for one version
_LIMITS = Limits()
_SHARD_BYTES = 64_000_000  # shards cached per index


class Located(msgspec.Struct, frozen=True):
    """A stored artifact: target, kind, version, and its size and time in the store."""

    target: Target
    kind: str
    version: str
    stored: Listed


def locate(context: ApiContext, query: ArtifactQuery) -> Located:
    """Return the location of an artifact, by one stat per possible target and kind, without listing.

    Raises `UnknownAddressError` if it is not stored, and `BadRequestError` if there are too many keys to probe.
    """
    places = list(_places(context, query))
    if len(places) > MAX_PLACES:
        raise BadRequestError(
            f"this version could have {len(places)} keys, at most {MAX_PLACES} are probed: add ?tenant= and &surface="
        )
    for target, kind in places:
        stored = context.store.stat(blob_key(target, kind, query.version))
        if stored is not None:
            return Located(target, kind, query.version, stored)
    raise UnknownAddressError("no artifact of this version is stored: it never existed, or was collected")


def load(context: ApiContext, located: Located) -> ServedArtifact:
    """Return an artifact from the cache, or read within limits and verified byte by byte.

    The shards of an index are read when their rows are requested.

    Raises `CorruptObjectError` if the bytes do not match the version, and `NotFoundError` if they were deleted.
    """

    def read() -> ServedArtifact:
        key = blob_key(located.target, located.kind, located.version)
        with context.heavy.pass_through():
            data = context.store.get(key, max_bytes=_LIMITS.blob_bytes).data
            proven = prove(located.target, located.kind, located.version, data, name=key)
            return with_shards(
                proven, located.target, ShardCache(context.store, located.target, max_bytes=_SHARD_BYTES)
            )

    return context.artifacts.take(located.version, read)


def _places(context: ApiContext, query: ArtifactQuery) -> Iterator[tuple[Target, str]]:
    if (query.tenant is None) != (query.surface is None):
        raise BadRequestError("set both tenant and surface, or neither")
    targets = context.targets
    if query.tenant is not None and query.surface is not None:
        targets = (context.find(query.tenant, query.surface),)
    kinds = context.kinds
    if form_of(query.version) == SHARDS_FORM:
        kinds = tuple(map(index_kind, kinds))
    if query.kind is not None and query.kind not in kinds:
        raise UnknownAddressError(f"kind {query.kind!r} does not exist; known: {', '.join(kinds)}")
    kinds = kinds if query.kind is None else (query.kind,)
    return ((target, kind) for target in targets for kind in kinds)
