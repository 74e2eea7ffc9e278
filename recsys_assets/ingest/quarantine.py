"""Quarantined lines: the reason for each refusal, file and line number, and the text."""

import json
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import NoReturn

import msgspec

from recsys_assets.ingest.white_space import trim

_MAX_SHOWN = 40  # characters of a value in a message


MAX_TEXT_BYTES = 4096
ERASED = "(erased: a user who is forgotten)"  # in place of the text of a line that names such a user
_LONG = 10  # times the mean size of good lines: longer bad lines may hide records
_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_OPEN_STRING = re.compile(r'"((?:[^"\\]|\\.)*)\Z', re.DOTALL)
_WORD = re.compile(r"""[^\s"',;|{}\[\]()<>=]+""")
_NUMBER = re.compile(r"-?\d{1,40}(?:\.\d{1,40})?(?:[eE][+-]?\d{1,3})?")
_MAX_DEPTH = 4  # limit of JSON within a string of JSON
_CUT = "..."  # the end of a value that a message shows only in part


class Reason(StrEnum):
    """Reason for refusing a line. All except OUT_OF_WINDOW mean that the line is bad."""

    TOO_LONG = "too_long"  # over 4 MiB
    BYTE_ORDER_MARK = "byte_order_mark"
    BAD_UTF8 = "bad_utf8"  # bytes that are not UTF-8, or an escape that is not a character
    BLANK_LINE = "blank_line"
    NOT_CSV = "not_csv"  # only rows of a catalog
    NOT_JSON = "not_json"  # also NaN and Infinity, and nesting beyond `json_object.MAX_DEPTH`
    NOT_OBJECT = "not_object"
    DUPLICATE_FIELD = "duplicate_field"
    MISSING_FIELD = "missing_field"
    WRONG_TYPE = "wrong_type"
    EMPTY_FIELD = "empty_field"
    OUT_OF_RANGE = "out_of_range"
    NUL_CHARACTER = "nul_character"  # U+0000 in a name or id: databases cannot hold it
    NO_SESSION = "no_session"  # where sessions are derived: neither session_id nor user_id
    UNKNOWN_VERSION = "unknown_version"
    BAD_TIME = "bad_time"
    NO_ZONE = "no_zone"
    # Not the reason of a single line: the estimated number of records hidden in long bad lines.
    HIDDEN_LINES = "hidden_lines"
    OUT_OF_WINDOW = "out_of_window"  # a good event of another day, which is in `day`


# Reasons of lines that could not be split into records, so that one line may hold many.
LINE_HIDING_REASONS = frozenset({Reason.TOO_LONG, Reason.BAD_UTF8, Reason.NOT_JSON, Reason.NOT_CSV})


def hidden_lines(bad: int, bad_bytes: int, *, good: int, good_bytes: int) -> int:
    """Estimate how many records are hidden in bad lines of `LINE_HIDING_REASONS`: damaged data, or lines without ends.

    `bad` such lines with `bad_bytes` bytes count as the number of good lines of the same size, less `bad`, if on
    average they are longer than ten good lines. Otherwise nothing is hidden (0).
    """
    if not bad or good * bad_bytes <= _LONG * good_bytes * bad:
        return 0
    return good * bad_bytes // good_bytes - bad


class LineFault(msgspec.Struct, frozen=True):
    """Reason for refusing a line, and the tenant and surface that it names, if it could be parsed that far."""

    reason: Reason
    detail: str
    tenant: str | None = None
    surface: str | None = None
    day: str | None = None  # the day of a good event that is not of the requested day


class FaultError(Exception):
    """Error that stops the reading of one line. It never leaves the package.

    `rule` is the detail without any content of the line.
    """

    def __init__(self, reason: Reason, rule: str, value: str = "") -> None:
        self.reason = reason
        self.rule = rule
        self.detail = rule + value
        super().__init__(self.detail)


def fail(reason: Reason, detail: str) -> NoReturn:
    """Stop reading the line: raises `FaultError`."""
    raise FaultError(reason, detail)


def fail_found(reason: Reason, rule: str, value: object) -> NoReturn:
    """Stop reading the line because a value in it breaks the rule: raises `FaultError`."""
    raise FaultError(reason, rule, f", found {show(value)}")


