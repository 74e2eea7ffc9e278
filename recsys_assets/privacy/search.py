"""Search for a user in decoded releases, artifacts and all stored objects, to verify a `forget`."""

import gzip
import io
import re
import zipfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from typing import Any, Final

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import ipc

from recsys_assets.artifact_format import shard_of
from recsys_assets.errors import CorruptObjectError, NotFoundError, RecsysAssetsError
from recsys_assets.identity import ArtifactRef, Target
from recsys_assets.imports.safetensors import read_metadata, read_safetensors
from recsys_assets.ingest.quarantine import MAX_TEXT_BYTES, mentions
from recsys_assets.ingest.white_space import trim
from recsys_assets.kind_descriptions import VectorShape
from recsys_assets.kinds.registry import KINDS
from recsys_assets.pipeline.records import FACT, configured_key
from recsys_assets.release.documents import Release
from recsys_assets.release.shards import read_blob
from recsys_assets.serving.recommending import Ids
from recsys_assets.serving.served import prove
from recsys_assets.settings.settings import Settings
from recsys_assets.storage.store import ObjectStore

MAX_OBJECT_BYTES: Final = 4_000_000_000
MAX_UNPACKED_BYTES: Final = 4_000_000_000
_ARROW: Final = b"ARROW1"
_USER: Final = "user"  # part of the names of fields with users
_USER_COLUMN: Final = "user_id"
_PLAIN: Final = (  # column types for which every pyarrow version supports unique()
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_binary,
    pa.types.is_large_binary,
    pa.types.is_dictionary,
    pa.types.is_primitive,
)
_OTHER_IDS: Final = frozenset({"item_id", "session_id", "request_id"})
_OF_TARGET = re.compile(
    r"(?:(?:canonical|tallies|artifacts|staging|releases|heartbeats|intents|trash)|registry/[^/]+|raw/[^/]+)"
    r"/([^/]+)/([^/]+)/.+"
)
_FORGOTTEN_LINE = re.compile(rb'"text":"\(erased')


def places_that_hold(store: ObjectStore, target: Target, names: Collection[str]) -> Iterator[str]:
    """Yield the keys of all stored objects of a target that contain a user under one of these names, sorted.

    It searches the objects of the target, and those that belong to no single target (quarantine, raw records, strays).
    Objects that cannot be decoded are searched as bytes. Objects that cannot be read are yielded with the reason,
    because they may contain the user.
    """
    for item in store.list(""):
        owner = _OF_TARGET.fullmatch(item.key)
        if owner is not None and (owner[1], owner[2]) != (target.tenant, target.surface):
            continue
        try:
            data = store.get(item.key, max_bytes=max(item.size, 1)).data
            if contains_user(data, names, is_quarantine=item.key.startswith("quarantine/")):
                yield item.key
        except NotFoundError:
            continue
        except CorruptObjectError as error:
            yield f"{item.key} (not searched: {error})"


def contains_user(data: bytes, names: Collection[str], *, is_quarantine: bool = False) -> bool:
    """Return True if an object contains one of these users: in a user field, or in a text equal to the id.

    Parquet, Arrow, JSON, JSON lines, safetensors, npz, gzip and Zstandard are decoded. Other data is searched for the
    bytes of the ids.
    """
    search = next((find for magic, find in _SEARCHES if data.startswith(magic)), None)
    if data[8:9] == b"{" and int.from_bytes(data[:8], "little") < len(data):
        search = _in_tensors
    elif data.lstrip()[:1] in {b"{", b"["}:
        search = _in_lines if is_quarantine else _in_json
    if search is not None:
        with suppress(
            pa.ArrowException, OSError, EOFError, ValueError, RecursionError, zipfile.BadZipFile, RecsysAssetsError
        ):  # not the format that its first bytes suggest: searched as bytes
            return search(data, names)
    return any(name.encode() in data for name in names)


def _unpacked(stream: Any) -> bytes:
    data = bytes(stream.read(MAX_UNPACKED_BYTES))
    if stream.read(1):
        raise ValueError(f"unpacks to more than {MAX_UNPACKED_BYTES:,} bytes")
    return data


