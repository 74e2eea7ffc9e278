"""Bytes of an artifact over HTTP: media type, ETag, ranges and caching."""

import re
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from recsys_assets.api.context import ApiContext
from recsys_assets.api.queries import ArtifactQuery
from recsys_assets.api.stored_artifacts import Located, load, locate
from recsys_assets.identity import JSON_FORM, form_of
from recsys_assets.release.layout import blob_name
from recsys_assets.settings.artifacts import ImportFormat
from recsys_assets.settings.settings import Settings
from recsys_assets.sharding import SHARDS_FORM

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
