"""Operations over HTTP: test and import files, ship, roll back, hold, pin, mark bad and name releases."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Final

import msgspec

from recsys_assets.api.actions import Action, Asked
from recsys_assets.api.connections import RequestClass
from recsys_assets.api.node_forms import Ulid
from recsys_assets.api.problems import redact, redact_entry
from recsys_assets.api.queries import Day, Name, NoQuery, TargetQuery
from recsys_assets.api.site import Site
from recsys_assets.errors import (
    BadRequestError,
    ConfigurationError,
    InputError,
    LimitExceededError,
    NotFoundError,
    OperationRefusedError,
    RefusedError,
)
from recsys_assets.evidence import GateReport
from recsys_assets.identity import parse_rfc3339
from recsys_assets.ingest.sources.files import RawFile
from recsys_assets.observability.webhooks import deliver
from recsys_assets.release.documents import JournalEntry
from recsys_assets.release.hold import place_hold, release_hold
from recsys_assets.release.journal import Actor
from recsys_assets.release.labels import Labelled
from recsys_assets.release.marking import mark, tag, unmark
from recsys_assets.release.rollback import roll_back
from recsys_assets.settings.target import TargetSettings

ROOT: Final = "/api/v1/targets/{tenant}/{surface}"
MAX_FILE_BYTES: Final = 100_000_000
_WEBHOOK_SECONDS: Final = 2.0  # for a receiver; the sensor, or `deliver`, sends what it did not take

Reason = Annotated[str, msgspec.Meta(min_length=1, max_length=1000, description="why; kept in the journal")]
FileName = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._ -]{0,99}$(?!\n)", max_length=100)]
TagName = Annotated[str, msgspec.Meta(min_length=1, max_length=63)]
Instant = Annotated[str, msgspec.Meta(max_length=40, description="a time like 2026-01-31T04:00:00Z")]


class FileQuery(TargetQuery, frozen=True, kw_only=True):
    """A file of another team, in the body, for one target."""

    kind: Name
    name: FileName = "file"
    reason: Reason = "test by HTTP"


class ImportQuery(FileQuery, frozen=True, kw_only=True):
    """A file of another team, in the body, for one target and day."""

    day: Day
    reason: Reason = "import by HTTP"
    dry_run: bool = False
    parent: Ulid | None = None


class TagQuery(TargetQuery, frozen=True, kw_only=True):
    """A name of a target's release."""

    name: TagName


class UntagQuery(TagQuery, frozen=True, kw_only=True):
    """A name that is to be taken off, and why."""

    reason: Reason


class Order(NoQuery, frozen=True, kw_only=True):
    """What every operation takes: why, and whether it is only to say what would happen."""

    reason: Reason
    dry_run: bool = False


class ShipOrder(Order, frozen=True, kw_only=True):
    """Ship what is staged for a day."""

    day: Day
    override: tuple[Name, ...] = ()
    allow_older: bool = False


class RollbackOrder(Order, frozen=True, kw_only=True):
    """Go back to `previous`, a release id or name, or what was live at a time."""

    to: Name = "previous"
    hold: bool = True
    hold_until: Instant | None = None


class HoldOrder(Order, frozen=True, kw_only=True):
    """Keep automation from shipping, until a time or until the hold is released."""

    until: Instant | None = None


class MarkOrder(Order, frozen=True, kw_only=True):
    """One release: `live`, its id, 8 digits of it, or its name."""

    release: Name


class PinOrder(MarkOrder, frozen=True, kw_only=True):
    """Keep one release from garbage collection, until a time or until it is unpinned."""

    until: Instant | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """What an operation came to, in words, and its entry of the journal (none: a dry run)."""

    message: str
    entry: JournalEntry | None


@dataclass(frozen=True, slots=True)
class FileDone:
    """What became of a file: its version, what its gates found, and its entry of the journal (none: no news)."""

    kind: str
    version: str
    day: str | None
    registered: bool
    passed: bool
    message: str
    gates: GateReport
    entry: JournalEntry | None


