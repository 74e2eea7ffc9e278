"""Strict reader of one line as a JSON object: repeated names are kept, values are not converted."""

import json
import re
from typing import Any, NoReturn

from recsys_assets.ingest.quarantine import Reason, fail, fail_found

MAX_LINE_BYTES = 4 * 2**20
MAX_DEPTH = 64  # Limit of nested arrays and objects. Beyond it, readers differ and stacks overflow.

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_WHITE_SPACE = b" \t\r\n"
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
# Digits of an integer that are converted: no field allows more, and Python refuses thousands of digits.
_MAX_DIGITS = 40


class Pairs(list[tuple[str, Any]]):
    """Names and values of an object in order, repeated names included."""


def read_object(line: bytes) -> Pairs:
    """Return the pairs of the object that a line holds. Raises `FaultError` with the first fault.

    NaN, Infinity and lone surrogate escapes are refused. CR at the end is JSON white space.
    """
    if len(line) > MAX_LINE_BYTES:
        fail(Reason.TOO_LONG, f"{len(line)} bytes: at most {MAX_LINE_BYTES}")
    if line.startswith(_BYTE_ORDER_MARK):
        fail(Reason.BYTE_ORDER_MARK, "begins with a byte order mark: write plain UTF-8")
    if not line.strip(_WHITE_SPACE):
        fail(Reason.BLANK_LINE, "only white space")
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        fail(Reason.BAD_UTF8, f"byte {error.start} is not valid UTF-8: {error.reason}")
    if text.count("[") + text.count("{") > MAX_DEPTH and _depth(text) > MAX_DEPTH:
        fail(Reason.NOT_JSON, f"nested deeper than {MAX_DEPTH}")
    value = _read_json(text)
    if not isinstance(value, Pairs):
        fail_found(Reason.NOT_OBJECT, "expected an object", value)
    return value


def find_repeated(pairs: Pairs, names: frozenset[str]) -> str | None:
    """Return the first of `names` that appears more than once, or None if none does."""
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            return name
        if name in names:
            seen.add(name)
    return None


def _depth(text: str) -> int:
    """Return the nesting depth of brackets outside of strings."""
    deepest = depth = 0
    for character in _STRING.sub("", text):
        depth += (character in "[{") - (character in "]}")
        deepest = max(deepest, depth)
    return deepest


def _read_json(text: str) -> Any:
    try:
        value = _DECODER.decode(text)
    except (ValueError, RecursionError) as error:
        fail(Reason.NOT_JSON, str(error))
    if "\\u" in text:
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            fail(Reason.BAD_UTF8, "a \\u escape is half of a surrogate pair: it is not a character")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")


def _read_integer(digits: str) -> int:
    return int(digits[:_MAX_DIGITS])


_DECODER = json.JSONDecoder(object_pairs_hook=Pairs, parse_constant=_refuse_constant, parse_int=_read_integer)
