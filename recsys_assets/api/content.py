"""The bytes of an artifact over HTTP: marked by their version, cut by ranges, and cacheable for ever."""

import re
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from recsys_assets.api.media import media_type
from recsys_assets.api.queries import ArtifactQuery
from recsys_assets.api.site import Site
from recsys_assets.api.stored_artifacts import Located, load, locate
from recsys_assets.release.layout import blob_name

_RANGE: Final = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)
_TAG: Final = re.compile(r'(?:W/)?"([^"]*)"')


def send_content(site: Site, query: ArtifactQuery, request: Request) -> Response:
    """Answer with an artifact's bytes: 200 whole, 206 a part, 304 when the client has them, 416 beyond the end.

    A version never changes its bytes, so its ETag is strong and the answer never gets old. Several ranges at once are
    answered whole, as HTTP allows.
    """
    found = locate(site, query)
    headers = _headers(site, found)
    if _has_it(request.headers.get("if-none-match"), found.version):
        return Response(status_code=304, headers=headers)
    data = load(site, found).data
    wanted = request.headers.get("range", "")
    if request.method == "HEAD" or not _may_be_cut(request.headers.get("if-range"), found.version):
        wanted = ""
    part = _part(wanted, len(data))
    if part is None:
        return Response(data, headers=headers)
    if part.start >= part.stop:
        return Response(status_code=416, headers={**headers, "Content-Range": f"bytes */{len(data)}"})
    headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{len(data)}"
    return Response(data[part.start : part.stop], status_code=206, headers=headers)


def _headers(site: Site, found: Located) -> dict[str, str]:
    return {
        "Content-Type": media_type(site.settings, found.kind, found.version),
        "Content-Disposition": f'attachment; filename="{blob_name(found.version)}"',
        "ETag": f'"{found.version}"',
        "Accept-Ranges": "bytes",
        "Cache-Control": "max-age=31536000, immutable",
    }


def _has_it(tags: str | None, version: str) -> bool:
    """Return whether `If-None-Match` names the version, or anything at all."""
    return tags is not None and (tags.strip() == "*" or version in _TAG.findall(tags))


def _may_be_cut(tag: str | None, version: str) -> bool:
    """Return whether `If-Range`, where it is given, still holds: it wants the strong mark itself."""
    return tag is None or tag.strip() == f'"{version}"'


def _part(wanted: str, size: int) -> range | None:
    """Return the bytes of a single range, an empty one if it lies beyond the end, None for the whole."""
    found = _RANGE.fullmatch(wanted.strip())
    if found is None or not any(found.groups()):
        return None
    first, last = found.groups()
    if not first:  # the last so many bytes
        return range(max(size - int(last), 0), size)
    if last and int(last) < int(first):
        return None  # no range at all
    return range(int(first), min(int(last) + 1, size) if last else size)