def judge_file(site: Site, asked: Asked) -> FileDone:
    """Judge a file by every gate of its import, and register nothing; the journal keeps how it ended."""
    query: FileQuery = asked.query
    row = _row(site, asked)
    with _operating(site, asked), site.heavy.pass_through(), _file(asked) as place:
        try_file = _load("import_by_hand", "try_file")
        by = _by(asked, query.reason)
        return _of_file(try_file(site.store, site.settings, row, query.kind, place, by=by, now=site.now()))


def import_file(site: Site, asked: Asked) -> FileDone:
    """Register a file for a day and judge it; what is live stays live."""
    query: ImportQuery = asked.query
    row = _row(site, asked)
    with _operating(site, asked), site.heavy.pass_through(), _file(asked) as place:
        register, by = _load("import_by_hand", "import_file"), _by(asked, query.reason)
        context = _load("context", "DayContext")(site.store, site.settings, row, _day(query.day), now=site.now)
        node = _load("imported", "NodePlace")(query.parent)
        return _of_file(register(context, query.kind, place, by=by, now=site.now(), dry_run=query.dry_run, node=node))


def ship(site: Site, asked: Asked) -> Done:
    """Ship what is staged for a day, proven against every gate."""
    order = asked.read(ShipOrder)
    row = _row(site, asked)
    with _operating(site, asked), site.heavy.pass_through():
        context = _load("context", "DayContext")(site.store, site.settings, row, _day(order.day), now=site.now)
        shipped = _load("ship", "ship_day")(
            context,
            by=_by(asked, order.reason),
            allow_older=order.allow_older,
            dry_run=order.dry_run,
            override=order.override,
        )
        return _done(shipped.outcome)


def roll_back_target(site: Site, asked: Asked) -> Done:
    """Move a target back to an earlier release; verified first, held afterwards, nothing recomputed."""
    order = asked.read(RollbackOrder)
    return _act(site, asked, order, roll_back, to=order.to, hold=order.hold, until=_instant(order.hold_until))


def hold_target(site: Site, asked: Asked) -> Done:
    """Keep automation from shipping to a target."""
    order = asked.read(HoldOrder)
    return _act(site, asked, order, place_hold, until=_instant(order.until))


def release_hold_of_target(site: Site, asked: Asked) -> Done:
    """Let automation ship to a target again."""
    return _act(site, asked, asked.read(Order), release_hold)


def pin_release(site: Site, asked: Asked) -> Done:
    """Keep a release from garbage collection."""
    order = asked.read(PinOrder)
    until = _instant(order.until)
    return _act(site, asked, order, mark, label=Labelled.PINNED, release=order.release, until=until)


def unpin_release(site: Site, asked: Asked) -> Done:
    """Let garbage collection take a release again."""
    order = asked.read(MarkOrder)
    return _act(site, asked, order, unmark, label=Labelled.PINNED, release=order.release)


def mark_release_bad(site: Site, asked: Asked) -> Done:
    """Keep a release from shipping."""
    order = asked.read(MarkOrder)
    return _act(site, asked, order, mark, label=Labelled.BAD, release=order.release)


def unmark_release_bad(site: Site, asked: Asked) -> Done:
    """Let a release ship again that was marked bad."""
    order = asked.read(MarkOrder)
    return _act(site, asked, order, unmark, label=Labelled.BAD, release=order.release)


def tag_release(site: Site, asked: Asked) -> Done:
    """Give a release a name, like champion, or move it there from another one."""
    order = asked.read(MarkOrder)
    return _act(site, asked, order, tag, name=asked.query.name, release=order.release)


def untag_release(site: Site, asked: Asked) -> Done:
    """Take a name off the release that has it."""
    return _act(site, asked, Order(reason=asked.query.reason), tag, name=asked.query.name, release=None)


def _act(site: Site, asked: Asked, order: Order, change: Callable[..., Any], **more: object) -> Done:
    """Make a change of one target by the token's owner."""
    target = site.find(asked.query.tenant, asked.query.surface)
    with _operating(site, asked):
        by = _by(asked, order.reason)
        return _done(change(site.store, target, by=by, now=site.now, dry_run=order.dry_run, **more))


