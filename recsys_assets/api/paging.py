"""Pages of lists: cut to a size, with a cursor that says where the next one begins."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Generic, TypeVar

from recsys_assets.errors import RefusedError
from recsys_assets.identity import Target
from recsys_assets.release.layout import release_prefix
from recsys_assets.storage.store import ObjectStore

MAX_LISTED = 20_000  # objects of one listing: a store that holds more is not looked through on somebody's request

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """A part of a list, and the cursor of the part after it (None: this was the last)."""

    items: tuple[Item, ...]
    next: str | None


@dataclass(frozen=True, slots=True)
class Recorded:
    """One release in the store: its id, and when its record was written (POSIX microseconds)."""

    id: str
    written: int

    @property
    def cursor(self) -> str:
        """Where the page after this one begins."""
        return f"{self.written}-{self.id}"


def recorded_releases(store: ObjectStore, target: Target, *, cursor: str | None) -> Iterator[Recorded]:
    """Yield the releases of a target whose record stands, the last written first, after the one of a cursor."""
    prefix = release_prefix(target)
    listed = list(islice(store.list(prefix), MAX_LISTED + 1))
    if len(listed) > MAX_LISTED:
        raise RefusedError(f"{target} has more than {MAX_LISTED} releases: too many to look through")
    found = [
        Recorded(item.key[len(prefix) :].removesuffix(".json"), round(item.modified * 1_000_000)) for item in listed
    ]
    found.sort(key=_last_written_first)
    after = None if cursor is None else _last_written_first(_recorded(cursor))
    return (item for item in found if after is None or _last_written_first(item) > after)


def page_of(items: list[Item], cursors: list[str], *, limit: int) -> Page[Item]:
    """Return the first `limit` items; `items` holds one more when there is a page after this one."""
    more = len(items) > limit
    return Page(tuple(items[:limit]), cursors[limit - 1] if more else None)


def _recorded(cursor: str) -> Recorded:
    written, _, release_id = cursor.partition("-")
    return Recorded(release_id, int(written))


def _last_written_first(item: Recorded) -> tuple[int, str]:
    return -item.written, item.id
