"""Proof of a move: a canonical day of recsys-pipelines, built by us in memory, has the versions that it published."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from recsys_assets.errors import RecsysAssetsError
from recsys_assets.kinds.registry import KINDS
from recsys_assets.migrate.pipelines_registry import Limits, Published, Registry
from recsys_assets.pipeline.artifact import build_artifact
from recsys_assets.pipeline.canonical import build_canonical
from recsys_assets.pipeline.context import DayContext
from recsys_assets.pipeline.raw import build_raw
from recsys_assets.settings.artifacts import ArtifactSettings
from recsys_assets.settings.settings import Settings
from recsys_assets.settings.target import TargetSettings
from recsys_assets.storage.memory import MemoryStore

_HINTS = {
    "cooc": "it cuts by alphabet over max_items, and keeps rows without neighbours",
    "content_sim": "it keeps an id that stands twice in the catalog twice, and its catalog may have been another",
}
_AS_SENT: dict[str, None] = {"user_key": None, "session_gap_minutes": None}  # nothing of it is written
_DUPLICATES = "it counts exact duplicates twice"


@dataclass(frozen=True, slots=True)
class Compared:
    """One kind of one day: its version, ours (None: not built), and what is known of the difference."""

    kind: str
    theirs: str
    ours: str | None
    message: str

    @property
    def equal(self) -> bool:
        """Whether both made the same content."""
        return self.theirs == self.ours


def prove_day(
    settings: Settings, row: TargetSettings, registry: Registry, published: Iterable[Published], day: date
) -> tuple[Compared, ...]:
    """Return, for each artifact that it published of a day, whether we make the same of its canonical events.

    Its limits apply, not the configuration's; nothing is written. A kind that cannot be built says why.
    """
    store, theirs = MemoryStore(), _as_theirs(settings, row, registry)
    target = theirs.targets[0]
    build_raw(store, theirs, day)
    canonical = build_canonical(DayContext(store, theirs, target, day))
    found: list[Compared] = []
    for one in published:
        kind, version = one.blob.ref.kind, one.blob.ref.version
        if kind not in KINDS or (one.first, one.last) != (day, day):
            found.append(Compared(kind, version, None, "not a kind or a window that is built here"))
            continue
        try:
            ours = build_artifact(DayContext(store, theirs, target, day, run_id="proof"), kind).staged.ref.version
        except RecsysAssetsError as error:
            found.append(Compared(kind, version, None, f"not built: {error}"))
            continue
        hint = _DUPLICATES if canonical.record.duplicates else "see what differs on purpose"
        found.append(Compared(kind, version, ours, "equal" if ours == version else _HINTS.get(kind, hint)))
    return tuple(found)


def _as_theirs(settings: Settings, row: TargetSettings, registry: Registry) -> Settings:
    """Return the configuration with its canonical days as raw events, its limits, and one target."""
    plain = row.model_copy(update={"artifacts": {}, "engine": None})
    return settings.model_copy(
        update={
            "raw": settings.raw.model_copy(update={"exposures": registry.canonical_template()} | _AS_SENT),
            "artifacts": ArtifactSettings.model_validate(
                {"window_days": 1, **_tables(registry.config.limits)}  # all that it builds is of one day
            ),
            "targets": (plain,),
        }
    )


def _tables(limits: Limits) -> dict[str, dict[str, int]]:
    items, user = {"max_items": limits.max_items_per_artifact}, {"max_items_per_user": limits.max_items_per_user}
    cooc = {
        "min_support": limits.min_cooc_support,
        "max_neighbors": limits.max_neighbors_per_item,
        "max_items_per_session": limits.max_items_per_session,
    }
    return {"popularity": items, "content_sim": items, "cooc": items | cooc, "implicit": user, "session_seq": user}