@contextmanager
def _operating(site: Site, asked: Asked) -> Generator[None]:
    """Raise what is refused with its message, places taken out; send webhooks what was done or refused."""
    try:
        yield
    except (BadRequestError, OperationRefusedError):
        raise
    except (RefusedError, NotFoundError) as error:
        raise OperationRefusedError(redact(str(error))) from error
    except (InputError, LimitExceededError, ConfigurationError) as error:
        raise BadRequestError(redact(str(error))) from error
    finally:
        deliver(
            site.store,
            site.settings,
            [_row(site, asked)],
            now=site.now,
            look_at_freshness=False,
            seconds=_WEBHOOK_SECONDS,
        )


def _row(site: Site, asked: Asked) -> TargetSettings:
    """Return the settings of the target that was asked for; `UnknownAddressError` if there is none."""
    target = site.find(asked.query.tenant, asked.query.surface)
    return site.settings.find(target.tenant, target.surface)


@contextmanager
def _file(asked: Asked) -> Generator[RawFile]:
    """Yield the body as a file of its own, for as long as it is judged."""
    if not asked.body:
        raise BadRequestError("the request has no body: send the file")
    with TemporaryDirectory(prefix="recsys-upload-") as folder:
        path = Path(folder) / "file"
        path.write_bytes(asked.body)
        yield RawFile(asked.query.name, path, len(asked.body), ())


def _load(module: str, name: str) -> Any:
    """Return a function that builds or judges, imported when it is first called: until then the API stays light."""
    return getattr(import_module(f"recsys_assets.pipeline.{module}"), name)


def _by(asked: Asked, reason: str) -> Actor:
    return Actor(name=asked.by or "token", reason=reason)


def _done(found: Any) -> Done:
    return Done(redact(found.message), redact_entry(found.entry) if found.entry else None)


def _of_file(found: Any) -> FileDone:
    return FileDone(
        kind=found.ref.kind,
        version=found.ref.version,
        day=str(found.day) if found.day else None,
        registered=found.registered,
        passed=found.passed,
        message=redact(found.message),
        gates=found.gates,
        entry=redact_entry(found.entry) if found.entry else None,
    )


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise BadRequestError(f"{text!r} is no day: write it like 2026-01-31") from error


def _instant(text: str | None) -> datetime | None:
    try:
        return parse_rfc3339(text) if text else None
    except ConfigurationError as error:
        raise BadRequestError(str(error)) from error


def _operation(path: str, body: Any, handle: Callable[[Site, Asked], Done], **more: Any) -> Action:
    return Action("POST", f"{ROOT}/{path}", "operate", TargetQuery, body, Done, handle, **more)


_OF_FILE: Final[dict[str, Any]] = {"cost": RequestClass.HEAVY, "max_bytes": MAX_FILE_BYTES}
ACTIONS: Final = (
    Action("POST", f"{ROOT}/tests", "operate", FileQuery, bytes, FileDone, judge_file, **_OF_FILE),
    Action("POST", f"{ROOT}/imports", "operate", ImportQuery, bytes, FileDone, import_file, **_OF_FILE),
    _operation("ship", ShipOrder, ship, cost=RequestClass.HEAVY),
    _operation("rollback", RollbackOrder, roll_back_target),
    _operation("hold", HoldOrder, hold_target),
    _operation("release-hold", Order, release_hold_of_target),
    _operation("pin", PinOrder, pin_release),
    _operation("unpin", MarkOrder, unpin_release),
    _operation("mark-bad", MarkOrder, mark_release_bad),
    _operation("unmark-bad", MarkOrder, unmark_release_bad),
    Action("PUT", f"{ROOT}/tags/{{name}}", "operate", TagQuery, MarkOrder, Done, tag_release),
    Action("DELETE", f"{ROOT}/tags/{{name}}", "operate", UntagQuery, None, Done, untag_release),
)
