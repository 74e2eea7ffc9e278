"""A day of visits to a shop: people with tastes look through pages of one category, click a little and buy less."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from shop import Item, Shop

Event = dict[str, object]

ANONYMOUS_SHARE = 0.3
CLICK_SHARE = 0.12
PURCHASE_SHARE = 0.2
STRAY_SHARE = 0.15
PAGE = 6


@dataclass(frozen=True, slots=True)
class Visit:
    """One session: who, where, when it starts and what it is about."""

    shop: Shop
    surface: str
    session_id: str
    user_id: str | None
    start: datetime
    category: str
    pages: int


def visits(shop: Shop, surface: str, day: date, *, count: int, rng: random.Random) -> Iterator[Visit]:
    """Yield `count` sessions of a UTC day; a user keeps to the same two categories all week."""
    categories = list(shop.categories)
    midnight = datetime.combine(day, time(), UTC)
    for n in range(count):
        user = _pick(400, rng)
        favourites = (categories[user % len(categories)], categories[user * 7 % len(categories)])
        # The evening peak; the last sessions end before midnight.
        hour = min(max(rng.gauss(18, 4), 0.5), 23)
        yield Visit(
            shop=shop,
            surface=surface,
            session_id=f"{shop.tenant[0]}{surface[0]}-{day:%m%d}-{n:04}",
            user_id=None if rng.random() < ANONYMOUS_SHARE else f"{shop.tenant}-user-{user:03}",
            start=midnight + timedelta(hours=hour),
            category=rng.choice(favourites),
            pages=1 + _pick(4, rng),
        )


def events(visit: Visit, rng: random.Random) -> Iterator[Event]:
    """Yield the events of a session in the order in which they happen."""
    at = visit.start
    for page in range(visit.pages):
        at += timedelta(seconds=rng.randint(8, 90), milliseconds=rng.randint(0, 999))
        request = f"{visit.session_id}-r{page}"
        for rank, item in enumerate(_page_items(visit, rng)):
            yield _event(visit, item, at=at, request=request, rank=rank, kind="impression")
            if rng.random() < CLICK_SHARE:
                later = at + timedelta(seconds=3 + rank)
                yield _event(visit, item, at=later, request=request, rank=rank, kind="click")
                if rng.random() < PURCHASE_SHARE:
                    much_later = later + timedelta(seconds=40)
                    yield _event(visit, item, at=much_later, request=request, rank=rank, kind="purchase")


def crawl(visit: Visit) -> Iterator[Event]:
    """Yield a robot's session: every item of the shop once, a second apart."""
    for n, item in enumerate(visit.shop.items):
        at = visit.start + timedelta(seconds=n)
        yield _event(visit, item, at=at, request=f"{visit.session_id}-r{n}", rank=0, kind="impression")


def _page_items(visit: Visit, rng: random.Random) -> list[Item]:
    """Draw the items of a page: mostly the visit's category, the wanted ones more often."""
    chosen: dict[str, Item] = {}
    while len(chosen) < PAGE:
        stray = rng.random() < STRAY_SHARE
        category = rng.choice(list(visit.shop.categories)) if stray else visit.category
        items = visit.shop.categories[category]
        item = items[_pick(len(items), rng)]
        chosen.setdefault(item.item_id, item)
    return list(chosen.values())


def _pick(size: int, rng: random.Random) -> int:
    """Draw from 0 to size - 1 by Zipf's law: place k comes in proportion to 1 / k."""
    return min(int(size ** rng.random()), size) - 1


def _event(visit: Visit, item: Item, *, at: datetime, request: str, rank: int, kind: str) -> Event:
    event: Event = {
        "v": 1,
        "ts": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "tenant": visit.shop.tenant,
        "surface": visit.surface,
        "session_id": visit.session_id,
        "item_id": item.item_id,
        "request_id": request,
        "rank": rank,
        "event": kind,
    }
    return event if visit.user_id is None else {**event, "user_id": visit.user_id}
