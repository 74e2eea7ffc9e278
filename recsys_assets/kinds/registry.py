"""The registry of artifact kinds: those of this package and those that installed packages add by entry point."""

from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Final

from pydantic import ValidationError

from recsys_assets.encoding.rows import Shape
from recsys_assets.errors import ConfigurationError
from recsys_assets.identity import is_slug
from recsys_assets.kinds.als_factors import SHAPE as ALS_FACTORS
from recsys_assets.kinds.als_factors import AlsParams, factorise
from recsys_assets.kinds.content_sim import SHAPE as CONTENT_SIM
from recsys_assets.kinds.content_sim import ContentSimParams, list_tags
from recsys_assets.kinds.cooc import SHAPE as COOC
from recsys_assets.kinds.cooc import CoocParams, count_neighbors
from recsys_assets.kinds.implicit import SHAPE as IMPLICIT
from recsys_assets.kinds.implicit import ImplicitParams, score_items
from recsys_assets.kinds.item_seq import SHAPE as ITEM_SEQ
from recsys_assets.kinds.item_seq import ItemSeqParams, count_next
from recsys_assets.kinds.kind import Kind
from recsys_assets.kinds.params import KindParams
from recsys_assets.kinds.popularity import SHAPE as POPULARITY
from recsys_assets.kinds.popularity import PopularityParams, build_popularity
from recsys_assets.kinds.session_seq import SHAPE as SESSION_SEQ
from recsys_assets.kinds.session_seq import SessionSeqParams, score_followers
from recsys_assets.settings.settings import Settings
from recsys_assets.settings.target import TargetSettings
from recsys_assets.sharding import NEVER

GROUP: Final = "recsys_assets.kinds"


@cache
def installed_kinds(taken: frozenset[str]) -> Mapping[str, Kind]:
    """Return, by name, the kinds that other packages add; looked for once in a process.

    An entry point is named as its kind, and leads to a `Kind`. Raises `ConfigurationError` naming package and entry
    point for one that cannot be imported, is no `Kind`, or has a name that is `taken` or stands twice: a kind that was
    passed over would be missed only when its artifact is.
    """
    found: dict[str, Kind] = {}
    for point in sorted(entry_points(group=GROUP), key=lambda point: (point.name, point.value)):
        kind = _load(point)
        if kind.name in taken or kind.name in found:
            raise _broken(point, "there is a kind of this name already")
        found[kind.name] = kind
    return found


def _load(point: EntryPoint) -> Kind:
    try:
        kind: object = point.load()
    except Exception as error:  # the code of others: whatever it raises, its package is named
        raise _broken(point, f"it fails to load with {type(error).__name__}: {error}") from error
    if not isinstance(kind, Kind):
        raise _broken(point, f"it leads to {kind!r:.80}, not to a recsys_assets.kinds.kind.Kind")
    if kind.name != point.name or not is_slug(kind.name):
        raise _broken(point, f"its kind is called {kind.name!r}: give both one name of letters, digits and _")
    return kind


def _broken(point: EntryPoint, why: str) -> ConfigurationError:
    package = f"{point.dist.name} {point.dist.version}" if point.dist else "a package without a name"
    return ConfigurationError(
        f"the package {package} adds the kind {point.name} ({GROUP}: {point.value}): {why}; mend the package, or "
        "uninstall it"
    )


_OWN: Final[Mapping[str, Kind]] = {
    kind.name: kind
    for kind in (
        Kind(
            name="popularity",
            description="How often each item was seen, most seen first.",
            params=PopularityParams,
            shape=POPULARITY,
            event_columns=("item_id",),
            kernel=build_popularity,
        ),
        Kind(
            name="cooc",
            description="Which items met in the same sessions, and in how many; the best neighbours of each item.",
            params=CoocParams,
            shape=COOC,
            event_columns=("session_id", "item_id"),
            kernel=count_neighbors,
        ),
        Kind(
            name="implicit",
            description="How much each user had to do with each item, by weighted counts; the best items of each user.",
            params=ImplicitParams,
            shape=IMPLICIT,
            event_columns=("user_id", "item_id", "event"),
            kernel=score_items,
        ),
        Kind(
            name="session_seq",
            description="What each user came back to after the first thing seen; the most followed items of each user.",
            params=SessionSeqParams,
            shape=SESSION_SEQ,
            event_columns=("user_id", "item_id"),
            kernel=score_followers,
        ),
        Kind(
            name="content_sim",
            description="The tags of each catalog item, by which services find items alike.",
            params=ContentSimParams,
            shape=CONTENT_SIM,
            event_columns=(),
            kernel=list_tags,
        ),
        Kind(
            name="item_seq",
            description="Which item came new into a session right after another; the best next items of each item.",
            params=ItemSeqParams,
            shape=ITEM_SEQ,
            event_columns=("session_id", "item_id"),
            kernel=count_next,
        ),
        Kind(
            name="als_factors",
            description="A vector per user and item, by matrix factorisation; products say who may like what.",
            params=AlsParams,
            shape=ALS_FACTORS,
            event_columns=("user_id", "item_id", "event"),
            kernel=factorise,
        ),
    )
}


class _KindTable(Mapping[str, Kind]):
    """Our own kinds, then those of other installed packages, which are looked for at the first question."""

    def __getitem__(self, name: str) -> Kind:
        return self._all[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    @property
    def _all(self) -> Mapping[str, Kind]:
        return {**_OWN, **installed_kinds(frozenset(_OWN))}


KINDS: Final[Mapping[str, Kind]] = _KindTable()


def find_kind(name: str) -> Kind:
    """Return the kind called `name`; `ConfigurationError` lists the known ones."""
    if name not in KINDS:
        raise ConfigurationError(f"artifacts.kinds: no kind {name!r}; known are {', '.join(KINDS)}")
    return KINDS[name]


def read_params(settings: Settings, row: TargetSettings, kind: str) -> KindParams:
    """Return the parameters of `kind` for one target: `[artifacts.kind]`, overridden by `[targets.artifacts.kind]`.

    Raises `ConfigurationError` naming the key, the allowed and the found.
    """
    known = find_kind(kind)
    table = {**settings.artifacts.tables.get(kind, {}), **row.artifacts.get(kind, {})}
    try:
        params = known.params.model_validate(table)
    except ValidationError as error:
        raise ConfigurationError(_explain(error, known, row)) from error
    if params.shards != NEVER and not (isinstance(known.shape, Shape) and known.shape.key):
        raise ConfigurationError(
            f"artifacts.{kind}.shards for {row.target} is {params.shards!r}, but {kind} has no rows with "
            "a key: leave it away"
        )
    return params


def _explain(error: ValidationError, kind: Kind, row: TargetSettings) -> str:
    """One line per finding: the key as written in the file, what is wrong or allowed, what was found."""
    lines = [f"[artifacts.{kind.name}] for {row.target}: {error.error_count()} finding(s)"]
    for finding in error.errors():
        key = ".".join(("artifacts", kind.name, *map(str, finding["loc"])))
        if finding["type"] == "extra_forbidden":
            lines.append(f"  {key}: unknown key; allowed here: {', '.join(sorted(kind.params.model_fields))}")
        else:
            lines.append(f"  {key}: {finding['msg'].removeprefix('Value error, ')} (found {finding['input']!r:.80})")
    return "\n".join(lines)
