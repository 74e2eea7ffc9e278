"""Forget a user: out of every day that stands, out of what is live, and never in again; and say what still holds it."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime

from recsys_assets.errors import ConfigurationError, InputError, RefusedError
from recsys_assets.identity import ArtifactRef, Target, Window
from recsys_assets.imports.safetensors import read_safetensors
from recsys_assets.ingest.white_space import trim
from recsys_assets.kind_descriptions import VectorShape
from recsys_assets.kinds.registry import KINDS, read_params
from recsys_assets.pipeline.artifact import build_artifact, judge_artifact
from recsys_assets.pipeline.canonical import judge_canonical
from recsys_assets.pipeline.context import COMMAND, DayContext
from recsys_assets.pipeline.ship import ship_day
from recsys_assets.pipeline.user_key import FACT, configured_key, mark_of_key, mark_of_record
from recsys_assets.privacy.erase import canonical_days, erase_from_canonical, erase_from_raw, raw_days
from recsys_assets.release import journal
from recsys_assets.release.blob import read_blob
from recsys_assets.release.document_encoding import find_document
from recsys_assets.release.documents import CanonicalRecord, JournalEntry, Release
from recsys_assets.release.forgotten_users import remember
from recsys_assets.release.journal import Actor
from recsys_assets.release.layout import TALLIES, canonical_record_key
from recsys_assets.release.pointer import Current, read_current
from recsys_assets.release.releases import read_release
from recsys_assets.serving.factors import Ids
from recsys_assets.serving.served import prove
from recsys_assets.settings.settings import Settings
from recsys_assets.settings.target import TargetSettings
from recsys_assets.sharding import shard_of
from recsys_assets.storage.store import ObjectStore
from recsys_assets.upkeep.roots import KEEP, retained_releases

FORGET = "forget"


@dataclass(frozen=True, slots=True)
class Forgot:
    """What became of it: which canonical days changed, how much went, and which releases still hold the user."""

    target: str
    message: str
    days: tuple[str, ...]
    events: int  # of canonical days
    raw_events: int  # of the parts that days are made of, duplicates included
    quarantined: int  # lines whose text was blanked
    live_holds: bool
    still_in: tuple[str, ...]  # releases that are kept, live or not
    other_key: tuple[str, ...]  # days whose users are hashed by another key: nobody can be found there
    other_key_in: tuple[str, ...]  # releases, live or kept, made under another key: they may hold the user
    entry: JournalEntry | None = None  # None: dry run

    @property
    def exit_code(self) -> int:
        """1 if it was to be done, and what is live still holds the user, or a day could not be looked through."""
        return int((self.live_holds or bool(self.other_key)) and self.entry is not None)


@dataclass(frozen=True, slots=True)
class Forgetting:
    """Whom to forget, where, on whose order."""

    store: ObjectStore
    settings: Settings
    row: TargetSettings
    user: str
    by: Actor
    now: Callable[[], datetime]

    @property
    def target(self) -> Target:
        """Whose events are looked through."""
        return self.row.target

    @property
    def names(self) -> frozenset[str]:
        """The id, and what it is hashed to where `raw.user_key` is set: days of before hold the id itself."""
        user, key = trim(self.user), configured_key(self.settings)
        return frozenset({user} if key is None else {user, key.hash(user)})


def forget_user(task: Forgetting, *, dry_run: bool = False) -> Forgot:
    """Drop a user's events up to today from all days of a target, build what is live anew, and report what remains.

    The user is noted first, by a hash, so that whatever is built meanwhile or later drops the same events. Releases
    that are kept for a rollback are not touched: they hold the user until they are collected. Raw files are the
    owner's. Broken off or refused, it is done by running it again. Raises `ConfigurationError` for no id at all, and
    where `raw.user_key` is set and the key is not there.
    """
    if not trim(task.user):
        raise ConfigurationError("--user is empty: name the user's id as events carry it")
    store, target, today, names = task.store, task.target, task.now().date(), task.names
    if not dry_run:
        # By the id that was sent: events are looked at before they are hashed, by whichever key.
        remember(store, target, trim(task.user), through=today, by=task.by, now=task.now())
    canonical = {
        day: erase_from_canonical(store, target, day, names.__contains__, dry_run=dry_run)
        for day in canonical_days(store, target)
        if day <= today
    }
    raw = [erase_from_raw(store, target, day, names, dry_run=dry_run) for day in raw_days(store) if day <= today]
    days = [day for day, gone in canonical.items() if gone]
    message = "dry run: nothing was changed" if dry_run else _build_anew(task, days)
    live = read_current(store, target)
    releases = _releases(task, live)
    holding, other = _holding(task, releases), _under_other_key(task, releases)
    forgot = Forgot(
        target=str(target),
        message=message,
        days=tuple(map(str, days)),
        events=sum(canonical.values()),
        raw_events=sum(events for events, _ in raw),
        quarantined=sum(lines for _, lines in raw),
        live_holds=live is not None and live.release_id in {*holding, *other},
        still_in=tuple(holding),
        other_key=tuple(str(day) for day in canonical if _has_other_key(task, day)),
        other_key_in=tuple(other),
    )
    return forgot if dry_run else replace(forgot, entry=_tell(task, forgot, live))


def _build_anew(task: Forgetting, days: Sequence[date]) -> str:
    """Judge the changed days, build the live day's artifacts from them, and ship; return how that ended."""
    store, settings, row = task.store, task.settings, task.row
    for item in store.list(f"{TALLIES}{row.tenant}/{row.surface}/"):
        store.delete(item.key)  # made again when a window asks for them
    for day in days:
        judge_canonical(DayContext(store, settings, row, day))
    live = read_current(store, task.target)
    if live is None:
        return "nothing is live"
    last = date.fromisoformat(read_release(store, task.target, live.release_id).data_through)
    if not set(days) & _days_behind(task, last) and live.release_id not in _holding(task, _releases(task, live)):
        return f"what is live, of {last}, does not hold the user"
    context = DayContext(store, settings, row, last, run_id=task.by.run_id or COMMAND, now=task.now)
    try:
        judge_canonical(context)  # by today's limits, which may be others than when it refused
        for kind in (name for name in settings.artifacts.kinds if name in KINDS):
            build_artifact(context, kind)
            judge_artifact(context, kind)
        shipped = ship_day(context, by=task.by)
    except (InputError, RefusedError) as error:
        return f"what is live, of {last}, could not be built anew: {error}"
    return f"{last} was built anew: {shipped.outcome.message}"


