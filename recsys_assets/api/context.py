"""Context of the API: store, settings, clock, concurrency limit, and artifacts in memory with their rankings."""

import logging
import threading
import time
from array import array
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec
from cachetools import LRUCache

from recsys_assets.api.overview import Overview
from recsys_assets.api.trends import ReleasePoints
from recsys_assets.artifact_format import is_index_kind
from recsys_assets.catalog.catalog_row import Display, displays_of, read_displays
from recsys_assets.errors import BadRequestError, RecsysAssetsError, StoreUnavailableError, UnknownAddressError
from recsys_assets.identity import Target, check_segment, utc_now
from recsys_assets.ingest.sources.discovery import open_stream
from recsys_assets.serving.row_index import Lookup
from recsys_assets.serving.served import FORMS, ServedArtifact
from recsys_assets.settings.settings import Settings
from recsys_assets.storage.store import ObjectStore
from recsys_assets.trees.tree import ArtifactTree, open_trees

MAX_RANKED: Final = 100_000  # maximum rows of a ranked artifact: ranking decodes all of them
_CACHED_RANKINGS: Final = 8
_log = logging.getLogger(__name__)

MAX_BYTES = 128_000_000
_CATALOG_SECONDS = 600.0
AT_ONCE = 2  # concurrent requests that read whole artifacts
PATIENCE_SECONDS = 10.0  # time for which a request waits for its turn


class Ranking(msgspec.Struct, frozen=True):
    """Ids of all rows in stored order, and row positions by descending support."""

    ids: tuple[str, ...]
    strongest: "array[int]"

    def places(self, *, prefix: str, by_support: bool) -> Sequence[int]:
        """Return the positions of the rows whose id begins with a prefix, by support or in stored order."""
        order: Sequence[int] = self.strongest if by_support else range(len(self.ids))
        return [position for position in order if self.ids[position].startswith(prefix)] if prefix else order


class Rankings:
    """LRU cache of rankings by version, whose rows never change."""

    def __init__(self) -> None:
        self._rankings: LRUCache[str, Ranking] = LRUCache(_CACHED_RANKINGS)
        self._lock = threading.Lock()

    def of(self, version: str, rows: Lookup[Any]) -> Ranking:
        """Return the ranking of an artifact's rows. Raises `BadRequestError` if there are more than `MAX_RANKED`."""
        if len(rows) > MAX_RANKED:
            raise BadRequestError(
                f"this artifact has {len(rows)} rows, at most {MAX_RANKED} can be ranked or searched by prefix: omit "
                "sort and prefix, or look up one id"
            )
        with self._lock:
            ranking = self._rankings.get(version)
            if ranking is None:
                ranking = self._rankings[version] = _rank(rows)
        return ranking


def _rank(rows: Lookup[Any]) -> Ranking:
    id_of = rows.form.id_of
    ids: list[str] = []
    supports: list[float] = []
    for row in rows:
        ids.append(id_of(row))
        supports.append(support_of(row))
    return Ranking(
        tuple(ids), array("I", sorted(range(len(ids)), key=lambda position: (-supports[position], ids[position])))
    )


def support_of(row: Any) -> float:
    """Return the support of a row: its count, the sum of its entries' counts or scores, or the number of its tags."""
    own = getattr(row, "count", None)
    if isinstance(own, int):
        return own
    entries = getattr(row, "items", None)
    if entries is None:
        return len(getattr(row, "tags", ()))
    return sum(getattr(entry, "count", 0) or getattr(entry, "score", 0.0) for entry in entries)


class ArtifactCache:
    """LRU cache of artifacts by version. A version is the hash of its content, so an entry never becomes stale.

    An index grows with the shards that are loaded, so its size is measured again at each use.
    """

    def __init__(self, *, max_bytes: int = MAX_BYTES) -> None:
        self._artifacts: LRUCache[str, ServedArtifact] = LRUCache(max_bytes, getsizeof=_held_bytes)
        self._lock = threading.Lock()

    def take(self, version: str, load: Callable[[], ServedArtifact]) -> ServedArtifact:
        """Return the artifact of a version, loaded if not cached. Artifacts larger than the cache are not stored."""
        with self._lock:
            cached = self._artifacts.get(version)
        artifact = cached if cached is not None else load()
        with self._lock, suppress(ValueError):
            self._artifacts.pop(version, None)
            self._artifacts[version] = artifact  # ValueError: larger than the whole cache
        return artifact


