"""Bytes of an artifact: found by version, loaded and verified, and sent with media type, ETag, ranges and caching."""

import re
from collections.abc import Iterator
from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from recsys_assets.api.context import ApiContext
from recsys_assets.api.queries import ArtifactQuery
from recsys_assets.artifact_format import SHARDS_FORM, index_kind
from recsys_assets.errors import BadRequestError, UnknownAddressError
from recsys_assets.identity import JSON_FORM, Target, form_of
from recsys_assets.release.layout import blob_key, blob_name
from recsys_assets.serving.loading import Limits
from recsys_assets.serving.served import ServedArtifact, prove
from recsys_assets.serving.sharded_rows import ShardCache, with_shards
from recsys_assets.settings.artifacts import ImportFormat
from recsys_assets.settings.settings import Settings
from recsys_assets.storage.store import Listed

MAX_PLACES = 500  # keys probed for one version
_LIMITS = Limits()
_SHARD_BYTES = 64_000_000  # shards cached per index
OPAQUE: Final = "application/octet-stream"
_RANGE: Final = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)
TAG: Final = re.compile(r'(?:W/)?"([^"]*)"')
_BY_FORM: Final = {
    JSON_FORM: "application/json",
    "jsonl": "application/jsonl",
    "parquet": "application/vnd.apache.parquet",
    "npz": "application/zip",
    SHARDS_FORM: "application/json",
}


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


def media_type(settings: Settings, kind: str, version: str) -> str:
    """Return the content type of a version's bytes: by settings, else by format, else opaque."""
    declared = settings.imports.get(kind)
    if declared and declared.format is ImportFormat.BYTES and declared.form == form_of(version):
        return declared.content_type
    return _BY_FORM.get(form_of(version), OPAQUE)


def send_content(context: ApiContext, query: ArtifactQuery, request: Request) -> Response:
    """Answer with an artifact's bytes: 200 complete, 206 a range, 304 not modified, 416 beyond the end.

    A version never changes its bytes, so its ETag is strong and the response immutable. Requests of several ranges get
    the complete bytes, as HTTP allows.
    """
    located = locate(context, query)
    headers = _headers(context, located)
    if _has_it(request.headers.get("if-none-match"), located.version):
        return Response(status_code=304, headers=headers)
    data = load(context, located).data
    wanted = request.headers.get("range", "")
    if request.method == "HEAD" or not _may_be_cut(request.headers.get("if-range"), located.version):
        wanted = ""
    part = _part(wanted, len(data))
    if part is None:
        return Response(data, headers=headers)
    if part.start >= part.stop:
        return Response(status_code=416, headers={**headers, "Content-Range": f"bytes */{len(data)}"})
    headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{len(data)}"
    return Response(data[part.start : part.stop], status_code=206, headers=headers)


def _headers(context: ApiContext, located: Located) -> dict[str, str]:
    return {
        "Content-Type": media_type(context.settings, located.kind, located.version),
        "Content-Disposition": f'attachment; filename="{blob_name(located.version)}"',
        "ETag": f'"{located.version}"',
        "Accept-Ranges": "bytes",
        "Cache-Control": "max-age=31536000, immutable",
    }


def _has_it(tags: str | None, version: str) -> bool:
    """Return whether `If-None-Match` contains the version or `*`."""
    return tags is not None and (tags.strip() == "*" or version in TAG.findall(tags))


def _may_be_cut(tag: str | None, version: str) -> bool:
    """Return whether `If-Range` is absent or equals the strong ETag."""
    return tag is None or tag.strip() == f'"{version}"'


def _part(wanted: str, size: int) -> range | None:
    """Return the byte positions of a single range, empty beyond the end, or None for the complete content."""
    match = _RANGE.fullmatch(wanted.strip())
    if match is None or not any(match.groups()):
        return None
    first, last = match.groups()
    if not first:  # suffix range: the last bytes
        return range(max(size - int(last), 0), size)
    if last and int(last) < int(first):
        return None  # invalid range: ignored
    return range(int(first), min(int(last) + 1, size) if last else size)
