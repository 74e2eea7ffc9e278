"""Content and data of nodes: validation, refused formats, and searchable metadata."""

import hashlib
import io
import zipfile
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Literal

import msgspec

from recsys_assets.errors import ConfigurationError, InvalidNodeError
from recsys_assets.evidence import Scalar
from recsys_assets.identity import parse_rfc3339
from recsys_assets.trees.documents import StoredContent

JSON: Final = "application/json"
PARQUET: Final = "application/vnd.apache.parquet"
ARROW: Final = "application/vnd.apache.arrow.file"
CSV: Final = "text/csv"
JSON_LINES: Final = "application/x-ndjson"
TYPES: Final = frozenset({"generic", "ml_training", "ml_prediction"})
MAX_DATA_BYTES: Final = 1_000_000
_MAX_FIELDS, _MAX_NAME, _MAX_VALUE = 32, 64, 200
_PICKLE_WORDS: Final = ("pickle", "joblib", "dill")
_PICKLE_ENDINGS: Final = (".pkl", ".pickle", ".joblib", ".dill")
_PROTOCOLS: Final = tuple(bytes((0x80, protocol)) for protocol in range(2, 6))
_MEDIA_CHARACTERS: Final = frozenset('abcdefghijklmnopqrstuvwxyz0123456789!#$&^_.+-/;= "')


class Content(msgspec.Struct, frozen=True):
    """Bytes stored next to a node's data, with their content type. Raises `InvalidNodeError` for invalid ones."""

    data: bytes
    content_type: str

    def __post_init__(self) -> None:
        kind = self.content_type.lower()
        if kind.count("/") != 1 or not set(kind) <= _MEDIA_CHARACTERS or len(kind) > 200:  # noqa: PLR2004
            raise InvalidNodeError(
                f"content type {self.content_type[:200]!r}: expected a type such as application/json"
            )
        refuse_pickles(self.data, kind)

    @property
    def digest(self) -> str:
        """SHA-256 of the bytes."""
        return hashlib.sha256(self.data).hexdigest()

    @property
    def stored(self) -> StoredContent:
        """Reference to the content in a node's document."""
        return StoredContent(self.digest, len(self.data), self.content_type)


def json_content(value: Any) -> Content:
    """Return a JSON document as content. Raises `InvalidNodeError` for other values."""
    try:
        return Content(msgspec.json.encode(value), JSON)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidNodeError(f"content is not a JSON document: {error}; pass a table or bytes") from error


def table_content(table: Any) -> Content:
    """Return a table (Arrow, Polars, or any with an Arrow interface) as Parquet.

    Raises `InvalidNodeError` for others.
    """
    import pyarrow as pa  # noqa: PLC0415 - needed only for tables
    import pyarrow.parquet as pq  # noqa: PLC0415

    try:
        stream = io.BytesIO()
        pq.write_table(pa.table(table), stream, compression="zstd")
    except (TypeError, ValueError, pa.ArrowException) as error:
        raise InvalidNodeError(f"content is not a table: {error}; pass an Arrow table or a Polars frame") from error
    return Content(stream.getvalue(), PARQUET)


def refuse_pickles(data: bytes, content_type: str) -> None:
    """Raise `InvalidNodeError` for content that is declared as a pickle, is one, or is an archive with one."""
    reason = ""
    if any(word in content_type for word in _PICKLE_WORDS):
        reason = f"its content type is {content_type[:100]}"
    elif data.startswith(_PROTOCOLS) and data.endswith(b"."):
        reason = "its bytes are a pickle"
    elif data.startswith(b"PK\x03\x04"):
        names = _archived(data)
        pickled = [name for name in names if name.lower().endswith(_PICKLE_ENDINGS)]
        reason = f"the archive contains {pickled[0][:100]}" if pickled else ""
    if reason:
        raise InvalidNodeError(
            f"pickles are not stored ({reason}), because loading one runs code. Store a model as safetensors, ONNX or "
            "npz, and a table as Parquet"
        )


def _archived(data: bytes) -> list[str]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return archive.namelist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        return []  # not an archive


class RunMetadata(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Metadata of a training or prediction run."""

    status: str
    config_id: str | None = None
    started_at: str | None = None
    completed_at: str | None = None
    duration_seconds: float | None = None


class TypedData(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Typed data: its metadata has a fixed schema, unless the type is generic."""

    type: Literal["generic", "ml_training", "ml_prediction"]
    metadata: dict[str, Any]


def check_data(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return data as it is stored. Typed data is validated, and its duration is added if both times are known.

    Any JSON object is data. An object whose `type` is generic, ml_training or ml_prediction has only the further key
    `metadata`. Raises `InvalidNodeError` for invalid data.
    """
    try:
        plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(data, order="deterministic"), type=dict)
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
        raise InvalidNodeError(f"data is not a JSON object: {error}; store tables and bytes as content") from error
    if len(msgspec.json.encode(plain)) > MAX_DATA_BYTES:
        raise InvalidNodeError(f"data is larger than {MAX_DATA_BYTES:,} bytes as JSON: store it as content")
    if plain.get("type") not in TYPES:
        return plain
    try:
        typed = msgspec.convert(plain, TypedData)
        if typed.type == "generic":
            return plain
        return {"type": typed.type, "metadata": _checked(msgspec.convert(typed.metadata, RunMetadata))}
    except msgspec.ValidationError as error:
        raise InvalidNodeError(f"data of the type {plain['type']}: {error}") from error


def _checked(metadata: RunMetadata) -> dict[str, Any]:
    start, end = _instant("started_at", metadata.started_at), _instant("completed_at", metadata.completed_at)
    seconds = metadata.duration_seconds
    if start is not None and end is not None:
        if end < start:
            raise InvalidNodeError(f"metadata.completed_at {metadata.completed_at} is before started_at: swap them")
        seconds = (end - start).total_seconds() if seconds is None else seconds
    if seconds is not None and not 0 <= seconds < float("inf"):
        raise InvalidNodeError(f"metadata.duration_seconds is {seconds}: expected a number of at least 0")
    if not metadata.status.strip():
        raise InvalidNodeError("metadata.status is blank: expected text such as success or failed")
    checked = msgspec.structs.replace(metadata, duration_seconds=seconds)
    return {name: value for name, value in msgspec.to_builtins(checked).items() if value is not None}


def _instant(name: str, text: str | None) -> datetime | None:
    try:
        return None if text is None else parse_rfc3339(text)
    except ConfigurationError as error:
        raise InvalidNodeError(f"metadata.{name}: {error}") from error


def metadata_of(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the metadata of typed data, or all of other data."""
    metadata = data.get("metadata")
    return metadata if "type" in data and isinstance(metadata, dict) else data


def searchable(data: Mapping[str, Any]) -> dict[str, Scalar]:
    """Return the searchable metadata fields, at most 32: scalar values of at most 200 characters."""
    fields: dict[str, Scalar] = {"type": data["type"]} if isinstance(data.get("type"), str) else {}
    for name, value in metadata_of(data).items():
        if len(fields) == _MAX_FIELDS:
            break
        if len(name) <= _MAX_NAME and isinstance(value, str | int | float | bool) and len(str(value)) <= _MAX_VALUE:
            fields[name] = value
    return fields
