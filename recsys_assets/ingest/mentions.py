"""User ids that a refused line may carry: decoded by the rules of ingest, however the line spells them."""

import json
import re
from collections.abc import Collection, Iterator

from recsys_assets.ingest.white_space import trim

_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_OPEN_STRING = re.compile(r'"((?:[^"\\]|\\.)*)\Z', re.DOTALL)
_WORD = re.compile(r"""[^\s"',;|{}\[\]()<>=]+""")
_NUMBER = re.compile(r"-?\d{1,40}(?:\.\d{1,40})?(?:[eE][+-]?\d{1,3})?")
_MAX_DEPTH = 4  # of JSON within a string of JSON
_CUT = "..."  # ends a value that a message shows in part


def mentioned_ids(text: str) -> set[str]:
    """Return every text in a line that may be a user's id.

    Each JSON string, its escapes decoded and its ends trimmed as ingest does; each number, an integral one also without
    its fraction and exponent; each word between white space and punctuation, for lines that are no JSON; and the same
    of the JSON that a string holds. A line that was escaped, as it is no UTF-8, has its backslashes read both ways.
    """
    found = set(_ids(text, depth=0))
    return found | set(_ids(text.replace("\\\\", "\\"), depth=0)) if "\\\\" in text else found


def mentions(text: str, names: Collection[str], *, is_cut: bool = False) -> bool:
    """Return True if a line names one of these users, or, where it is cut, may have named one beyond its end."""
    if not mentioned_ids(text).isdisjoint(names) or any(_stands_alone(name, text) for name in names):
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
    if depth == 0 and text.count('"') % 2:  # a quote too many: strings were found between the wrong ones
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


def _stands_alone(name: str, text: str) -> bool:
    """Return True if a name is in a text with no letter, digit, `_`, `-` or escape beside it."""
    return name in text and re.search(rf"(?<![\w\\-]){re.escape(name)}(?![\w\\-])", text) is not None
