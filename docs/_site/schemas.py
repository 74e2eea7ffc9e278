"""JSON Schemas of what the store holds and takes: written to docs/reference/schemas from the types that read it.

`python docs/_site/schemas.py` writes them; a test holds the files to the types, and real documents to the files.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from recsys_assets.kind_descriptions import Shape
from recsys_assets.kinds.registry import KINDS
from recsys_assets.release.documents import JournalEntry, Pointer, Release
from recsys_assets.release.shards import ShardIndex
from recsys_assets.trees.documents import NodeDocument, TreeEntry

FOLDER = Path(__file__).parents[1] / "reference" / "schemas"
DIALECT = "https://json-schema.org/draft/2020-12/schema"
INSTANT = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$"
VERSION = "^[0-9a-f]{64}$"
_TEXT: dict[str, Any] = {"type": "string", "minLength": 1}


def schemas() -> dict[str, dict[str, Any]]:
    """Return every schema by the name of its file."""
    found = {name: _of_type(kind) for name, kind in _DOCUMENTS.items()}
    found["pointer"] = _pointer(found["pointer"])
    shapes = {name: kind.shape for name, kind in KINDS.items() if isinstance(kind.shape, Shape)}
    found |= {f"artifact-{name}": _artifact(name, shape) for name, shape in shapes.items()}
    found["event"] = _event()
    return {f"{name}.json": {"$schema": DIALECT, "title": name, **schema} for name, schema in sorted(found.items())}


def write() -> None:
    """Write the files."""
    FOLDER.mkdir(exist_ok=True)
    for name, schema in schemas().items():
        (FOLDER / name).write_text(json.dumps(schema, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


_DOCUMENTS: Mapping[str, type] = {
    "pointer": Pointer,
    "release": Release,
    "journal-entry": JournalEntry,
    "shard-index": ShardIndex,
    "tree-entry": TreeEntry,
    "tree-node": NodeDocument,
}


def _of_type(kind: type) -> dict[str, Any]:
    (schema,), parts = msgspec.json.schema_components([kind], ref_template="#/$defs/{name}")
    own = parts.pop(schema["$ref"].rpartition("/")[2])
    return {**own, **({"$defs": dict(sorted(parts.items()))} if parts else {})}


def _pointer(schema: dict[str, Any]) -> dict[str, Any]:
    properties = schema["properties"]
    current = {**properties["current"], "minProperties": 1, "maxProperties": 100, "additionalProperties": _TEXT}
    instant = {"type": "string", "pattern": INSTANT}
    return {**schema, "properties": {**properties, "v": {"const": 1}, "current": current, "updated_at": instant}}


def _artifact(kind: str, shape: Shape) -> dict[str, Any]:
    """Return the schema of a kind's JSON; keys stand in this order, which JSON Schema cannot say."""
    value = {"type": "integer"} if shape.scale == 1 else {"type": "number"}
    member = _closed({shape.member: _TEXT, shape.value: value}) if shape.value else _TEXT
    rows = {"type": "array", "items": member}
    if shape.key and shape.entries:
        rows = {"type": "array", "items": _closed({shape.key: _TEXT, shape.entries: rows})}
    window = _closed({"start": {"type": "string", "pattern": INSTANT}, "end": {"type": "string", "pattern": INSTANT}})
    version = {"type": "string", "pattern": VERSION}
    build = _closed({"built_at": {"type": "string", "pattern": INSTANT}, "version": version, "source_hash": version})
    head: dict[str, Any] = {"v": {"const": 1}, "artifact_type": {"const": kind}, "tenant": _TEXT, "surface": _TEXT}
    body = {**head, "segment": _TEXT, "window": window, shape.body: rows, "build": build}
    return {**_closed(body), "required": [name for name in body if name != "segment"]}


def _event() -> dict[str, Any]:
    """Return the schema of one line of raw events; trimming and the length of ids are rules beside it."""
    text = {"type": "string", "pattern": r"\S"}
    free = {"type": ["string", "null"]}
    return {
        "type": "object",
        "properties": {
            "v": {"const": 1},
            "ts": {
                "type": "string",
                "pattern": r"^\s*\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)\s*$",
            },
            "tenant": text,
            "surface": text,
            "session_id": text,
            "item_id": text,
            "user_id": free,
            "request_id": free,
            "rank": {"type": ["integer", "null"], "minimum": 0},
            "event": free,
        },
        "required": ["v", "ts", "tenant", "surface", "session_id", "item_id"],
    }


def _closed(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


if __name__ == "__main__":
    write()
