"""Reference reader of one line: it defines the semantics, and gives the reason for each refused line.

The compiled scanner accepts a subset of the lines that this reader accepts, with the same values. All other lines are
judged here.
"""

from typing import Any

import msgspec

from recsys_assets.ingest.json_object import Pairs, find_repeated, read_object
from recsys_assets.ingest.quarantine import FaultError, LineFault, Reason, fail, fail_found
from recsys_assets.ingest.timestamps import MissingZoneError, read_instant
from recsys_assets.ingest.white_space import trim

MAX_RANK = 2**63 - 1
_FIELDS = frozenset({"v", "ts", "tenant", "surface", "user_id", "session_id", "item_id", "request_id", "rank", "event"})


class Reading(msgspec.Struct, frozen=True):
    """Requirements of a good line, and the content of reports of bad lines.

    `needs_session`: if False, a line with a `user_id` may lack `session_id`. `shows_values`: if False, reports repeat
    nothing of a refused line, because it may be the id of a user.
    """

    needs_session: bool = True
    shows_values: bool = True


PLAIN = Reading()


class RawEvent(msgspec.Struct, frozen=True):
    """One good line: trimmed ids, `ts` in nanoseconds since 1970 in UTC, None where absent or blank."""

    ts: int
    tenant: str
    surface: str
    user_id: str | None
    session_id: str | None
    rank: int
    item_id: str
    request_id: str | None
    event: str | None
    unknown: tuple[str, ...] = ()  # names of fields outside the contract, as often as they appear in the line


def read_line(line: bytes, reading: Reading = PLAIN) -> RawEvent | LineFault:
    r"""Return the event of one line (without its newline), or its first fault.

    - A known field that appears twice is a fault, because readers differ in which one they use.
    - Names of fields are compared exactly.
    - null means absent.
    - Values are not converted: `"item_id": 5`, `"rank": 1.0` and `"v": true` have the wrong type.
    - NaN, Infinity and lone surrogate escapes are refused.
    - CR before the newline is JSON white space.
    - U+0000 is refused in every known field.
    - Unknown fields may hold any JSON value.
    """
    try:
        pairs = read_object(line)
    except FaultError as error:
        return LineFault(error.reason, error.detail if reading.shows_values else error.rule)
    values = {name: value for name, value in pairs if name in _FIELDS}
    try:
        return _read_event(values, _unknown_names(pairs), reading)
    except FaultError as error:
        tenant, surface = (_name_or_none(values.get(name)) for name in ("tenant", "surface"))
        return LineFault(error.reason, error.detail if reading.shows_values else error.rule, tenant, surface)


def _unknown_names(pairs: Pairs) -> tuple[str, ...]:
    repeated = find_repeated(pairs, _FIELDS)
    if repeated:
        fail(Reason.DUPLICATE_FIELD, f"{repeated} appears more than once")
    return tuple(name for name, _ in pairs if name not in _FIELDS)


def _name_or_none(value: object) -> str | None:
    return trim(value) or None if isinstance(value, str) else None


def _read_event(values: dict[str, Any], unknown: tuple[str, ...], reading: Reading) -> RawEvent:
    _check_version(values)
    return RawEvent(
        ts=_instant(values),
        tenant=_required(values, "tenant"),
        surface=_required(values, "surface"),
        session_id=_required(values, "session_id") if reading.needs_session else _session(values),
        item_id=_required(values, "item_id"),
        user_id=_optional(values, "user_id"),
        request_id=_optional(values, "request_id"),
        rank=_rank(values),
        event=_optional(values, "event"),
        unknown=unknown,
    )


def _check_version(values: dict[str, Any]) -> None:
    version = values.get("v")
    if version is None:
        fail(Reason.MISSING_FIELD, "v is missing: expected 1")
    if type(version) is not int:
        fail_found(Reason.WRONG_TYPE, "v: expected the integer 1", version)
    if version != 1:
        fail_found(Reason.UNKNOWN_VERSION, "v: expected 1", version)


def _instant(values: dict[str, Any]) -> int:
    text = values.get("ts")
    if text is None:
        fail(Reason.MISSING_FIELD, "ts is missing")
    if not isinstance(text, str):
        fail_found(Reason.WRONG_TYPE, "ts: expected a string", text)
    try:
        return read_instant(text)
    except MissingZoneError as error:
        fail_found(Reason.NO_ZONE, f"ts {error}", text)
    except ValueError as error:
        fail_found(Reason.BAD_TIME, f"ts {error}", text)


def _required(values: dict[str, Any], name: str) -> str:
    if values.get(name) is None:
        fail(Reason.MISSING_FIELD, f"{name} is missing")
    return _optional(values, name) or fail(Reason.EMPTY_FIELD, f"{name} is blank")


def _session(values: dict[str, Any]) -> str | None:
    session = _optional(values, "session_id")
    if session is None and _optional(values, "user_id") is None:
        fail(Reason.NO_SESSION, "session_id is missing, and there is no user_id to derive the session from")
    return session


def _optional(values: dict[str, Any], name: str) -> str | None:
    value = values.get(name)
    if value is None:
        return None
    if not isinstance(value, str):
        fail_found(Reason.WRONG_TYPE, f"{name}: expected a string", value)
    if "\0" in value:
        fail(Reason.NUL_CHARACTER, f"{name} holds U+0000, which databases cannot store: remove it")
    return trim(value) or None


def _rank(values: dict[str, Any]) -> int:
    rank = values.get("rank")
    if rank is None:
        return 0
    if type(rank) is not int:
        fail_found(Reason.WRONG_TYPE, "rank: expected an integer", rank)
    if not 0 <= rank <= MAX_RANK:
        fail_found(Reason.OUT_OF_RANGE, f"rank: expected 0 to {MAX_RANK}", rank)
    return rank
