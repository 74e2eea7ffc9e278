"""Which imported kinds of which days are due: files that were dropped, or replaced, since they were registered."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from recsys_assets.config.settings import Settings
from recsys_assets.config.target import TargetSettings
from recsys_assets.errors import CorruptObjectError
from recsys_assets.manifest.documents import StagedArtifact
from recsys_assets.manifest.encoding import find_document
from recsys_assets.manifest.layout import staged_key
from recsys_assets.sources.dropped import find_dropped
from recsys_assets.stages.arrivals import look_back
from recsys_assets.storage.store import ObjectStore

Seen = Mapping[str, str]  # "kind day" -> what its file looked like (name, size, time) when it was registered or refused


@dataclass(frozen=True, slots=True)
class DueImport:
    """A dropped file that is not what stands registered; `can_ship` tells whether the rest of its day is built."""

    row: TargetSettings
    kind: str
    day: date
    appearance: str
    can_ship: bool

    @property
    def address(self) -> str:
        """Equal cause, equal address."""
        return hashlib.sha256(f"{self.kind} {self.appearance}".encode()).hexdigest()[:16]

    @property
    def place(self) -> str:
        """Under which name it is remembered as seen."""
        return f"{self.kind} {self.day}"


def due_imports(
    store: ObjectStore, settings: Settings, row: TargetSettings, *, seen: Seen, now: datetime
) -> Iterator[DueImport]:
    """Yield each settled file of the last days that was not seen so, and is not what is registered for its day."""
    settling = timedelta(minutes=settings.automation_for(row).settled_minutes)
    for kind, rules in settings.imports_for(row).items():
        for day in look_back(settings, row, now=now):
            file = find_dropped(settings, row, day, template=rules.path, key=f"imports.{kind}.path")
            if file is None or now - file.touched_at() < settling:
                continue
            appearance = file.appearance()
            if seen.get(f"{kind} {day}") != appearance and not _stands(store, row, kind, day, file.digest()):
                yield DueImport(row, kind, day, appearance, _is_built(store, settings, row, day))


def _stands(store: ObjectStore, row: TargetSettings, kind: str, day: date, digest: str) -> bool:
    try:
        staged = find_document(store, staged_key(row.target, day, kind), StagedArtifact)
    except CorruptObjectError:
        return False  # registering the file again mends it
    return staged is not None and [used.digest for used in staged.inputs] == [digest]


def _is_built(store: ObjectStore, settings: Settings, row: TargetSettings, day: date) -> bool:
    return all(store.stat(staged_key(row.target, day, kind)) is not None for kind in settings.artifacts.kinds)
