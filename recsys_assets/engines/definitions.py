"""The table of relational definitions: what each kind is, apart from how fast it is made on one machine."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from recsys_assets.encoding.rows import LeftOut
from recsys_assets.engines.content_sim import ROW, TAG, content_sim, tell_content_sim
from recsys_assets.engines.cooc import cooc, tell_cooc
from recsys_assets.engines.popularity import popularity, tell_popularity
from recsys_assets.engines.relation import EVENT, ITEM, PLACE, SESSION, USER, Answer, Counts, Frame, Keep
from recsys_assets.engines.user_lists import implicit, session_seq, tell_users
from recsys_assets.errors import ConfigurationError
from recsys_assets.evidence import Scalar
from recsys_assets.kinds.params import KindParams


@dataclass(frozen=True, slots=True)
class Definition:
    """One kind in relations: the columns that it reads, what it is, and how its counts are told."""

    columns: tuple[str, ...]
    answer: Callable[[Frame, Any, Keep], Answer]
    tell: Callable[[Counts, int], tuple[LeftOut, dict[str, Scalar]]]


DEFINITIONS: Mapping[str, Definition] = {
    "popularity": Definition((ITEM,), popularity, tell_popularity),
    "cooc": Definition((SESSION, ITEM), cooc, tell_cooc),
    "implicit": Definition((USER, ITEM, EVENT), implicit, tell_users),
    "session_seq": Definition((USER, ITEM, PLACE), session_seq, tell_users),
    "content_sim": Definition((ROW, ITEM, PLACE, TAG), content_sim, tell_content_sim),
}


def find_definition(kind: str, params: KindParams) -> Definition:
    """Return the relational definition of a kind; `ConfigurationError` if it has none for these parameters."""
    definition = DEFINITIONS.get(kind)
    if definition is None:
        raise ConfigurationError(
            f"artifacts.{kind}.engine: {kind} has no relational definition, so only the native engine builds it; "
            f"those that have one are {', '.join(DEFINITIONS)}"
        )
    if params.native_only:
        raise ConfigurationError(
            f"artifacts.{kind}.engine: only the native engine knows {params.native_only} of {kind}: leave that out, or "
            'build the kind with engine = "native"'
        )
    return definition
