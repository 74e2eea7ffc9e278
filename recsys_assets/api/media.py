"""Content type of the bytes of an artifact: what is declared of its kind, else what its form says."""

from typing import Final

from recsys_assets.identity import JSON_FORM, form_of
from recsys_assets.settings.imports import ImportFormat
from recsys_assets.settings.settings import Settings
from recsys_assets.sharding import SHARDS_FORM

OPAQUE: Final = "application/octet-stream"
_BY_FORM: Final = {
    JSON_FORM: "application/json",
    "jsonl": "application/jsonl",
    "parquet": "application/vnd.apache.parquet",
    "npz": "application/zip",
    SHARDS_FORM: "application/json",
}


def media_type(settings: Settings, kind: str, version: str) -> str:
    """Return the content type of a version's bytes; a form without one of its own, or a declared one, is opaque."""
    declared = settings.imports.get(kind)
    if declared and declared.format is ImportFormat.BYTES and declared.form == form_of(version):
        return declared.content_type
    return _BY_FORM.get(form_of(version), OPAQUE)
