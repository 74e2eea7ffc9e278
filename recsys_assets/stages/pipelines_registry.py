"""The registry of recsys-pipelines, read: what it published, as bytes in our form, their versions proven."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from recsys_assets.artifacts.codec import Blob
from recsys_assets.errors import ConfigurationError, CorruptObjectError, InputError, NotFoundError
from recsys_assets.identity import ArtifactRef, Target, parse_rfc3339
from recsys_assets.manifest.documents import Input
from recsys_assets.serving.served import prove
from recsys_assets.sources.dropped import named_file, read_whole

MAX_BYTES: Final = 256_000_000
_BUILD: Final = b',"build":'
_TOKEN: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|[^\s"]+')


class Limits(msgspec.Struct, frozen=True):
    """The limits of its configuration that decide what an artifact holds."""

    min_cooc_support: int = 1
    max_neighbors_per_item: int = 50
    max_items_per_artifact: int = 1000
    max_items_per_session: int = 200
    max_items_per_user: int = 500


class PipelinesConfig(msgspec.Struct, frozen=True):
    """What we need of its JSON configuration; all other keys are its own business."""

    registry_dir: str = ".out/registry"
    canonical_dir: str = ".out/canonical"
    object_store_dir: str = ".out/objectstore"
    limits: Limits = Limits()


class _Record(msgspec.Struct, frozen=True):
    """One of its records: a version, and where its blob lies."""

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
    """What an artifact says of itself."""

    window: _Window
    build: _Build = _Build()


@dataclass(frozen=True, slots=True)
class Published:
    """One artifact that it published: our bytes of it, the days it is made of, when it was built, and its file."""

    blob: Blob
    first: date
    last: date
    built_at: str
    rows: int | None
    source: Input


def read_config(file: Path | None) -> PipelinesConfig:
    """Return its configuration, or its defaults where none is named."""
    if file is None:
        return PipelinesConfig()
    try:
        return msgspec.json.decode(file.read_bytes(), type=PipelinesConfig)
    except (OSError, msgspec.MsgspecError) as error:
        raise ConfigurationError(f"{file} is no configuration of recsys-pipelines: {error}") from error


@dataclass(frozen=True, slots=True)
class Registry:
    """Its registry of one target, below the folder that its relative paths count from."""

    folder: Path
    config: PipelinesConfig
    target: Target

    def published(self) -> Iterator[Published]:
        """Yield every artifact of which it has a record; `InputError` or `CorruptObjectError` names what is broken."""
        records = self.folder / self.config.registry_dir / "records" / self.target.tenant / self.target.surface
        if not records.is_dir():
            raise NotFoundError(f"{records} is not there: name the folder that holds {self.config.registry_dir}")
        for file in sorted(records.glob("*/*.json")):
            yield self._read(file.parent.name, _decode(file, _Record))

    def current(self) -> dict[str, str]:
        """Return version by kind of what it serves, by the names of the blobs; nothing if it serves nothing."""
        place = f"{self.target.tenant}/{self.target.surface}/manifest.json"
        file = self.folder / self.config.registry_dir / "current" / place
        if not file.is_file():
            return {}
        named = _decode(file, _Manifest).current
        return {kind: uri.rpartition("/")[2].removesuffix(".json") for kind, uri in named.items()}

    def canonical_template(self) -> str:
        """Return where its canonical days lie, which are JSON lines of the form that raw events have here."""
        return str((self.folder / self.config.canonical_dir).absolute()) + "/{tenant}/{surface}/exposures/{day}.jsonl"

    def _read(self, kind: str, record: _Record) -> Published:
        name = self._place(kind, record)
        data, _ = read_whole(named_file(name), max_bytes=MAX_BYTES, key="artifact")
        envelope = _envelope(data, name)
        ours = _in_our_form(data, envelope.window.end, record.version)
        served = prove(self.target, kind, record.version, ours, name=name)
        ref = ArtifactRef(kind, record.version, len(ours), sha256(ours).hexdigest())
        return Published(
            Blob(ref, ours),
            parse_rfc3339(envelope.window.start).date(),
            parse_rfc3339(envelope.window.end).date() - timedelta(days=1),
            envelope.build.built_at,
            len(served.rows) if served.rows is not None else None,
            Input(name=name, digest=sha256(data).hexdigest(), size=len(data)),
        )

    def _place(self, kind: str, record: _Record) -> str:
        """Return where a blob lies; a file that was moved along with its store is looked for there."""
        if not record.uri.startswith("file://"):
            return record.uri
        path = Path(record.uri.removeprefix("file://"))
        beside = self.folder / self.config.object_store_dir / self.target.tenant / self.target.surface / kind
        return str(path if path.is_file() else beside / path.name)


def _decode(file: Path, form: type[_Document]) -> _Document:
    try:
        return msgspec.json.decode(file.read_bytes(), type=form)
    except (OSError, msgspec.MsgspecError) as error:
        raise InputError(f"{file} is no document of recsys-pipelines: {error}; restore it, or remove it") from error


def _envelope(data: bytes, name: str) -> _Envelope:
    try:
        return msgspec.json.decode(data, type=_Envelope)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise CorruptObjectError(f"{name} is no artifact of recsys-pipelines: {error}; restore it") from error


def _in_our_form(data: bytes, built_at: str, version: str) -> bytes:
    """Return the content without the space between its tokens, and with a `build` that its version decides."""
    compact = b"".join(_TOKEN.findall(data))
    content = compact[: compact.rfind(_BUILD)]
    tail = f'"built_at":"{built_at}","version":"{version}","source_hash":"{version}"'
    return content + _BUILD + b"{" + tail.encode() + b"}}"
