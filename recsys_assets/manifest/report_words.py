"""What changed from one release to the next, a sentence or two a kind, as somebody would tell it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from recsys_assets.manifest.diff import RANKINGS, KindDiff

NAMED = 3  # ids that a sentence names


@dataclass(frozen=True, slots=True)
class _Words:
    """How the rows of a kind are called, and what they enter and leave."""

    one: str
    many: str
    place: str


_ROWS: Final = _Words("row", "rows", "the artifact")
_WORDS: Final[Mapping[str, _Words]] = {
    "popularity": _Words("item", "items", "the top list"),
    "cooc": _Words("item", "items", "the lists of what is seen together"),
    "implicit": _Words("user", "users", "the lists of what each user looked at"),
    "session_seq": _Words("user", "users", "the lists of what comes next"),
    "item_seq": _Words("item", "items", "the lists of what is seen next"),
    "content_sim": _Words("item", "items", "the tagged catalog"),
}


def tell_change(found: KindDiff) -> str:
    """Return how one kind differs, in words: how many entered, left and moved, and the first of them by name."""
    if found.before is None:
        return f"{found.kind} is new, with {_number(found.rows_after, _words(found))}."
    if found.after is None:
        return f"{found.kind} is gone; it had {_number(found.rows_before, _words(found))}."
    if found.counts is None:
        return f"{found.kind}: {found.told}."
    if not any(found.counts.values()):
        return f"{found.kind}: the same rows as before, in other bytes."
    sizes = f"from {found.rows_before or 0:,} to {found.rows_after or 0:,} rows"
    counts = _counts(found, found.counts)
    return f"{found.kind}, {sizes}: {counts}.{_first(found, found.counts)}{_movers(found)}"


def _words(found: KindDiff) -> _Words:
    return _WORDS.get(found.kind, _ROWS)


def _number(count: int | None, words: _Words) -> str:
    return f"{count or 0:,} {words.one if count == 1 else words.many}"


def _counts(found: KindDiff, counts: Mapping[str, int]) -> str:
    words = _words(found)
    moved = "changed place" if found.kind in RANKINGS else "changed"
    parts = [
        f"{_number(counts['entered'], words)} entered {words.place}" if counts["entered"] else "",
        f"{_number(counts['left'], words)} left it" if counts["left"] else "",
        f"{_number(counts['moved'], words)} {moved}" if counts["moved"] else "",
    ]
    return ", ".join(part for part in parts if part)


def _first(found: KindDiff, counts: Mapping[str, int]) -> str:
    """Name the first that entered and left; they come in the artifact's order, so of a ranking the strongest."""
    told = ""
    if found.entered:
        told += f" New: {_some(found.entered, counts['entered'])}."
    if found.left:
        told += f" Gone: {_some(found.left, counts['left'])}."
    return told


def _movers(found: KindDiff) -> str:
    """Name what rose and what fell most, where rows have places."""
    if found.kind not in RANKINGS:
        return ""
    by_rise = sorted(found.moved, key=lambda one: (one[2] - one[1], one[0]))
    risen = [one for one in by_rise if one[2] < one[1]][:NAMED]
    fallen = [one for one in reversed(by_rise) if one[2] > one[1]][:NAMED]
    told = ""
    for what, rows in (("Risen", risen), ("Fallen", fallen)):
        if rows:
            told += f" {what} most: {', '.join(f'{row} ({before} to {after})' for row, before, after in rows)}."
    return told


def _some(ids: Sequence[str], count: int) -> str:
    more = count - NAMED
    return ", ".join(ids[:NAMED]) + (f" and {more:,} more" if more > 0 else "")
