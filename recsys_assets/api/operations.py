"""Operations over HTTP: test and import files, ship, roll back, hold, pin, mark bad and name releases."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import date, datetime
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Final

import msgspec

from recsys_assets.api.actions import Action, ActionRequest
from recsys_assets.api.connections import RequestClass
from recsys_assets.api.context import ApiContext
from recsys_assets.api.node_forms import Ulid
from recsys_assets.api.problems import redact, redact_entry
from recsys_assets.api.queries import Day, Name, NoQuery, TargetQuery
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
from recsys_assets.settings.settings import TargetSettings

ROOT: Final = "/api/v1/targets/{tenant}/{surface}"
MAX_FILE_BYTES: Final = 100_000_000
_WEBHOOK_SECONDS: Final = 2.0  # Timeout per receiver. The sensor or `deliver` retries later.

Reason = Annotated[str, msgspec.Meta(min_length=1, max_length=1000, description="reason, recorded in the journal")]
FileName = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._ -]{0,99}$(?!\n)", max_length=100)]
TagName = Annotated[str, msgspec.Meta(min_length=1, max_length=63)]
Instant = Annotated[str, msgspec.Meta(max_length=40, description="a time such as 2026-01-31T04:00:00Z")]


class FileQuery(TargetQuery, frozen=True, kw_only=True):
    """Test of an imported file, in the body, for one target."""

    kind: Name
    name: FileName = "file"
    reason: Reason = "test by HTTP"


class ImportQuery(FileQuery, frozen=True, kw_only=True):
    """Import of a file, in the body, for one target and day."""

    day: Day
    reason: Reason = "import by HTTP"
    dry_run: bool = False
    parent: Ulid | None = None


class TagQuery(TargetQuery, frozen=True, kw_only=True):
    """A name of a target's release."""

    name: TagName


class UntagQuery(TagQuery, frozen=True, kw_only=True):
    """Removal of a name, with a reason."""

    reason: Reason


class Order(NoQuery, frozen=True, kw_only=True):
    """Body of every operation: reason, and whether it is a dry run."""

    reason: Reason
    dry_run: bool = False


class ShipOrder(Order, frozen=True, kw_only=True):
    """Ship what is staged for a day."""

    day: Day
    override: tuple[Name, ...] = ()
    allow_older: bool = False


class RollbackOrder(Order, frozen=True, kw_only=True):
    """Go back to `previous`, a release id or name, or the release that was live at a time."""

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


class Done(msgspec.Struct, frozen=True):
    """Outcome of an operation: message, and journal entry (null for a dry run)."""

    message: str
    entry: JournalEntry | None


class FileDone(msgspec.Struct, frozen=True):
    """Outcome of a file: version, gate results, and journal entry (null if nothing changed)."""

    kind: str
    version: str
    day: str | None
    registered: bool
    passed: bool
    message: str
    gates: GateReport
    entry: JournalEntry | None


def judge_file(context: ApiContext, request: ActionRequest) -> FileDone:
    """Test a file against every gate of its import, without registering it. The journal records the result."""
    query: FileQuery = request.query
    row = _row(context, request)
    with _operating(context, request), context.heavy.pass_through(), _file(request) as file:
        try_file = _load("import_by_hand", "try_file")
        by = _by(request, query.reason)
        return _of_file(try_file(context.store, context.settings, row, query.kind, file, by=by, now=context.now()))


def import_file(context: ApiContext, request: ActionRequest) -> FileDone:
    """Test a file and register it for a day. The live release does not change."""
    query: ImportQuery = request.query
    with _operating(context, request), context.heavy.pass_through(), _file(request) as file:
        register, by = _load("import_by_hand", "import_file"), _by(request, query.reason)
        day_context = _day_context(context, request, query.day)
        node = _load("imported", "NodePlace")(query.parent)
        return _of_file(
            register(day_context, query.kind, file, by=by, now=context.now(), dry_run=query.dry_run, node=node)
        )


def ship(context: ApiContext, request: ActionRequest) -> Done:
    """Ship what is staged for a day, checked against every gate."""
    order = request.read(ShipOrder)
    with _operating(context, request), context.heavy.pass_through():
        shipped = _load("ship", "ship_day")(
            _day_context(context, request, order.day),
            by=_by(request, order.reason),
            allow_older=order.allow_older,
            dry_run=order.dry_run,
            override=order.override,
        )
        return _done(shipped.outcome)


def roll_back_target(context: ApiContext, request: ActionRequest) -> Done:
    """Move a target back to an earlier release. It is verified first and held afterwards. Nothing is recomputed."""
    order = request.read(RollbackOrder)
    return _act(context, request, order, roll_back, to=order.to, hold=order.hold, until=_instant(order.hold_until))


def hold_target(context: ApiContext, request: ActionRequest) -> Done:
    """Keep automation from shipping to a target."""
    order = request.read(HoldOrder)
    return _act(context, request, order, place_hold, until=_instant(order.until))


