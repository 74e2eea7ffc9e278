"""Migration from recsys-pipelines: imports its history as releases, and verifies our versions on one day."""

from collections.abc import Iterable
from datetime import date
from typing import Final

import msgspec

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
from recsys_assets.settings.settings import Settings, TargetSettings
from recsys_assets.storage.memory import MemoryStore
from recsys_assets.storage.proof import ensure_proven
from recsys_assets.storage.store import ObjectStore

MOVE_IN: Final = "move_in"
_HINTS = {
    "cooc": "it truncates alphabetically beyond max_items, and keeps rows without neighbours",
    "content_sim": "it keeps duplicate ids of the catalog, and its catalog may have been different",
}
_AS_SENT: dict[str, None] = {"user_key": None, "session_gap_minutes": None}  # such data is not written
_DUPLICATES = "it counts exact duplicates twice"


class MovedRelease(msgspec.Struct, frozen=True):
    """Release of the history: last day of its data, its artifacts, and whether it is new in this store."""

    day: date
    artifacts: tuple[PublishedArtifact, ...]
    is_new: bool


def plan_history(
    store: ObjectStore, registry: Registry, *, keep: int, without_users: bool = False
) -> tuple[MovedRelease, ...]:
    """Return the last `keep` releases in its records, oldest first. The set that it serves now is the last.

    For each day the newest build of each kind is used, because its records do not show which sets were live together.
    `without_users` excludes kinds with a row per user, whose ids would be imported unhashed. Raises `RefusedError` if
    the target has releases of our own, `NotFoundError` if there is nothing to import or a served artifact has no
    record.
    """
    _refuse_a_target_in_use(store, registry)
    published = list(registry.published())
    excluded = {artifact.blob.ref.kind for artifact in published if artifact.of_users and without_users}
    published = [artifact for artifact in published if artifact.blob.ref.kind not in excluded]
    if not published:
        raise NotFoundError(
            f"{registry.target}: its registry has only {', '.join(sorted(excluded))}, with unhashed ids "
            "of users, which raw.user_key would hash: nothing is imported"
        )
    days = sorted({artifact.last for artifact in published})
    sets = [_newest(artifact for artifact in published if artifact.last == day) for day in days]
    now = registry.current()
    serving = tuple(artifact for artifact in published if now.get(artifact.blob.ref.kind) == artifact.blob.ref.version)
    missing = sorted(set(now) - excluded - {artifact.blob.ref.kind for artifact in serving})
    if missing:
        raise NotFoundError(f"{registry.target}: it serves {', '.join(missing)} without a record: publish again")
    if serving:
        sets = [artifacts for artifacts in sets if artifacts != serving] + [serving]
    imported = {entry.after for entry in changes(store, registry.target)}
    return tuple(
        MovedRelease(
            max(artifact.last for artifact in artifacts), artifacts, _release_id(registry, artifacts) not in imported
        )
        for artifacts in sets[-keep:]
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
    """Make each new release live in turn, oldest first, and return their number. Each is journaled.

    Releases already in the store are skipped, so that an interrupted call is completed by a rerun. Raises
    `ConflictError` if another writer ships to the target.
    """
    ensure_proven(store)
    moved = 0
    for release in history:
        if release.is_new:
            _ship(PointerChange(store, registry.target, MOVE_IN, by, now), settings, release)
            moved += 1
    return moved


def _ship(change: PointerChange, settings: Settings, moved: MovedRelease) -> None:
    store, target = change.store, change.target
    build = build_info(settings, MOVE_IN)
    for artifact in moved.artifacts:
        keep_blob(store, target, artifact.blob)
    members = tuple(
        Member(
            ref=artifact.blob.ref,
            window_first=artifact.first.isoformat(),
            window_last=artifact.last.isoformat(),
            inputs=(artifact.source,),
            facts={"rows": artifact.rows, "imported": True, "built_at": artifact.built_at},
            gates=_evidence(artifact),
            build=build,
        )
        for artifact in moved.artifacts
    )
    candidate = Candidate(moved.day, members, ())
    live = read_current(store, target)
    parent = live.release_id if live else None
    release = release_of(target, candidate, build=build, now=change.now(), parent=parent)

    def judge(current: LivePointer | None, _: JournalHead) -> MovePointer | KeepPointer:
        if (current.release_id if current else None) != parent:
            raise ConflictError(f"{target}: another writer ships to the target: stop it, then run the import again")
        message = f"release {release.id[:12]} of recsys-pipelines with data through {release.data_through}"
        return MovePointer(
            candidate.versions, candidate.refs, message, {"release": release.id, "day": release.data_through}
        )

    with announced(change, release_id=release.id, refs=candidate.refs) as announced_change:
        prove_members(store, target, candidate.members)
        record(store, target, release)
        change_pointer(announced_change, judge)


def _evidence(artifact: PublishedArtifact) -> GateReport:
    """Return the gate report of an artifact that was not checked by our gates."""
    message = "imported from recsys-pipelines: its version and readability were verified; no gate ran"
    finding = Finding("imported", Verdict.ADVISED, None, {}, message)
    return GateReport(artifact.blob.ref.kind, artifact.blob.ref.version, (finding,))


def _newest(artifacts: Iterable[PublishedArtifact]) -> tuple[PublishedArtifact, ...]:
    newest: dict[str, PublishedArtifact] = {}
    for artifact in sorted(artifacts, key=lambda artifact: artifact.built_at):
        newest[artifact.blob.ref.kind] = artifact
    return tuple(newest[kind] for kind in sorted(newest))


def _release_id(registry: Registry, artifacts: tuple[PublishedArtifact, ...]) -> str:
    return release_id_of(registry.target, {artifact.blob.ref.kind: artifact.blob.ref.version for artifact in artifacts})


def _refuse_a_target_in_use(store: ObjectStore, registry: Registry) -> None:
    ours = [entry for entry in changes(store, registry.target) if entry.action != MOVE_IN]
    if ours:
        raise RefusedError(
            f"{registry.target}: it has releases of our own ({ours[0].action} at {ours[0].at}): history must be "
            "imported before anything is shipped; use another store"
        )


class ComparedVersion(msgspec.Struct, frozen=True):
    """Comparison of one artifact: its version, ours (None: not built), and a message on the difference."""

    kind: str
    theirs: str
    ours: str | None
    message: str

    @property
    def equal(self) -> bool:
        """Whether both versions are equal."""
        return self.theirs == self.ours


def prove_day(
    settings: Settings, row: TargetSettings, registry: Registry, published: Iterable[PublishedArtifact], day: date
) -> tuple[ComparedVersion, ...]:
    """Compare each artifact that it published of a day with the one that we build from its canonical events.

    Its limits apply, not the configuration's. Nothing is written. The message of a kind that cannot be built has the
    reason.
    """
    store, theirs = MemoryStore(), _as_theirs(settings, row, registry)
    target = theirs.targets[0]
    build_raw(store, theirs, day)
    canonical = build_canonical(DayContext(store, theirs, target, day))
    compared: list[ComparedVersion] = []
    for artifact in published:
        kind, version = artifact.blob.ref.kind, artifact.blob.ref.version
        if kind not in KINDS or (artifact.first, artifact.last) != (day, day):
            compared.append(ComparedVersion(kind, version, None, "not a kind or a window that is built here"))
            continue
        try:
            ours = build_artifact(DayContext(store, theirs, target, day, run_id="proof"), kind).staged.ref.version
        except RecsysAssetsError as error:
            compared.append(ComparedVersion(kind, version, None, f"not built: {error}"))
            continue
        hint = _DUPLICATES if canonical.record.duplicates else "see the list of intended differences"
        compared.append(ComparedVersion(kind, version, ours, "equal" if ours == version else _HINTS.get(kind, hint)))
    return tuple(compared)


def _as_theirs(settings: Settings, row: TargetSettings, registry: Registry) -> Settings:
    """Return settings with its canonical days as raw events, its limits, and one target."""
    plain = row.model_copy(update={"artifacts": {}, "engine": None})
    return settings.model_copy(
        update={
            "raw": settings.raw.model_copy(update={"exposures": registry.canonical_template()} | _AS_SENT),
            "artifacts": ArtifactSettings.model_validate(
                {"window_days": 1, **_tables(registry.config.limits)}  # its windows are one day
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
