"""Two made-up shops: their items by category, most wanted first, and the catalog rows that describe them."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

BOOK_FIRST = ("silent", "crooked", "golden", "forgotten", "northern", "paper", "winter", "hollow", "burning", "last")
BOOK_SECOND = ("orchard", "harbour", "letters", "machine", "island", "clock", "garden", "river")
GARDEN_FIRST = ("copper", "oak", "cast-iron", "willow", "ceramic", "steel", "hemp", "enamel", "bamboo", "zinc")
GARDEN_SECOND = ("watering-can", "trowel", "planter", "bench", "lantern", "trellis", "rake", "bird-bath")


@dataclass(frozen=True, slots=True)
class Item:
    """Something on sale."""

    item_id: str
    category: str
    tags: tuple[str, ...]
    price: float


@dataclass(frozen=True, slots=True)
class Shop:
    """A tenant: its surfaces, and its items by category in the order in which people want them."""

    tenant: str
    surfaces: tuple[str, ...]
    categories: dict[str, tuple[Item, ...]]

    @property
    def items(self) -> Iterator[Item]:
        """Every item of every category."""
        for items in self.categories.values():
            yield from items


def open_shops() -> tuple[Shop, ...]:
    """Return the two shops of the demo: books (home, search) and garden (start, offers)."""
    books = _stock(("crime", "travel", "cookery", "poetry", "science"), BOOK_FIRST, BOOK_SECOND, prefix="the-")
    garden = _stock(("balcony", "vegetables", "lawn", "terrace"), GARDEN_FIRST, GARDEN_SECOND, prefix="")
    return Shop("books", ("home", "search"), books), Shop("garden", ("start", "offers"), garden)


def catalog_rows(shop: Shop) -> Iterator[dict[str, object]]:
    """Yield one catalog row per item and surface, as the catalog file holds them; pages show the title."""
    for surface in shop.surfaces:
        for item in shop.items:
            title = item.item_id.replace("-", " ").capitalize()
            yield {
                "item_id": item.item_id,
                "title": title,
                "tags": list(item.tags),
                "namespace": surface,
                "price": item.price,
            }


def _stock(
    categories: tuple[str, ...], first: tuple[str, ...], second: tuple[str, ...], *, prefix: str
) -> dict[str, tuple[Item, ...]]:
    """Shuffle the names, always alike, and deal them out to the categories in turn."""
    names = list(product(first, second))
    random.Random(prefix).shuffle(names)  # noqa: S311 - a made-up shop, no secret
    dealt: dict[str, list[Item]] = {category: [] for category in categories}
    for n, (adjective, noun) in enumerate(names):
        category = categories[n % len(categories)]
        tags = (category, noun.title(), adjective, "gift" if n % 7 == 0 else "everyday")
        dealt[category].append(Item(f"{prefix}{adjective}-{noun}", category, tags, price=4.5 + (n * 37 % 90) / 2))
    return {category: tuple(items) for category, items in dealt.items()}