def release_hold_of_target(context: ApiContext, request: ActionRequest) -> Done:
    """Allow automation to ship to a target again."""
    return _act(context, request, request.read(Order), release_hold)


def pin_release(context: ApiContext, request: ActionRequest) -> Done:
    """Keep a release from garbage collection."""
    order = request.read(PinOrder)
    until = _instant(order.until)
    return _act(context, request, order, mark, label=Labelled.PINNED, release=order.release, until=until)


def unpin_release(context: ApiContext, request: ActionRequest) -> Done:
    """Allow garbage collection of a release again."""
    order = request.read(MarkOrder)
    return _act(context, request, order, unmark, label=Labelled.PINNED, release=order.release)


def mark_release_bad(context: ApiContext, request: ActionRequest) -> Done:
    """Keep a release from shipping."""
    order = request.read(MarkOrder)
    return _act(context, request, order, mark, label=Labelled.BAD, release=order.release)


def unmark_release_bad(context: ApiContext, request: ActionRequest) -> Done:
    """Allow a release that was marked bad to ship again."""
    order = request.read(MarkOrder)
    return _act(context, request, order, unmark, label=Labelled.BAD, release=order.release)


def tag_release(context: ApiContext, request: ActionRequest) -> Done:
    """Give a release a name, such as champion, or move the name from another release."""
    order = request.read(MarkOrder)
    return _act(context, request, order, tag, name=request.query.name, release=order.release)


def untag_release(context: ApiContext, request: ActionRequest) -> Done:
    """Remove a name from its release."""
    return _act(context, request, Order(reason=request.query.reason), tag, name=request.query.name, release=None)


def _act(context: ApiContext, request: ActionRequest, order: Order, change: Callable[..., Any], **more: object) -> Done:
    """Carry out a change of one target in the name of the token."""
    target = context.find(request.query.tenant, request.query.surface)
    with _operating(context, request):
        by = _by(request, order.reason)
        return _done(change(context.store, target, by=by, now=context.now, dry_run=order.dry_run, **more))


@contextmanager
def _operating(context: ApiContext, request: ActionRequest) -> Generator[None]:
    """Convert errors to API errors with redacted messages, and deliver webhooks at the end."""
    try:
        yield
    except (BadRequestError, OperationRefusedError):
        raise
    except (RefusedError, NotFoundError) as error:
        raise OperationRefusedError(redact(str(error))) from error
    except (InputError, LimitExceededError, ConfigurationError) as error:
        raise BadRequestError(redact(str(error))) from error
    finally:
        store, settings, targets = context.store, context.settings, [_row(context, request)]
        deliver(store, settings, targets, now=context.now, look_at_freshness=False, seconds=_WEBHOOK_SECONDS)


def _row(context: ApiContext, request: ActionRequest) -> TargetSettings:
    """Return the settings of the requested target. Raises `UnknownAddressError` if it is not configured."""
    target = context.find(request.query.tenant, request.query.surface)
    return context.settings.find(target.tenant, target.surface)


@contextmanager
def _file(request: ActionRequest) -> Generator[RawFile]:
    """Yield the body as a temporary file."""
    if not request.body:
        raise BadRequestError("the request has no body: send the file")
    with TemporaryDirectory(prefix="recsys-upload-") as folder:
        path = Path(folder) / "file"
        path.write_bytes(request.body)
        yield RawFile(request.query.name, path, len(request.body), ())


def _load(module: str, name: str) -> Any:
    """Return a function of the pipeline, imported on first use, so that the API starts without it."""
    return getattr(import_module(f"recsys_assets.pipeline.{module}"), name)


def _day_context(context: ApiContext, request: ActionRequest, day: str) -> Any:
    target_settings = _row(context, request)
    return _load("context", "DayContext")(context.store, context.settings, target_settings, _day(day), now=context.now)


def _by(request: ActionRequest, reason: str) -> Actor:
    return Actor(name=request.by or "token", reason=reason)


def _done(outcome: Any) -> Done:
    return Done(redact(outcome.message), redact_entry(outcome.entry) if outcome.entry else None)


def _of_file(outcome: Any) -> FileDone:
    return FileDone(
        kind=outcome.ref.kind,
        version=outcome.ref.version,
        day=str(outcome.day) if outcome.day else None,
        registered=outcome.registered,
        passed=outcome.passed,
        message=redact(outcome.message),
        gates=outcome.gates,
        entry=redact_entry(outcome.entry) if outcome.entry else None,
    )


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise BadRequestError(f"{text!r} is not a day: expected YYYY-MM-DD, such as 2026-01-31") from error


def _instant(text: str | None) -> datetime | None:
    try:
        return parse_rfc3339(text) if text else None
    except ConfigurationError as error:
        raise BadRequestError(str(error)) from error


def _operation(path: str, body: Any, handle: Callable[[ApiContext, ActionRequest], Done], **more: Any) -> Action:
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
