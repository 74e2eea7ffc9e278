"""Parts of messages for people: counts with nouns, names that would have been right, text that no terminal obeys."""

import re
from collections.abc import Iterable
from difflib import get_close_matches

_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_NAMED = 20  # of many known names, those that are nearest to the one that was asked for


def plural(count: int, noun: str) -> str:
    """Return a count with its noun: 1 day, 2 days, 3 entries, 4 matches."""
    if count == 1:
        return f"1 {noun}"
    if re.search(r"[^aeiou]y$", noun):
        return f"{count:,} {noun[:-1]}ies"
    return f"{count:,} {noun}{'es' if noun.endswith(('s', 'x', 'ch', 'sh')) else 's'}"


def name_known(asked: str, known: Iterable[str], *, intro: str = "known are") -> str:
    """Return the names that would have been right, behind a question if one of them is near: "did you mean x? ..."."""
    names = list(known)
    if not names:
        return f"{intro} none"
    near = get_close_matches(asked, names, n=1)
    question = f"did you mean {near[0]}? " if near else ""
    shown = names if len(names) <= _NAMED else get_close_matches(asked, names, n=_NAMED, cutoff=0.0)
    more = f" and {len(names) - len(shown):,} more" if len(names) > len(shown) else ""
    return f"{question}{intro} {', '.join(shown)}{more}"


def printable(text: str) -> str:
    r"""Return text whose control characters are spelled (\u001b), but for tabs and ends of lines.

    Names, reasons and messages come from anybody: a terminal would obey what they hold.
    """
    return _CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
