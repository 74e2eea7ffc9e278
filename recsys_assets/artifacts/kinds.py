"""The table of artifact kinds: to add one, write its kernel and its contract and add a row here."""

from collections.abc import Iterator, Mapping
from typing import Final

from pydantic import ValidationError

from recsys_assets.artifacts.als_factors import SHAPE as ALS_FACTORS
from recsys_assets.artifacts.als_factors import AlsParams, factorise
from recsys_assets.artifacts.content_sim import SHAPE as CONTENT_SIM
from recsys_assets.artifacts.content_sim import ContentSimParams, list_tags
from recsys_assets.artifacts.cooc import SHAPE as COOC
from recsys_assets.artifacts.cooc import CoocParams, count_neighbors
from recsys_assets.artifacts.implicit import SHAPE as IMPLICIT
from recsys_assets.artifacts.implicit import ImplicitParams, score_items
from recsys_assets.artifacts.installed_kinds import installed_kinds
from recsys_assets.artifacts.item_seq import SHAPE as ITEM_SEQ
from recsys_assets.artifacts.item_seq import ItemSeqParams, count_next
from recsys_assets.artifacts.kind import Kind
from recsys_assets.artifacts.params import KindParams
from recsys_assets.artifacts.popularity import SHAPE as POPULARITY
from recsys_assets.artifacts.popularity import PopularityParams, build_popularity
from recsys_assets.artifacts.rows import Shape
from recsys_assets.artifacts.session_seq import SHAPE as SESSION_SEQ
from recsys_assets.artifacts.session_seq import SessionSeqParams, score_followers
from recsys_assets.config.settings import Settings
from recsys_assets.config.target import TargetSettings
from recsys_assets.errors import ConfigurationError
from recsys_assets.sharding import NEVER

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
