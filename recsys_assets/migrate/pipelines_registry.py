"""Reader of the registry of recsys-pipelines: its published artifacts in our format, with verified versions."""

import re
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from recsys_assets.artifact_format import Blob
from recsys_assets.clouds.bucket import is_in_cloud, open_bucket, split_uri
from recsys_assets.errors import ConfigurationError, CorruptObjectError, InputError, NotFoundError
from recsys_assets.identity import ArtifactRef, Target, parse_rfc3339
from recsys_assets.ingest.sources.discovery import named_file, read_whole
from recsys_assets.release.documents import Input
from recsys_assets.serving.served import prove

if TYPE_CHECKING:
    from recsys_assets.ingest.sources.parquet import Seekable

MAX_BYTES: Final = 256_000_000
_BUILD: Final = b',"build":'
_TOKEN: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|[^\s"]+')


def place_below(root: str, *parts: str) -> str:
    """Return the path or URI of `parts` below `root`. An absolute part replaces everything before it."""
    path = root.rstrip("/") if is_in_cloud(root) else str(Path(root).absolute())
    for part in parts:
        is_whole = is_in_cloud(part) or part.startswith("/")
        path = part.rstrip("/") if is_whole else f"{path}/{part.removeprefix('./').strip('/')}"
    return path


def list_places(path: str) -> list[str]:
    """Return the sorted names of all files below a folder or prefix of a bucket, empty if there are none.

    Raises `StoreUnavailableError` or `ConfigurationError` if a bucket cannot be listed.
    """
    if not is_in_cloud(path):
        return sorted(file.as_posix() for file in Path(path).rglob("*") if file.is_file())
    bucket = open_bucket(path)
    return sorted(bucket.uri(entry.key) for entry in bucket.list(f"{split_uri(path)[2]}/"))


def find_place(path: str) -> "Seekable | None":
    """Return the file or object of this name, or None if there is none."""
    try:
        return named_file(path)
    except InputError:
        return None


class RegistryLimits(msgspec.Struct, frozen=True):
    """Limits of its configuration that affect artifacts."""

    min_cooc_support: int = 1
    max_neighbors_per_item: int = 50
    max_items_per_artifact: int = 1000
    max_items_per_session: int = 200
    max_items_per_user: int = 500


class PipelinesConfig(msgspec.Struct, frozen=True):
    """The keys of its JSON configuration that we use. All others are ignored."""

    registry_dir: str = ".out/registry"
    canonical_dir: str = ".out/canonical"
    object_store_dir: str = ".out/objectstore"
    limits: RegistryLimits = RegistryLimits()


class _Record(msgspec.Struct, frozen=True):
    """Record of an artifact: version and URI of its blob."""

    version: str = msgspec.field(name="Version")
    uri: str = msgspec.field(name="URI")


class _Manifest(msgspec.Struct, frozen=True):
    current: Mapping[str, str]


_Document = TypeVar("_Document", _Record, _Manifest)


class _Window(msgspec.Struct, frozen=True):
    start: str
    end: str


class _Build(msgspec.Struct, frozen=True):
    built_at: str = ""


class _Envelope(msgspec.Struct, frozen=True):
    """Envelope of an artifact: window and build."""

    window: _Window
    build: _Build = _Build()


class PublishedArtifact(msgspec.Struct, frozen=True):
    """Published artifact: its bytes in our format, its window, build time, and source file."""

    blob: Blob
    first: date
    last: date
    built_at: str
    rows: int | None
    of_users: bool  # whether its rows are keyed by user id
    source: Input


def read_config(path: str | None) -> PipelinesConfig:
    """Return its configuration from a file or an object, or its defaults without one.

    Raises `ConfigurationError` if it cannot be read.
    """
    if path is None:
        return PipelinesConfig()
    try:
        return msgspec.json.decode(_bytes_of(path), type=PipelinesConfig)
    except (InputError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is not a configuration of recsys-pipelines: {error}") from error


class Registry(msgspec.Struct, frozen=True):
    """Its registry of one target. Relative paths are below `folder`, a folder or prefix of a bucket."""

    folder: str
    config: PipelinesConfig
    target: Target

    def published(self) -> Iterator[PublishedArtifact]:
        """Yield every artifact with a record.

        Raises `NotFoundError` without records, `InputError` or `CorruptObjectError` for broken files.
        """
        records = self._below(self.config.registry_dir, "records", self.target.tenant, self.target.surface)
        record_paths = [path for path in list_places(records) if path.endswith(".json")]
        if not record_paths:
            raise NotFoundError(f"no records below {records}: give the folder that contains {self.config.registry_dir}")
        for path in record_paths:
            yield self._read(path.split("/")[-2], _decode(path, _Record))

    def current(self) -> dict[str, str]:
        """Return the version of each kind that it serves, from the names of the blobs, empty if it serves nothing."""
        target = self.target
        path = self._below(self.config.registry_dir, "current", target.tenant, target.surface, "manifest.json")
        if find_place(path) is None:
            return {}
        named = _decode(path, _Manifest).current
        return {kind: uri.rpartition("/")[2].removesuffix(".json") for kind, uri in named.items()}

    def canonical_template(self) -> str:
        """Return the path template of its canonical days, which are JSON lines in our format of raw events."""
        return self._below(self.config.canonical_dir) + "/{tenant}/{surface}/exposures/{day}.jsonl"

    def _below(self, *parts: str) -> str:
        return place_below(self.folder, *parts)

    def _read(self, kind: str, record: _Record) -> PublishedArtifact:
        name = self._locate(kind, record)
        data = _bytes_of(name)
        envelope = _envelope(data, name)
        ours = _in_our_format(data, envelope.window.end, record.version)
        served = prove(self.target, kind, record.version, ours, name=name)
        ref = ArtifactRef(kind, record.version, len(ours), sha256(ours).hexdigest())
        return PublishedArtifact(
            Blob(ref, ours),
            parse_rfc3339(envelope.window.start).date(),
            parse_rfc3339(envelope.window.end).date() - timedelta(days=1),
            envelope.build.built_at,
            len(served.rows) if served.rows is not None else None,
            served.rows is not None and served.rows.form.key == "user_id",
            Input(name=name, digest=sha256(data).hexdigest(), size=len(data)),
        )

    def _locate(self, kind: str, record: _Record) -> str:
        """Return the path or URI of a blob. A file that was moved with its store is searched below `folder`."""
        if not record.uri.startswith("file://"):
            return record.uri
        path = record.uri.removeprefix("file://")
        if find_place(path) is not None:
            return path
        name = path.rpartition("/")[2]
        return self._below(self.config.object_store_dir, self.target.tenant, self.target.surface, kind, name)


def _bytes_of(path: str) -> bytes:
    return read_whole(named_file(path), max_bytes=MAX_BYTES, key="artifact")[0]


def _decode(path: str, form: type[_Document]) -> _Document:
    try:
        return msgspec.json.decode(_bytes_of(path), type=form)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not a document of recsys-pipelines: {error}; restore it, or remove it") from error


def _envelope(data: bytes, name: str) -> _Envelope:
    try:
        return msgspec.json.decode(data, type=_Envelope)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise CorruptObjectError(f"{name} is not an artifact of recsys-pipelines: {error}; restore it") from error


def _in_our_format(data: bytes, built_at: str, version: str) -> bytes:
    """Return the content without whitespace between tokens, and with a `build` derived from its version."""
    compact = b"".join(_TOKEN.findall(data))
    content = compact[: compact.rfind(_BUILD)]
    tail = f'"built_at":"{built_at}","version":"{version}","source_hash":"{version}"'
    return content + _BUILD + b"{" + tail.encode() + b"}}"