def show(value: object) -> str:
    """Return a JSON value as text for a message, cut to `_MAX_SHOWN` characters."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."


@dataclass(frozen=True, slots=True)
class Reject:
    r"""One line in quarantine. Its fields are in the order in which they are written.

    `tenant` and `surface` are the names that the line carries, if it could be parsed that far. `text` holds at most the
    first `MAX_TEXT_BYTES` of the line's `size` bytes. `escaped`: the line was not valid UTF-8, so that each backslash
    of the text is doubled and each invalid byte is written as `\xNN`, without loss.
    """

    file: str
    line: int  # counted from 1
    reason: Reason
    detail: str
    size: int
    text: str
    escaped: bool = False
    tenant: str | None = None
    surface: str | None = None
    day: str | None = None


def show_line(line: bytes) -> tuple[str, bool]:
    """Return the beginning of a line as text, and whether it had to be escaped because it is not valid UTF-8."""
    head = line[:MAX_TEXT_BYTES]
    if len(head) < len(line):
        head = head[: _whole_characters(head)]
    try:
        return head.decode(), False
    except UnicodeDecodeError:
        return head.replace(b"\\", b"\\\\").decode(errors="backslashreplace"), True


def encode_rejects(rejects: Iterable[Reject]) -> bytes:
    """Return rejects as JSON lines, one object each, without the fields that are None."""
    return msgspec.json.Encoder().encode_lines([_written(reject) for reject in rejects])


def _whole_characters(head: bytes) -> int:
    """Return the length of `head` without a last character that the limit cut: the cut is not a fault of the line."""
    for back in range(1, 4):
        if head[-back] >= 0xC0:  # noqa: PLR2004 - the first byte of a multi-byte character
            return len(head) - back
        if head[-back] < 0x80:  # noqa: PLR2004 - a one-byte character
            break
    return len(head)


def _written(reject: Reject) -> dict[str, object]:
    return {name: value for name, value in asdict(reject).items() if value is not None}


def mentioned_ids(text: str) -> set[str]:
    """Return every text in a line that may be a user's id.

    - Each JSON string, with escapes decoded and trimmed as ingest does.
    - Each number, an integral one also without its fraction and exponent.
    - Each word between white space and punctuation, for lines that are not JSON.
    - The same of JSON inside a string.

    The backslashes of a line that was escaped, because it is not valid UTF-8, are read both ways.
    """
    ids = set(_ids(text, depth=0))
    return ids | set(_ids(text.replace("\\\\", "\\"), depth=0)) if "\\\\" in text else ids


def mentions(text: str, names: Collection[str], *, is_cut: bool = False) -> bool:
    """Return True if a line names one of these users, or was cut and may have named one after the cut."""
    if not mentioned_ids(text).isdisjoint(names) or any(_is_whole_word(name, text) for name in names):
        return True
    begun = _OPEN_STRING.search(text.removesuffix(_CUT)) if is_cut or text.endswith(_CUT) else None
    return begun is not None and any(name.startswith(trim(_decoded(begun[1]))) for name in names)


def _ids(text: str, *, depth: int) -> Iterator[str]:
    for literal in _STRING.finditer(text):
        value = _decoded(literal[1])
        yield trim(value)
        if depth < _MAX_DEPTH and ('"' in value or "{" in value):
            yield from _ids(value, depth=depth + 1)
    for word in _WORD.findall(_STRING.sub(" ", text)):
        yield word
        for part in word.split(":"):
            yield part
            yield from _integral(part)
    if depth == 0 and text.count('"') % 2:  # an odd number of quotes: strings were matched between the wrong ones
        yield from _WORD.findall(text)


def _decoded(inner: str) -> str:
    try:
        return str(json.loads(f'"{inner}"', strict=False))
    except ValueError:
        return inner


def _integral(word: str) -> Iterator[str]:
    if _NUMBER.fullmatch(word):
        value = float(word)
        if value.is_integer() and abs(value) < 2**53:
            yield str(int(value))


def _is_whole_word(name: str, text: str) -> bool:
    """Return True if a name is in a text with no letter, digit, `_`, `-` or escape next to it."""
    return name in text and re.search(rf"(?<![\w\\-]){re.escape(name)}(?![\w\\-])", text) is not None