def _days_behind(task: Forgetting, last: date) -> set[date]:
    """Return the days that artifacts of a day are made of."""
    kinds = (name for name in task.settings.artifacts.kinds if name in KINDS)
    windows = (Window.ending(last, days=read_params(task.settings, task.row, kind).window_days) for kind in kinds)
    return {day for window in windows for day in window.days}


def _releases(task: Forgetting, live: Current | None) -> list[Release]:
    """Return the releases that are live or kept."""
    if live is None:
        return []
    keep = max(KEEP, task.settings.retention_for(task.row).keep)
    kept = retained_releases(task.store, task.target, live, keep=keep)
    return [read_release(task.store, task.target, release_id) for release_id in kept]


def _holding(task: Forgetting, releases: Sequence[Release]) -> list[str]:
    """Return those releases that have an artifact which names the user."""
    names: dict[tuple[str, str], bool] = {}
    found: list[str] = []
    for release in releases:
        for ref in _homes(release, task.names):
            address = (ref.kind, ref.version)
            if address not in names:
                names[address] = _names_user(task, ref)
            if names[address]:
                found.append(release.id)
                break
    return found


def _under_other_key(task: Forgetting, releases: Sequence[Release]) -> list[str]:
    """Return those releases whose users are hashed by a key that is not configured."""
    key = configured_key(task.settings)
    known = {None} if key is None else {None, key.id}
    return [one.id for one in releases if not {member.facts.get(FACT) for member in one.members} <= known]


def _homes(release: Release, names: Collection[str]) -> Iterator[ArtifactRef]:
    """Yield the objects of a release that may name a user: of a kind in shards those where the names would stand."""
    for member in release.members:
        shards = member.shard_refs
        yield from (shards[shard_of(name, len(shards))] for name in sorted(names)) if shards else (member.ref,)


def _names_user(task: Forgetting, ref: ArtifactRef) -> bool:
    """Tell whether an artifact has a row of the user; of one without rows to look up, whether its bytes do."""
    data = read_blob(task.store, task.target, ref)
    rows = prove(task.target, ref.kind, ref.version, data, name=f"{ref.kind} {ref.version[:12]}").rows
    shape = KINDS[ref.kind].shape if ref.kind in KINDS else None
    if isinstance(shape, VectorShape):
        return "user_id" in shape.tables and _has_vector(task, data, ref)
    if rows is None:
        return any(name.encode() in data for name in task.names)
    return rows.form.key == "user_id" and any(rows.find(name) is not None for name in task.names)


def _has_vector(task: Forgetting, data: bytes, ref: ArtifactRef) -> bool:
    """Tell whether the user has a vector: in the bytes of ids, one may stand within another."""
    users = Ids.of(read_safetensors(data, name=f"{ref.kind} {ref.version[:12]}"), "user_id")
    return any(users.find(name) is not None for name in task.names)


def _has_other_key(task: Forgetting, day: date) -> bool:
    """Tell whether users of a day are hashed by a key that is not the configured one."""
    record = find_document(task.store, canonical_record_key(task.target, day), CanonicalRecord)
    return record is not None and not mark_of_record(record) <= mark_of_key(configured_key(task.settings))


def _tell(task: Forgetting, forgot: Forgot, live: Current | None) -> JournalEntry:
    """Tell the journal what was done, without the user's id: it would stand there for ever."""
    entry = journal.entry_of(
        action=FORGET,
        outcome=journal.REFUSED if forgot.live_holds or forgot.other_key else journal.DONE,
        by=task.by,
        now=task.now(),
        live=live,
        message=forgot.message,
        details={
            "days": len(forgot.days),
            "events": forgot.events,
            "still_in": len(forgot.still_in) + len(forgot.other_key_in),
        },
    )
    return journal.append(task.store, task.target, entry, after=journal.tail(task.store, task.target))
