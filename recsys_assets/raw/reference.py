"""What a line means: the plain reader that alone defines the semantics, and gives the reason for each refused line.

The compiled scanner accepts a subset of what this accepts, with the same values, and hands every other line to it.
"""

import json
import re
from dataclasses import dataclass
from typing import Any, NoReturn

from recsys_assets.raw.rejects import Reason
from recsys_assets.raw.timestamps import MissingZoneError, read_instant
from recsys_assets.raw.white_space import trim

MAX_LINE_BYTES = 4 * 2**20
MAX_DEPTH = 64  # of nested arrays and objects in unknown fields; beyond it readers differ, and stacks overflow
MAX_RANK = 2**63 - 1

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_JSON_WHITE_SPACE = b" \t\r\n"
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_MAX_DIGITS = 40  # of an integer that is worth converting: no field takes more, and Python refuses thousands


@dataclass(frozen=True, slots=True)
class RawEvent:
    """One good line: trimmed ids, `ts` in nanoseconds since 1970 in UTC, None where absent or blank."""

    ts: int
    tenant: str
    surface: str
    user_id: str | None
    session_id: str
    rank: int
    item_id: str
    request_id: str | None
    event: str | None
    unknown: tuple[str, ...] = ()  # names of fields that are not ours, as often as they stand in the line


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a line is bad, and the names that it carries, if it could be read so far."""

    reason: Reason
    detail: str
    tenant: str | None = None
    surface: str | None = None
    day: str | None = None  # the day that a good event belongs to, if it is another one than asked for


def read_line(line: bytes) -> RawEvent | Fault:
    r"""Return the event of one line (without its newline), or the first fault that it has.

    Decided: a known field that stands twice is a fault, because readers differ in which one counts; names of fields
    are compared exactly; null is absent; nothing is converted (`"item_id": 5`, `"rank": 1.0` and `"v": true` have the
    wrong type); NaN and Infinity are no JSON; a lone surrogate escape is no character; CR before the newline is JSON
    white space; unknown fields may hold any JSON value.
    """
    try:
        names, values, unknown = _split(_read_object(line))
    except _FaultError as error:
        return error.fault
    try:
        return _read_event(values, unknown)
    except _FaultError as error:
        return Fault(error.fault.reason, error.fault.detail, *names)


class _FaultError(Exception):
    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.detail)
        self.fault = fault


class _Object(list[tuple[str, Any]]):
    """Pairs of a JSON object, in order, so that repeated names are seen."""


def _fail(reason: Reason, detail: str) -> NoReturn:
    raise _FaultError(Fault(reason, detail))


def _read_object(line: bytes) -> _Object:
    if len(line) > MAX_LINE_BYTES:
        _fail(Reason.TOO_LONG, f"{len(line)} bytes: at most {MAX_LINE_BYTES}")
    if line.startswith(_BYTE_ORDER_MARK):
        _fail(Reason.BYTE_ORDER_MARK, "begins with a byte order mark: write plain UTF-8")
    if not line.strip(_JSON_WHITE_SPACE):
        _fail(Reason.BLANK_LINE, "nothing but white space")
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        _fail(Reason.BAD_UTF8, f"byte {error.start} is no UTF-8: {error.reason}")
    if text.count("[") + text.count("{") > MAX_DEPTH and _depth(text) > MAX_DEPTH:
        _fail(Reason.NOT_JSON, f"nested deeper than {MAX_DEPTH}")
    value = _read_json(text)
    if not isinstance(value, _Object):
        _fail(Reason.NOT_OBJECT, f"expected an object, found {_show(value)}")
    return value


def _depth(text: str) -> int:
    """Return how deep brackets nest outside of strings."""
    deepest = depth = 0
    for character in _STRING.sub("", text):
        depth += (character in "[{") - (character in "]}")
        deepest = max(deepest, depth)
    return deepest


def _read_json(text: str) -> Any:
    try:
        value = _DECODER.decode(text)
    except (ValueError, RecursionError) as error:
        _fail(Reason.NOT_JSON, str(error))
    if "\\u" in text:
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            _fail(Reason.BAD_UTF8, "a \\u escape is half of a surrogate pair: it is no character")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON value")


def _read_integer(digits: str) -> int:
    return int(digits[:_MAX_DIGITS])


_DECODER = json.JSONDecoder(object_pairs_hook=_Object, parse_constant=_refuse_constant, parse_int=_read_integer)
_FIELDS = frozenset(["v", "ts", "tenant", "surface", "user_id", "session_id", "item_id", "request_id", "rank", "event"])


def _split(pairs: _Object) -> tuple[tuple[str | None, str | None], dict[str, Any], tuple[str, ...]]:
    """Return the (tenant, surface) that a fault can be told of, the known fields, and the names of the others."""
    values = {name: value for name, value in pairs if name in _FIELDS}
    unknown = tuple(name for name, _ in pairs if name not in _FIELDS)
    if len(values) + len(unknown) < len(pairs):
        seen: set[str] = set()
        twice = [name for name, _ in pairs if name in _FIELDS and (name in seen or seen.add(name))]
        _fail(Reason.DUPLICATE_FIELD, f"{twice[0]} stands more than once")
    tenant, surface = (_name_or_none(values.get(name)) for name in ("tenant", "surface"))
    return (tenant, surface), values, unknown


def _name_or_none(value: object) -> str | None:
    return trim(value) or None if isinstance(value, str) else None


def _read_event(values: dict[str, Any], unknown: tuple[str, ...]) -> RawEvent:
    _check_version(values)
    return RawEvent(
        ts=_instant(values),
        tenant=_required(values, "tenant"),
        surface=_required(values, "surface"),
        session_id=_required(values, "session_id"),
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
        _fail(Reason.MISSING_FIELD, "v is missing: expected 1")
    if type(version) is not int:
        _fail(Reason.WRONG_TYPE, f"v: expected the integer 1, found {_show(version)}")
    if version != 1:
        _fail(Reason.UNKNOWN_VERSION, f"v: expected 1, found {version}")


def _instant(values: dict[str, Any]) -> int:
    text = values.get("ts")
    if text is None:
        _fail(Reason.MISSING_FIELD, "ts is missing")
    if not isinstance(text, str):
        _fail(Reason.WRONG_TYPE, f"ts: expected a string, found {_show(text)}")
    try:
        return read_instant(text)
    except MissingZoneError as error:
        _fail(Reason.NO_ZONE, f"ts {_show(text)} {error}")
    except ValueError as error:
        _fail(Reason.BAD_TIME, f"ts {_show(text)} {error}")


def _required(values: dict[str, Any], name: str) -> str:
    if values.get(name) is None:
        _fail(Reason.MISSING_FIELD, f"{name} is missing")
    return _optional(values, name) or _fail(Reason.EMPTY_FIELD, f"{name} is blank")


def _optional(values: dict[str, Any], name: str) -> str | None:
    value = values.get(name)
    if value is None:
        return None
    if not isinstance(value, str):
        _fail(Reason.WRONG_TYPE, f"{name}: expected a string, found {_show(value)}")
    return trim(value) or None


def _rank(values: dict[str, Any]) -> int:
    rank = values.get("rank")
    if rank is None:
        return 0
    if type(rank) is not int:
        _fail(Reason.WRONG_TYPE, f"rank: expected an integer, found {_show(rank)}")
    if not 0 <= rank <= MAX_RANK:
        _fail(Reason.OUT_OF_RANGE, f"rank: expected 0 to {MAX_RANK}, found {_show(rank)}")
    return rank


def _show(value: object) -> str:
    """Return a value as JSON, cut short."""
    text = "an object" if isinstance(value, _Object) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _MAX_DIGITS else f"{text[:_MAX_DIGITS]}..."
