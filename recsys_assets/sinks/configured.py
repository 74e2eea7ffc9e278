"""Sinks of a target as configured: sync each with the live release, and report the state of each."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from functools import partial
from typing import Final

import msgspec

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

PATIENCE: Final = timedelta(minutes=15)  # a sink that lags longer is a problem: writing the rows of a night takes less


class SinkState(StrEnum):
    """State of a sink compared with the live release."""

    FOLLOWS = "follows"
    BEHIND = "behind"
    UNREADABLE = "unreadable"


class SinkStatus(msgspec.Struct, frozen=True):
    """Release that one sink serves of a target, its state compared to the live one, and whether that is a problem."""

    sink: str
    state: SinkState
    message: str
    is_problem: bool
    release: str | None = None
    revision: int = 0  # Revision of the sink's pointer, raised by each change.


class SinkFault(msgspec.Struct, frozen=True):
    """One sink of a target that could not be synced, with the error."""

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
    """Sync every sink of a target with the live release, or only the sinks in `only`. Yields the outcome of each.

    A sink that fails yields a `SinkFault`, and the next one is synced. Raises `ConfigurationError` for unknown names.
    """
    for name, chosen in choose_sinks(settings, target, only=only).items():
        rules = SinkRules(name, chosen.prefix, chosen.kinds, chosen.kept, timedelta(hours=chosen.grace_hours))
        try:
            sink = open_sink(settings, name, chosen)
            yield sync_target(sink, store, target, rules, now=now, verify=verify)
        except RecsysAssetsError as error:
            is_retryable = not isinstance(error, ConfigurationError)
            yield SinkFault(target.tenant, target.surface, name, str(error), is_retryable)


def follow_all(store: ObjectStore, settings: Settings, target: Target, *, now: Clock) -> dict[str, Scalar]:
    """Sync every sink of a target with the live release, and return the metrics of each sink.

    Raises after all sinks were tried, naming those that failed: `StoreUnavailableError` if one of them can be retried,
    else `ConfigurationError`.
    """
    numbers: dict[str, Scalar] = {}
    faults: list[SinkFault] = []
    for outcome in sync_sinks(store, settings, target, now=now):
        if isinstance(outcome, SinkFault):
            faults.append(outcome)
        else:
            sink = outcome.sink
            numbers |= {f"state/{sink}": outcome.state.value, f"rows_written/{sink}": outcome.written}
            numbers |= {f"versions_removed/{sink}": outcome.removed, f"release/{sink}": outcome.release}
    if faults:
        kind = StoreUnavailableError if any(fault.is_retryable for fault in faults) else ConfigurationError
        raise kind("; ".join(f"sink {fault.sink}: {fault.error}" for fault in faults))
    return numbers


def look_at_sinks(
    store: ObjectStore, settings: Settings, target: Target, *, now: datetime, only: Sequence[str] = ()
) -> tuple[SinkStatus, ...]:
    """Return the status of every sink of a target, or only of the sinks in `only`.

    A sink that cannot be read has the state `unreadable`, with the error as message. Raises `ConfigurationError` for
    unknown names.
    """
    chosen = choose_sinks(settings, target, only=only)
    if not chosen:
        return ()
    statuses: list[SinkStatus] = []
    for name, sink in chosen.items():
        try:
            statuses.append(_read_status(store, settings, target, name, sink, now=now))
        except RecsysAssetsError as error:
            statuses.append(SinkStatus(name, SinkState.UNREADABLE, str(error), is_problem=True))
    return tuple(statuses)


def choose_sinks(settings: Settings, target: Target, *, only: Sequence[str]) -> dict[str, SinkSettings]:
    """Return the sinks of a target by name, all or only those in `only`.

    Raises `ConfigurationError` for unknown names.
    """
    for name in only:
        if name not in settings.sinks:
            raise ConfigurationError(f"no sink {name} in the configuration: {name_known(name, settings.sinks)}")
    return {name: sink for name, sink in settings.sinks_for(target).items() if not only or name in only}


def _read_status(
    store: ObjectStore, settings: Settings, target: Target, name: str, chosen: SinkSettings, *, now: datetime
) -> SinkStatus:
    pointer, _ = read_sink_pointer(open_sink(settings, name, chosen), chosen.prefix, target)
    status = partial(SinkStatus, name, release=pointer.release, revision=pointer.revision)
    current = read_current(store, target)
    live = current.release_id if current else None
    blocked = tuple(sorted(blocked_ids(store, target, now=now))) if current else ()
    if (pointer.release, pointer.blocked) == (live, blocked):
        since = f" since {pointer.switched_at}" if pointer.switched_at else ""
        message = f"serves {_short(live)}{since}"
        return status(SinkState.FOLLOWS, message, is_problem=False)
    is_late = current is None or now - current.updated_at > PATIENCE
    difference = f"serves {_short(pointer.release)}, live is {_short(live)}"
    if pointer.release == live:
        difference = f"lists {plural(len(pointer.blocked), 'blocked item')}, the store lists {len(blocked)}"
    message = f"{difference}: run `recsys-assets sync`"
    return status(SinkState.BEHIND, message, is_problem=is_late)


def _short(release: str | None) -> str:
    return f"release {release[:12]}" if release else "nothing"
