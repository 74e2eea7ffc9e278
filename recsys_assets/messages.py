"""Parts of messages: counts with nouns, suggestions of known names, and text safe for terminals."""

import re
from collections.abc import Iterable
from difflib import get_close_matches

_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_NAMED = 20  # maximum names listed, the most similar ones first


def plural(count: int, noun: str) -> str:
    """Return a count with its noun: 1 day, 2 days, 3 entries, 4 matches."""
    if count == 1:
        return f"1 {noun}"
    if re.search(r"[^aeiou]y$", noun):
        return f"{count:,} {noun[:-1]}ies"
    return f"{count:,} {noun}{'es' if noun.endswith(('s', 'x', 'ch', 'sh')) else 's'}"


def name_known(name: str, valid: Iterable[str], *, intro: str = "known are") -> str:
    """Return the known names, preceded by a suggestion if one is similar: "did you mean x? ..."."""
    names = list(valid)
    if not names:
        return f"{intro} none"
    near = get_close_matches(name, names, n=1)
    question = f"did you mean {near[0]}? " if near else ""
    shown = names if len(names) <= _NAMED else get_close_matches(name, names, n=_NAMED, cutoff=0.0)
    more = f" and {len(names) - len(shown):,} more" if len(names) > len(shown) else ""
    return f"{question}{intro} {', '.join(shown)}{more}"


def printable(text: str) -> str:
    r"""Return text with escaped control characters (\u001b), except tabs and newlines.

    Names, reasons and messages are untrusted, and a terminal would execute control sequences in them.
    """
    return _CONTROLS.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
