"""Answers about the past of a target: what was live when, and who did what to its pointer."""

from dataclasses import dataclass
from datetime import datetime

from recsys_assets.api.paging import Page, page_of
from recsys_assets.api.queries import AtQuery, JournalQuery
from recsys_assets.api.redaction import redact_entry
from recsys_assets.api.site import Site
from recsys_assets.errors import UnknownAddressError
from recsys_assets.release.documents import JournalEntry
from recsys_assets.release.history import effective, live_at
from recsys_assets.release.journal import read_entry, tail


@dataclass(frozen=True, slots=True)
class LiveView:
    """What was live at an instant, since when, and which of its artifacts are no longer stored."""

    release: str
    since: datetime | None
    entry: JournalEntry
    data_through: str | None
    collected: tuple[str, ...]


def show_at(site: Site, query: AtQuery) -> LiveView:
    """Return what was live at an instant, by the journal."""
    target = site.find(query.tenant, query.surface)
    then = live_at(site.store, target, query.time)
    if then is None:
        raise UnknownAddressError(f"nothing of {target} was live at {query.time.isoformat()}: ask for a later time")
    return LiveView(
        release=then.release_id,
        since=effective(then.entry),
        entry=redact_entry(then.entry),
        data_through=then.record.data_through if then.record else None,
        collected=then.collected,
    )


def list_journal(site: Site, query: JournalQuery) -> Page[JournalEntry]:
    """Return who did what to a target's pointer, when and why, the newest first; refusals too."""
    target = site.find(query.tenant, query.surface)
    before = None if query.cursor is None else int(query.cursor)
    newest = tail(site.store, target)
    first = newest.sequence if newest else 0
    if before is not None:
        first = min(first, before - 1)
    numbers = list(range(first, max(first - query.limit, 0) - 1, -1))[: query.limit + 1]
    numbers = [number for number in numbers if number > 0]
    page = page_of(numbers, [str(number) for number in numbers], limit=query.limit)
    return Page(tuple(redact_entry(read_entry(site.store, target, n)) for n in page.items), page.next)