def _in_parquet(data: bytes, names: Collection[str]) -> bool:
    file = pq.ParquetFile(io.BytesIO(data))
    has_users = _USER_COLUMN in file.schema_arrow.names
    return _in_table(file.read(columns=[_USER_COLUMN] if has_users else None), names)


def _in_arrow(data: bytes, names: Collection[str]) -> bool:
    """Search an Arrow table. Other bytes, e.g. the digest of a tally, may follow it."""
    table = data[: data.rindex(_ARROW) + len(_ARROW)]
    return _in_table(ipc.open_file(pa.BufferReader(table)).read_all(), names)


def _in_gzip(data: bytes, names: Collection[str]) -> bool:
    return contains_user(_unpacked(gzip.GzipFile(fileobj=io.BytesIO(data))), names)


def _in_zstd(data: bytes, names: Collection[str]) -> bool:
    return contains_user(_unpacked(pa.CompressedInputStream(pa.BufferReader(data), "zstd")), names)


def _in_table(table: Any, names: Collection[str]) -> bool:
    """Search the user column or, without one, every column that may contain text."""
    columns = [_USER_COLUMN] if _USER_COLUMN in table.column_names else table.column_names
    return any(_in_column(table.column(name), names, is_user=_USER in name.lower()) for name in columns)


def _in_column(column: Any, names: Collection[str], *, is_user: bool) -> bool:
    """Search every value of a column. Numbers and times are skipped except in user columns."""
    kind = column.type
    if not is_user and (pa.types.is_primitive(kind) or pa.types.is_decimal(kind) or pa.types.is_null(kind)):
        return False
    values = column.unique() if any(is_plain(kind) for is_plain in _PLAIN) else column
    return any(_in_value(value.as_py(), names, field=_USER if is_user else "") for value in values)


def _in_archive(data: bytes, names: Collection[str]) -> bool:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for member in archive.infolist():
            if any(name in member.filename for name in names):
                return True
            with archive.open(member) as stream:
                unpacked = _unpacked(stream)
            if member.filename.endswith(".npy"):
                array = np.lib.format.read_array(io.BytesIO(unpacked), allow_pickle=False)
                if array.dtype.kind in "US" and any(_in_value(value, names) for value in array.ravel().tolist()):
                    return True
            elif contains_user(unpacked, names):
                return True
    return False


def _in_tensors(data: bytes, names: Collection[str]) -> bool:
    """Look up users in the project's id arrays. Without such arrays, search the bytes of text arrays."""
    arrays = read_safetensors(data, name="object")
    if any(_in_value(value, names) for value in read_metadata(data, name="object").values()):
        return True
    try:
        users = Ids.of(arrays, _USER_COLUMN)
    except KeyError:
        texts = [array.tobytes() for array in arrays.values() if array.dtype.itemsize == 1]
        return any(name.encode() in text for name in names for text in texts)
    return any(users.find(name) is not None for name in names)


def _in_json(data: bytes, names: Collection[str]) -> bool:
    """Search a document or its lines. Data that cannot contain an id is not decoded."""
    if b"\\" not in data and not any(name.encode() in data for name in names):
        return False
    try:
        return _in_value(msgspec.json.decode(data), names)
    except msgspec.DecodeError:
        return _in_lines(data, names)


def _in_lines(data: bytes, names: Collection[str]) -> bool:
    for line in data.splitlines():
        if _FORGOTTEN_LINE.search(line):
            continue
        try:
            value = msgspec.json.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            if mentions(line.decode(errors="replace"), names):
                return True
            continue
        if _in_value(value, names) or (isinstance(value, dict) and line_names(value, names)):
            return True
    return False


def line_names(reject: dict[str, Any], names: Collection[str]) -> bool:
    """Return True if a quarantined line contains one of these users in its text or detail."""
    text, detail = str(reject.get("text", "")), str(reject.get("detail", ""))
    is_cut = len(text.encode()) < min(int(reject.get("size") or 0), MAX_TEXT_BYTES + 1)
    return mentions(text, names, is_cut=is_cut) or mentions(detail, names)


