"""One line as a JSON object: strict, every name seen, nothing converted."""

import json
import re
from typing import Any, NoReturn

from recsys_assets.ingest.quarantine import Reason, fail, fail_found

MAX_LINE_BYTES = 4 * 2**20
MAX_DEPTH = 64  # of arrays and objects; beyond it readers differ, and stacks overflow

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_WHITE_SPACE = b" \t\r\n"
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_MAX_DIGITS = 40  # of an integer that is worth converting: no field takes more, and Python refuses thousands


class Pairs(list[tuple[str, Any]]):
    """Names and values of an object in order, so that repeated names are seen."""


def read_object(line: bytes) -> Pairs:
    """Return the pairs of the object that a line holds; raises `FaultError` with the first thing that is wrong.

    NaN and Infinity are no JSON, a lone surrogate escape is no character, and CR at the end is JSON white space.
    """
    if len(line) > MAX_LINE_BYTES:
        fail(Reason.TOO_LONG, f"{len(line)} bytes: at most {MAX_LINE_BYTES}")
    if line.startswith(_BYTE_ORDER_MARK):
        fail(Reason.BYTE_ORDER_MARK, "begins with a byte order mark: write plain UTF-8")
    if not line.strip(_WHITE_SPACE):
        fail(Reason.BLANK_LINE, "nothing but white space")
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        fail(Reason.BAD_UTF8, f"byte {error.start} is no UTF-8: {error.reason}")
    if text.count("[") + text.count("{") > MAX_DEPTH and _depth(text) > MAX_DEPTH:
        fail(Reason.NOT_JSON, f"nested deeper than {MAX_DEPTH}")
    value = _read_json(text)
    if not isinstance(value, Pairs):
        fail_found(Reason.NOT_OBJECT, "expected an object", value)
    return value


def find_repeated(pairs: Pairs, names: frozenset[str]) -> str | None:
    """Return the first of `names` that stands more than once, if one does."""
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            return name
        if name in names:
            seen.add(name)
    return None


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
        fail(Reason.NOT_JSON, str(error))
    if "\\u" in text:
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            fail(Reason.BAD_UTF8, "a \\u escape is half of a surrogate pair: it is no character")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON value")


def _read_integer(digits: str) -> int:
    return int(digits[:_MAX_DIGITS])


_DECODER = json.JSONDecoder(object_pairs_hook=Pairs, parse_constant=_refuse_constant, parse_int=_read_integer)
