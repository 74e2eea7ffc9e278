"""The table of artifact kinds: to add one, write its kernel and its contract and add a row here."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl
from pydantic import ValidationError

from recsys_assets.artifacts.content_sim import SHAPE as CONTENT_SIM
from recsys_assets.artifacts.content_sim import ContentSimParams, list_tags
from recsys_assets.artifacts.cooc import SHAPE as COOC
from recsys_assets.artifacts.cooc import CoocParams, count_neighbors
from recsys_assets.artifacts.implicit import SHAPE as IMPLICIT
from recsys_assets.artifacts.implicit import ImplicitParams, score_items
from recsys_assets.artifacts.item_seq import SHAPE as ITEM_SEQ
from recsys_assets.artifacts.item_seq import ItemSeqParams, count_next
from recsys_assets.artifacts.limits import check_limits
from recsys_assets.artifacts.params import KindParams
from recsys_assets.artifacts.popularity import SHAPE as POPULARITY
from recsys_assets.artifacts.popularity import PopularityParams, build_popularity
from recsys_assets.artifacts.rows import Built, Shape
from recsys_assets.artifacts.session_seq import SHAPE as SESSION_SEQ
from recsys_assets.artifacts.session_seq import SessionSeqParams, score_followers
from recsys_assets.canonical.events import Events
from recsys_assets.config.inputs import LimitSettings
from recsys_assets.config.settings import Settings
from recsys_assets.config.target import TargetSettings
from recsys_assets.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of artifact: its names for people, its parameters, its rows, and its kernel."""

    name: str
    description: str
    params: type[KindParams]
    shape: Shape
    event_columns: tuple[str, ...]  # what the kernel reads of `Events`; nothing for kinds made of the catalog
    kernel: Callable[[Any, Any], Built]

    @property
    def columns(self) -> Mapping[str, pl.DataType]:
        """Columns and dtypes of the rows as people see them."""
        return self.shape.columns

    @property
    def from_catalog(self) -> bool:
        """Whether the kernel reads the catalog's frame instead of events."""
        return not self.event_columns

    def build(self, source: Events | pl.DataFrame, params: KindParams, limits: LimitSettings) -> Built:
        """Build the rows from the window's events, or from the catalog's rows of the target's surface.

        Raises `LimitExceededError` before any work if the input does not fit.
        """
        check_limits(source, limits)
        return self.kernel(source, params)


KINDS: Mapping[str, Kind] = {
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
    )
}


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
        return known.params.model_validate(table)
    except ValidationError as error:
        raise ConfigurationError(_explain(error, known, row)) from error


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