def _in_value(value: Any, names: Collection[str], *, field: str = "") -> bool:
    """Search a decoded value. A number is an id only in a user field, other id fields are skipped."""
    if isinstance(value, dict):
        entries: dict[Any, Any] = value
        return any(
            _is_named(str(key), names, field=field)
            or (key not in _OTHER_IDS and _in_value(item, names, field=_field_of(str(key), item)))
            for key, item in entries.items()
        )
    if isinstance(value, list | tuple):
        items: Any = value
        return any(_in_value(item, names, field=field) for item in items)
    if isinstance(value, bytes):
        return trim(value.decode(errors="replace")) in names
    if isinstance(value, str):
        return trim(value) in names
    return isinstance(value, int | float) and _USER in field.lower() and str(value).removesuffix(".0") in names


def _field_of(key: str, value: Any) -> str:
    """Return the field name of a value, or "" for a count: "users" and some profile numbers are counts, not ids."""
    is_count = key.lower().endswith(("users", "top_user", "of one user"))
    return "" if is_count and isinstance(value, int | float) else key


def _is_named(key: str, names: Collection[str], *, field: str) -> bool:
    """Return True if a key is an id. Numeric keys count only in user fields, because histograms have such keys."""
    return trim(key) in names and (not key.isdecimal() or _USER in field.lower())


_SEARCHES: Final = (
    (b"PAR1", _in_parquet),
    (_ARROW, _in_arrow),
    (b"\x1f\x8b", _in_gzip),
    (b"\x28\xb5\x2f\xfd", _in_zstd),
    (b"PK\x03\x04", _in_archive),
)


def releases_that_hold(
    store: ObjectStore, target: Target, names: Collection[str], releases: Sequence[Release]
) -> list[str]:
    """Return the ids of the releases with an artifact that contains the user. Each artifact is read once."""
    contains: dict[tuple[str, str], bool] = {}
    release_ids: list[str] = []
    for release in releases:
        for ref in _refs_for(release, names):
            address = (ref.kind, ref.version)
            if address not in contains:
                contains[address] = names_user(store, target, names, ref)
            if contains[address]:
                release_ids.append(release.id)
                break
    return release_ids


def under_other_key(settings: Settings, releases: Sequence[Release]) -> list[str]:
    """Return the ids of the releases whose users are hashed by another key than the configured one."""
    key = configured_key(settings)
    allowed = {None} if key is None else {None, key.id}
    return [release.id for release in releases if not {member.facts.get(FACT) for member in release.members} <= allowed]


def names_user(store: ObjectStore, target: Target, names: Collection[str], ref: ArtifactRef) -> bool:
    """Return True if an artifact has a row of the user or, without rows, contains the user once decoded.

    Raises `NotFoundError` if it is missing, `CorruptObjectError` if it does not match its reference.
    """
    name = f"{ref.kind} {ref.version[:12]}"
    data = read_blob(store, target, ref)
    rows = prove(target, ref.kind, ref.version, data, name=name).rows
    shape = KINDS[ref.kind].shape if ref.kind in KINDS else None
    if isinstance(shape, VectorShape):
        return "user_id" in shape.tables and _has_vector(data, names, name=name)
    if rows is None:
        return contains_user(data, names)
    return rows.form.key == "user_id" and any(rows.find(user) is not None for user in names)


def _refs_for(release: Release, names: Collection[str]) -> Iterator[ArtifactRef]:
    """Yield the objects of a release that may contain the user. Of a sharded kind, only the shards of these names."""
    for member in release.members:
        shards = member.shard_refs
        yield from (shards[shard_of(name, len(shards))] for name in sorted(names)) if shards else (member.ref,)


def _has_vector(data: bytes, names: Collection[str], *, name: str) -> bool:
    """Return True if the user has a vector. Ids are compared exactly, not as bytes."""
    users = Ids.of(read_safetensors(data, name=name), "user_id")
    return any(users.find(user) is not None for user in names)
