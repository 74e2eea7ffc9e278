"""Options that `tune` tries: kinds of neighbours with their parameters, varied step by step, and their lines."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from recsys_assets.kinds.params import KindParams, TuningGrid
from recsys_assets.kinds.registry import KINDS, read_params
from recsys_assets.pipeline.build import NATIVE
from recsys_assets.settings.editing import with_parameters
from recsys_assets.settings.settings import Settings
from recsys_assets.settings.target import TargetSettings

BEAM = 3  # of the options so far, the best of which are varied further


def tuned_kinds() -> Mapping[str, TuningGrid]:
    """Return what is varied of each kind that says so, ours first."""
    return {name: kind.tuning for name, kind in KINDS.items() if kind.tuning is not None}


def steps() -> Mapping[str, int]:
    """Return the settings that are varied one after the other, and the most values that a kind has for each."""
    counts: dict[str, int] = {}
    for grid in tuned_kinds().values():
        for name, values in grid.steps.items():
            counts[name] = max(counts.get(name, 0), len(values))
    return counts


def most_options() -> int:
    """Return how many options are tried at most."""
    return 1 + sum(len(grid.scores) for grid in tuned_kinds().values()) + BEAM * sum(steps().values())


def _varied() -> tuple[str, ...]:
    """Return the settings that options differ in: those of scores, then the others."""
    scores = (name for grid in tuned_kinds().values() for values in grid.scores for name in values)
    return tuple(dict.fromkeys((*scores, *steps())))


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
        return {name: values[name] for name in _varied() if name in values}

    def changes(self, other: "Option") -> int:
        """Return how many settings differ; another kind is more than any of them."""
        mine, others, varied = self.varied, other.varied, _varied()
        return sum(mine.get(name) != others.get(name) for name in varied) + len(varied) * (self.kind != other.kind)

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
    """Return what the target has now: of the first kind that is configured and can be tuned, else of the first."""
    known = [*tuned_kinds()]
    kind = next((name for name in known if name in settings.artifacts.kinds), known[0])
    return Option(kind, read_params(settings, row, kind))


def scores(settings: Settings, row: TargetSettings) -> Iterator[Option]:
    """Yield every way to score of every kind, all else as configured."""
    for kind, grid in tuned_kinds().items():
        now = Option(kind, read_params(settings, row, kind))
        for values in grid.scores:
            yield _with(now, values)


def vary(option: Option, setting: str) -> list[Option]:
    """Return an option with every value of one setting; nothing if its kind has no such setting."""
    return [_with(option, {setting: value}) for value in tuned_kinds()[option.kind].steps.get(setting, ())]


def _with(option: Option, values: Mapping[str, object]) -> Option:
    # Checked again: what is left out of a dump (engine, shards) is kept, and the new values become what they are there.
    given = {name: getattr(option.params, name) for name in type(option.params).model_fields}
    return Option(option.kind, type(option.params).model_validate({**given, **values}))