def _held_bytes(artifact: ServedArtifact) -> int:
    """Return the size of an artifact in bytes, including the loaded shards of an index."""
    shards = artifact.rows.held_bytes if artifact.rows is not None and is_index_kind(artifact.kind) else 0
    return len(artifact.data) + shards


class Displays:
    """Titles and pictures of items from the catalog, read again when its file changes, or after ten minutes.

    Without a readable catalog items have no title. The gates of the catalog report the fault.
    """

    def __init__(self) -> None:
        self._displays: dict[str, dict[str, Display]] = {}
        self._fingerprint: object = None
        self._lock = threading.Lock()

    def of(self, settings: Settings, surface: str) -> Mapping[str, Display]:
        """Return the displays of a surface's items, by item id."""
        if settings.raw.catalog is None:
            return {}
        path = settings.resolve(settings.raw.catalog)
        with self._lock:
            fingerprint = _fingerprint(path)
            if fingerprint != self._fingerprint:
                displays = _read_displays(settings, path)
                surfaces = {row.surface for row in settings.targets}
                self._displays = {surface_name: displays_of(displays, surface_name) for surface_name in surfaces}
                self._fingerprint = fingerprint
            return self._displays.get(surface, {})


def _fingerprint(path: str) -> object:
    """Return a fingerprint that changes whenever the catalog may have changed."""
    if "://" not in path:
        with suppress(OSError):
            stat = Path(path).stat()
            return stat.st_mtime_ns, stat.st_size, stat.st_ino
    return int(time.monotonic() // _CATALOG_SECONDS)


def _read_displays(settings: Settings, path: str) -> dict[str | None, dict[str, Display]]:
    raw = settings.raw
    try:
        return read_displays(
            path, open_stream=open_stream, encoding=raw.catalog_encoding, delimiter=raw.catalog_delimiter
        )
    except RecsysAssetsError as error:
        _log.warning("catalog_unreadable effect=no_titles error=%s", error)
        return {}


def _slots() -> threading.BoundedSemaphore:
    return threading.BoundedSemaphore(AT_ONCE)


class ConcurrencyLimit(msgspec.Struct, frozen=True):
    """Limit on the concurrent requests that read whole artifacts, which bounds threads and memory."""

    patience_seconds: float = PATIENCE_SECONDS
    free: threading.BoundedSemaphore = msgspec.field(default_factory=_slots)

    @contextmanager
    def pass_through(self) -> Generator[None]:
        """Hold one of the slots for a block. Raises `StoreUnavailableError` if none is free in time."""
        if not self.free.acquire(timeout=self.patience_seconds):
            raise StoreUnavailableError("too many requests read whole artifacts: retry")
        try:
            yield
        finally:
            self.free.release()


@dataclass(frozen=True, slots=True)
class ApiContext:
    """Store, settings, clock and caches from which every endpoint answers."""

    store: ObjectStore
    settings: Settings
    now: Callable[[], datetime] = utc_now
    artifacts: ArtifactCache = field(default_factory=ArtifactCache)
    heavy: ConcurrencyLimit = field(default_factory=ConcurrencyLimit)
    overview: Overview = field(default_factory=Overview)
    points: ReleasePoints = field(default_factory=ReleasePoints)
    rankings: Rankings = field(default_factory=Rankings)
    displays: Displays = field(default_factory=Displays)
    trees: dict[str, ArtifactTree] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "trees", open_trees(self.store, self.settings, now=self.now))

    @property
    def targets(self) -> tuple[Target, ...]:
        """The configured targets, in the configuration's order."""
        return tuple(row.target for row in self.settings.targets)

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds of artifact that may exist: built, imported, or with a known lookup."""
        return tuple(dict.fromkeys((*self.settings.artifacts.kinds, *self.settings.imports, *FORMS)))

    def find(self, tenant: str, surface: str) -> Target:
        """Return the configured target with this tenant and surface.

        Raises `UnsafeNameError` for a name that no target can have, and `UnknownAddressError` for a target that is not
        configured, both before the store is queried.
        """
        check_segment(tenant, what="tenant")
        check_segment(surface, what="surface")
        for target in self.targets:
            if (target.tenant, target.surface) == (tenant, surface):
                return target
        raise UnknownAddressError(f"target {tenant}/{surface} does not exist: see the list at /v1/targets")
