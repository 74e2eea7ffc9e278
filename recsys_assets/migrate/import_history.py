"""Moving in from recsys-pipelines: its history as releases to roll back to, and a day that proves our versions."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Final

from recsys_assets.errors import ConflictError, NotFoundError, RecsysAssetsError, RefusedError
from recsys_assets.evidence import Finding, GateReport, Verdict
from recsys_assets.kinds.registry import KINDS
from recsys_assets.migrate.pipelines_registry import PublishedArtifact, Registry, RegistryLimits
from recsys_assets.pipeline.artifact import build_artifact, build_info
from recsys_assets.pipeline.canonical import build_canonical
from recsys_assets.pipeline.context import DayContext
from recsys_assets.pipeline.raw import build_raw
from recsys_assets.pipeline.stored_artifact import keep_blob
from recsys_assets.release.candidate import Candidate
from recsys_assets.release.change import KeepPointer, MovePointer, PointerChange, announced, change_pointer
from recsys_assets.release.documents import Member
from recsys_assets.release.journal import Actor, Clock, changes
from recsys_assets.release.pointer import LivePointer, read_current, release_id_of
from recsys_assets.release.recovery import JournalHead
from recsys_assets.release.releases import record, release_of
from recsys_assets.release.shards import prove_members
from recsys_assets.settings.artifacts import ArtifactSettings
from recsys_assets.settings.settings import Settings
from recsys_assets.settings.target import TargetSettings
from recsys_assets.storage.memory import MemoryStore
from recsys_assets.storage.proof import ensure_proven
from recsys_assets.storage.store import ObjectStore

MOVE_IN: Final = "move_in"
_HINTS = {
    "cooc": "it cuts by alphabet over max_items, and keeps rows without neighbours",
    "content_sim": "it keeps an id that stands twice in the catalog twice, and its catalog may have been another",
}
_AS_SENT: dict[str, None] = {"user_key": None, "session_gap_minutes": None}  # nothing of it is written
_DUPLICATES = "it counts exact duplicates twice"


@dataclass(frozen=True, slots=True)
class MovedRelease:
    """One release of the history: the last day of its data, its artifacts, and whether it is new here."""

    day: date
    artifacts: tuple[PublishedArtifact, ...]
    is_new: bool


def plan_history(
    store: ObjectStore, registry: Registry, *, keep: int, without_users: bool = False
) -> tuple[MovedRelease, ...]:
    """Return the last `keep` releases that its records make, oldest first, what it serves now the last.

    Of each day the newest build of each kind counts, for its records do not say which sets were live together.
    `without_users` leaves out kinds with a row for each user: their ids would come in as they were sent. Raises
    `RefusedError` if something of our own was shipped for the target already.
    """
    _refuse_a_target_in_use(store, registry)
    found = list(registry.published())
    left_out = {one.blob.ref.kind for one in found if one.of_users and without_users}
    found = [one for one in found if one.blob.ref.kind not in left_out]
    if not found:
        raise NotFoundError(
            f"{registry.target}: its registry has only {', '.join(sorted(left_out))}, with ids of users as they were "
            "sent, which raw.user_key would hash: nothing moves in"
        )
    sets = [_newest(one for one in found if one.last == day) for day in sorted({one.last for one in found})]
    now = registry.current()
    serving = tuple(one for one in found if now.get(one.blob.ref.kind) == one.blob.ref.version)
    missing = sorted(set(now) - left_out - {one.blob.ref.kind for one in serving})
    if missing:
        raise NotFoundError(
            f"{registry.target}: it serves {', '.join(missing)} of which it has no record: publish again"
        )
    if serving:
        sets = [one for one in sets if one != serving] + [serving]
    known = {entry.after for entry in changes(store, registry.target)}
    return tuple(
        MovedRelease(max(one.last for one in made), made, _release_id(registry, made) not in known)
        for made in sets[-keep:]
    )


def move_in(
    store: ObjectStore,
    settings: Settings,
    registry: Registry,
    history: Iterable[MovedRelease],
    *,
    by: Actor,
    now: Clock,
) -> int:
    """Make each release live in turn, the last one last, and return how many were new; the journal holds them all.

    A release that is here already is passed over, so that a call which broke off is finished by calling again.
    """
    ensure_proven(store)
    moved = 0
    for one in history:
        if one.is_new:
            _ship(PointerChange(store, registry.target, MOVE_IN, by, now), settings, one)
            moved += 1
    return moved


def _ship(change: PointerChange, settings: Settings, moved: MovedRelease) -> None:
    store, target = change.store, change.target
    build = build_info(settings, MOVE_IN)
    for one in moved.artifacts:
        keep_blob(store, target, one.blob)
    members = tuple(
        Member(
            ref=one.blob.ref,
            window_first=one.first.isoformat(),
            window_last=one.last.isoformat(),
            inputs=(one.source,),
            facts={"rows": one.rows, "imported": True, "built_at": one.built_at},
            gates=_evidence(one),
            build=build,
        )
        for one in moved.artifacts
    )
    candidate = Candidate(moved.day, members, ())
    live = read_current(store, target)
    parent = live.release_id if live else None
    release = release_of(target, candidate, build=build, now=change.now(), parent=parent)

    def judge(current: LivePointer | None, _: JournalHead) -> MovePointer | KeepPointer:
        if (current.release_id if current else None) != parent:
            raise ConflictError(f"{target}: somebody else ships: stop that, then move in again")
        message = f"release {release.id[:12]} of recsys-pipelines with data through {release.data_through}"
        return MovePointer(
            candidate.versions, candidate.refs, message, {"release": release.id, "day": release.data_through}
        )

    with announced(change, release_id=release.id, refs=candidate.refs) as announced_change:
        prove_members(store, target, candidate.members)
        record(store, target, release)
        change_pointer(announced_change, judge)


def _evidence(one: PublishedArtifact) -> GateReport:
    """Say what is known of an artifact that was never judged here."""
    message = "imported from recsys-pipelines: its bytes prove the version and our reader reads it; no gate judged it"
    finding = Finding("imported", Verdict.ADVISED, None, {}, message)
    return GateReport(one.blob.ref.kind, one.blob.ref.version, (finding,))


def _newest(found: Iterable[PublishedArtifact]) -> tuple[PublishedArtifact, ...]:
    newest: dict[str, PublishedArtifact] = {}
    for one in sorted(found, key=lambda each: each.built_at):
        newest[one.blob.ref.kind] = one
    return tuple(newest[kind] for kind in sorted(newest))


def _release_id(registry: Registry, made: tuple[PublishedArtifact, ...]) -> str:
    return release_id_of(registry.target, {one.blob.ref.kind: one.blob.ref.version for one in made})


def _refuse_a_target_in_use(store: ObjectStore, registry: Registry) -> None:
    ours = [entry for entry in changes(store, registry.target) if entry.action != MOVE_IN]
    if ours:
        raise RefusedError(
            f"{registry.target}: our own releases were live already ({ours[0].action} at {ours[0].at}): history moves "
            "in before anything is shipped; use another store"
        )


@dataclass(frozen=True, slots=True)
class ComparedVersion:
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
    settings: Settings, row: TargetSettings, registry: Registry, published: Iterable[PublishedArtifact], day: date
) -> tuple[ComparedVersion, ...]:
    """Return, for each artifact that it published of a day, whether we make the same of its canonical events.

    Its limits apply, not the configuration's; nothing is written. A kind that cannot be built says why.
    """
    store, theirs = MemoryStore(), _as_theirs(settings, row, registry)
    target = theirs.targets[0]
    build_raw(store, theirs, day)
    canonical = build_canonical(DayContext(store, theirs, target, day))
    found: list[ComparedVersion] = []
    for one in published:
        kind, version = one.blob.ref.kind, one.blob.ref.version
        if kind not in KINDS or (one.first, one.last) != (day, day):
            found.append(ComparedVersion(kind, version, None, "not a kind or a window that is built here"))
            continue
        try:
            ours = build_artifact(DayContext(store, theirs, target, day, run_id="proof"), kind).staged.ref.version
        except RecsysAssetsError as error:
            found.append(ComparedVersion(kind, version, None, f"not built: {error}"))
            continue
        hint = _DUPLICATES if canonical.record.duplicates else "see what differs on purpose"
        found.append(ComparedVersion(kind, version, ours, "equal" if ours == version else _HINTS.get(kind, hint)))
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


def _tables(limits: RegistryLimits) -> dict[str, dict[str, int]]:
    items, user = {"max_items": limits.max_items_per_artifact}, {"max_items_per_user": limits.max_items_per_user}
    cooc = {
        "min_support": limits.min_cooc_support,
        "max_neighbors": limits.max_neighbors_per_item,
        "max_items_per_session": limits.max_items_per_session,
    }
    return {"popularity": items, "content_sim": items, "cooc": items | cooc, "implicit": user, "session_seq": user}
