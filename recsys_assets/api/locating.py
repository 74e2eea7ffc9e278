"""Where an artifact lies that somebody knows by its version alone, and its bytes, proven."""

from collections.abc import Iterator
from dataclasses import dataclass

from recsys_assets.api.asking import ArtifactAsked
from recsys_assets.api.site import Site
from recsys_assets.errors import BadRequestError, UnknownAddressError
from recsys_assets.identity import Target
from recsys_assets.manifest.layout import blob_key
from recsys_assets.serving.loading import Limits
from recsys_assets.serving.served import ServedArtifact, prove
from recsys_assets.storage.store import Listed

MAX_PLACES = 500  # looked at for one version
_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Located:
    """An artifact that is stored: whose it is, of which kind, and its size and time in the store."""

    target: Target
    kind: str
    version: str
    stored: Listed


def locate(site: Site, asked: ArtifactAsked) -> Located:
    """Return where an artifact lies: one look for each target and kind that it could be of, and no listing.

    Raises `UnknownAddressError` if it is nowhere, `BadRequestError` if there are too many places to look at.
    """
    places = list(_places(site, asked))
    if len(places) > MAX_PLACES:
        raise BadRequestError(
            f"this version could lie in {len(places)} places, at most {MAX_PLACES} are looked at: add ?tenant= and "
            "&surface="
        )
    for target, kind in places:
        stored = site.store.stat(blob_key(target, kind, asked.version))
        if stored is not None:
            return Located(target, kind, asked.version, stored)
    raise UnknownAddressError("no artifact of this version is stored: it never was, or it was collected")


def load(site: Site, found: Located) -> ServedArtifact:
    """Return an artifact, read within limits and proven byte by byte; from the shelf if it lies there.

    Raises `CorruptObjectError` if it is not what its version says, `NotFoundError` if it is gone by now.
    """

    def read() -> ServedArtifact:
        key = blob_key(found.target, found.kind, found.version)
        with site.heavy.pass_through():
            data = site.store.get(key, max_bytes=_LIMITS.blob_bytes).data
            return prove(found.target, found.kind, found.version, data, name=key)

    return site.shelf.take(found.version, read)


def _places(site: Site, asked: ArtifactAsked) -> Iterator[tuple[Target, str]]:
    if (asked.tenant is None) != (asked.surface is None):
        raise BadRequestError("give both tenant and surface, or neither")
    targets = site.targets
    if asked.tenant is not None and asked.surface is not None:
        targets = (site.find(asked.tenant, asked.surface),)
    if asked.kind is not None and asked.kind not in site.kinds:
        raise UnknownAddressError(f"there is no kind {asked.kind!r}: there are {', '.join(site.kinds)}")
    kinds = site.kinds if asked.kind is None else (asked.kind,)
    return ((target, kind) for target in targets for kind in kinds)
