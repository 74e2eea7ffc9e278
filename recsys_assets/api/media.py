"""What content type the bytes of an artifact have, by the form that their version tells."""

from typing import Final

from recsys_assets.identity import JSON_FORM, form_of

OPAQUE: Final = "application/octet-stream"
_BY_FORM: Final = {
    JSON_FORM: "application/json",
    "jsonl": "application/jsonl",
    "parquet": "application/vnd.apache.parquet",
    "npz": "application/zip",
}


def media_type(version: str) -> str:
    """Return the content type of a version's bytes; forms that have none of their own are opaque."""
    return _BY_FORM.get(form_of(version), OPAQUE)
