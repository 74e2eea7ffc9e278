"""The configured sinks of a target: made to follow what is live, and looked at, each on its own."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import partial
from typing import Final

from recsys_assets.errors import ConfigurationError, RecsysAssetsError, StoreUnavailableError
from recsys_assets.evidence import Scalar
from recsys_assets.identity import Target
from recsys_assets.messages import name_known, plural
from recsys_assets.release.blocking import blocked_ids
from recsys_assets.release.journal import Clock
from recsys_assets.release.pointer import read_current
from recsys_assets.settings.outputs import SinkSettings
from recsys_assets.settings.settings import Settings
from recsys_assets.sinks.sink import open_sink
from recsys_assets.sinks.sync import SinkRules, Synced, read_sink_pointer, sync_target
from recsys_assets.storage.store import ObjectStore

PATIENCE: Final = timedelta(minutes=15)  # what is behind for longer is a problem: the rows of a night take less


class SinkState(StrEnum):
    """How a sink stands to what is live."""

    FOLLOWS = "follows"
    BEHIND = "behind"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class SinkStatus:
    """What one sink serves of a target, how that stands to what is live, and whether somebody has to look."""

    sink: str
    state: SinkState
    message: str
    is_problem: bool
    release: str | None = None
    revision: int = 0  # of what it serves: how often that changed


@dataclass(frozen=True, slots=True)
class SinkFault:
    """One sink of a target that could not be made to follow, and why."""

    tenant: str
    surface: str
    sink: str
    error: str
    is_retryable: bool


def sync_sinks(
    store: ObjectStore,
    settings: Settings,
    target: Target,
    *,
    now: Clock,
    only: Sequence[str] = (),
    verify: bool = False,
) -> Iterator[Synced | SinkFault]:
    """Make every sink of a target follow what is live, or those named; what is wrong with one keeps no other back."""
    for name, chosen in choose_sinks(settings, target, only=only).items():
        rules = SinkRules(name, chosen.prefix, chosen.kinds, chosen.kept, timedelta(hours=chosen.grace_hours))
        try:
            sink = open_sink(settings, name, chosen)
            yield sync_target(sink, store, target, rules, now=now, verify=verify)
        except RecsysAssetsError as error:
            is_retryable = not isinstance(error, ConfigurationError)
            yield SinkFault(target.tenant, target.surface, name, str(error), is_retryable)


def follow_all(store: ObjectStore, settings: Settings, target: Target, *, now: Clock) -> dict[str, Scalar]:
    """Make every sink of a target follow what is live, and return what people watch over days.

    Raises, once all were tried, `StoreUnavailableError` for those that did not, or `ConfigurationError` if trying again
    is in vain.
    """
    numbers: dict[str, Scalar] = {}
    faults: list[SinkFault] = []
    for done in sync_sinks(store, settings, target, now=now):
        if isinstance(done, SinkFault):
            faults.append(done)
        else:
            numbers |= {f"state/{done.sink}": done.state.value, f"rows_written/{done.sink}": done.written}
            numbers |= {f"versions_removed/{done.sink}": done.removed, f"release/{done.sink}": done.release}
    if faults:
        kind = StoreUnavailableError if any(one.is_retryable for one in faults) else ConfigurationError
        raise kind("; ".join(f"sink {one.sink}: {one.error}" for one in faults))
    return numbers


def look_at_sinks(
    store: ObjectStore, settings: Settings, target: Target, *, now: datetime, only: Sequence[str] = ()
) -> tuple[SinkStatus, ...]:
    """Return how every sink of a target stands; one that cannot be asked is unreadable, with the reason."""
    chosen = choose_sinks(settings, target, only=only)
    if not chosen:
        return ()
    found: list[SinkStatus] = []
    for name, one in chosen.items():
        try:
            found.append(_look(store, settings, target, name, one, now=now))
        except RecsysAssetsError as error:
            found.append(SinkStatus(name, SinkState.UNREADABLE, str(error), is_problem=True))
    return tuple(found)


def choose_sinks(settings: Settings, target: Target, *, only: Sequence[str]) -> dict[str, SinkSettings]:
    """Return the sinks of a target by name, or those of them that are named; `ConfigurationError` for unknown names."""
    for name in only:
        if name not in settings.sinks:
            raise ConfigurationError(f"no sink {name} in the configuration: {name_known(name, settings.sinks)}")
    return {name: one for name, one in settings.sinks_for(target).items() if not only or name in only}


def _look(
    store: ObjectStore, settings: Settings, target: Target, name: str, chosen: SinkSettings, *, now: datetime
) -> SinkStatus:
    pointer, _ = read_sink_pointer(open_sink(settings, name, chosen), chosen.prefix, target)
    stand = partial(SinkStatus, name, release=pointer.release, revision=pointer.revision)
    current = read_current(store, target)
    live = current.release_id if current else None
    blocked = tuple(sorted(blocked_ids(store, target, now=now))) if current else ()
    if (pointer.release, pointer.blocked) == (live, blocked):
        since = f" since {pointer.switched_at}" if pointer.switched_at else ""
        message = f"serves {_short(live)}{since}"
        return stand(SinkState.FOLLOWS, message, is_problem=False)
    is_late = current is None or now - current.updated_at > PATIENCE
    what = f"serves {_short(pointer.release)}, live is {_short(live)}"
    if pointer.release == live:
        what = f"blocks {plural(len(pointer.blocked), 'item')}, {len(blocked)} are blocked"
    message = f"{what}: `recsys-assets sync` makes it follow"
    return stand(SinkState.BEHIND, message, is_problem=is_late)


def _short(release: str | None) -> str:
    return f"release {release[:12]}" if release else "nothing"
