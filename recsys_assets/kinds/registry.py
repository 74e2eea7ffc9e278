"""Registry of artifact kinds: those of this package, and those that installed packages add as entry points."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from importlib.metadata import EntryPoint
from threading import Lock
from typing import Any, Final

import msgspec
import polars as pl
from cachetools import LRUCache, cached
from msgspec.structs import replace
from pydantic import ValidationError

from recsys_assets.artifact_format import NEVER
from recsys_assets.encoding.rows import KernelOutput, columns_of_rows
from recsys_assets.encoding.safetensors_codec import COLUMNS as EMBEDDING_COLUMNS
from recsys_assets.errors import ConfigurationError
from recsys_assets.events.events import Events
from recsys_assets.identity import Target, is_slug
from recsys_assets.kind_descriptions import (
    ALS_FACTORS,
    CONTENT_SIM,
    COOC,
    IMPLICIT,
    ITEM_SEQ,
    POPULARITY,
    SEQUENTIAL_RULES,
    SESSION_SEQ,
    KindDescription,
    Shape,
    VectorShape,
    installed_entry_points,
)
from recsys_assets.kinds.als_factors import AlsParams, factorise
from recsys_assets.kinds.content_sim import ContentSimParams, list_tags
from recsys_assets.kinds.cooc import COOC_GRID, CoocParams, count_neighbors
from recsys_assets.kinds.item_seq import ItemSeqParams, count_next
from recsys_assets.kinds.params import EventParams, KindParams, TuningGrid, check_limits, choose_events
from recsys_assets.kinds.popularity import PopularityParams, build_popularity
from recsys_assets.kinds.sequential_rules import RULES_GRID, SequentialRulesParams, find_rules
from recsys_assets.kinds.user_lists import ImplicitParams, SessionSeqParams, score_followers, score_items
from recsys_assets.messages import name_known, plural
from recsys_assets.settings.inputs import LimitSettings
from recsys_assets.settings.model import Table
from recsys_assets.settings.settings import Settings, TargetSettings

NO_USERS: Final = "no event that it counts names a user"
NO_ORDER: Final = "no session that it counts has items one after the other"
NO_TAGS: Final = "there is no catalog with tags for this surface (raw.catalog)"
GROUP: Final = "recsys_assets.kinds"
_CACHED_PARAMS: Final = 1024


class Kind(msgspec.Struct, frozen=True):
    """A kind of artifact: description, parameters, kernel, and its definition for other engines."""

    description: KindDescription  # Name, shape and texts, for serving and reports. Cheap to import.
    params: type[KindParams]
    event_columns: tuple[str, ...]  # columns of `Events` that the kernel reads, empty for kinds built from the catalog
    kernel: Callable[[Any, Any], KernelOutput]
    definition: str = ""  # `module:name` of its `engines.relation.Definition`, loaded on demand. Empty: native only.
    # Why an artifact of this kind may have no rows and is then excluded from the release. Empty: it is refused.
    may_be_empty: str = ""
    # Parameters with which the canary of an engine, two days of a few hundred events, reaches every cut and limit.
    canary: Mapping[str, object] = msgspec.field(default_factory=dict[str, object])
    # Parameters that need further compiled functions, for the warm-up.
    compiles: Mapping[str, object] = msgspec.field(default_factory=dict[str, object])
    tuning: TuningGrid | None = None  # search space of `tune`, for kinds of neighbours

    @property
    def name(self) -> str:
        """The name of the kind in the configuration and in artifacts."""
        return self.description.name

    @property
    def shape(self) -> Shape | VectorShape:
        """The shape of its content."""
        return self.description.shape

    @property
    def columns(self) -> Mapping[str, pl.DataType]:
        """Columns and dtypes of the decoded rows."""
        return columns_of_rows(self.shape) if isinstance(self.shape, Shape) else EMBEDDING_COLUMNS

    @property
    def row_shape(self) -> Shape:
        """The shape of its rows. Raises `ConfigurationError` for a kind of vectors, which has no rows."""
        if isinstance(self.shape, Shape):
            return self.shape
        raise ConfigurationError(f"{self.name} is a kind of vectors, which has no rows: choose a kind of rows here")

    @property
    def from_catalog(self) -> bool:
        """Whether the kernel reads the catalog instead of events."""
        return not self.event_columns

    def reading(self, params: KindParams) -> "Kind":
        """Return the kind with all columns that it reads under these parameters, some of which need more columns."""
        columns = dict.fromkeys((*self.event_columns, *params.more_columns))
        return replace(self, event_columns=tuple(columns))

    def build(self, source: Events | pl.DataFrame, params: KindParams, limits: LimitSettings) -> KernelOutput:
        """Build the rows from the events of the window, or from the catalog rows of the target's surface.

        Raises `LimitExceededError` before any work if the input exceeds `limits`.
        """
        check_limits(source, limits)
        if isinstance(source, Events) and isinstance(params, EventParams):
            source = choose_events(source, params)
        return self.kernel(source, params)


@cache
def installed_kinds(taken: frozenset[str]) -> Mapping[str, Kind]:
    """Return, by name, the kinds that other packages add. They are searched for once per process.

    An entry point has the name of its kind and refers to a `Kind`. Raises `ConfigurationError` with the package and the
    entry point if it cannot be imported, is not a `Kind`, or has a name that is `taken` or duplicate. A kind that was
    skipped silently would only be noticed when its artifact is missing.
    """
    kinds: dict[str, Kind] = {}
    for point in sorted(installed_entry_points(GROUP), key=lambda point: (point.name, point.value)):
        kind = _load(point)
        if kind.name in taken or kind.name in kinds:
            raise _broken(point, "there is a kind of this name already")
        kinds[kind.name] = kind
    return kinds


def _load(point: EntryPoint) -> Kind:
    try:
        kind: object = point.load()
    except Exception as error:  # Foreign code may raise anything. The error names its package.
        raise _broken(point, f"it fails to load with {type(error).__name__}: {error}") from error
    if not isinstance(kind, Kind):
        raise _broken(point, f"it leads to {kind!r:.80}, not to a recsys_assets.kinds.registry.Kind")
    if kind.name != point.name or not is_slug(kind.name):
        raise _broken(point, f"its kind is called {kind.name!r}: give both one name of letters, digits and _")
    return kind


def _broken(point: EntryPoint, reason: str) -> ConfigurationError:
    package = f"{point.dist.name} {point.dist.version}" if point.dist else "a package without a name"
    return ConfigurationError(
        f"the package {package} adds the kind {point.name} ({GROUP}: {point.value}): {reason}; fix the package, or "
        "uninstall it"
    )


_FEW_OF_A_USER: Final = {"max_items_per_user": 9, "max_events_per_user": 60}

_OWN: Final[Mapping[str, Kind]] = {
    kind.name: kind
    for kind in (
        Kind(
            description=POPULARITY,
            params=PopularityParams,
            event_columns=("item_id",),
            kernel=build_popularity,
            definition="recsys_assets.engines.lists:POPULARITY",
            canary={"max_items": 30},
            compiles={"half_life_days": 1},
        ),
        Kind(
            description=COOC,
            params=CoocParams,
            event_columns=("session_id", "item_id"),
            kernel=count_neighbors,
            definition="recsys_assets.engines.sequences:COOC",
            canary={"min_support": 2, "max_neighbors": 7, "max_items": 20, "max_items_per_session": 12},
            compiles={"half_life_days": 1, "score": "jaccard"},
            tuning=COOC_GRID,
        ),
        Kind(
            description=IMPLICIT,
            params=ImplicitParams,
            event_columns=("user_id", "item_id", "event"),
            kernel=score_items,
            definition="recsys_assets.engines.lists:IMPLICIT",
            may_be_empty=NO_USERS,
            canary={"weights": {"default": 0.1, "click": 2.5, "purchase": 1000.000001}, **_FEW_OF_A_USER},
        ),
        Kind(
            description=SESSION_SEQ,
            params=SessionSeqParams,
            event_columns=("user_id", "item_id"),
            kernel=score_followers,
            definition="recsys_assets.engines.lists:SESSION_SEQ",
            may_be_empty=NO_USERS,
            canary=_FEW_OF_A_USER,
        ),
        Kind(
            description=CONTENT_SIM,
            params=ContentSimParams,
            event_columns=(),
            kernel=list_tags,
            definition="recsys_assets.engines.lists:CONTENT_SIM",
            may_be_empty=NO_TAGS,
            canary={"max_items": 25},
        ),
        Kind(
            description=ITEM_SEQ,
            params=ItemSeqParams,
            event_columns=("session_id", "item_id", "ts"),
            kernel=count_next,
            definition="recsys_assets.engines.sequences:ITEM_SEQ",
            may_be_empty=NO_ORDER,
            canary={"min_support": 2, "max_next": 3, "max_items": 12, "max_items_per_session": 12},
        ),
        Kind(
            description=SEQUENTIAL_RULES,
            params=SequentialRulesParams,
            event_columns=("session_id", "item_id", "ts"),
            kernel=find_rules,
            definition="recsys_assets.engines.sequences:SEQUENTIAL_RULES",
            may_be_empty=NO_ORDER,
            canary={"max_neighbors": 7, "max_items": 20, "max_items_per_session": 12, "self_entry": True},
            compiles={"by_support": True, "self_entry": True},
            tuning=RULES_GRID,
        ),
        Kind(
            description=ALS_FACTORS,
            params=AlsParams,
            event_columns=("user_id", "item_id", "event"),
            kernel=factorise,
            may_be_empty=NO_USERS,
        ),
    )
}


_OWN_NAMES: Final = frozenset(_OWN)


class _KindTable(Mapping[str, Kind]):
    """The kinds of this package, then those of other installed packages, which are loaded at the first lookup."""

    def __getitem__(self, name: str) -> Kind:
        installed = installed_kinds(_OWN_NAMES)  # first: a broken package is reported whatever is looked up
        return _OWN[name] if name in _OWN else installed[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    @property
    def _all(self) -> Mapping[str, Kind]:
        return {**_OWN, **installed_kinds(_OWN_NAMES)}


KINDS: Final[Mapping[str, Kind]] = _KindTable()


def find_kind(name: str) -> Kind:
    """Return the kind called `name`. Raises `ConfigurationError` that lists the known kinds."""
    if name not in KINDS:
        raise ConfigurationError(f"artifacts.kinds: no kind {name!r}; {name_known(name, KINDS)}")
    return KINDS[name]


def is_own(name: str) -> bool:
    """Return whether a kind belongs to this package, not to another installed one."""
    return name in _OWN


def check_params(settings: Settings, rows: Iterable[TargetSettings]) -> None:
    """Raise `ConfigurationError` for an unknown kind or invalid parameters, before anything is built."""
    for row in rows:
        for kind in settings.artifacts.kinds:
            read_params(settings, row, kind)


def _key_of_params(settings: Settings, row: TargetSettings, kind: str) -> tuple[type[KindParams], Target, str, str]:
    return find_kind(kind).params, row.target, kind, repr(table_of(settings, row, kind))


# A day reads the same parameters dozens of times.
@cached(LRUCache(_CACHED_PARAMS), key=_key_of_params, lock=Lock())
def read_params(settings: Settings, row: TargetSettings, kind: str) -> KindParams:
    """Return the parameters of `kind` for one target: `[artifacts.kind]`, overridden by `[targets.artifacts.kind]`.

    Raises `ConfigurationError` with the key, the allowed values and the found value.
    """
    definition = find_kind(kind)
    table = table_of(settings, row, kind)
    try:
        params = definition.params.model_validate(table)
    except ValidationError as error:
        raise ConfigurationError(_explain(error, definition, row)) from error
    if isinstance(definition.shape, Shape) and definition.shape.key:
        _check_capacity(params, kind, row)
        return params
    if params.shards != NEVER and "shards" in table:
        raise ConfigurationError(
            f"artifacts.{kind}.shards for {row.target} is {params.shards!r}, but {kind} has no rows with "
            "a key: remove the setting"
        )
    return params.model_copy(update={"shards": NEVER})


def table_of(settings: Settings, row: TargetSettings, kind: str) -> Table:
    """Return the keys that are configured for `kind` and one target, before they are checked."""
    return {**settings.artifacts.for_all, **settings.artifacts.tables.get(kind, {}), **row.artifacts.get(kind, {})}


def _check_capacity(params: KindParams, kind: str, row: TargetSettings) -> None:
    """Raise `ConfigurationError` if a single object is required that has no space for `max_items` full rows."""
    most = params.max_bytes // params.row_bytes if params.row_bytes else None
    allowed: int | None = getattr(params, "max_items", None)
    if params.shards == NEVER and most is not None and allowed is not None and allowed > most:
        raise ConfigurationError(
            f'artifacts.{kind} for {row.target}: with shards = "never" one object holds all, and max_bytes = '
            f"{params.max_bytes:,} has space for about {most:,} full rows of {params.row_bytes:,} bytes, where "
            f"max_items allows {allowed:,}: lower max_items, raise max_bytes, or remove shards"
        )


def _explain(error: ValidationError, kind: Kind, row: TargetSettings) -> str:
    """Return one line per finding: the key as in the file, the error or the allowed keys, and the found value."""
    lines = [f"[artifacts.{kind.name}] for {row.target}: {plural(error.error_count(), 'finding')}"]
    for finding in error.errors():
        key = ".".join(("artifacts", kind.name, *map(str, finding["loc"])))
        if finding["type"] == "extra_forbidden":
            allowed = name_known(key.rpartition(".")[2], sorted(kind.params.model_fields), intro="allowed here:")
            lines.append(f"  {key}: unknown key; {allowed}")
        else:
            lines.append(f"  {key}: {finding['msg'].removeprefix('Value error, ')} (found {finding['input']!r:.80})")
    return "\n".join(lines)
