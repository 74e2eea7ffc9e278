"""Options that `tune` tries: kinds of neighbours with their parameters, varied step by step, and their lines."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from recsys_assets.kinds.params import KindParams
from recsys_assets.kinds.registry import read_params
from recsys_assets.pipeline.build import NATIVE
from recsys_assets.settings.reading import with_parameters
from recsys_assets.settings.settings import Settings
from recsys_assets.settings.target import TargetSettings

COOC, RULES = "cooc", "sequential_rules"
SCORES: Final = (
    ("count", 0),
    ("cosine", 0),
    ("cosine", 3),
    ("cosine", 10),
    ("jaccard", 0),
    ("jaccard", 3),
    ("jaccard", 10),
)
MIN_SUPPORTS, WINDOWS, HALF_LIVES = (1, 2), (7, 14, 28), (7, 14)
BEAM = 3  # of the options so far, the best of which are varied further
MOST_OPTIONS: Final = 1 + len(SCORES) + 2 + BEAM * (len(MIN_SUPPORTS) + len(WINDOWS) + len(HALF_LIVES))
_VARIED: Final = ("score", "shrinkage", "by_support", "min_support", "window_days", "half_life_days")


@dataclass(frozen=True, slots=True)
class Option:
    """One way to make neighbours: a kind and all of its parameters."""

    kind: str
    params: KindParams

    @property
    def key(self) -> str:
        """What distinguishes it from every other option."""
        return json.dumps([self.kind, self.params.model_dump(mode="json")], sort_keys=True)

    @property
    def varied(self) -> dict[str, Any]:
        """The parameters that options differ in."""
        values = self.params.model_dump(mode="json")
        return {name: values[name] for name in _VARIED if name in values}

    def changes(self, other: "Option") -> int:
        """Return how many settings differ; another kind is more than any of them."""
        mine, others = self.varied, other.varied
        return sum(mine.get(name) != others.get(name) for name in _VARIED) + len(_VARIED) * (self.kind != other.kind)

    def lines(self, settings: Settings, row: TargetSettings) -> str:
        """Return the lines of a configuration file that give a target this option."""
        target = f"[[targets]]\ntenant = {json.dumps(row.tenant)}\nsurface = {json.dumps(row.surface)}\n"
        return self.edit(target, settings, row)

    def edit(self, text: str, settings: Settings, row: TargetSettings) -> str:
        """Return the text of a configuration file in which a target has this option, all else as it stood."""
        now = Option(self.kind, read_params(settings, row, self.kind))
        values = {name: value for name, value in self.varied.items() if value != now.varied[name]}
        engine = self.params.engine or row.engine or settings.artifacts.engine
        if self.params.native_only and engine != NATIVE:
            values["engine"] = NATIVE
        kinds = settings.artifacts.kinds
        return with_parameters(text, row, self.kind, values, kinds=None if self.kind in kinds else [*kinds, self.kind])

    def __str__(self) -> str:
        """Name the kind, and the values of what is varied."""
        shown = (f"{name} = {value}" for name, value in self.varied.items() if value not in (None, False))
        return f"{self.kind}: {', '.join(shown)}"


def configured(settings: Settings, row: TargetSettings) -> Option:
    """Return what the target has now: its pairs, else its sequential rules, else the default of pairs."""
    kinds = settings.artifacts.kinds
    kind = RULES if RULES in kinds and COOC not in kinds else COOC
    return Option(kind, read_params(settings, row, kind))


def scores(settings: Settings, row: TargetSettings) -> Iterator[Option]:
    """Yield every score of pairs, and both of rules, all else as configured."""
    pairs, rules = (Option(kind, read_params(settings, row, kind)) for kind in (COOC, RULES))
    for name, shrinkage in SCORES:
        yield _with(pairs, score=name, shrinkage=shrinkage)
    for by_support in (False, True):
        yield _with(rules, by_support=by_support)


def min_supports(option: Option) -> list[Option]:
    """Return an option with every least support; of sequential rules, which have none, nothing."""
    return [_with(option, min_support=n) for n in MIN_SUPPORTS] if option.kind == COOC else []


def windows(option: Option) -> list[Option]:
    """Return an option with every window."""
    return [_with(option, window_days=n) for n in WINDOWS]


def half_lives(option: Option) -> list[Option]:
    """Return an option with every half-life; of sequential rules, which have none, nothing."""
    return [_with(option, half_life_days=n) for n in HALF_LIVES] if option.kind == COOC else []


def _with(option: Option, **values: object) -> Option:
    # Checked again: what is left out of a dump (engine, shards) is kept, and the new values become what they are there.
    given = {name: getattr(option.params, name) for name in type(option.params).model_fields}
    return Option(option.kind, type(option.params).model_validate({**given, **values}))
